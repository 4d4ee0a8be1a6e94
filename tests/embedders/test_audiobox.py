"""Audiobox Aesthetics equals its package on the same random weights (see tests/peer), in small sizes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from random_weights import random_state, sound, uniform
from safetensors.torch import save_file

from magnet_eval import embedders
from magnet_eval.embedders import audiobox, wavlm
from magnet_eval.lookup import UserError

GOLDEN = np.load(Path(__file__).parent.parent / "data" / "classifiers_golden.npz")
SIZES = {"CHANNELS": 32, "DIM": 48, "DEPTH": 2, "HEADS": 4, "INNER": 96, "NEAR_GROUPS": 4}


def network():
    with torch.device("meta"):
        return audiobox.Audiobox()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small network in the published layout."""
    for name, size in SIZES.items():
        monkeypatch.setattr(wavlm, name, size)
    monkeypatch.setattr(audiobox, "DIM", SIZES["DIM"])
    monkeypatch.setattr(audiobox, "DEPTH", SIZES["DEPTH"])
    scales = {axis: {"mean": 5.0 + n, "std": 1.0 + n} for n, axis in enumerate(audiobox.AXES)}
    (tmp_path / "config.json").write_text(json.dumps({"target_transform": scales}))
    save_file(random_state(network()), tmp_path / "model.safetensors")
    return tmp_path


def test_equals_the_package(folder):
    embedder = audiobox.AudioboxEmbedder(weights=folder)
    found = embedder.embed(sound(208_001 / 16_000, 16_000))  # one sample in the last frame is heard
    assert found.shape == (1, 4) and found.dtype == np.float32
    assert np.abs(found - GOLDEN["audiobox"]).max() < 1e-5
    assert embedder.files == [folder / "config.json", folder / "model.safetensors"]


def test_the_published_file_has_these_parameters():
    """324 tensors and 415,436,448 bytes of them, as the file on the hub."""
    sizes = [math.prod(value.shape) for value in network().state_dict().values()]
    assert len(sizes) == 324 and 4 * sum(sizes) == 415_436_448


def test_windows_count_by_their_audio(folder):
    embedder = audiobox.AudioboxEmbedder(weights=folder)
    audio = sound(13, 16_000)
    first, second = embedder.embed(audio[:160_000]), embedder.embed(audio[160_000:])
    assert np.allclose(embedder.embed(audio), (10 * first + 3 * second) / 13, atol=1e-5)
    assert np.isfinite(embedder.embed(np.zeros(1, np.float32))).all()
    with pytest.raises(UserError, match="audiobox needs at least"):
        embedder.embed(np.zeros(0, np.float32))


def test_padding_is_not_heard(folder):
    """What lies behind the audio changes nothing but the level that the first layer takes over the whole window."""
    model = audiobox.AudioboxEmbedder(weights=folder).model.wavlm_model
    hidden, other = torch.from_numpy(uniform("hidden", (2, 1, 100, wavlm.DIM)))
    absent = torch.arange(100)[None] >= 60
    changed = torch.where(absent[..., None], other, hidden)
    with torch.inference_mode():
        results = zip(model.encoder(hidden, absent), model.encoder(changed, absent), strict=True)
    assert all(torch.equal(one[:, :60], other[:, :60]) for one, other in results)


def test_faults_are_one_line(folder):
    def refused(pattern):
        with pytest.raises(UserError, match=pattern) as caught:
            audiobox.AudioboxEmbedder(weights=folder)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)

    (folder / "config.json").write_text(json.dumps({"target_transform": {"CE": {"mean": 1}}}))
    refused("no target_transform with mean and std of CE, CU, PC, PQ")
    (folder / "config.json").unlink()
    refused("has no config.json")
    (folder / "config.json").write_text(
        json.dumps({"target_transform": dict.fromkeys(audiobox.AXES, {"mean": 0, "std": 1})})
    )
    save_file({"layer_weights.CE": torch.zeros(13)}, folder / "model.safetensors")
    refused(r"does not hold the weights of Audiobox: layer_weights.CE is \(13,\), not \(3,\); .* and \d+ more")
    (folder / "model.safetensors").write_bytes(b"nothing")
    refused("damaged")


def test_without_weights_the_command_that_gets_them_is_shown(tmp_path, monkeypatch):
    from magnet_eval import zoo

    monkeypatch.setattr(zoo, "cached", lambda value: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="Get them: hf download facebook/audiobox-aesthetics"):
        embedders.build("audiobox")
