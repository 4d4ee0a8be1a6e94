"""The model YAMLs that ship with the package."""

import pytest

from magnet_eval import config
from magnet_eval.generators import GENERATORS

NAMES = [
    "audio-codec-tiny", "audio-magnet-tiny", "audio-unigram-tiny", "codec-tiny", "files", "hybrid-magnet-tiny",
    "magnet-tiny", "musicgen-tiny", "rescored-magnet-tiny", "two-model-hybrid-tiny", "unigram-tiny",
]  # fmt: skip


PEERS = [
    "audioldm2", "magnet-small-10secs-audiocraft", "musicgen-melody-transformers", "musicgen-small-transformers",
    "stable-audio-open",
]  # fmt: skip


def test_every_family_has_a_model():
    assert {*NAMES, *PEERS} <= set(config.list_models())
    assert {config.load_model(name).family for name in (*NAMES, *PEERS)} == set(GENERATORS)


@pytest.mark.parametrize("name", PEERS)
def test_models_of_other_packages_say_what_they_are(name):
    model = config.load_model(name)
    assert model.licence and model.description and model.task and model.sample_rate and model.seconds
    assert model.settings() == model.decoding and not model.tiny


@pytest.mark.parametrize("name", [name for name in NAMES if name != "files"])
def test_tiny_models_say_so_and_what_they_may_be_used_for(name):
    model = config.load_model(name)
    assert model.tiny and model.licence and model.description
