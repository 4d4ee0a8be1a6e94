"""What scoring holds of all clips at once, small: a run may have very many of them."""

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from magnet_eval.embedding import Item
from magnet_eval.records import Clip, ClipScore
from magnet_eval.store import ids_hash


class Sounds(Sequence[Item]):
    """A system's clips as items, which are made when asked for: 60 bytes a clip in place of 600."""

    def __init__(self, root: Path, clips: Iterable[Clip]) -> None:
        """``root`` is what the paths of clips start at."""
        self.root, self.hashes = root, bytearray()
        self.ids: list[str] = []
        self.places: list[tuple[str, str | None]] = []  # path before and after the id; None: all of it is before
        shared: dict[tuple[str, str | None], tuple[str, str | None]] = {}
        for clip in clips:
            before, name, after = clip.path.rpartition(clip.prompt_id)
            place = (before, after) if name else (clip.path, None)
            self.ids.append(clip.prompt_id)
            self.hashes += bytes.fromhex(clip.sha256)
            self.places.append(shared.setdefault(place, place))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        place = range(len(self))[place]  # from the end too
        name, (before, after) = self.ids[place], self.places[place]
        path = before if after is None else f"{before}{name}{after}"
        return Item(name, self.hashes[32 * place : 32 * place + 32].hex(), self.root / path, generated=True)


class Joined:
    """Several collections of items, one after the other, as often as asked."""

    def __init__(self, *parts: Iterable[Item]) -> None:
        """The parts can be gone through again and again."""
        self.parts = parts

    def __iter__(self) -> Iterator[Item]:
        return chain.from_iterable(self.parts)


class PerClip:
    """The scores of a system's clips by one metric."""

    def __init__(self, system: str, metric: str, preset: str, scores: dict[str, float]) -> None:
        """``scores`` by clip id."""
        self.system, self.metric, self.preset = system, metric, preset
        self.ids, self.values = [sys.intern(name) for name in scores], array("d", scores.values())

    def rows(self) -> Iterator[ClipScore]:
        """As records."""
        for name, value in zip(self.ids, self.values, strict=True):
            yield ClipScore(self.system, name, self.metric, value, self.preset)


class Result(NamedTuple):
    """An estimate or a difference without the list of its clips."""

    value: float
    low: float
    high: float
    n: int
    ids_hash: str
    p_value: float = 1.0

    @classmethod
    def of(cls, found: Any) -> "Result":
        """Of an Estimate, a Difference or a TextControl."""
        p_value = getattr(found, "p_value", 1.0)
        return cls(found.value, found.low, found.high, len(found.ids), ids_hash(found.ids), p_value)
