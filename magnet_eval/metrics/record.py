"""One record per metric and preset: what it needs, how it is read, and its function.

The kinds, by ``needs``:

- ``reference_set``: ``fn(reference frames [m, d])`` gives ``scores(frames [n, d], owner [n], weights [r, clips])``, the
  score [r] of the set under each weighting of its clips;
- ``reference_limit``: the same arguments but for the weights, and an ``rng``; gives an Extrapolation;
- ``reference_rows``: ``fn(generated [n, d], reference [m, d]) -> float``, one mean embedding per clip;
- ``rows``: ``fn(generated [n, d]) -> float``, likewise, without a reference;
- ``reference_pairs``: ``fn(generated [n, d], reference [n, d]) -> [n]``, likewise, row by row;
- ``reference_segments``: the same for the frames of two clips; the mean of its frames is a clip's score;
- ``text``: ``fn(audio [n, d], text [n, d]) -> [n]``, one mean embedding per clip;
- ``tags``: likewise, the texts being the tags of the prompts, as JSON;
- ``clip``: ``fn(audio [n, d]) -> [n]``, likewise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from magnet_eval.numerics import Front

NEEDS = (
    "reference_set", "reference_limit", "reference_rows", "rows",
    "reference_pairs", "reference_segments", "text", "tags", "clip",
)  # fmt: skip
PER_CLIP = ("reference_pairs", "reference_segments", "text", "tags", "clip")
TEXTUAL = ("text", "tags")  # what a prompt says: it can be shuffled


@dataclass(frozen=True)
class Metric:
    """One metric with one preset as the rest of the suite sees it."""

    name: str
    label: str  # as shown in tables and figures
    fn: Callable[..., Any]  # see the head of this module
    embedder: str  # a name in embedders.EMBEDDERS
    needs: str  # one of NEEDS
    better: str  # lower or higher; "" is a fact, not a merit
    preset: str  # named numerics: changing anything that moves a number gives it a new name
    paper: str
    description: str  # one sentence for the report
    best: float | None  # the score of a clip set against itself; None where there is no such thing
    unit: str = ""
    tiny: bool = False  # judged by a small offline network; labelled so wherever it is shown
    tags: tuple[str, ...] = ()  # of a prompt: it needs at least one of them
    columns: slice = field(default_factory=lambda: slice(None))  # of the embedding that it looks at
    options: Mapping[str, Any] = field(default_factory=dict)  # of the embedder: framing, weights
    comparable: bool = True  # whether the difference of two systems has a test of its own
    covariance: bool = False  # whether it estimates one, which takes more frames than dimensions
    front: Front | None = None  # a clip's way to the network; None: its rate, mean of channels, soxr HQ

    @property
    def per_clip(self) -> bool:
        """Whether every clip has a score of its own."""
        return self.needs in PER_CLIP

    @property
    def has_reference(self) -> bool:
        """Whether real clips are needed."""
        return self.needs.startswith("reference")

    def tags_of(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Those of a prompt's tags that it holds a clip against."""
        return {name: value for name, value in tags.items() if name in self.tags}
