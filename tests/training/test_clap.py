"""CLAP-tiny learns: after seconds of training on tones, texts find their clips; what is saved is what was trained."""

import numpy as np
import pytest

from magnet_eval.embedders.clap_tiny import ClapTinyEmbedder
from magnet_eval.training import clap
from magnet_eval.training.text import fit_tokenizer

RATE, SAMPLES = 16_000, 16_000
PITCHES = {"low": 200.0, "middle": 800.0, "high": 3000.0}
SPEEDS = {"steady": 0.0, "pulsing": 8.0}


def captioned_tones(n: int, seed: int) -> tuple[np.ndarray, list[list[str]]]:
    rng = np.random.default_rng(seed)
    time, audio, captions = np.arange(SAMPLES) / RATE, [], []
    for index in range(n):
        pitch, speed = list(PITCHES)[index % 3], list(SPEEDS)[index // 3 % 2]
        gate = 0.5 * (1 + np.sign(np.sin(2 * np.pi * SPEEDS[speed] * time + 0.1)))
        tone = 0.3 * gate * np.sin(2 * np.pi * PITCHES[pitch] * rng.uniform(0.9, 1.1) * time)
        audio.append(tone + 0.001 * rng.standard_normal(SAMPLES))
        captions.append([f"a {speed} {pitch} tone", f"{pitch} tone, {speed}"])
    return np.stack(audio).astype(np.float32), captions


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clap")
    audio, captions = captioned_tones(48, seed=0)
    tokenizer = fit_tokenizer([text for texts in captions for text in texts])
    tokenizer.save_pretrained(folder / "text")
    held_out = captioned_tones(12, seed=1)
    parts = (audio, captions, tokenizer, folder / "clap")
    half = clap.train(*parts, 10, held_out=held_out, state=folder / "clap.pt", max_steps=20)
    assert half["steps"] == 20
    figures = clap.train(*parts, 10, held_out=held_out, state=folder / "clap.pt", max_steps=40)
    return folder, figures


def test_text_finds_its_clip(trained):
    folder, figures = trained
    assert figures["steps"] == 40
    assert figures["p_right_above_shuffled"] < 0.05
    embedder = ClapTinyEmbedder(folder=folder / "clap", text_folder=folder / "text")
    audio, captions = captioned_tones(6, seed=2)  # one clip of each kind
    cosine = np.concatenate([embedder.embed(clip) for clip in audio]) @ embedder.embed_text([c[1] for c in captions]).T
    assert (cosine.argmax(axis=1) == np.arange(6)).mean() >= 4 / 6  # chance: 1 / 6


def test_saved_model_reproduces_the_card(trained):
    folder, figures = trained
    embedder = ClapTinyEmbedder(folder=folder / "clap", text_folder=folder / "text")
    again = clap.evaluate(
        embedder.model, embedder.tokenizer, *captioned_tones(12, seed=1), rng=np.random.default_rng(0)
    )
    assert again["cosine_right"] == pytest.approx(figures["cosine_right"], abs=1e-5)
    assert f"{figures['cosine_right']:.3f}" in (folder / "clap" / "README.md").read_text()


def test_embeddings_are_unit_vectors_whatever_the_length(trained):
    folder, _ = trained
    embedder = ClapTinyEmbedder(folder=folder / "clap", text_folder=folder / "text")
    rng = np.random.default_rng(0)
    for seconds, windows in ((0.01, 1), (1, 1), (5, 1), (12, 3)):
        frames = embedder.embed(rng.uniform(-0.1, 0.1, int(seconds * RATE)).astype(np.float32))
        assert frames.shape == (windows, 128) and frames.dtype == np.float32
        assert np.linalg.norm(frames, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(embedder.embed(np.zeros(RATE, dtype=np.float32))).all()  # silence too
    assert embedder.embed_text(["word " * 500]).shape == (1, 128)  # cut, not refused
