"""A small composer of sound effects, from numpy alone: one simple sound, or one and then another.

Conventions: every onset, and every repetition inside a sound, falls on the token grid of the tiny codec (40 ms).
Noise is a fixed excerpt of one second that repeats, so that a sound always has the same samples and its tokens can
be learned.

A sound is chosen by the kind, pitch and length of its one or two events and by its loudness (all named in its
caption) and, with one event, by when it starts (not named: what the models are free to choose).
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from magnet_eval.training.composer import CLIP_MS, FRAME_MS

SAMPLE_RATE = 16_000
HOP = SAMPLE_RATE * FRAME_MS // 1000
FRAMES = CLIP_MS // FRAME_MS
PITCHES = {"low": 1, "high": 3}  # factor of every frequency
LENGTHS = {"short": 25, "long": 55}  # frames
LOUDNESS = {"soft": 0.1, "loud": 0.4}  # peak
GAP = 5  # frames between two events
STARTS = range(0, 60, 10)  # frame of the onset of a single event; the first of two starts at once
NONE = "none"

Wave = Callable[[np.ndarray, int], np.ndarray]  # seconds since the onset, pitch factor -> samples


def _tone(hertz: float, t: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * t)


def _sweep(t: np.ndarray, start: float, octaves: float) -> np.ndarray:
    rate = octaves * np.log(2) / (t[-1] + 1 / SAMPLE_RATE)
    return np.sin(2 * np.pi * start * np.expm1(rate * t) / rate)


def _loop(second: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.resize(second, len(t))


def _siren(t: np.ndarray, pitch: int) -> np.ndarray:
    period, depth = 0.8, 0.4
    return _tone(600 * pitch, t - depth * period / (2 * np.pi) * np.cos(2 * np.pi * t / period))


def _hiss(t: np.ndarray, pitch: int) -> np.ndarray:
    spectrum = np.fft.rfft(np.random.default_rng(pitch).standard_normal(SAMPLE_RATE))
    hertz = np.arange(len(spectrum))
    return _loop(np.fft.irfft(spectrum * ((hertz >= 600 * pitch) & (hertz < 2400 * pitch))), t)


def _rain(t: np.ndarray, pitch: int) -> np.ndarray:
    rng, decay = np.random.default_rng(10 + pitch), np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    drops = np.zeros(SAMPLE_RATE)
    drops[rng.integers(SAMPLE_RATE, size=60)] = rng.uniform(0.3, 1, 60)
    drop = _tone(1000 * pitch, decay) * np.exp(-decay / 0.004)
    return _loop(np.fft.irfft(np.fft.rfft(drops) * np.fft.rfft(drop, SAMPLE_RATE)), t)


def _knock(t: np.ndarray, pitch: int) -> np.ndarray:
    since = t % 0.36
    return _tone(120 * pitch, since) * np.exp(-since / 0.04)


def _bell(t: np.ndarray, pitch: int) -> np.ndarray:
    since = t % 0.6
    partials = ((1.0, 1.0, 0.3), (2.76, 0.6, 0.15), (5.4, 0.4, 0.08))  # ratio, amplitude, decay (s)
    return np.sum([a * _tone(300 * pitch * r, since) * np.exp(-since / decay) for r, a, decay in partials], axis=0)


def _bird(t: np.ndarray, pitch: int) -> np.ndarray:
    since = t % 0.2
    chirp = np.sin(2 * np.pi * 1200 * pitch * (since + 2.5 * since**2))
    return np.where(since < 0.12, chirp * np.sin(np.pi * since / 0.12), 0)


def _engine(t: np.ndarray, pitch: int) -> np.ndarray:
    return (2 * (50 * pitch * t % 1) - 1) * (1 + 0.6 * _tone(12.5, t))


KINDS: dict[str, Wave] = {
    "beep": lambda t, pitch: _tone(500 * pitch, t) * (t % 0.4 < 0.24),
    "siren": _siren,
    "rising sweep": lambda t, pitch: _sweep(t, 250 * pitch, 2),
    "falling sweep": lambda t, pitch: _sweep(t, 1000 * pitch, -2),
    "hiss": _hiss,
    "rain": _rain,
    "knock": _knock,
    "bell": _bell,
    "bird": _bird,
    "engine": _engine,
}


@dataclass(frozen=True)
class Sound:
    """One or two events by their attributes (``then_kind`` is "none" for one); ``start`` is not in the caption."""

    kind: str
    pitch: str
    length: str
    then_kind: str
    then_pitch: str
    then_length: str
    loudness: str
    start: int

    @property
    def combination(self) -> tuple[str, str, str, str]:
        """The attributes by which training and held-out sounds are kept apart: what follows what, at which pitch."""
        return self.kind, self.pitch, self.then_kind, self.then_pitch

    @property
    def events(self) -> list[tuple[int, str, str, str]]:
        """First frame, kind, pitch and length of each event, in order."""
        first = (self.start, self.kind, self.pitch, self.length)
        if self.then_kind == NONE:
            return [first]
        return [first, (self.start + LENGTHS[self.length] + GAP, self.then_kind, self.then_pitch, self.then_length)]

    def tags(self) -> dict[str, str]:
        """The attributes as text, as they travel with a prompt."""
        return {name: str(value) for name, value in asdict(self).items()}


def all_sounds() -> Iterator[Sound]:
    """Every sound the composer can make, in a fixed order."""
    events = list(itertools.product(KINDS, PITCHES, LENGTHS))
    for first, then, loudness in itertools.product(events, [(NONE, NONE, NONE), *events], LOUDNESS):
        for start in STARTS if then[0] == NONE else STARTS[:1]:
            yield Sound(*first, *then, loudness, start)


@cache
def wave(kind: str, pitch: str, length: str) -> np.ndarray:
    """One event at full scale: float32 [samples], peak 1, faded at both ends."""
    samples = LENGTHS[length] * HOP
    made = KINDS[kind](np.arange(samples) / SAMPLE_RATE, PITCHES[pitch])
    edge = np.minimum(np.arange(samples) / (0.004 * SAMPLE_RATE), np.arange(samples, 0, -1) / (0.02 * SAMPLE_RATE))
    made = made * np.minimum(edge, 1)
    return (made / np.abs(made).max()).astype(np.float32)


def render(sounds: Sequence[Sound]) -> np.ndarray:
    """Audio of all sounds: float32 [n, 80,000], 16 kHz mono, range -1 to 1."""
    audio = np.zeros((len(sounds), FRAMES * HOP), np.float32)
    for clip, sound in zip(audio, sounds, strict=True):
        for frame, *event in sound.events:
            samples = wave(*event)
            clip[frame * HOP : frame * HOP + len(samples)] = LOUDNESS[sound.loudness] * samples
    return audio
