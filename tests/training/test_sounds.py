"""The composer of sounds: fixed samples on the token grid, honest splits and captions; and the recipe for them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from magnet_eval.lookup import UserError
from magnet_eval.training import recipe, sounds
from magnet_eval.training.dataset import split_pieces
from magnet_eval.training.sound_captions import KIND_WORDS, LENGTH_WORDS, LOUDNESS_WORDS, PITCH_WORDS, paraphrase, plain
from magnet_eval.training.tasks import SOUNDS

EVERY = list(sounds.all_sounds())


def test_every_event_is_inside_the_clip():
    for sound in EVERY:
        for frame, _, _, length in sound.events:
            assert frame >= 0 and frame + sounds.LENGTHS[length] <= sounds.FRAMES


@pytest.mark.parametrize("kind", sounds.KINDS)
def test_a_kind_has_fixed_samples_that_pitch_and_length_change(kind):
    waves = {(pitch, length): sounds.wave(kind, pitch, length) for pitch in sounds.PITCHES for length in sounds.LENGTHS}
    again = sounds.wave.__wrapped__(kind, "low", "short")
    assert np.array_equal(waves["low", "short"], again)
    assert np.abs(again).max() == pytest.approx(1)
    assert [len(waves["low", length]) for length in sounds.LENGTHS] == [25 * sounds.HOP, 55 * sounds.HOP]
    power = [np.abs(np.fft.rfft(waves[pitch, "short"])) ** 2 for pitch in ("low", "high")]
    centre = [np.average(np.arange(len(p)), weights=p) for p in power]
    assert centre[1] > 1.5 * centre[0]


def test_kinds_differ():
    spectra = {}
    for kind in sounds.KINDS:
        frames = np.abs(np.fft.rfft(sounds.wave(kind, "low", "short").reshape(25, sounds.HOP)))
        spectra[kind] = (np.log(frames + 1) / np.linalg.norm(np.log(frames + 1))).ravel()
    for i, first in enumerate(spectra):
        for second in list(spectra)[i + 1 :]:
            assert spectra[first] @ spectra[second] < 0.95, (first, second)


def test_audio_is_silent_but_for_its_events_and_as_loud_as_said():
    chosen = EVERY[::47]
    for sound, clip in zip(chosen, sounds.render(chosen), strict=True):
        assert clip.dtype == np.float32 and len(clip) == 80_000
        active = np.abs(clip.reshape(sounds.FRAMES, sounds.HOP)).max(1) > 0
        expected = np.zeros(sounds.FRAMES, bool)
        for frame, _, _, length in sound.events:
            expected[frame : frame + sounds.LENGTHS[length]] = True
            assert active[frame]  # the onset is on the grid
        assert not (active & ~expected).any()
        assert np.abs(clip).max() == pytest.approx(sounds.LOUDNESS[sound.loudness])


def test_no_combination_in_two_parts():
    parts = split_pieces(SOUNDS)
    combinations = {name: {sound.combination for sound in part} for name, part in parts.items()}
    assert not combinations["train"] & (combinations["valid"] | combinations["test"])
    assert not set(parts["valid"]) & set(parts["test"])
    assert {sound.kind for sound in parts["train"]} == {sound.kind for sound in parts["test"]} == set(sounds.KINDS)
    assert split_pieces(SOUNDS) == parts


def test_plain_captions_name_every_event_in_order():
    for sound in EVERY[::211]:
        first, _, then = plain(sound).partition(" then ")
        assert first == f"{sound.loudness} {sound.length} {sound.pitch} {sound.kind}"
        named = f"{sound.then_length} {sound.then_pitch} {sound.then_kind}"
        assert then == ("" if sound.then_kind == sounds.NONE else named)


def test_paraphrases_name_what_they_say():
    rng = np.random.default_rng(0)
    tables = {"kind": KIND_WORDS, "pitch": PITCH_WORDS, "length": LENGTH_WORDS, "loudness": LOUDNESS_WORDS}
    for index in rng.integers(len(EVERY), size=300):
        sound = EVERY[index]
        text, named = paraphrase(sound, rng)
        assert set(named) == set(SOUNDS.attributes)
        for name, said in named.items():
            value = getattr(sound, name)
            if said and value != sounds.NONE:
                words = tables[name.removeprefix("then_")][value]
                assert any(word.lower() in text.lower() for word in words), (text, named)


def few_sounds():
    """One sound in 19: enough for every split."""
    return iter(EVERY[::19])


def test_the_recipe_makes_every_part(tmp_path, monkeypatch):
    task = replace(SOUNDS, everything=few_sounds, text_steps=2, code_clips=20, filters=2, width=16, n_valid=5, n_test=3)
    monkeypatch.setattr(recipe, "TASKS", {name: (task, step) for name, (_, step) in recipe.TASKS.items()})
    work, out = tmp_path / "work", tmp_path / "models"
    for name in (f"audio-{step}" for step in recipe.SOUND_STEPS):
        (figures,) = recipe.train(name, work, out, minutes=0.01, steps=2)
        assert figures.parent == work / "audio" / "figures"
        assert json.loads(figures.read_text())["wall_seconds"] >= 0
    cards = sorted(path.parent.name for path in (out / "audio").glob("*/README.md"))
    assert cards == ["codec", "magnet", "reference", "text", "unigram"]
    assert "sound effects composed" in (out / "audio" / "magnet" / "README.md").read_text()
    assert len(list((out / "audio" / "reference").glob("*.flac"))) == 3


def test_a_step_without_its_input_is_one_line(tmp_path):
    with pytest.raises(UserError, match="training step audio-codec needs .*type: magnet-eval train what=all"):
        recipe.train("audio-codec", tmp_path / "work", tmp_path / "models", minutes=0.01)
    with pytest.raises(UserError, match="Did you mean audio-magnet"):
        recipe.train("audio-magnt", tmp_path / "work", tmp_path / "models")
