"""Checks of the clips themselves, from arrays alone: what would make a score mean something else than it says.

Some networks like silence, and a file that stands twice counts twice: each finding is reported by clip, never replaced.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SILENCE_DB = -60.0  # RMS re full scale
FULL_SCALE = 0.9999  # 16-bit audio ends at 32767 / 32768
CLIPPED_SHARE = 0.01
TOLERANCE = 0.05  # s


@dataclass(frozen=True)
class Fault:
    """One finding."""

    kind: str  # not_finite, silent, clipped, short, long or duplicate
    clips: tuple[str, ...]  # ids; more than one where it is about their likeness
    detail: str  # one line for people


def level_db(audio: np.ndarray) -> float:
    """RMS of samples of any shape re full scale, in dB; -inf for digital silence."""
    rms = np.sqrt(np.mean(np.square(audio, dtype=np.float64)))
    return float(20 * np.log10(rms)) if rms > 0 else -np.inf


def clipped_share(audio: np.ndarray) -> float:
    """Share of samples at full scale, 0..1."""
    return float((np.abs(audio) >= FULL_SCALE).mean())


def audio_faults(clip_id: str, audio: np.ndarray, rate: int, seconds: float | None = None) -> list[Fault]:
    """What is wrong with a clip [C, T] or [T]: samples that are no numbers, silence, clipping, another length.

    ``seconds`` is the length asked for; None where any will do. Raises ValueError for audio without samples.
    """
    audio = np.atleast_2d(audio)
    if audio.size == 0:
        raise ValueError(f"clip {clip_id} holds no samples")
    n_bad = int((~np.isfinite(audio)).sum())
    if n_bad:
        return [Fault("not_finite", (clip_id,), f"{n_bad} samples are NaN or infinite")]
    faults, level, share = [], level_db(audio), clipped_share(audio)
    if level < SILENCE_DB:
        faults.append(Fault("silent", (clip_id,), f"{level:.1f} dB re full scale, below {SILENCE_DB:g}"))
    if share > CLIPPED_SHARE:
        faults.append(Fault("clipped", (clip_id,), f"{share:.1%} of samples at full scale"))
    length = audio.shape[1] / rate
    if seconds is not None and abs(length - seconds) > TOLERANCE:
        kind = "short" if length < seconds else "long"
        faults.append(Fault(kind, (clip_id,), f"{length:.2f} s, asked for {seconds:.2f}"))
    return faults


def duplicates(hashes: Mapping[str, str]) -> list[Fault]:
    """Clips of equal content, by clip id -> hash of the samples: one fault for each group of two or more."""
    groups = defaultdict(list)
    for clip_id, content in hashes.items():
        groups[content].append(clip_id)
    return [
        Fault("duplicate", tuple(ids), f"{len(ids)} clips have the same content")
        for ids in groups.values()
        if len(ids) > 1
    ]
