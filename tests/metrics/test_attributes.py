"""Attribute accuracy: closed form, what is heard in made-up sounds and in the embedded held-out clips, missing tags."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from magnet_eval import audio, config, metric_checks
from magnet_eval.embedders import music_features
from magnet_eval.embedders.attributes_tiny import AttributesEmbedder
from magnet_eval.lookup import UserError
from magnet_eval.metrics import METRICS, get
from magnet_eval.metrics.attributes import ATTRIBUTES, SIZES, attribute_accuracy, chance, columns

RATE, SAMPLES = 16_000, 80_000
REFERENCE = Path(__file__).resolve().parents[2] / "models" / "tiny" / "reference"


@pytest.fixture(scope="module")
def listener():
    return AttributesEmbedder()


@pytest.fixture(scope="module")
def clips():
    """Every sixteenth held-out clip with its tags."""
    rows = [json.loads(line) for line in (REFERENCE / "captions.jsonl").read_text().splitlines()][::16]
    return [(audio.load_mono(REFERENCE / row["file"], RATE), row["tags"]) for row in rows]


def clicks(bpm: float) -> torch.Tensor:
    """A short burst on every quarter, louder on every fourth."""
    sound, burst = np.zeros(SAMPLES), np.random.default_rng(0).standard_normal(400) * np.hanning(400)
    for beat in range(int(5 * bpm / 60)):
        start = round(beat * 60 / bpm * RATE)
        part = sound[start : start + 400]
        part += burst[: len(part)] * (1.0 if beat % 4 == 0 else 0.5)
    return torch.from_numpy(sound.astype(np.float32))[None]


def chords(*roots: int, minor: bool = False) -> torch.Tensor:
    """Triads one after the other, from MIDI roots, each with its root two octaves below."""
    time, parts = np.arange(SAMPLES // len(roots)) / RATE, []
    for root in roots:
        notes = (root - 24, root, root + (3 if minor else 4), root + 7)
        parts.append(sum(np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time) for note in notes))
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))[None] * 0.1


def test_accuracy_is_the_share_of_what_is_named():
    heard = np.array([[0.6, 0.4, 0.1, 0.9], [0.2, 0.8, 0.7, 0.3], [0.2, 0.8, 0.7, 0.3]])
    named = np.array([[1, 0, 0, 1], [1, 0, 1, 0], [0, 0, 0, 1.0]])  # the last names the second attribute alone
    assert attribute_accuracy(heard, named, (2, 2)).tolist() == [1, 0.5, 0]
    with pytest.raises(ValueError, match="names no attribute"):
        attribute_accuracy(heard, np.zeros_like(named), (2, 2))


def test_metrics_look_at_their_attribute():
    assert columns("style") == slice(0, 6) and columns("dynamics").stop == sum(SIZES.values()) == 24
    assert METRICS["attributes_tiny"].columns == slice(0, 24)
    assert METRICS["tempo_tiny"].columns == columns("bpm") and METRICS["tempo_tiny"].tags == ("bpm",)


def test_chance_is_what_guessing_gets():
    assert (chance(["lead"]), chance(["mode"])) == pytest.approx((1 / 6, 1 / 2))
    rng = np.random.default_rng(0)
    guessed, named = (
        np.concatenate([np.eye(size)[rng.integers(size, size=4000)] for size in SIZES.values()], axis=1) for _ in "ab"
    )
    found = attribute_accuracy(guessed, named, tuple(SIZES.values()))
    assert found.mean() == pytest.approx(chance(ATTRIBUTES), abs=4 * found.std() / 4000**0.5)


@pytest.mark.parametrize("bpm", [float(value) for value in ATTRIBUTES["bpm"]])
def test_beats_of_a_click_track(bpm):
    tempi = [bpm, *(other for other in (70, 83, 94, 110, 125, 140) if abs(other / bpm - 1) > 0.1)]
    onsets = music_features.onset_strength(clicks(bpm))
    assert music_features.beat_scores(onsets, tempi).argmax() == 0
    lag = round(6000 / bpm)
    assert abs(music_features.autocorrelation(onsets[:, -1])[0, 20:100].argmax() + 20 - lag) <= 1


@pytest.mark.parametrize("tonic", [0, 2, 5, 9])
def test_chroma_and_key_of_chords(tonic):
    root = 60 + tonic
    chroma = music_features.chromagram(chords(root))[0].mean(1)
    assert set(chroma[12:].topk(3).indices.tolist()) == {(tonic + step) % 12 for step in (0, 4, 7)}
    assert chroma[:12].argmax() == tonic  # the bass
    cadence = music_features.chromagram(chords(root, root + 5, root + 7, root))
    assert music_features.key_scores(cadence).argmax() == tonic
    minor = music_features.chromagram(chords(root, root + 5, root, minor=True))
    assert music_features.key_scores(minor).argmax() == 12 + tonic


def test_held_out_clips_are_heard_right(listener, clips):
    """Well above chance on real clips of combinations that it was not trained on; the card has the exact figures."""
    heard = np.concatenate([listener.embed(clip) for clip, _ in clips])
    named = listener.embed_text([json.dumps(tags) for _, tags in clips])
    for name, size in SIZES.items():
        found = attribute_accuracy(heard[:, columns(name)], named[:, columns(name)], (size,)).mean()
        assert found >= 0.9, name
    assert attribute_accuracy(heard, np.roll(named, 1, axis=0), tuple(SIZES.values())).mean() < 0.5


def test_level_changes_the_dynamics_alone(listener, clips):
    clip = clips[0][0]
    loud, quiet = listener.embed(clip), listener.embed(clip * 0.05)
    assert np.abs(loud - quiet)[:, : columns("dynamics").start].max() < 1e-4
    assert quiet[0, columns("dynamics")].argmax() == ATTRIBUTES["dynamics"].index("soft")


def test_any_length_and_silence(listener):
    tone = np.sin(np.arange(2 * SAMPLES) / 20).astype(np.float32)
    for audio_, windows in ((tone, 2), (tone[:SAMPLES], 1), (tone[:100], 1), (np.zeros(SAMPLES, np.float32), 1)):
        found = listener.embed(audio_)
        assert found.shape == (windows, 24) and np.isfinite(found).all()
        assert np.add.reduceat(found, [columns(name).start for name in SIZES], axis=1) == pytest.approx(1, abs=1e-5)


def test_tags_that_are_not_known(listener):
    rows = listener.embed_text(['{"bpm": "94", "melody": "1"}', "{}"])
    assert rows[0].nonzero()[0].tolist() == [columns("bpm").start + 2] and not rows[1].any()
    with pytest.raises(UserError, match="bpm '100' is not among those that are heard: 150, 125, 94, 75"):
        listener.embed_text(['{"bpm": "100"}'])


def test_prompts_without_tags_are_refused(tmp_path):
    (tmp_path / "captions.jsonl").write_text(json.dumps({"id": "one", "text": "waltz"}) + "\n")
    source = config.Prompts(source="folder", path=str(tmp_path), seconds=5.0)
    with pytest.raises(UserError, match="tempo_tiny .* no prompt has any of these: bpm"):
        metric_checks.check_prompts([get("clap_tiny"), get("tempo_tiny")], source)
    metric_checks.check_prompts([get("clap_tiny")], source)
