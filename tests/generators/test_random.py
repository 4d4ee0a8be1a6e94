"""Random weights: the published sizes, without a file and without the network, and the zoo's own models at theirs."""

import dataclasses
import socket

import numpy as np
import pytest
import torch

from magnet_eval import config, generators, zoo
from magnet_eval.config import load_model
from magnet_eval.generators import random
from magnet_eval.generators.transformer import LanguageModel
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt

CPU = torch.device("cpu")
PROMPT = Prompt("a", "A cheerful folk song, with ukulele.", 1.0)
PUBLISHED = [name for name in config.list_models() if load_model(name).checkpoint in random.CHECKPOINTS
             and load_model(name).family in ("masked", "autoregressive", "hybrid")]  # fmt: skip
TINY = ["magnet-tiny", "rescored-magnet-tiny", "hybrid-magnet-tiny", "two-model-hybrid-tiny", "musicgen-tiny"]


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    """No file of the hub's cache, and no way to the network."""
    monkeypatch.setattr(zoo, "cached", lambda value: None)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asks the network"))


def size(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_every_published_model_is_known():
    tokens = {"masked", "autoregressive", "hybrid"}
    names = [name for name in config.list_models() if load_model(name).family in tokens and not load_model(name).tiny]
    assert names == PUBLISHED and len(names) >= 15


@pytest.mark.parametrize("name", PUBLISHED)
def test_language_models_have_the_size_that_the_zoo_names(name, nothing_here):
    model = load_model(name)
    second = model.prompter or (model.rescorer and model.rescorer.checkpoint)
    families = {model.checkpoint: "masked" if model.prompter else model.family} | (
        {second: "autoregressive"} if second else {}
    )
    with torch.device("meta"):
        made = [LanguageModel(random.lm_config(part, family)) for part, family in families.items()]
    assert sum(map(size, made)) == model.parameters
    assert made[0].config.segment_seconds == model.seconds
    assert made[0].config.causal == (model.family == "autoregressive")


@pytest.mark.parametrize(
    ("name", "text", "codec", "rate"),
    [
        ("magnet-small-10secs", 109_628_544, 56_884_674, 32000),
        ("audiogen-medium", 334_939_648, 56_819_138, 16000),
    ],
)
def test_text_encoders_and_codecs_are_the_published_ones(name, text, codec, rate, nothing_here):
    from transformers import EncodecModel, T5EncoderModel

    model = load_model(name)
    with torch.device("meta"):
        assert size(T5EncoderModel(random.text_config(model))) == text
        encodec = EncodecModel(random.codec_config(model))
    assert size(encodec) == codec
    assert (len(encodec.quantizer.layers), encodec.config.sampling_rate, encodec.config.frame_rate) == (4, rate, 50)


@pytest.mark.parametrize("name", TINY)
def test_the_tiny_zoo_at_its_own_shapes(name):
    model = load_model(name)
    generator = generators.build(model, "cpu", weights="random")
    trained = generators.build(model, "cpu")
    assert generator.lm.config == trained.lm.config
    weight = "transformer.layers.1.linear1.weight"
    assert not torch.equal(generator.lm.state_dict()[weight], trained.lm.state_dict()[weight])
    made, expected = (each.generate([PROMPT], [7]) for each in (generator, trained))
    assert made.audio[0].shape == expected.audio[0].shape and np.isfinite(made.audio[0]).all()
    assert made.audio[0].std() > 1e-3
    assert (made.iterations, made.network_evaluations) == (expected.iterations, expected.network_evaluations)


@pytest.fixture
def reduced(monkeypatch):
    """The published models at a hundredth of their size."""
    monkeypatch.setattr(random, "SCALES", {name: (64, 2, 4) for name in random.SCALES})
    small = {"d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    monkeypatch.setattr(random, "TEXTS", dict.fromkeys(random.TEXTS, small))
    monkeypatch.setattr(random, "CODEC", {**random.CODEC, "num_filters": 2, "hidden_size": 16})


@pytest.mark.parametrize("name", ["two-model-hybrid-small-30secs", "audio-magnet-small", "musicgen-small-transformers"])
def test_from_text_to_audio_without_a_file(name, reduced, nothing_here):
    model = load_model(name)
    made = generators.build(model, "cpu", weights="random").generate([dataclasses.replace(PROMPT, seconds=0.6)], [1])
    assert made.frames_made == 30 and made.audio[0].shape == (1, round(0.6 * model.sample_rate))
    assert made.audio[0].std() > 1e-3
    assert set(generators.weights(dataclasses.replace(model, weights="random")).values()) == {"random"}


def test_the_same_numbers_every_time_and_nobody_elses():
    before = torch.get_rng_state()
    first, second = (generators.build(load_model("musicgen-tiny"), "cpu", weights="random") for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    for part in ("lm", "codec", "text"):
        states = [getattr(getattr(one, part), "model", getattr(one, part)).state_dict() for one in (first, second)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_numbers_are_drawn_in_the_format_asked_for():
    lm = random.language_model("tiny/magnet", "masked", CPU, torch.bfloat16)
    assert {weight.dtype for weight in lm.parameters()} == {torch.bfloat16}
    matrix = lm.transformer["layers"][0].linear2.weight.float()
    assert matrix.std() * matrix.shape[1] ** 0.5 == pytest.approx(1, abs=0.01)
    assert lm.out_norm.weight.unique().tolist() == [1] and lm.out_norm.bias.unique().tolist() == [0]


def test_fingerprint_is_of_its_own():
    model = load_model("musicgen-tiny")
    drawn = dataclasses.replace(model, weights="random")
    assert generators.fingerprint(drawn) != generators.fingerprint(model)
    assert generators.weights(drawn) == {"checkpoint/tiny/musicgen": "random"}


def test_hash_tokenizer():
    tokenizer = random.HashTokenizer(1000)
    ids = tokenizer("a song, wonderfully slow a")["input_ids"]
    assert len(ids) == 1 + 1 + 1 + 2 + 1 + 1 + 1  # a, song, the comma, wonderf|ully, slow, a, the end
    assert ids[0] == ids[-2] and ids[-1] == 1 and all(2 <= token < 1000 for token in ids[:-1])
    assert tokenizer("a " * 600, truncation=True, max_length=512)["input_ids"][-2:] == [ids[0], 1]


def test_what_cannot_be_built():
    with pytest.raises(UserError, match="families masked, autoregressive"):
        generators.build(load_model("codec-tiny"), weights="random")
    with pytest.raises(UserError, match="Allowed: , random"):
        generators.build(load_model("musicgen-tiny"), weights="zeros")
    with pytest.raises(UserError, match="the shape of nowhere/model is not known"):
        generators.build(dataclasses.replace(load_model("musicgen-tiny"), checkpoint="nowhere/model"), weights="random")
    with pytest.raises(UserError, match="needs text: and codec:"):
        mine = dataclasses.replace(load_model("musicgen-tiny"), checkpoint="tiny/musicgen", codec="")
        generators.build(mine, weights="random")
    with pytest.raises(UserError, match="is masked, not autoregressive"):
        random.lm_config("facebook/magnet-small-10secs", "autoregressive")
