"""One loudness for all clips of a study: the loudest at which none of them passes the peak limit.

Nothing is ever limited or compressed: that would change one system's sound. A clip with high peaks makes all quieter.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from magnet_eval import audio
from magnet_eval.lookup import UserError

log = logging.getLogger(__name__)
PEAK = -1.0  # dBTP that no file passes
SPARE = 0.05  # dB kept for the rounding to 16 bits
OVERSAMPLING = 4  # for the true peak (BS.1770-4, annex 2)
LEAST_SECONDS = 0.4  # a gating block of BS.1770
LOW = -36.0  # LUFS below which a study is hard to hear
FULL_SCALE = 0.999


@dataclass(frozen=True)
class Level:
    """How loud one clip is."""

    lufs: float
    dbtp: float
    clipped: int  # samples at full scale, those of it in runs of two or more


def measure(samples: np.ndarray, rate: int, name: str) -> Level:
    """The level of [C, T]. Raises UserError, with ``name``, on a silent clip or one too short to have a loudness."""
    if samples.shape[1] < LEAST_SECONDS * rate:
        raise UserError(f"{name} is {samples.shape[1] / rate:.2f} s long; a loudness needs {LEAST_SECONDS} s.")
    lufs = audio.loudness(samples, rate)
    if not math.isfinite(lufs):
        raise UserError(
            f"{name} is silent. Make it again; or leave its prompt out for all systems with "
            "leave_out=[PROMPT ID], and say in the paper that a system was silent there."
        )
    return Level(lufs, true_peak(samples, rate), clipped(samples))


def clipped(samples: np.ndarray) -> int:
    """Samples of [C, T] at full scale whose neighbour is there too."""
    if peak(samples) < FULL_SCALE:
        return 0
    full = abs(samples) >= FULL_SCALE
    return int((full[:, 1:] & full[:, :-1]).sum())


def true_peak(samples: np.ndarray, rate: int) -> float:
    """Largest magnitude of [C, T] between the samples too, in dB of full scale (dBTP); -inf for silence."""
    padded = np.pad(samples, [(0, 0), (64, 64)])  # a resampler may not hear its input's very ends
    highest = max(peak(audio.resample(padded, rate, OVERSAMPLING * rate)), peak(samples))
    return 20 * math.log10(highest) if highest else -math.inf


def peak(samples: np.ndarray) -> float:
    """Largest magnitude."""
    return max(float(samples.max()), -float(samples.min()))


def common_loudness(levels: Mapping[str, Level], most: float) -> float:
    """The loudness in LUFS, at most ``most``, that every clip can have without passing PEAK. Warns where it is low."""
    lowest = min(levels, key=lambda name: levels[name].lufs - levels[name].dbtp)
    target = min(most, levels[lowest].lufs - levels[lowest].dbtp + PEAK - SPARE)
    if target < LOW:
        log.warning("%s has such high peaks that all clips are played at %.1f LUFS", lowest, target)
    return target
