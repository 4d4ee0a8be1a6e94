"""The metrics: pure NumPy functions, and one record each that says what they need and how they are read.

To add one: a function in a module of this folder and a record in METRICS. The three kinds, by ``needs``:

- ``reference_set``: ``fn(reference frames [m, d])`` gives ``score(frames [n, d], weights [n] or None) -> float``;
- ``reference_pairs``: ``fn(generated [n, d], reference [n, d]) -> [n]``, one mean embedding per clip, row by row;
- ``text``: ``fn(audio [n, d], text [n, d]) -> [n]``, likewise.

METRICS holds what runs offline; no name or label there is that of a published metric, because the networks differ.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from magnet_eval.lookup import unknown
from magnet_eval.metrics.alignment import cosine_score
from magnet_eval.metrics.divergence import bernoulli_kl
from magnet_eval.metrics.frechet import frechet_to

NEEDS = ("reference_set", "reference_pairs", "text")


@dataclass(frozen=True)
class Metric:
    """One metric as the rest of the suite sees it."""

    name: str
    label: str  # as shown in tables and figures
    fn: Callable[..., Any]  # see the head of this module
    embedder: str  # a name in embedders.EMBEDDERS
    needs: str  # reference_set, reference_pairs or text
    better: str  # lower or higher
    preset: str  # named numerics: changing anything that moves a number gives it a new name
    paper: str
    description: str  # one sentence for the report
    best: float  # the score of a clip set against itself
    unit: str = ""
    tiny: bool = False  # judged by a small offline network; labelled so wherever it is shown
    columns: slice = field(default_factory=lambda: slice(None))  # of the embedding that it looks at

    @property
    def per_clip(self) -> bool:
        """Whether every clip has a score of its own."""
        return self.needs != "reference_set"


_TABLE = (
    Metric(
        name="fad_musicnn_tiny",
        label="FAD-musicnn",
        fn=frechet_to,
        embedder="musicnn",
        columns=slice(0, 200),
        needs="reference_set",
        better="lower",
        preset="musicnn-mtt-v1",
        paper="Kilgour et al., 2019 (arXiv:1812.08466), on musicnn embeddings (Pons and Serra, 2019, arXiv:1909.06654)",
        description="Fréchet distance between the 200-d musicnn embeddings of the clips and of real music.",
        best=0.0,
        tiny=True,
    ),
    Metric(
        name="kl_mtt_tiny",
        label="KL-MTT",
        fn=bernoulli_kl,
        embedder="musicnn",
        columns=slice(200, 250),
        needs="reference_pairs",
        better="lower",
        preset="musicnn-mtt-v1",
        paper="KL of audio tags after Kreuk et al., 2022 (arXiv:2209.15352), on musicnn's 50 MagnaTagATune tags",
        description="Divergence of the 50 musicnn tags of each clip from those of the real clip with its caption.",
        best=0.0,
        unit="nats",
        tiny=True,
    ),
    Metric(
        name="clap_tiny",
        label="CLAP-tiny",
        fn=cosine_score,
        embedder="clap_tiny",
        needs="text",
        better="higher",
        preset="clap-tiny-v1",
        paper="text-audio cosine after Wu et al., 2023 (arXiv:2211.06687), by a small network of this project",
        description="Cosine of each clip and its caption in the tiny text-audio model.",
        best=1.0,
        tiny=True,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}


def get(name: str) -> Metric:
    """The metric of a name. Raises UserError with the nearest names."""
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]
