"""The ablation lab: every network once, what is there stays, and the shipped codec's own tokens."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from magnet_eval import zoo
from magnet_eval.ablation import Training, Variant
from magnet_eval.config import Protocol, System
from magnet_eval.lookup import UserError
from magnet_eval.training import codec, lab, language, states


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A function that trains a protocol's variants in an empty folder, and what it asked to be trained."""
    asked = []

    def pretend(variant, train, valid, out, state, minutes, *, seed, max_steps):
        asked.append((variant, out.name, seed, max_steps))
        out.mkdir(parents=True, exist_ok=True)
        state.parent.mkdir(parents=True, exist_ok=True)
        state.touch()
        return {"held_out": {}}

    class Tokens:
        rng = None

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(language, "train_language", pretend)
    monkeypatch.setattr(lab, "corpora", lambda work: (Tokens(), Tokens()))
    plan = Training({"span 1": Variant(span_len=1), "span 3": Variant(), "same": Variant()}, steps=7, seeds=[0, 1])
    return lambda: lab.train_variants(Protocol(1, training=plan, model="magnet-tiny"), tmp_path / "work"), asked


def test_every_network_is_trained_once(trained):
    train, asked = trained
    found = train()
    assert len(found) == len(asked) == 4
    assert [(variant.span_len, seed, steps) for variant, _, seed, steps in asked] == [
        (1, 0, 7), (3, 0, 7), (1, 1, 7), (3, 1, 7),
    ]  # fmt: skip
    assert all(json.loads(path.read_text())["held_out"] == {} for path in found)
    found[1].unlink()
    train()  # one was lost: it alone is made again
    assert asked[4:] == [asked[1]]


def test_a_network_of_other_tokens_is_trained_again(trained, monkeypatch):
    train, asked = trained
    found = train()
    found[1].write_text(found[1].read_text()[:-9])  # torn
    train()
    assert asked[4:] == [asked[1]]
    monkeypatch.setattr(lab, "fingerprint", lambda folder: "another codec")
    assert train() == found
    assert sorted(asked[5:], key=str) == sorted(asked[:4], key=str)


def test_a_network_that_another_process_is_at_is_left_to_it(trained, tmp_path):
    train, asked = trained
    found = train()
    found[1].unlink()
    state = tmp_path / "work" / "lab" / "states" / f"{found[1].parent.name}-{lab.fingerprint(lab.models())}.pt"
    with states.held(state):
        assert train() == [found[0], *found[2:]]
    assert len(asked) == 4
    assert train() == found


def test_the_fingerprint_is_of_tokens_and_texts_and_not_of_the_decoder(tmp_path):
    shutil.copytree(lab.models() / "codec", tmp_path / "codec")
    shutil.copytree(lab.models() / "text", tmp_path / "text")
    own = lab.fingerprint(tmp_path)
    assert own == lab.fingerprint(lab.models())
    weights = load_file(tmp_path / "codec" / "model.safetensors")
    decoder = next(name for name in weights if name.startswith("decoder") and name.endswith("bias"))
    save_file({**weights, decoder: weights[decoder] + 1}, tmp_path / "codec" / "model.safetensors")
    assert lab.fingerprint(tmp_path) == own
    book = "quantizer.layers.2.codebook.embed"
    save_file({**weights, book: weights[book] + 1}, tmp_path / "codec" / "model.safetensors")
    assert lab.fingerprint(tmp_path) != own


def test_what_is_there_is_not_trained_again(trained):
    train, asked = trained
    assert train() == train()
    assert len(asked) == 4


def test_a_protocol_without_training_is_named(tmp_path):
    with pytest.raises(UserError, match="no training block"):
        lab.train_variants(Protocol(1, [System("magnet-tiny")], name="own"), tmp_path)


def test_the_shipped_latents_and_codebooks_give_the_tokens_that_the_codec_decodes():
    folder = zoo.root() / "models" / "tiny" / "codec"
    latents, books = lab.quantiser(folder)
    audio = (8000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.int16)
    codes = codec.tokenise(audio[None], latents, books)
    assert codes.shape == (1, 4, 25) and codes.dtype == torch.int16
    found = latents(torch.from_numpy(audio[None] / 32767).float())
    error = (codec.lookup(codes, books) - found).square().mean()
    assert error < 0.2 * found.square().mean()  # four codebooks leave little
    weights = load_file(folder / "model.safetensors")
    assert torch.equal(books[3], weights["quantizer.layers.3.codebook.embed"].float())
