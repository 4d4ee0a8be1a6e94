"""Each resampler equals its package, keeps what it should of a signal, and refuses what would leave nothing.

The golden arrays are the packages' own (tests/peer/write_fronts.py). Largest difference found, of noise at up to 0.8:
soxr-hq 0, torchaudio 3e-7, torchaudio-functional 2e-7, julius 3e-7, resampy-best 4e-7, kaiser-64 4e-7.
"""

from pathlib import Path

import numpy as np
import pytest

from magnet_eval import numerics
from magnet_eval.lookup import UserError
from magnet_eval.resample import resample

GOLDEN = np.load(Path(__file__).parent / "data" / "front_resamplers.npz")
CASES = [key for key in GOLDEN.files if not key.startswith("x/")]


def sine(frequency: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_equals_its_package(case):
    method, old, new = case.split("/")
    mine = resample(GOLDEN[f"x/{old}"], int(old), int(new), method)
    assert mine.dtype == np.float32 and mine.shape == GOLDEN[case].shape
    assert np.abs(mine - GOLDEN[case]).max() < 1e-6


def test_golden_arrays_hold_every_method():
    assert {case.split("/")[0] for case in CASES} == set(numerics.RESAMPLERS)


@pytest.mark.parametrize("method", numerics.RESAMPLERS)
@pytest.mark.parametrize(("old", "new"), [(44_100, 16_000), (16_000, 48_000), (11_025, 32_000)])
def test_a_low_tone_keeps_its_place_and_level(method, old, new):
    y = resample(sine(440, old), old, new, method)
    expected = sine(440, new)[: len(y)]
    middle = slice(new // 20, len(y) - new // 20)
    assert np.abs(y[middle] - expected[middle]).max() < 1.5e-3  # torchaudio's short filter ripples most


@pytest.mark.parametrize("method", numerics.RESAMPLERS)
def test_what_the_new_rate_cannot_hold_is_gone(method):
    y = resample(sine(15_000, 48_000), 48_000, 16_000, method)
    assert np.abs(y[500:-500]).max() < 1e-2


def test_resamplers_differ_where_published_scores_do():
    tone = sine(7_300, 48_000)  # between the cut-offs of the filters
    level = {method: 2**0.5 * resample(tone, 48_000, 16_000, method)[500:-500].std() for method in numerics.RESAMPLERS}
    assert level["soxr-hq"] > 0.99 and 0.95 < level["kaiser-64"] < 0.99 and 0.8 < level["julius"] < 0.9
    assert 0.7 < level["torchaudio"] < 0.75 and level["resampy-best"] < 0.6


@pytest.mark.parametrize("method", numerics.RESAMPLERS)
def test_channels_are_resampled_alike(method):
    x = np.stack([sine(440, 44_100), sine(1_000, 44_100)]).reshape(2, 1, -1)
    y = resample(x, 44_100, 16_000, method)
    assert y.shape[:2] == (2, 1)
    np.testing.assert_allclose(y[1, 0], resample(x[1, 0], 44_100, 16_000, method), atol=1e-6)


@pytest.mark.parametrize("method", numerics.RESAMPLERS)
def test_rates_without_a_common_divisor(method):
    """Each output of a cycle of 4,001 has weights of its own, in groups: at the usual rates there is but one group."""
    y = resample(sine(440, 11_027), 11_027, 4_001, method)
    assert np.abs(y[300:-300] - sine(440, 4_001, seconds=1)[300 : len(y) - 300]).max() < 1.5e-3


def test_equal_rates_change_nothing():
    x = sine(440, 16_000)
    assert all(resample(x, 16_000, 16_000, method) is x for method in numerics.RESAMPLERS)


@pytest.mark.parametrize(("method", "length"), [("julius", 33), ("resampy-best", 33), ("torchaudio", 34)])
def test_length_is_rounded_as_published(method, length):
    assert len(resample(np.zeros(100, np.float32), 48_000, 16_000, method)) == length


def test_a_constant_stays_constant_to_the_end_only_in_julius():
    y = {method: resample(np.ones(999, np.float32), 48_000, 16_000, method) for method in ("julius", "torchaudio")}
    assert np.abs(y["julius"] - 1).max() < 1e-6 and y["torchaudio"][0] < 0.9


@pytest.mark.parametrize("method", ["julius", "resampy-best"])
def test_too_short_is_refused(method):
    with pytest.raises(UserError, match="1 samples at 48000 Hz are none at 16000 Hz"):
        resample(np.ones(1, np.float32), 48_000, 16_000, method)


def test_unknown_method_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean torchaudio"):
        resample(np.ones(10, np.float32), 48_000, 16_000, "torchaudi")
