"""A clip's way from a file's samples to a network's, step by step as a ``numerics.Front`` says.

Where the published tool gives NaN or full-scale noise (a silent clip brought to a peak, a clip too short for its
loudness), a silent clip stays silent here and the other is refused.
"""

import math

import numpy as np

from magnet_eval import audio
from magnet_eval.lookup import UserError, check
from magnet_eval.numerics import CHANNELS, INT16, Front
from magnet_eval.resample import resample

VERSION = 1  # of this file and resample.py: raise it when a change moves a sample, as embeddings are kept under it
QUIET = 2e-3  # RMS below which audiocraft leaves a clip's loudness as it is
BLOCK = 0.4  # s, gating block of BS.1770
CHANNEL_GAINS = np.array([1.0, 1.0, 1.0, 1.41, 1.41])  # left, right, centre, surrounds


def prepare(samples: np.ndarray, rate: int, front: Front, *, generated: bool) -> np.ndarray:
    """Samples [C, T] at ``rate`` as a network hears them: float32 [T'] at ``front.rate``, or [2, T'] if it is stereo.

    generated: a system's clip, not a reference; loudness is changed in these alone.
    Raises UserError on samples that are none, not finite, or too short or too many-channelled for their loudness.
    """
    x = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        raise UserError(f"got audio of shape {np.shape(samples)}, allowed is finite [C, T]. Leave this clip out.")
    if front.via is not None:
        x, rate = resample(x, rate, front.via, front.resampler), front.via
    if front.loudness is not None and generated:
        x = _to_loudness(x, rate, front.loudness)
    x = _to_channels(x, front.channels)
    if front.remove_dc:
        x = x - x.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    if front.peak_before is not None:
        x = _to_peak(x, front.peak_before)
    x = resample(x, rate, front.rate, front.resampler)
    if front.peak_after is not None:
        x = _to_peak(x, front.peak_after)
    for rule in front.int16:
        x = round_int16(x, rule)
    if front.at_most is not None:
        x = x[:, : round(front.at_most * front.rate)]
    x = audio.fit_length(x, max(x.shape[1], round(front.at_least * front.rate)))
    return x if front.channels == "stereo" else x[0]


def round_int16(x: np.ndarray, rule: str) -> np.ndarray:
    """Float32 samples after a step through 16 bits, by one of numerics.INT16; louder ones are clipped to +-1."""
    check("int16 rule", rule, INT16)
    if rule == "nearest":
        return np.clip(np.rint(x * np.float32(32768)), -32768, 32767) / np.float32(32768)
    return np.trunc(np.clip(x, -1, 1) * np.float32(32767)) / np.float32(32767)


def loudness(x: np.ndarray, rate: int) -> float:
    """Integrated loudness of [C, T] in LUFS (ITU-R BS.1770-4) as torchaudio measures it; -inf if no block is heard.

    Unlike a meter by the book (audio.loudness), it clamps to +-1 behind each of its two filters, so that loud clips
    measure too low, and computes the filters' coefficients in float32. Raises UserError on less than 0.4 s or more
    than 5 channels.
    """
    if len(x) > len(CHANNEL_GAINS) or x.shape[1] < round(BLOCK * rate):
        raise UserError(
            f"no loudness of {len(x)} channels of {x.shape[1] / rate:.2f} s: "
            f"allowed are up to {len(CHANNEL_GAINS)} channels, and {BLOCK} s or more. Leave this clip out."
        )
    from scipy.signal import lfilter

    filtered = x.astype(np.float64)
    for numerator, denominator in (_treble(rate), _highpass(rate)):
        filtered = np.clip(lfilter(numerator, denominator, filtered), -1, 1)
    size = round(BLOCK * rate)
    blocks = np.lib.stride_tricks.sliding_window_view(filtered**2, size, axis=1)[:, :: round(size / 4)].mean(axis=2)
    gains = CHANNEL_GAINS[: len(x), None]
    with np.errstate(divide="ignore"):
        heard = _lufs((gains * blocks).sum(axis=0))
        absolute = heard > -70
        if not absolute.any():
            return -math.inf
        relative = _lufs((gains[:, 0] * blocks[:, absolute].mean(axis=1)).sum()) - 10
        return float(_lufs((gains[:, 0] * blocks[:, absolute & (heard > relative)].mean(axis=1)).sum()))


def _lufs(power: np.ndarray) -> np.ndarray:
    return -0.691 + 10 * np.log10(power)


def _treble(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The head's effect: a shelf of 4 dB above 1,500 Hz."""
    w = 2 * math.pi * 1500 / rate
    gain, alpha = 10 ** (4 / 40), math.sin(w) / math.sqrt(2)
    slope, low, high = 2 * math.sqrt(gain) * alpha, (gain - 1) * math.cos(w), (gain + 1) * math.cos(w)
    numerator = [gain * (gain + 1 + low + slope), -2 * gain * (gain - 1 + high), gain * (gain + 1 + low - slope)]
    return _float32(numerator), _float32([gain + 1 - low + slope, 2 * (gain - 1 - high), gain + 1 - low - slope])


def _highpass(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The ear's insensitivity to what is below 38 Hz."""
    w = 2 * math.pi * 38 / rate
    cosine, alpha = math.cos(w), math.sin(w)
    return _float32([(1 + cosine) / 2, -1 - cosine, (1 + cosine) / 2]), _float32([1 + alpha, -2 * cosine, 1 - alpha])


def _float32(coefficients: list[float]) -> np.ndarray:
    return np.array(coefficients, dtype=np.float32).astype(np.float64)


def _to_loudness(x: np.ndarray, rate: int, target: float) -> np.ndarray:
    if np.sqrt(np.mean(x**2, dtype=np.float64)) < QUIET:
        return x
    measured = loudness(x, rate)
    if not math.isfinite(measured):
        raise UserError("no part of this clip is loud enough for a loudness, though it is not silent. Leave it out.")
    return np.clip(x * np.float32(10 ** ((target - measured) / 20)), -1, 1)


def _to_channels(x: np.ndarray, channels: str) -> np.ndarray:
    check("channels", channels, CHANNELS)
    if channels == "mean":
        return x.mean(axis=0, keepdims=True)
    if channels == "first":
        return x[:1]
    return x[:2] if len(x) > 1 else np.repeat(x, 2, axis=0)


def _to_peak(x: np.ndarray, level: float) -> np.ndarray:
    """With the largest sample of all channels at ``level`` dBFS; silence stays silence."""
    peak = abs(x).max()
    return x * (np.float32(10 ** (level / 20)) / peak) if peak > 0 else x
