"""The port equals the original: golden arrays come from the musicnn 0.1.0 network under TensorFlow 2.21 (legacy Keras
layers, unmodified model code) and from librosa 0.11."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from magnet_eval import embedders
from magnet_eval.embedders import mel, musicnn
from magnet_eval.lookup import UserError

GOLDEN = np.load(Path(__file__).parent.parent / "data" / "musicnn_golden.npz")


@pytest.fixture(scope="module")
def embedder():
    return embedders.build("musicnn")


def test_network_equals_tensorflow(embedder):
    with torch.inference_mode():
        frames = torch.from_numpy(GOLDEN["patches"].astype(np.float32))
        index = torch.arange(frames.shape[0] * frames.shape[1]).view(frames.shape[:2])
        penultimate, tags = embedder.model(frames.flatten(0, 1), index)
    assert np.abs(penultimate.numpy() - GOLDEN["penultimate"]).max() < 1e-4  # values reach about 4
    assert np.abs(tags.numpy() - GOLDEN["tags"]).max() < 1e-5


def test_front_end_equals_librosa():
    audio = torch.from_numpy(GOLDEN["audio"].astype(np.float32) / 32768)
    ours = mel.log_mel(audio, musicnn.N_MELS, musicnn.N_FFT, musicnn.HOP, musicnn.SAMPLE_RATE).T.numpy()
    assert ours.shape == GOLDEN["log_mel"].shape
    assert np.abs(ours - GOLDEN["log_mel"]).max() < 1e-4


def test_tags_name_what_is_heard(embedder):
    """A soft chord and a wall of noise get the tags that a listener would give, in the order of the package's list."""
    time = np.arange(5 * 16_000) / 16_000
    chord = 0.05 * sum(np.sin(2 * np.pi * f * time) for f in (220, 277.18, 329.63))
    noise = np.random.default_rng(0).normal(0, 0.1, len(time))
    soft, harsh = (dict(zip(musicnn.TAGS, embedder.embed(x)[:, 200:].mean(0), strict=True)) for x in (chord, noise))
    assert soft["slow"] > harsh["slow"] and harsh["loud"] > soft["loud"] and harsh["fast"] > soft["fast"]


@pytest.mark.parametrize(("seconds", "frames"), [(0.001, 1), (1, 1), (4.92, 3), (5, 3), (10, 8)])
def test_patches_cover_the_clip(embedder, seconds, frames):
    audio = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)
    out = embedder.embed(audio)
    assert out.shape == (frames, 250) and out.dtype == np.float32 and np.isfinite(out).all()
    assert ((out[:, 200:] > 0) & (out[:, 200:] < 1)).all()


def test_windows_reach_both_ends():
    assert mel.window_starts(313, 187, 63) == [0, 63, 126]
    assert mel.window_starts(308, 187, 63) == [0, 60, 121]
    assert mel.window_starts(100, 187, 63) == [0]


def test_silence_is_embedded(embedder):
    assert np.isfinite(embedder.embed(np.zeros(16_000, dtype=np.float32))).all()


def test_fingerprint_follows_the_weights(embedder, tmp_path):
    copy = tmp_path / "model.safetensors"
    raw = bytearray(embedder.files[0].read_bytes())
    copy.write_bytes(raw)
    assert musicnn.MusicnnEmbedder(path=copy).fingerprint() == embedder.fingerprint()
    raw[-1] ^= 1
    copy.write_bytes(raw)
    assert musicnn.MusicnnEmbedder(path=copy).fingerprint() != embedder.fingerprint()


def test_missing_and_corrupt_weights_are_one_line(tmp_path, monkeypatch):
    corrupt = tmp_path / "model.safetensors"
    corrupt.write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="model.safetensors"):
        musicnn.MusicnnEmbedder(path=corrupt)
    save_file({"dense.weight": torch.zeros(2, 2)}, corrupt)
    with pytest.raises(UserError, match="does not hold the weights of Musicnn") as caught:
        musicnn.MusicnnEmbedder(path=corrupt)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="absent.safetensors"):
        embedders.weights("tiny/musicnn", "absent.safetensors")
    with pytest.raises(UserError, match="Did you mean musicnn"):
        embedders.build("musicn")
