"""The listener for attributes learns from features, and what is saved is what was trained."""

import json

import numpy as np
import pytest
import torch

from magnet_eval.embedders.attributes_tiny import FEATURES, WIDTHS, AttributesEmbedder
from magnet_eval.metrics.attributes import ATTRIBUTES, SIZES
from magnet_eval.training import attributes
from magnet_eval.training.composer import DYNAMICS, KEYS, LEADS, SCALES, STYLES, TEMPI, all_pieces, draw


def features_of(pieces, seed: int) -> attributes.Heard:
    """Nothing but one column for each value of each attribute, raised where the piece has it, and a little noise."""
    heard = {name: torch.zeros(len(pieces), width) for name, width in WIDTHS.items()}
    generator = torch.Generator().manual_seed(seed)
    start = dict.fromkeys(WIDTHS, 0)
    for name, size in SIZES.items():
        which = FEATURES[name]
        columns = heard[which][:, start[which] : start[which] + size]
        columns += 0.1 * torch.randn(columns.shape, generator=generator)
        columns[torch.arange(len(pieces)), attributes.targets(pieces, name)] += 1
        start[which] += size
    return heard


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attributes")
    pieces = draw(list(all_pieces()), 400, np.random.default_rng(0))
    part = {"plain": features_of(pieces[:300], 0)}, pieces[:300]
    held_out = {"plain": features_of(pieces[300:], 1)}, pieces[300:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attributes, "EPOCHS", 4)
        return folder, held_out, attributes.train(*part, *held_out, folder)


def test_attributes_are_the_composers():
    axes = {"style": STYLES, "lead": LEADS, "bpm": TEMPI, "key": KEYS, "mode": SCALES, "dynamics": DYNAMICS}
    assert {name: tuple(map(str, axis)) for name, axis in axes.items()} == ATTRIBUTES


def test_every_attribute_is_learnt(trained):
    _, _, figures = trained
    assert min(figures["accuracy"]["plain"].values()) > 0.8
    assert figures["untested"] == []


def test_saved_model_reproduces_the_card(trained):
    folder, (held_out, pieces), figures = trained
    again = attributes.accuracy(AttributesEmbedder(folder=folder).model, held_out["plain"], pieces)
    assert again == figures["accuracy"]["plain"]
    assert f"| lead | {again['lead']:.1%} | 16.7% |" in (folder / "README.md").read_text()
    assert json.loads((folder / "config.json").read_text()) == {"hidden": 128}


def test_clips_are_heard_in_chunks_with_unlearned_readings():
    audio = (np.random.default_rng(0).standard_normal((3, 80_000)) * 1000).astype(np.int16)
    heard = attributes.listen(attributes.chunks(audio))
    assert {name: tuple(heard[name].shape) for name in WIDTHS} == {name: (3, width) for name, width in WIDTHS.items()}
    assert heard["comb bpm"].shape == heard["profile key"].shape == heard["profile mode"].shape == (3,)
