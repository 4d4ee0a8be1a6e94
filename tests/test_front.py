"""What a network hears of a clip equals what it hears in each published tool, sample by sample.

The golden arrays were made with the tools' own functions and resamplers (tests/peer/write_fronts.py).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from magnet_eval import audio, front
from magnet_eval.front import prepare, round_int16
from magnet_eval.lookup import UserError
from magnet_eval.numerics import FRONTS, Front

GOLDEN = np.load(Path(__file__).parent / "data" / "front_clips.npz")
CLIP, RATE = GOLDEN["clip"].astype(np.float32) / 32768, int(GOLDEN["rate"])
HEARD = [key for key in GOLDEN.files if key.endswith(("/generated", "/reference"))]
STEP = 1 / 32768


@pytest.mark.parametrize("case", HEARD)
def test_equals_the_tool(case):
    preset, network, side = case.split("/")
    heard = prepare(CLIP, RATE, FRONTS[preset, network], generated=side == "generated")
    assert heard.dtype == np.float32 and heard.shape[-1] == GOLDEN[f"{preset}/{network}/length"]
    off = np.abs(heard[..., ::16] - GOLDEN[case])
    if FRONTS[preset, network].int16:  # a sample on the brink may fall to either side
        assert off.max() < 1.01 * STEP and (off > 1e-6).mean() < 0.01
    else:
        assert off.max() < 1e-6


def test_only_audiocraft_treats_the_two_sides_differently():
    for key, own in FRONTS.items():
        pair = [prepare(CLIP, RATE, own, generated=generated) for generated in (True, False)]
        assert np.array_equal(*pair) == (not key[0].startswith("audiocraft"))


@pytest.mark.parametrize("gain", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("generated", [True, False])
def test_audiocraft_hears_no_gain(gain, generated):
    own = FRONTS["audiocraft-tf", "vggish"]
    plain, louder = (prepare(CLIP * np.float32(g), RATE, own, generated=generated) for g in (1, gain))
    assert np.abs(plain - louder).max() < 1.01 * STEP


@pytest.mark.parametrize("preset", ["native", "audioldm_eval-cnn14", "av-bench", "frechet-audio-distance-0.3"])
def test_all_others_hear_a_gain(preset):
    own = FRONTS[preset, "vggish"]
    plain, louder = (prepare(CLIP * np.float32(g), RATE, own, generated=True) for g in (1, 0.5))
    np.testing.assert_allclose(louder, plain / 2, atol=1e-6)


@pytest.mark.parametrize("gain", [0.1, 1.0, 4.0])
def test_loudness_equals_torchaudio(gain):
    clipped = np.clip(CLIP * np.float32(gain), -1, 1)
    assert front.loudness(clipped, RATE) == pytest.approx(float(GOLDEN[f"loudness/{gain}"]), abs=5e-4)  # LU


def test_loudness_agrees_with_the_standard_until_its_filters_clip():
    noise = np.random.default_rng(0).standard_normal((1, 5 * RATE)).astype(np.float32)
    quiet, loud = 0.05 * noise, np.clip(0.5 * noise, -1, 1)
    assert front.loudness(quiet, RATE) == pytest.approx(audio.loudness(quiet, RATE), abs=0.01)
    assert front.loudness(loud, RATE) < audio.loudness(loud, RATE) - 1


def test_generated_clips_are_brought_to_the_loudness_and_clamped():
    own, mono = Front(RATE, loudness=-14.0), CLIP[:1]
    heard = prepare(mono, RATE, own, generated=True)
    assert front.loudness(heard[None], RATE) == pytest.approx(-14, abs=0.1)
    np.testing.assert_allclose(heard / mono[0].max(), mono[0] * (heard.max() / mono.max()) / mono.max(), atol=1e-5)
    peaky = mono * 0.02
    peaky[:, :20] = 1
    heard = prepare(peaky, RATE, own, generated=True)
    assert heard.max() == 1 and np.abs(heard[100:]).max() > 2 * np.abs(peaky[:, 100:]).max()


def test_nearly_silent_clips_keep_their_level():
    own = Front(RATE, loudness=-14.0)
    quiet = CLIP[:1] * np.float32(1.9e-3 / CLIP[0].std())
    quiet -= quiet.mean()
    np.testing.assert_array_equal(prepare(quiet, RATE, own, generated=True), quiet[0])
    assert np.abs(prepare(quiet * 1.2, RATE, own, generated=True)).max() > 10 * np.abs(quiet).max()


def test_nearest_rule_is_what_a_written_and_read_file_would_hold():
    x = np.array([0, 0.4, 0.6, -0.4, -0.6, 1.5, 2.5], np.float32) * np.float32(STEP)
    np.testing.assert_array_equal(round_int16(x, "nearest") / STEP, [0, 0, 1, 0, -1, 2, 2])
    np.testing.assert_array_equal(round_int16(np.array([1, -1, 2], np.float32), "nearest"), [1 - STEP, -1, 1 - STEP])


def test_truncated_rule_is_laion_claps():
    x = np.array([0.9, -0.9, 1.9, 40_000, -40_000], np.float32) / np.float32(32767)
    np.testing.assert_allclose(round_int16(x, "truncated") * 32767, [0, 0, 1, 32767, -32767], atol=1e-3)


def test_both_rules_in_a_row_cost_a_sample_one_step():
    x = np.array([-3, -1, 0, 1, 3, 1000, 32767], np.float32) * np.float32(STEP)
    twice = round_int16(round_int16(x, "nearest"), "truncated")
    np.testing.assert_allclose(twice * 32767, [-2, 0, 0, 0, 2, 999, 32766], atol=1e-3)


def test_sound_is_heard_as_kept_at_16_khz():
    """A real clip's treble, which AudioCaps at 16 kHz has not, does not reach the network; what is below does."""
    time = np.arange(44_100) / 44_100
    treble, middle = (0.3 * np.sin(2 * np.pi * f * time).astype(np.float32)[None] for f in (11_000, 3_000))
    music, sound = FRONTS["audiocraft-tf", "passt"], FRONTS["audiocraft-tf-sound", "passt"]
    for own, heard in ((music, True), (sound, False)):
        assert (prepare(treble, 44_100, own, generated=False)[500:-500].std() > 0.2) == heard
        assert prepare(middle, 44_100, own, generated=False).std() == pytest.approx(0.3 / np.sqrt(2), rel=0.01)
    at_16 = prepare(treble + middle, 44_100, replace(sound, rate=16_000), generated=False)
    assert np.array_equal(prepare(at_16[None], 16_000, sound, generated=False), prepare(
        treble + middle, 44_100, sound, generated=False
    ))  # fmt: skip


def test_channels():
    eight = np.arange(8, dtype=np.float32)[:, None] * np.ones(RATE, np.float32) / 8
    assert prepare(eight, RATE, Front(RATE), generated=False)[0] == pytest.approx(3.5 / 8)
    assert prepare(eight, RATE, Front(RATE, channels="first"), generated=False)[0] == 0
    stereo = Front(RATE, channels="stereo")
    assert prepare(eight, RATE, stereo, generated=False)[:, 0].tolist() == [0, 0.125]
    assert prepare(eight[3:4], RATE, stereo, generated=False)[:, 0].tolist() == [0.375, 0.375]


def test_offset_is_removed_of_the_channel_that_is_heard():
    x = CLIP + np.array([[0.2], [-0.1]], np.float32)
    heard = prepare(x, RATE, Front(RATE, channels="first", remove_dc=True), generated=False)
    assert abs(heard.mean(dtype=np.float64)) < 1e-7
    np.testing.assert_allclose(heard, x[0] - x[0].mean(), atol=1e-6)


def test_peak_before_and_after_resampling_differ():
    x = np.zeros((1, 4_800), np.float32)
    x[0, 2_400] = 0.5
    level = 10 ** (-1 / 20)
    before, after = (
        np.abs(prepare(x, 48_000, own, generated=False)).max()
        for own in (Front(16_000, peak_before=-1.0), Front(16_000, peak_after=-1.0))
    )
    assert after == pytest.approx(level) and before == pytest.approx(level / 3, rel=0.05)


@pytest.mark.parametrize("key", FRONTS)
def test_silence_stays_silence(key):
    heard = prepare(np.zeros((2, RATE), np.float32), RATE, FRONTS[key], generated=True)
    assert not heard.any()


def test_cutting_and_padding():
    own = Front(RATE, at_most=0.3, at_least=0.2)
    assert prepare(CLIP, RATE, own, generated=False).shape == (round(0.3 * RATE),)
    short = prepare(CLIP[:, :100], RATE, own, generated=False)
    assert short.shape == (round(0.2 * RATE),) and not short[100:].any() and short[:100].any()
    exactly = prepare(np.ones((1, 11 * RATE), np.float32), RATE, FRONTS["av-bench", "passt"], generated=False)
    assert exactly.shape == (320_000,)


@pytest.mark.parametrize(
    ("key", "seconds"),
    [(("audioldm_eval-cnn14", "vggish"), 2), (("fadtk-1.1", "vggish"), 1), (("av-bench", "passt"), 10)],
)
def test_short_clips_are_padded_where_the_tool_pads(key, seconds):
    heard = prepare(CLIP[:, : RATE // 5], RATE, FRONTS[key], generated=False)
    assert len(heard) == seconds * FRONTS[key].rate


@pytest.mark.parametrize("key", FRONTS)
def test_odd_files(tmp_path, key):
    """8 bit, 96 kHz, 8 channels: read and heard like any other; loudness alone has no place for 8 channels."""
    x = np.tile(CLIP[:, : RATE // 2], (4, 1)).T
    soundfile.write(tmp_path / "a.wav", x, 96_000, subtype="PCM_U8")
    samples, rate = audio.read(tmp_path / "a.wav")
    assert samples.shape[0] == 8 and rate == 96_000
    own = FRONTS[key]
    if own.loudness is not None:
        with pytest.raises(UserError, match="8 channels"):
            prepare(samples, rate, own, generated=True)
    heard = prepare(samples, rate, own, generated=False)
    assert heard.shape[-1] >= round(len(x) / 96_000 * own.rate) - 1 and np.isfinite(heard).all() and heard.any()


def test_a_clip_too_short_for_its_loudness_is_refused():
    own = FRONTS["audiocraft-tf", "vggish"]
    with pytest.raises(UserError, match=r"0\.20 s: allowed .* 0\.4 s or more"):
        prepare(CLIP[:, : RATE // 5], RATE, own, generated=True)
    assert len(prepare(CLIP[:, : RATE // 5], RATE, own, generated=False)) == 3_200


def test_a_clip_of_inaudible_frequencies_is_refused():
    rumble = (4e-3 * np.sin(2 * np.pi * 5 * np.arange(RATE) / RATE)).astype(np.float32)[None]
    assert front.loudness(rumble, RATE) == -np.inf
    with pytest.raises(UserError, match="loud enough"):
        prepare(rumble, RATE, Front(RATE, loudness=-14.0), generated=True)


@pytest.mark.parametrize(
    "samples",
    [np.zeros((1, 0)), np.zeros((0, 5)), np.full((1, 9), np.nan), np.full((1, 9), np.inf), np.zeros((1, 2, 3))],
)
def test_no_samples_and_no_numbers_are_refused(samples):
    with pytest.raises(UserError, match="allowed is finite"):
        prepare(samples, RATE, Front(16_000), generated=False)


@pytest.mark.parametrize(("field", "value"), [("channels", "left"), ("resampler", "sox"), ("int16", ("dither",))])
def test_unknown_words_are_refused(field, value):
    with pytest.raises(UserError, match="Allowed"):
        prepare(CLIP, RATE, replace(Front(16_000), **{field: value}), generated=False)
