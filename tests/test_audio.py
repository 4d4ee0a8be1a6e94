"""Audio files survive the round trip, and bad ones are named, not scored."""

import numpy as np
import pytest
import soundfile

from magnet_eval import audio
from magnet_eval.lookup import UserError

RATE = 16_000


def sine(seconds: float = 1.0, frequency: float = 997.0, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_round_trip(tmp_path, channels):
    samples = np.stack([sine() * (channel + 1) / channels for channel in range(channels)])
    audio.write(tmp_path / "new folder" / "a.wav", samples, RATE)
    back, rate = audio.read(tmp_path / "new folder" / "a.wav")
    assert rate == RATE and back.dtype == np.float32 and back.shape == samples.shape
    assert np.abs(back - samples).max() <= 1 / 32768  # 16-bit quantisation, and nothing else
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["a.wav"]


def test_write_takes_mono_and_clips(tmp_path):
    audio.write(tmp_path / "a.wav", np.array([2.0, -2.0, 0.0]), RATE)
    back, _ = audio.read(tmp_path / "a.wav")
    assert back.shape == (1, 3) and back[0, 0] > 0.999 and back[0, 1] == -1.0


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg"])
def test_reads_other_formats(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", sine(), RATE)
    back, rate = audio.read(tmp_path / f"a.{suffix}")
    assert rate == RATE
    spectrum = np.abs(np.fft.rfft(back[0]))
    assert abs(np.argmax(spectrum) * RATE / back.shape[1] - 997) < 2


@pytest.mark.parametrize("bad", [np.zeros(0), np.array([0.0, np.nan]), np.array([np.inf])])
def test_refuses_to_write_broken_audio_and_keeps_the_old_file(tmp_path, bad):
    audio.write(tmp_path / "a.wav", sine(), RATE)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(UserError, match="a.wav"):
        audio.write(tmp_path / "a.wav", bad, RATE)
    assert (tmp_path / "a.wav").read_bytes() == before


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "zero_length.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    for name in ("text.wav", "empty.wav", "zero_length.wav", "nan.wav", "missing.wav"):
        with pytest.raises(UserError, match=name):
            audio.read(tmp_path / name)


def test_resample_keeps_pitch_and_channels():
    stereo = np.stack([sine(rate=48_000), sine(rate=48_000, frequency=2000)])
    low = audio.resample(stereo, 48_000, RATE)
    assert low.shape == (2, RATE) and low.dtype == np.float32
    middle = slice(1000, -1000)  # the filter rings at the two ends
    assert np.abs(low[0] - sine())[middle].max() < 1e-3
    assert audio.resample(stereo, RATE, RATE) is stereo


def test_mono_and_fit_length():
    stereo = np.stack([np.ones(4), np.zeros(4)])
    assert audio.mono(stereo).tolist() == [0.5] * 4
    assert audio.mono(stereo[0]) is not None and audio.mono(stereo[0]).shape == (4,)
    assert audio.fit_length(stereo, 2).shape == (2, 2)
    assert audio.fit_length(stereo, 6)[0].tolist() == [1, 1, 1, 1, 0, 0]
    assert audio.fit_length(stereo[0], 5).tolist() == [1, 1, 1, 1, 0]


def test_load_mono(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([sine(rate=32_000), sine(rate=32_000)], axis=1), 32_000)
    samples = audio.load_mono(tmp_path / "a.wav", RATE)
    assert samples.shape == (RATE,)


def test_loudness_reference_tone():
    """A full-scale 997 Hz sine in one channel reads -3.01 LUFS (ITU-R BS.1770-4, annex 1)."""
    tone = 2 * sine(seconds=5, rate=48_000)
    assert audio.loudness(tone, 48_000) == pytest.approx(-3.01, abs=0.05)
    assert audio.loudness(tone / 10, 48_000) == pytest.approx(-23.01, abs=0.05)
    assert audio.loudness(np.zeros(48_000), 48_000) == -np.inf
