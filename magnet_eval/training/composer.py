"""A small composer: every piece is known by its attributes, so that captions are exact.

Conventions: one *step* is an eighth note and lasts a whole number of token frames (40 ms), so that every
onset falls on the token grid of the tiny codec. Ticks are milliseconds.

A piece is chosen by style, lead instrument, tempo, key, mode and dynamics (all named in its caption) and by
a melody and a chord progression (not named: what the models are free to choose).
"""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

import numpy as np

FRAME_MS = 40
CLIP_MS = 5000
GAP_MS = 1000
DRUM_CHANNEL = 9
T = TypeVar("T")

LEADS = {"piano": 0, "guitar": 24, "strings": 48, "flute": 73, "trumpet": 56, "synthesizer": 81}
TEMPI = {150: 5, 125: 6, 94: 8, 75: 10}  # beats per minute -> frames per eighth
KEYS = {"C": 0, "D": 2, "F": 5, "A": -3}
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
DYNAMICS = {"soft": 56, "loud": 108}
PROGRESSIONS = ((0, 3), (0, 4))  # scale degrees of the chords of odd and even bars
MELODIES = ((0, None, 2, None, 4, 2, 1, None), (4, None, None, 2, 4, None, 2, 0), (0, 2, 4, 2, 0, 2, 4, 5))
TRIAD = (0, 2, 4)
KICK, SNARE, HAT = 36, 38, 42


@dataclass(frozen=True)
class Style:
    """How one style accompanies: the length of a bar in eighths and one pattern per layer ('x' = onset)."""

    bar: int
    chord_program: int
    chords: str
    bass: str
    drums: tuple[tuple[int, str], ...] = ()
    arpeggio: bool = False
    sparse_lead: bool = False


STYLES = {
    "rock": Style(8, 29, "x...x...", "xxxxxxxx", ((KICK, "x...x..."), (SNARE, "..x...x."), (HAT, "xxxxxxxx"))),
    "techno": Style(8, 90, "..x...x.", "x.x.x.x.", ((KICK, "x.x.x.x."), (HAT, ".x.x.x.x"))),
    "waltz": Style(6, 21, "..x.x.", "x.....", ()),
    "ambient": Style(8, 89, "x.......", "x.......", (), sparse_lead=True),
    "ballad": Style(8, 4, "xxxxxxxx", "x...x...", ((HAT, "x...x..."),), arpeggio=True),
    "march": Style(8, 61, "x.x.x.x.", "x...x...", ((SNARE, "x.xxx.xx"), (KICK, "x...x..."))),
}


@dataclass(frozen=True)
class Piece:
    """One piece by its attributes; ``melody`` and ``progression`` are not in the caption."""

    style: str
    lead: str
    bpm: int
    key: str
    mode: str
    dynamics: str
    melody: int
    progression: int

    @property
    def combination(self) -> tuple[str, str, int, str]:
        """The attributes by which train and held-out pieces are kept apart."""
        return self.style, self.lead, self.bpm, self.mode

    def tags(self) -> dict[str, str]:
        """The attributes as text, as they travel with a prompt."""
        return {name: str(value) for name, value in asdict(self).items()}


def all_pieces() -> Iterator[Piece]:
    """Every piece the composer can write, in a fixed order."""
    axes = (STYLES, LEADS, TEMPI, KEYS, SCALES, DYNAMICS, range(len(MELODIES)), range(len(PROGRESSIONS)))
    for values in itertools.product(*axes):
        yield Piece(*values)


class Composed(Protocol):
    """What a composer writes, known by its attributes."""

    @property
    def combination(self) -> tuple[str | int, ...]:
        """The attributes by which training and held-out pieces are kept apart."""


def is_held_out(piece: Composed, share: float = 0.1) -> bool:
    """Whether the piece's combination of attributes is kept from training.

    The split hashes the combination, never the piece, so no combination stands in both parts.
    """
    digest = hashlib.sha256(repr(piece.combination).encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def draw(pieces: list[T], n: int, rng: np.random.Generator) -> list[T]:
    """``n`` pieces without repetition, in random order."""
    if n > len(pieces):
        raise ValueError(f"{n} pieces asked for, {len(pieces)} exist")
    return [pieces[i] for i in rng.permutation(len(pieces))[:n]]


def _pitch(piece: Piece, degree: int, octave: int) -> int:
    scale = SCALES[piece.mode]
    return 12 * (octave + degree // 7) + KEYS[piece.key] + scale[degree % 7]


@dataclass(frozen=True)
class Note:
    """One note: MIDI channel, pitch and velocity; start and end in milliseconds."""

    channel: int
    pitch: int
    velocity: int
    start: int
    end: int


def programs(piece: Piece) -> tuple[int, int, int]:
    """General MIDI programs of lead, chords and bass (channels 0, 1 and 2)."""
    return LEADS[piece.lead], STYLES[piece.style].chord_program, 38 if piece.style == "techno" else 33


def _events(piece: Piece, index: int) -> Iterator[tuple[int, int, float, float]]:
    """What starts at the ``index``-th eighth: channel, pitch, length in eighths, share of the velocity."""
    style = STYLES[piece.style]
    bar, position = divmod(index, style.bar)
    root = PROGRESSIONS[piece.progression][bar % 2]
    degree = MELODIES[piece.melody][position]
    if degree is not None and not (style.sparse_lead and position % 4):
        yield 0, _pitch(piece, root + degree, 6), 4 if style.sparse_lead else 1, 1.0
    if style.chords[position] == "x":
        if style.arpeggio:
            yield 1, _pitch(piece, root + TRIAD[position % 3], 5), 1, 0.75
        else:
            for tone in TRIAD:
                yield 1, _pitch(piece, root + tone, 5), 8 if style.sparse_lead else 1, 0.7
    if style.bass[position] == "x":
        yield 2, _pitch(piece, root, 3), style.bar if style.sparse_lead else 1, 0.9
    for pitch, pattern in style.drums:
        if pattern[position] == "x":
            yield DRUM_CHANNEL, pitch, 0.5, 1.0


def notes(piece: Piece, length_ms: int = CLIP_MS) -> list[Note]:
    """The notes of a piece, cut at ``length_ms``, every onset a multiple of 40 ms."""
    velocity, step = DYNAMICS[piece.dynamics], TEMPI[piece.bpm] * FRAME_MS
    return [
        Note(
            channel, pitch, round(velocity * share), index * step, min(index * step + round(eighths * step), length_ms)
        )
        for index in range(-(-length_ms // step))
        for channel, pitch, eighths, share in _events(piece, index)
    ]
