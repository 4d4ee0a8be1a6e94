"""The blocks of a protocol as typed dataclasses: systems, references, prompts, generation, speed, choices of metrics.

Conventions: lengths in seconds, a missing choice is None, a wrong value is a UserError of one line.
"""

import unicodedata
from dataclasses import dataclass, field
from typing import Any

from magnet_eval import audio
from magnet_eval.decoding import between
from magnet_eval.lookup import UserError, check

DTYPES = ("float32", "float16", "bfloat16")
LONGEST_NAME = 200  # bytes of a label, which names a folder
MAX_TEXT = 2000  # characters of a prompt: far above any caption. A text encoder may take fewer, and then warns


def check_text(text: str) -> str:
    """A prompt's text itself. Raises UserError if it is empty or longer than MAX_TEXT characters."""
    if not text.strip():
        raise UserError("a prompt is empty; write what should be heard, e.g. 'slow waltz for strings'.")
    control = next((c for c in text if unicodedata.category(c) == "Cc" and c not in "\t\r\n"), "")
    if control:
        raise UserError(f"a prompt holds the control character {control!r}: {text[:40]!r}. Take it out.")
    if len(text) > MAX_TEXT:
        raise UserError(
            f"a prompt has {len(text)} characters, allowed are {MAX_TEXT}: {text[:40]!r}... Shorten it to one caption."
        )
    return text


def check_label(label: str) -> str:
    """A label itself. Raises UserError on one that is no folder name; an empty one is still to be filled in."""
    odd = set(label) & set('/\\:*?"<>|') or not label.isprintable() or label != label.strip(" .")
    if odd or len(label.encode()) > LONGEST_NAME:
        raise UserError(
            f"system label {label[:60]!r} is no folder name; use letters, digits, spaces and - _ . only, "
            f"{LONGEST_NAME} at most."
        )
    own = ("manifest.json", "prompts.jsonl", "scores.jsonl", "clip_scores.jsonl", "timings.jsonl", "cache")
    if label.casefold() in own:
        raise UserError(f"system label {label!r} is no folder name: a run has a file of its own there; give another.")
    return label


@dataclass
class System:
    """What is compared: a model with a label and optional changes. In YAML a plain name is enough."""

    model: str = ""  # the protocol's if left out
    label: str = ""  # the model's name if left out
    set: dict[str, Any] = field(default_factory=dict)  # e.g. {decoding.steps: [60, 10, 10, 10]}

    def __post_init__(self) -> None:
        """Fills in the label; refuses one that is no folder name, since clips are stored under it."""
        self.label = check_label(self.label or self.model)

    @classmethod
    def from_text(cls, model: str) -> "System":
        """The system that a plain model name stands for."""
        return cls(model)

    def of(self, model: str) -> "System":
        """The system itself, or of ``model`` where it names none. Raises UserError if neither does."""
        if not (self.model or model):
            raise UserError(f"system {self.label!r} names no model; give it one, or the protocol: model: magnet-tiny.")
        return self if self.model else System(model, self.label, self.set)


@dataclass
class Reference:
    """Which real clips the generated ones are compared with."""

    source: str = "tiny"  # tiny | tiny-sounds | folder | jsonl | musiccaps | audiocaps, or pkg.module:object
    n: int | None = None  # a fixed draw of n; None: all
    path: str | None = None  # of the folder, the JSON lines or CSV; hub:OWNER/NAME for a data set of the hub
    audio: str | None = None  # folder of a data set's clips, where path is no manifest of data prepare
    split: str | None = None  # part of a data set: all, eval, balanced; test, val, train
    captions: str | None = None  # audiocaps: one (a clip), or all of its five
    ids: str | None = None  # path of a text file with an id a line: these only

    def __post_init__(self) -> None:
        """Refuses empty selections."""
        if self.n is not None:
            between(f"{type(self).__name__.lower()}.n", self.n, 1)


@dataclass
class Prompts(Reference):
    """Which texts are generated from, and how long the audio is."""

    seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuses empty selections and silly lengths."""
        super().__post_init__()
        between("prompts.seconds", self.seconds, 0.1, 600)


@dataclass
class Generation:
    """How clips are made; the audio depends on ``seed`` and ``dtype``, on ``batch`` only in the reference modes."""

    batch: int = 8
    seed: int = 0
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    dtype: str = "float32"
    audio: str = "wav"  # wav | flac: the same samples and scores; clips that are there stay as they are

    def __post_init__(self) -> None:
        """Refuses sizes, devices and number formats that do not exist."""
        between("batch", self.batch, 1, 4096)
        between("seed", self.seed, 0, 2**63 - 1)
        device, colon, index = self.device.partition(":")
        check("device", device, ("auto", "cpu", "cuda"))
        if colon and not (device == "cuda" and index.isdecimal()):
            raise UserError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}.")
        check("dtype", self.dtype, DTYPES)
        check("audio", self.audio, audio.FORMATS)


SCENARIOS = ("single_stream", "offline", "server", "time_to_first_audio")
FEWEST_SERVED = 44  # requests of which none is late that show nine in ten, see speed/quantiles.py


@dataclass
class Speed:
    """How speed is measured; the scenarios are those of MLPerf, see speed/loop.py and speed/server.py."""

    scenarios: list[str] = field(default_factory=lambda: ["offline"])
    batches: list[int] = field(default_factory=lambda: [1, 8])  # of offline and server, as far as memory goes
    repeats: int = 5  # timed calls per system and batch size, after the warm-up
    queries: int = 64  # timed calls of the other scenarios: 64 carry a p90, 662 a p99
    warmup: int = 10  # at most so many calls before those that count, fewer once three agree within 2 %; 0: none
    max_seconds: float = 60.0  # per system and batch size: timing stops early after that, and says its n
    seconds: float | None = None  # of audio; None: as long as the protocol's prompts
    dtype: str | None = None  # None: that of the protocol's generation
    weights: str | None = None  # random: models at their true size without a file, which speed does not depend on
    chunk_seconds: float = 1.0  # of audio per piece where a system streams
    bound: float | None = None  # seconds that nine in ten requests to the server may take; None: as long as the clip

    def __post_init__(self) -> None:
        """Refuses empty measurements, and numbers that are none of their kind."""
        if not self.scenarios:
            raise UserError(f"speed.scenarios is empty; give some of {', '.join(SCENARIOS)}.")
        for scenario in self.scenarios:
            check("speed.scenarios", scenario, SCENARIOS)
        if not self.batches:
            raise UserError("speed.batches is empty; give batch sizes, e.g. [1, 8].")
        for batch in self.batches:
            between("speed.batches", batch, 1, 4096)
        between("speed.repeats", self.repeats, 1)
        between("speed.queries", self.queries, 1)
        if "server" in self.scenarios and self.queries < FEWEST_SERVED:
            raise UserError(
                f"speed.queries is {self.queries}, but scenario server needs at least {FEWEST_SERVED} requests to show "
                "that nine in ten are served in time; add protocol.speed.queries=64."
            )
        between("speed.warmup", self.warmup, 0)
        between("speed.max_seconds", self.max_seconds, 0.1)
        between("speed.chunk_seconds", self.chunk_seconds, 0.1, 600)
        if self.seconds is not None:
            between("speed.seconds", self.seconds, 0.1, 600)
        if self.bound is not None:
            between("speed.bound", self.bound, 0.001)
        if self.dtype is not None:
            check("speed.dtype", self.dtype, DTYPES)
        if self.weights is not None:
            check("speed.weights", self.weights, ("random",))


@dataclass
class MetricChoice:
    """A metric of a protocol. In YAML the name of a preset is enough."""

    preset: list[str] = field(default_factory=list)  # one or more of the metric's; none: its first
    weights: str | None = None  # the embedder's, in place of where they are looked for: a path, a name, a hub id
    sha256: str | None = None  # that their file must have, or the first digits of it

    @classmethod
    def from_text(cls, preset: str) -> "MetricChoice":
        """The choice that a plain preset name stands for."""
        return cls([preset])
