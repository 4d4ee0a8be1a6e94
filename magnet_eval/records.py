"""The nouns: what passes between the stages of an evaluation, each a frozen record and one JSON line.

Conventions: times in seconds, rates in Hz, audio lengths in samples. A missing value is an absent record,
never a NaN, a zero or a -1.
"""

import dataclasses
import functools
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import UnionType
from typing import Any, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np


class Record:
    """What every record can do: become one JSON line and come back from one.

    A run holds very many of them: they have slots and no dictionary, and equal texts (labels, ids) are one.
    """

    __slots__ = ()

    def to_json(self) -> str:
        """One JSON line without its newline. Raises ValueError on a NaN or an infinity."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, allow_nan=False)  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The record of one JSON line. Raises TypeError on unknown or missing fields, and on values of another type."""
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise TypeError(f"a {cls.__name__} is an object, got {str(fields)[:40]}")
        for name, kinds in json_types(cls).items():  # type: ignore[arg-type]
            if name in fields and not isinstance(fields[name], kinds):
                raise TypeError(f"{name} is {str(fields[name])[:40]!r}")
        return cls(**{name: sys.intern(cell) if type(cell) is str else cell for name, cell in fields.items()})


@functools.cache
def json_types(record: type[Record]) -> dict[str, tuple[type, ...]]:
    """The types that JSON has for each field of a record, where these are plain."""
    kinds = {float: (int, float), Mapping: (dict,), tuple: (list, tuple)}
    found = {}
    for name, hint in get_type_hints(record).items():
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        plain = [get_origin(part) or part for part in parts]
        found[name] = tuple(kind for one in plain for kind in kinds.get(one, (one,)))
    return found


R = TypeVar("R", bound="Record")


def read_jsonl(kind: type[R], path: Path) -> Iterator[R]:
    """The records of a JSON-lines file, in order; none if there is no such file."""
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            yield from (kind.from_json(line) for line in lines if line.strip())


def to_jsonl(records: Iterable[Record]) -> str:
    """Records as JSON lines, one per record."""
    return "".join(to_lines(records))


def to_lines(records: Iterable[Record]) -> Iterator[str]:
    """Records as JSON lines, one at a time."""
    return (record.to_json() + "\n" for record in records)


BETTER = ("lower", "higher", "")


@dataclass(frozen=True, slots=True)
class Prompt(Record):
    """One text to make audio from."""

    id: str  # stable across runs, safe as a file name
    text: str  # the caption
    seconds: float  # length of audio asked for
    tags: Mapping[str, str] = field(default_factory=dict)  # known attributes, for breakdowns
    reference: str = ""  # path of the real clip that the caption describes; "" where there is none
    reference_sha256: str = ""  # of that file's bytes, where a manifest says what they should be


@dataclass(frozen=True, slots=True)
class Clip(Record):
    """One audio file that a system made for a prompt."""

    prompt_id: str
    system: str  # label of the system
    path: str  # relative to the run folder
    sample_rate: int  # Hz
    n_samples: int
    seed: int  # of this clip alone
    sha256: str  # of the audio file's bytes
    key: str  # content key: what the clip was made from
    frames_asked: int = 0  # token frames that the prompt's seconds amount to; 0 for audio made without tokens
    frames_made: int = 0  # token frames generated: fewer where the span length does not divide the length
    iterations: int = 0  # decoding steps
    network_evaluations: int = 0  # forward passes; guidance counts both halves

    def __post_init__(self) -> None:
        """Refuses what leads out of the run folder: one from elsewhere may have no file read, replaced or removed."""
        places = (PurePath(self.path), PurePath(self.prompt_id))
        if any(place.is_absolute() or ".." in place.parts or "\0" in str(place) for place in places):
            raise ValueError(f"clip {self.prompt_id!r} has the path {self.path!r}, which is not inside the run folder")


@dataclass(frozen=True)
class Embeddings:
    """Frames of one embedder over a set of clips."""

    embedder: str
    clip_ids: tuple[str, ...]
    frames: np.ndarray  # float32 [n_frames, dimension]
    owner: np.ndarray  # int [n_frames]: index into clip_ids

    def per_clip(self) -> np.ndarray:
        """Mean frame of each clip: float64 [n_clips, dimension]."""
        total = np.zeros((len(self.clip_ids), self.frames.shape[1]))
        np.add.at(total, self.owner, self.frames)
        return total / np.bincount(self.owner, minlength=len(self.clip_ids))[:, None]


@dataclass(frozen=True)
class Score(Record):
    """One number with its interval. Everything that a report shows is one of these."""

    protocol: str  # name of the protocol
    version: int  # of the protocol
    system: str
    metric: str  # e.g. fad_musicnn_tiny
    label: str  # as shown, e.g. FAD-musicnn
    value: float
    unit: str  # "" for a pure number
    better: str  # "lower", "higher" or "" (a fact, not a merit)
    n: int  # clips (or timed calls) behind the value
    low: float | None = None  # 95 % interval
    high: float | None = None
    floor: float | None = None  # what as many real clips score against the other real clips
    versus: str = ""  # the system that ``value`` is a difference to (system minus versus); "" for a plain score
    p_value: float | None = None  # of that difference, Holm-adjusted over the metric's family of comparisons
    ids_hash: str = ""  # of the list of prompt ids that the value was computed on
    preset: str = ""  # named numerics
    params: Mapping[str, Any] = field(default_factory=dict)  # e.g. batch, stage, embedder

    def __post_init__(self) -> None:
        """Refuses values that are no finite number: a failed score is an absent row."""
        for name in ("value", "low", "high", "floor", "p_value"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{name} of {self.metric} for {self.system} is {number}; leave the row out")
        if self.better not in BETTER:
            raise ValueError(f"better of {self.metric} must be one of {BETTER}, got {self.better!r}")


@dataclass(frozen=True, slots=True)
class ClipScore(Record):
    """One metric of one clip."""

    system: str
    prompt_id: str
    metric: str
    value: float
    preset: str = ""  # named numerics

    def __post_init__(self) -> None:
        """Refuses a value that is no finite number."""
        if not math.isfinite(self.value):
            raise ValueError(f"{self.metric} of {self.system}, {self.prompt_id}, is {self.value}; leave the row out")


@dataclass(frozen=True)
class Timing(Record):
    """Raw wall-clock seconds of repeated calls of one system at one batch size."""

    system: str
    stage: str  # "total", or a stage of the generator: text, tokens, codec, ...
    batch: int
    seconds: float  # audio seconds per clip
    values: tuple[float, ...]  # wall seconds of every timed call, in order
    device: str
    dtype: str
    iterations: int  # decoding steps of one call
    network_evaluations: int  # forward passes per clip; guidance counts both halves
    scenario: str = "offline"  # in which the calls were made
    weights: str = ""  # "random": no checkpoint was read
    warmup: tuple[float, ...] = ()  # wall seconds of the whole calls that came before and do not count
    events: tuple[float, ...] = ()  # ``values`` by the device's own clock; CUDA only


@dataclass(frozen=True)
class Rating(Record):
    """One answer of one listener to one question about one stimulus. A stimulus that was left untouched has none."""

    study: str  # id of the study
    rater: str  # pseudonym of the listener
    dimension: str  # id of the question: ovl, rel, ...
    system: str  # label; the role's name for what no system made
    prompt_id: str
    role: str  # system, reference, gold, anchor35, anchor70 or repeat
    value: float  # on the question's scale; of a pair: 100 preferred, 0 not, 50 a tie
    page_id: str = ""
    page_no: int = 0  # as the listener went, over all passes
    position: int = 0  # on screen
    plays: int = 0
    heard_all: bool = True  # at least once to the end
    stimulus_id: str = ""
    versus: str = ""  # the other system of a pair; "" for other protocols
    repeat_of: str = ""  # stimulus id of which this is a repeat; "" for none


PEOPLE, AGREES = "people_", "agrees_"  # how metrics of listening tests begin: ratings; metrics held against them


def is_people(row: Score | ClipScore) -> bool:
    """Whether a row comes from a listening test, not from the audio."""
    return row.metric.startswith((PEOPLE, AGREES))
