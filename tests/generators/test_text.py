"""Texts and their padding: states are computed once per content, and what a clip has to do with its batch."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from magnet_eval import generators
from magnet_eval.generators import text
from magnet_eval.generators.text import StateCache, TextEncoder
from magnet_eval.model import Model
from magnet_eval.records import Prompt

DATA = Path(__file__).parents[1] / "data" / "pipeline"
CPU = torch.device("cpu")
TEXTS = ["slow waltz", "fast drums and bass", "a calm piano piece"]


@pytest.fixture
def passes(monkeypatch) -> Counter:
    """Rows that text encoders have computed, from an empty cache on."""
    from transformers import T5EncoderModel

    monkeypatch.setattr(text, "CACHE", StateCache())
    counted, forward = Counter(), T5EncoderModel.forward

    def counting(self, *args, **kwargs):
        counted["rows"] += len(kwargs["input_ids"])
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(T5EncoderModel, "forward", counting)
    return counted


def changed(tmp_path: Path, factor: float = 1.0) -> Path:
    """A copy of the text encoder elsewhere, its weights multiplied."""
    folder = Path(shutil.copytree(DATA / "text", tmp_path / "text"))
    if factor != 1:
        weights = {name: value * factor for name, value in load_file(folder / "model.safetensors").items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_text_is_computed_once_for_all_systems(passes):
    first, second = TextEncoder.read(DATA / "text", CPU), TextEncoder.read(DATA / "text", CPU)
    states, mask = first.encode(TEXTS, one_by_one=True)
    assert passes["rows"] == 3
    again, _ = second.encode([TEXTS[2], TEXTS[0]], one_by_one=True)
    assert passes["rows"] == 3
    length = int(mask[0].sum())
    assert torch.equal(again[1, :length], states[0, :length])
    second.encode(["another text", *TEXTS], one_by_one=True)
    assert passes["rows"] == 4


def test_across_whole_systems(passes):
    models = [
        Model("masked", str(DATA / "magnet"), str(DATA / "text"), decoding={"steps": [1, 1, 1, 1]}),
        Model(
            "autoregressive", str(DATA / "musicgen"), str(DATA / "text"), str(DATA / "encodec"), decoding={"top_k": 9}
        ),
    ]
    for model in models:
        generators.build(model, "cpu").generate(
            [Prompt(str(i), words, 0.1) for i, words in enumerate(TEXTS)], [1, 2, 3]
        )
    assert passes["rows"] == 3


def test_the_same_weights_elsewhere_share_and_others_do_not(passes, tmp_path):
    states, _ = TextEncoder.read(DATA / "text", CPU).encode(TEXTS, one_by_one=True)
    TextEncoder.read(changed(tmp_path / "same"), CPU).encode(TEXTS, one_by_one=True)
    assert passes["rows"] == 3
    others, _ = TextEncoder.read(changed(tmp_path / "other", 1.5), CPU).encode(TEXTS, one_by_one=True)
    assert passes["rows"] == 6
    assert not torch.allclose(others, states)


def test_the_same_weights_with_another_configuration_do_not_share(passes, tmp_path):
    TextEncoder.read(DATA / "text", CPU).encode(TEXTS, one_by_one=True)
    folder = changed(tmp_path)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"dense_act_fn": "relu"', '"dense_act_fn": "gelu"'))
    TextEncoder.read(folder, CPU).encode(TEXTS, one_by_one=True)
    assert passes["rows"] == 6


def test_batched_calls_neither_use_nor_fill_the_cache(passes):
    encoder = TextEncoder.read(DATA / "text", CPU)
    alone, _ = encoder.encode(TEXTS, one_by_one=True)
    together, _ = encoder.encode(TEXTS, one_by_one=False)
    encoder.encode(["a text of its own"], one_by_one=False)
    assert passes["rows"] == 3 + 3 + 1
    assert torch.allclose(alone, together, atol=1e-5)
    encoder.encode(["a text of its own"], one_by_one=True)
    assert passes["rows"] == 8


def test_the_cache_is_bounded(passes, monkeypatch):
    """Room for two texts of four tokens: the oldest goes first."""
    encoder = TextEncoder.read(DATA / "text", CPU)
    (row,) = encoder.tokenize(["abc"])
    monkeypatch.setattr(text, "MAX_CACHED", 2 * len(row) * 24 * 4)
    for words in ("abc", "abd", "abe"):
        encoder.encode([words], one_by_one=True)
        assert text.CACHE.size <= text.MAX_CACHED
    assert len(text.CACHE.states) == 2
    encoder.encode(["abe", "abd"], one_by_one=True)
    assert passes["rows"] == 3
    encoder.encode(["abc"], one_by_one=True)
    assert passes["rows"] == 4
    encoder.encode(["a text that is longer than all the room there is"], one_by_one=True)
    assert text.CACHE.size == 0 and not text.CACHE.states


# Padding


def clips(padding: str, texts: list[str], seeds: list[int], **decoding) -> list[np.ndarray]:
    settings = {"steps": [4, 2, 2, 2], "temperature": 1.0, **decoding}
    model = Model("masked", str(DATA / "magnet"), str(DATA / "text"), padding=padding, decoding=settings)
    prompts = [Prompt(str(i), words, 0.3) for i, words in enumerate(texts)]
    return generators.build(model, "cpu").generate(prompts, seeds).audio


LONG = "a text that is very much longer than the other one, and so pads it"


def test_isolated_padding_is_independent_of_the_batch_to_the_bit():
    (alone,) = clips("isolated", TEXTS[:1], [1])
    together = clips("isolated", [LONG, TEXTS[0], TEXTS[1]], [2, 1, 3])
    assert np.array_equal(together[1], alone)


def test_padding_of_the_reference_depends_on_the_batch():
    """On its longest text, for greedy tokens have no seed; a batch of equal lengths has nothing to pad."""
    (alone,) = clips("reference", TEXTS[:1], [1], greedy=True)
    beside_long = clips("reference", [TEXTS[0], LONG], [1, 2], greedy=True)
    beside_equal = clips("reference", [TEXTS[0], TEXTS[0][::-1]], [1, 2], greedy=True)
    assert not np.array_equal(beside_long[0], alone)
    assert np.allclose(beside_equal[0], alone, atol=1e-4)
    (isolated,) = clips("isolated", TEXTS[:1], [1], greedy=True)
    assert np.allclose(isolated, alone, atol=1e-4)  # alone there is no padding
    model = Model("masked", str(DATA / "magnet"), str(DATA / "text"), padding="reference")
    assert generators.depends_on_batch(model)
    assert generators.fingerprint(model) != generators.fingerprint(Model("masked", model.checkpoint, model.text))
