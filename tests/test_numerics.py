"""The presets' data fit what they are for: fronts, embedders, divergences; and give the counts that are published."""

import inspect

import numpy as np
import pytest
import torch

from magnet_eval import embedders, lookup, numerics
from magnet_eval.embedders import cnn14, passt, vggish
from magnet_eval.embedders.sources import SOURCES
from magnet_eval.front import prepare
from magnet_eval.metrics import divergence
from magnet_eval.numerics import DIVERGENCES, FRONTS, OPTIONS

RATES = {
    "vggish": vggish.SAMPLE_RATE,
    "passt": passt.SAMPLE_RATE,
    "clap": 48_000,
    "encodec": 24_000,
    "encodec_32khz": 32_000,
    "encodec_48khz": 48_000,
    "openl3": 44_100,  # the package goes on to 48 kHz itself
}
TEN_SECONDS = np.random.default_rng(0).uniform(-0.3, 0.4, (1, 320_000)).astype(np.float32)


class Levels(torch.nn.Module):
    """In place of a network: the mean of each patch."""

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return patches.mean(dim=(1, 2))[:, None]


def vggish_of(preset: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> vggish.VGGishEmbedder:
    """The embedder as a preset sets it, without weights."""
    path = tmp_path / "vggish.pth"
    path.touch()
    monkeypatch.setattr(vggish, "read_state", lambda *_: {})
    monkeypatch.setattr(vggish, "fill", lambda *_: Levels())
    return vggish.VGGishEmbedder(**{**OPTIONS[preset, "vggish"], "weights": path})


@pytest.mark.parametrize("key", FRONTS)
def test_a_front_is_of_known_words_and_at_its_networks_rate(key):
    preset, network = key
    front = FRONTS[key]
    assert preset in numerics.PRESETS and network in numerics.NETWORKS
    assert front.resampler in numerics.RESAMPLERS and front.channels in numerics.CHANNELS
    assert set(front.int16) <= set(numerics.INT16)
    assert front.at_most is None or front.at_least <= front.at_most
    if network == "cnn14":
        assert OPTIONS[key]["weights"] == f"cnn14-{front.rate // 1000}k" and front.rate in cnn14.RATES.values()
    else:
        assert front.rate == RATES[network]


@pytest.mark.parametrize("key", OPTIONS)
def test_options_are_the_embedders_own(key):
    assert key in FRONTS
    embedder = lookup.load(embedders.EMBEDDERS, numerics.EMBEDDERS.get(key[1], key[1]), "embedder")
    assert SOURCES[OPTIONS[key]["weights"]].rate in (None, FRONTS[key].rate)
    assert set(OPTIONS[key]) <= set(inspect.signature(embedder).parameters)
    for option, allowed in (("crop", "CROPS"), ("padding", "PADDINGS"), ("windows", "WINDOWS")):
        if option in OPTIONS[key]:
            assert OPTIONS[key][option] in getattr(inspect.getmodule(embedder), allowed)


def test_every_preset_has_its_numbers():
    assert {preset for preset, _ in FRONTS} == set(numerics.PRESETS)
    assert set(DIVERGENCES) == {preset for preset, network in FRONTS if network == "passt"} | {"audioldm_eval-cnn14"}
    assert all(one.direction in divergence.DIRECTIONS for one in DIVERGENCES.values())


@pytest.mark.parametrize(
    ("preset", "seconds", "windows"),
    [
        ("audiocraft-tf", 1, 1),
        ("audiocraft-tf", 10, 19),
        ("audiocraft-tf", 30, 59),
        ("native", 10, 10),
        ("native", 30, 31),
        ("audioldm_eval-cnn14", 10, 10),
        ("av-bench", 30, 10),  # cut to 10 s
        ("fadtk-1.1", 10, 10),
        ("frechet-audio-distance-0.3", 30, 31),
    ],
)
def test_windows_of_vggish(preset, seconds, windows, monkeypatch, tmp_path):
    heard = prepare(np.tile(TEN_SECONDS, 3)[:, : seconds * 32_000], 32_000, FRONTS[preset, "vggish"], generated=True)
    assert len(vggish_of(preset, monkeypatch, tmp_path).embed(heard)) == windows


@pytest.mark.parametrize("preset", [preset for preset, network in OPTIONS if network == "vggish"])
def test_only_audiocrafts_distance_ignores_the_level(preset, monkeypatch, tmp_path):
    embedder = vggish_of(preset, monkeypatch, tmp_path)
    plain, quiet = (
        embedder.embed(prepare(gain * TEN_SECONDS, 32_000, FRONTS[preset, "vggish"], generated=False))
        for gain in (1, 10 ** (-6 / 20))
    )
    change = float((quiet - plain).mean())
    assert abs(change) < 1e-3 if preset == "audiocraft-tf" else change == pytest.approx(-0.68, abs=0.03)


def test_direction_of_the_divergences():
    generated, reference = np.log([[0.7, 0.2, 0.1]]), np.log([[0.4, 0.4, 0.2]])
    forward = 0.4 * np.log(0.4 / 0.7) + 0.4 * np.log(0.4 / 0.2) + 0.2 * np.log(0.2 / 0.1)
    backward = 0.7 * np.log(0.7 / 0.4) + 0.2 * np.log(0.2 / 0.4) + 0.1 * np.log(0.1 / 0.2)
    for preset, one in DIVERGENCES.items():
        kl = divergence.softmax_kl(generated, reference, direction=one.direction, epsilon=one.epsilon)
        assert kl[0] == pytest.approx(backward if preset == "sam-v1" else forward, abs=1e-5)


def test_epsilon_caps_what_a_sure_network_costs():
    sure, opposite = np.array([[60.0, 0.0]]), np.array([[0.0, 60.0]])
    for one in DIVERGENCES.values():
        kl = divergence.softmax_kl(sure, opposite, direction=one.direction, epsilon=one.epsilon)
        assert kl[0] == pytest.approx(60 if one.epsilon == 0 else -np.log(1e-6), rel=1e-3)
