"""Equality with audiocraft 1.3.0 on its own vectors: logits to 1e-4, tokens exactly."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from magnet_eval.decoding import AutoregressiveDecoding, MaskedDecoding
from magnet_eval.generators import autoregressive, masked
from magnet_eval.generators.sampling import chooser
from magnet_eval.generators.transformer import Cache, causal_mask, local_mask

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 1e-4


def names(family: str) -> list[str]:
    with safe_open(DATA / f"parity_{family}.safetensors", "pt") as file:
        return sorted(json.loads(file.metadata()["cases"])["runs"])


def test_text_projection_is_equal(magnet_vectors):
    lm = magnet_vectors.model("magnet")
    forward = {key: magnet_vectors.tensors[f"forward/{key}"] for key in ("t5_hidden", "text_mask", "condition")}
    assert torch.equal(lm.project(forward["t5_hidden"], forward["text_mask"]), forward["condition"])


@pytest.mark.parametrize("stage", [-1, 0, 1, 2, 3])
def test_magnet_logits(magnet_vectors, stage):
    lm = magnet_vectors.model("magnet")
    sequence, condition = magnet_vectors.tokens("forward/sequence"), magnet_vectors.tensors["forward/condition"]
    expected = magnet_vectors.tensors[f"forward/logits/{stage}"]
    mask = local_mask(sequence.shape[2], lm.config.subcodes_context) if stage > 0 else None
    got = lm(sequence, condition, attention_mask=mask)
    assert (got - expected).abs().max() < TOLERANCE
    one = lm(sequence, condition, attention_mask=mask, codebook=2)
    assert one.shape == (4, 1, 48, 64)
    assert (one[:, 0] - expected[:, 2]).abs().max() < TOLERANCE
    # the last two rows are unconditional: leaving their zeros out is the same
    assert (lm(sequence, condition[:2], attention_mask=mask) - expected).abs().max() < TOLERANCE


def test_musicgen_logits_at_once_and_step_by_step(musicgen_vectors):
    lm = musicgen_vectors.model("musicgen")
    codes, expected = musicgen_vectors.tokens("forward/codes"), musicgen_vectors.tensors["forward/sequence_logits"]
    sequence = autoregressive.delay(codes, lm.config.mask_token)
    assert torch.equal(sequence, musicgen_vectors.tokens("forward/sequence"))
    condition = musicgen_vectors.tensors["forward/condition"]
    at_once = lm(sequence, condition, attention_mask=causal_mask(sequence.shape[2]))
    assert (at_once - expected).abs().max() < TOLERANCE
    assert torch.equal(lm(sequence, condition), at_once), "config.causal is the default mask"
    cache = Cache(lm, condition, batch=4, steps=24)
    first = lm(sequence[..., :7], condition, attention_mask=causal_mask(7), cache=cache)
    rest = [lm(sequence[..., t : t + 1], condition, cache=cache) for t in range(7, 24)]
    assert (torch.cat([first, *rest], 2) - expected).abs().max() < TOLERANCE


def test_musicgen_undelayed_predictions(musicgen_vectors):
    """Step s predicts what stands at s + 1: audiocraft's compute_predictions, which marks its valid entries."""
    vectors = musicgen_vectors
    logits, valid = vectors.tensors["forward/sequence_logits"], vectors.tensors["forward/mask"]
    predicted = torch.stack([logits[:, k, k : k + 20] for k in range(4)], 1)
    assert valid.any()
    assert (predicted - vectors.tensors["forward/logits"])[valid].abs().max() < TOLERANCE


@pytest.mark.parametrize("name", names("magnet"))
def test_magnet_tokens(magnet_vectors, name):
    run = magnet_vectors.runs[name]
    lm = magnet_vectors.model(run["model"])
    settings = MaskedDecoding(**run["settings"], sampling="reference")
    condition = magnet_vectors.tensors[f"{name}/conditions"]
    choose = chooser("reference", [run["seed"]])
    prompt = magnet_vectors.tokens(f"{name}/prompt")
    made = masked.decode(lm, condition, settings, run["frames"], choose, prompt=prompt)
    assert torch.equal(made.codes, magnet_vectors.tokens(f"{name}/tokens"))
    assert made.iterations == sum(settings.steps)
    assert made.network_evaluations == 2 * made.iterations


@pytest.mark.parametrize("name", names("musicgen"))
def test_musicgen_tokens(musicgen_vectors, name):
    run = musicgen_vectors.runs[name]
    lm = musicgen_vectors.model(run["model"])
    settings = AutoregressiveDecoding(**run["settings"], sampling="reference")
    condition = musicgen_vectors.tensors[f"{name}/conditions"]
    choose = chooser("reference", [run["seed"]])
    prompt = musicgen_vectors.tokens(f"{name}/prompt")
    made = autoregressive.decode(lm, condition, settings, run["frames"], choose, prompt=prompt)
    assert torch.equal(made.codes, musicgen_vectors.tokens(f"{name}/tokens"))
    given = 0 if prompt is None else prompt.shape[2]
    assert made.iterations == run["frames"] + 3 - given
    assert made.network_evaluations == 2 * made.iterations


def test_every_run_of_the_reference_is_held():
    assert (len(names("magnet")), len(names("musicgen"))) == (13, 6)
