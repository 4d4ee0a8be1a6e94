"""Each planted fault is found, named and counted; sound clips pass."""

import numpy as np
import pytest

from magnet_eval.lookup import UserError
from magnet_eval.metrics import checks
from magnet_eval.metrics.checks import audio_faults, clipped_share, duplicates, level_db, near_duplicates, refuse

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


@pytest.mark.parametrize("block", [2**23, 30])
def test_near_duplicates_by_embedding(block, monkeypatch):
    """A chain of near rows is one group, whatever the offset and the scale of the embedding."""
    monkeypatch.setattr(checks, "BLOCK_VALUES", block)
    rows = np.random.default_rng(0).normal(size=(12, 16))
    rows[7] = rows[2] + 0.0006
    rows[9] = rows[7] + 0.0006
    rows[11] = rows[0]
    ids = [f"c{i}" for i in range(12)]
    for embeddings in (rows, 1e-3 * rows, 50 + rows):
        found = near_duplicates(ids, embeddings)
        assert sorted(fault.clips for fault in found) == [("c0", "c11"), ("c2", "c7", "c9")]
    assert near_duplicates(ids[:7], rows[:7]) == [] == near_duplicates(["c0"], rows[:1])
    assert len(near_duplicates(ids, np.ones((12, 3)))[0].clips) == 12


def test_near_duplicates_refuse_bad_arrays():
    with pytest.raises(ValueError, match="NaN"):
        near_duplicates(["a", "b"], np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"2 clips need embeddings \[2, d\]"):
        near_duplicates(["a", "b"], np.ones((3, 3)))


def test_refuse_says_how_many_of_which_kind_in_one_line():
    refuse([], 10)
    faults = [fault for i in range(4) for fault in audio_faults(f"clip{i}", np.zeros(RATE), RATE, 2.0)]
    faults += duplicates({"clip0": "x", "other": "x"})
    with pytest.raises(UserError) as error:
        refuse(faults, 10)
    text = str(error.value)
    assert "5 of 10 clips are not fit to score (4 silent, 4 short, 2 duplicate)" in text and "\n" not in text
    assert "clip0, clip1, clip2 and 2 more" in text
