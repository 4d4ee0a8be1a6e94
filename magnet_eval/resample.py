"""The resamplers behind published scores, each equal to the package that it is named after to float32's precision.

Conventions: [..., T] float32 in and out; rates in Hz. Each output sample is the sum of the input samples around it,
weighted by a windowed sinc; the weights repeat from one cycle of ``new`` outputs (``old`` inputs) to the next.
Figures in tests/test_resample.py say how near each is to its package.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from magnet_eval import audio
from magnet_eval.lookup import UserError, check
from magnet_eval.numerics import RESAMPLERS

KAISER_64 = 14.769656459379492  # beta of librosa's former default, which fadtk asks torchaudio for
KAISER_BEST = 12.984585247040012  # beta of resampy's kaiser_best since 0.4


def _hann(t: np.ndarray) -> np.ndarray:
    return np.cos(t * math.pi / 2) ** 2


def _kaiser(beta: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda t: np.i0(beta * np.sqrt(1 - t**2)) / np.i0(beta)


@dataclass(frozen=True)
class Sinc:
    """A windowed sinc."""

    zeros: int  # zero crossings on each side
    rolloff: float  # cut-off, as a fraction of the lower rate's half
    window: Callable[[np.ndarray], np.ndarray]  # over -1..1
    times: type = np.float64  # what the package computes times in; at 44.1 kHz it moves samples by 1e-5
    unit_sum: bool = False  # each output's weights are scaled to the sum 1
    edge: str = "constant"  # what is beyond the ends: zeros, or ("edge") the outermost sample
    length: Callable[[np.float32], np.float32] = np.ceil  # of T' = T new / old


SINCS = {
    "julius": Sinc(
        24, 0.945, _hann, np.float32, unit_sum=True, edge="edge", length=np.floor
    ),  # julius 0.2.8, resample_frac
    "torchaudio": Sinc(6, 0.99, _hann),  # torchaudio 2.11, transforms.Resample
    "torchaudio-functional": Sinc(6, 0.99, _hann, np.float32),  # its functional.resample
    "kaiser-64": Sinc(64, 0.9475937167399596, _kaiser(KAISER_64)),  # transforms.Resample, as fadtk 1.1 calls it
}


@dataclass(frozen=True)
class Bank:
    """The weights of one cycle of ``old`` inputs to ``new`` outputs."""

    old: int
    new: int
    before: int  # inputs that the first output needs before its own
    groups: tuple[tuple[int, np.ndarray], ...]  # first input of a group of outputs, weights [inputs, outputs]


def resample(x: np.ndarray, rate_in: int, rate_out: int, method: str = "soxr-hq") -> np.ndarray:
    """[..., T] at another rate, float32 [..., T']; the same array if the rates are equal.

    ``method`` is one of numerics.RESAMPLERS. T' is T rate_out / rate_in, rounded down (julius, resampy-best) or up.
    Raises UserError where nothing would be left.
    """
    check("resampler", method, RESAMPLERS)
    if rate_in == rate_out:
        return x
    divisor = math.gcd(rate_in, rate_out)
    old, new = rate_in // divisor, rate_out // divisor
    length = _length(x.shape[-1], old, new, method)
    if length < 1:
        raise UserError(f"{x.shape[-1]} samples at {rate_in} Hz are none at {rate_out} Hz. Leave this clip out.")
    if method == "soxr-hq":  # soxr rounds the length; librosa, whose default this is, rounds it up with zeros
        return audio.fit_length(audio.resample(x.reshape(-1, x.shape[-1]), old, new), length).reshape(*x.shape[:-1], -1)
    edge = SINCS[method].edge if method in SINCS else "constant"
    rows = np.asarray(x, dtype=np.float32).reshape(-1, x.shape[-1])
    return _filtered(rows, _bank(old, new, method), edge, length).reshape(*x.shape[:-1], length)


def _length(n: int, old: int, new: int, method: str) -> int:
    if method == "soxr-hq":
        return math.ceil(n * (new / old))
    if method == "resampy-best":
        return n * new // old
    return int(SINCS[method].length(np.float32(new * n / old)))  # both packages round it in float32, which can add one


def _filtered(rows: np.ndarray, bank: Bank, edge: str, length: int) -> np.ndarray:
    """[n, T] -> [n, length]: one matrix product for each group of outputs."""
    cycles = math.ceil(length / bank.new)
    reach = max(first + len(weights) for first, weights in bank.groups)
    behind = max(0, (cycles - 1) * bank.old + reach - bank.before - rows.shape[1])
    padded = np.pad(rows, [(0, 0), (bank.before, behind)], mode=edge)  # type: ignore[call-overload]
    out = np.empty((len(rows), cycles, bank.new), dtype=np.float32)
    done = 0
    for first, weights in bank.groups:
        inputs = np.lib.stride_tricks.sliding_window_view(padded[:, first:], len(weights), axis=-1)[:, :: bank.old]
        out[..., done : done + weights.shape[1]] = np.ascontiguousarray(inputs[:, :cycles]) @ weights
        done += weights.shape[1]
    return out.reshape(len(rows), -1)[:, :length]


@lru_cache(maxsize=8)
def _bank(old: int, new: int, method: str) -> Bank:
    before, weights = _sinc_weights(old, new, SINCS[method]) if method in SINCS else _table_weights(old, new)
    taps = weights.shape[1]
    repeats = math.ceil(taps / old)  # a longer cycle of the same weights makes the products larger and fewer
    weights, old, new = np.tile(weights, (repeats, 1)), repeats * old, repeats * new
    size = max(64, taps * new // old)  # outputs in a group: its inputs are at most some two filters long
    groups = []
    for start in range(0, new, size):
        own = np.arange(start, min(start + size, new)) * old // new  # each output's own place among the inputs
        block = np.zeros((own[-1] - own[0] + taps, len(own)), dtype=np.float32)
        for column, place in enumerate(own - own[0]):
            block[place : place + taps, column] = weights[start + column]
        groups.append((int(own[0]), block))
    return Bank(old, new, before, tuple(groups))


def _sinc_weights(old: int, new: int, sinc: Sinc) -> tuple[int, np.ndarray]:
    """How far the filter reaches back, and the weights [new, taps] of each output of a cycle."""
    reach = math.ceil(sinc.zeros * old / (sinc.rolloff * min(old, new)))
    outputs = np.arange(new)
    inputs = (outputs * old // new)[:, None] + np.arange(-reach, reach + 2)
    t: np.ndarray = (inputs / old).astype(sinc.times) - (outputs[:, None] / new).astype(
        np.float32
    )  # as the packages round it
    t *= sinc.rolloff * min(old, new)
    weights = np.sinc(t) * sinc.window(np.clip(t / sinc.zeros, -1, 1)) * (abs(t) < sinc.zeros)
    gain = weights.sum(axis=1, keepdims=True) if sinc.unit_sum else max(1.0, old / new) / sinc.rolloff
    return reach, weights / gain


def _table_weights(old: int, new: int) -> tuple[int, np.ndarray]:
    """The same for resampy, which looks them up in a table of one wing, from each side, in steps of whole entries.

    The whole steps make its filters a hair too wide or narrow, so that the wings of an output do not quite meet.
    """
    entries, zeros, rolloff = 8192, 50, 0.9173473712608761
    t = np.arange(zeros * entries + 1) / entries
    scale = min(1.0, new / old)
    wing = scale * rolloff * np.sinc(rolloff * t) * _kaiser(KAISER_BEST)(np.clip(t / zeros, 0, 1))
    step = int(scale * entries)
    reach = len(wing) // step
    fraction = scale * (np.arange(new) * old % new / new)
    left, right = (_steps(wing, start * entries, step, reach) for start in (fraction, scale - fraction))
    return reach - 1, np.concatenate([left[:, ::-1], right], axis=1)


def _steps(wing: np.ndarray, starts: np.ndarray, step: int, count: int) -> np.ndarray:
    """Entries of ``wing`` from each of ``starts`` in steps, linearly between entries: [len(starts), count]."""
    whole = starts.astype(int)
    index = whole[:, None] + np.arange(count) * step
    known = np.arange(count) < ((len(wing) - whole) // step)[:, None]
    slope = np.diff(wing, append=wing[-1])
    index = np.where(known, index, 0)
    return np.where(known, wing[index] + (starts - whole)[:, None] * slope[index], 0.0)
