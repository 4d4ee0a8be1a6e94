import numpy as np
import pytest
from scipy.signal import freqz

from magnet_eval import audio
from magnet_eval.lookup import UserError
from magnet_eval.study.packet import headphones, levels, sounds
from magnet_eval.study.packet.anchors import ANCHORS, LEAST_RATE, anchor, low_pass
from magnet_eval.study.packet.sounds import Format, Sound

RATE = 16000


def tone(hz, seconds=1.0, rate=RATE, level=0.25):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate))[None].astype(np.float32)


@pytest.mark.parametrize("role", ANCHORS)
@pytest.mark.parametrize("rate", [12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000])
def test_anchors_meet_the_mask_of_bs1534(role, rate):
    if rate < LEAST_RATE[role]:
        pytest.skip("no such anchor at this rate")
    hz, gain = freqz(low_pass(ANCHORS[role], rate), worN=1 << 15, fs=rate)
    decibels = 20 * np.log10(abs(gain) + 1e-9)
    assert abs(decibels[hz <= ANCHORS[role]]).max() < 0.1
    assert decibels[hz >= ANCHORS[role] + 500].max() < -25
    assert decibels[hz >= ANCHORS[role] + 1000].max() < -50


def test_anchors_are_neither_late_nor_early_nor_longer():
    x = tone(1000)
    heard = anchor(x, RATE, "anchor35")
    assert heard.shape == x.shape and heard.dtype == np.float32
    assert abs(heard - x)[:, 200:-200].max() < 1e-3
    assert abs(anchor(tone(5000), RATE, "anchor35"))[:, 200:-200].max() < 1e-3
    both = np.concatenate([tone(440), tone(3000)])
    assert np.allclose(anchor(both, RATE, "anchor35")[1], anchor(both[1:], RATE, "anchor35")[0])


def test_true_peak_is_found_between_samples():
    # A quarter of the rate, an eighth of a period late: all samples are at 0.707 of the peak.
    x = (0.5 * np.sin(np.pi / 2 * np.arange(RATE) + np.pi / 4))[None].astype(np.float32)
    assert 20 * np.log10(abs(x).max()) == pytest.approx(-9.03, abs=0.01)
    assert levels.true_peak(x, RATE) == pytest.approx(-6.02, abs=0.1)
    spike = np.zeros((1, RATE), dtype=np.float32)
    spike[0, 0] = 0.9  # at the very end
    assert levels.true_peak(spike, RATE) > 20 * np.log10(0.9) - 1e-4


def test_one_loudness_is_set_by_the_clip_with_the_highest_peaks():
    found = {"flat": levels.Level(-20, -10, 0), "spiky": levels.Level(-30, -2, 0)}
    target = levels.common_loudness(found, most=-14)
    assert target == pytest.approx(-30 + 2 - 1 - levels.SPARE)
    assert levels.common_loudness({"flat": found["flat"]}, most=-14) == -14


def test_silent_and_very_short_clips_have_no_loudness():
    with pytest.raises(UserError, match="alpha, prompt 1 is silent.*leave_out"):
        levels.measure(np.zeros((1, RATE), dtype=np.float32), RATE, "alpha, prompt 1")
    with pytest.raises(UserError, match="0.10 s long"):
        levels.measure(tone(440, 0.1), RATE, "alpha, prompt 1")


def test_clipped_samples_are_counted_in_runs():
    x = tone(440, level=0.5)
    x[0, 100:105] = 1.0
    x[0, 300] = -1.0  # one alone is only a peak
    assert levels.measure(x, RATE, "x").clipped == 4


@pytest.fixture
def sound(tmp_path):
    def make(samples, name="x", rate=RATE, role="system"):
        audio.write(tmp_path / f"{name}.wav", samples, rate)
        return Sound(name, tmp_path / f"{name}.wav", role, "")

    return make


def test_rendering_fades_both_ends_and_keeps_the_rest(sound):
    form = Format(RATE, 1, 12000)
    heard = sounds.rendered(sound(tone(440)), form)
    assert heard.shape == (1, 12000) and heard[0, 0] == 0 and abs(heard[0, -1]) < 1e-3
    assert np.allclose(heard[:, 80:-80], tone(440)[:, 80 : 12000 - 80], atol=1e-4)


def test_rates_and_channels_come_to_the_best_of_the_systems(sound):
    clips = [sound(tone(440), "low"), sound(np.repeat(tone(440, rate=32000), 2, axis=0), "high", 32000)]
    clips.append(sound(tone(440, rate=48000), "real", 48000, "gold"))
    form = sounds.format_of(clips)
    assert form == Format(32000, 2)
    for clip in clips:
        assert abs(sounds.conformed(clip, form).shape[1] - 32000) <= 1
        assert sounds.conformed(clip, form).shape[0] == 2


@pytest.mark.parametrize("delay", [-300, -1, 0, 1, 77, 700])
def test_a_version_of_the_reference_is_brought_into_time_with_it(sound, delay):
    rng = np.random.default_rng(0)
    x = 0.1 * rng.standard_normal((1, RATE)).astype(np.float32)
    late = np.roll(x, delay, axis=1) + 0.02 * rng.standard_normal((1, RATE)).astype(np.float32)
    form = Format(RATE, 1, 12000)
    found = sounds.aligned(sound(late, "late"), sound(x, "reference", role="reference"), form)
    assert found.offset == delay
    heard, reference = sounds.rendered(found, form), sounds.rendered(sound(x, "reference"), form)
    inner = slice(800, -800)
    assert np.corrcoef(heard[0, inner], reference[0, inner])[0, 1] > 0.95


def test_another_clip_altogether_stays_where_it_is(sound):
    rng = np.random.default_rng(0)
    a, b = (0.1 * rng.standard_normal((1, RATE)) for _ in range(2))
    assert sounds.aligned(sound(a, "a"), sound(b, "b"), Format(RATE, 1)).offset == 0


def test_lengths(sound):
    form = Format(RATE, 1)
    clips = [sound(tone(440, seconds), f"{seconds:g}") for seconds in (1.0, 0.95, 2.0)]
    assert sounds.length(clips, form, None, longest=60) == round(0.95 * RATE)
    assert sounds.length(clips, form, 0.5, longest=60) == RATE // 2
    assert sounds.length(clips, form, None, longest=0.6) == round(0.6 * RATE)
    with pytest.raises(UserError, match=r"0\.95 has 0\.95 s, shorter than seconds=1"):
        sounds.length(clips, form, 1.0, longest=60)
    short = [*clips, sound(tone(440, 0.5), "short")]
    with pytest.raises(UserError, match=r"short is 0\.50 s long, the clips' median is .* leave_out.*seconds=0\.50"):
        sounds.length(short, form, None, longest=60)


def test_written_files_are_header_and_samples_alone(tmp_path):
    path = tmp_path / "x.wav"
    x = np.array([[0.0, 0.5, -1.0, 1.5]], dtype=np.float32)
    sounds.write_wav(path, x, RATE)
    assert path.stat().st_size == 44 + 8 and path.stat().st_mtime == sounds.MTIME
    samples, rate = audio.read(path)
    assert rate == RATE and samples[0].tolist() == [0, 0.5, -1, 32767 / 32768]


def test_huggins_pitch_is_in_one_noise_and_between_the_ears_only():
    rng = np.random.default_rng(0)
    x = headphones.trial(rng, RATE, answer=2)
    noises = [x[:, start : start + RATE] for start in (0, RATE * 3 // 2, RATE * 3)]
    assert x.shape == (2, RATE * 4) and abs(x).max() < 1
    differ = [abs(np.fft.rfft(left - right)) for left, right in noises]
    assert [spectrum.max() > 1 for spectrum in differ] == [False, True, False]
    hz = np.fft.rfftfreq(RATE, 1 / RATE)
    assert hz[differ[1].argmax()] == pytest.approx(600, abs=40)
    assert differ[1][abs(hz - 600) > 45].max() < 0.2 * differ[1].max()
    powers = [np.mean(noise[0] ** 2) / np.mean(noise[1] ** 2) for noise in noises]
    assert powers == pytest.approx([1, 1, 1], abs=0.02)  # either ear alone hears no difference
