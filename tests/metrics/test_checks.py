"""Each planted fault is found, named and counted; sound clips pass."""

import numpy as np
import pytest

from magnet_eval.metrics.checks import audio_faults, clipped_share, duplicates, level_db

RATE = 8000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def kinds(audio: np.ndarray, seconds: float | None = 2.0) -> list[str]:
    return [fault.kind for fault in audio_faults("a", audio, RATE, seconds)]


def test_level_in_closed_form():
    assert level_db(TONE) == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=1e-3)
    assert level_db(np.ones((2, 100))) == 0
    assert level_db(np.zeros(100)) == -np.inf


def test_sound_clips_pass():
    assert kinds(TONE) == kinds(np.stack([TONE, TONE])) == []
    assert kinds(TONE[:-100]) == []  # 12 ms short: within the tolerance
    assert kinds(TONE / np.abs(TONE).max()) == []  # a peak at full scale is no clipping
    assert kinds(TONE[:RATE], seconds=None) == []


@pytest.mark.parametrize(
    ("audio", "kind"),
    [
        (0 * TONE, "silent"),
        (1e-4 * TONE, "silent"),
        (np.clip(4 * TONE, -1, 1), "clipped"),
        (np.clip(4 * TONE, -32768 / 32768, 32767 / 32768), "clipped"),
        (TONE[: RATE // 5], "short"),
        (np.tile(TONE, 2), "long"),
        (np.where(np.arange(len(TONE)) == 7, np.nan, TONE), "not_finite"),
        (np.where(np.arange(len(TONE)) == 7, np.inf, TONE), "not_finite"),
    ],
)
def test_planted_faults_are_named(audio, kind):
    assert kinds(audio) == [kind]


def test_several_faults_of_one_clip():
    assert kinds(np.zeros(RATE)) == ["silent", "short"]
    with pytest.raises(ValueError, match="clip a holds no samples"):
        audio_faults("a", np.zeros((1, 0)), RATE)


def test_clipped_share():
    assert clipped_share(np.array([0, 0.5, -1, 1, 32767 / 32768])) == pytest.approx(3 / 5)


def test_duplicates_by_content():
    found = duplicates({"a": "1", "b": "2", "c": "1", "d": "3", "e": "1"})
    assert [fault.clips for fault in found] == [("a", "c", "e")]
    assert duplicates({"a": "1", "b": "2"}) == []
