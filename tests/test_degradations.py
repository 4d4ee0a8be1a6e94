"""Planted degradations of real clips, through files, embeddings and scores: each metric orders what it can hear.

Systems are folders of audio. Some of the embedded real clips are the clean one, and themselves the pairs of KL; others
are the reference set. Noise and low-pass filters grow; captions are shuffled by dealing each clip to another prompt; a
collapsed system gives three clips for all prompts.

What each cannot hear is tested too. FAD, KAD and coverage look at sets, and do not know whose clip is whose. KL and
CLAP look at single clips, and do not know that a clip came before: they punish collapse as a wrong answer to most
prompts, no more than shuffling.
"""

import itertools
import json
from functools import partial

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt

from magnet_eval import audio, config, pipeline, zoo
from magnet_eval.metrics import METRICS

RATE = 16_000
SETS = ("fad_musicnn_tiny", "kad_musicnn_tiny", "coverage_musicnn_tiny")
PROMPTED = ("kl_mtt_tiny", "clap_tiny")
N, N_REFERENCE = 60, 140


def noise(decibels, clips, i):
    """With white noise at a signal-to-noise ratio."""
    rng = np.random.default_rng(i)
    level = np.sqrt(np.mean(clips[i] ** 2)) * 10 ** (-decibels / 20)
    return clips[i] + level * rng.standard_normal(len(clips[i]))


def low_pass(hertz, clips, i):
    return sosfiltfilt(butter(8, hertz, fs=RATE, output="sos"), clips[i])


def shuffled(clips, i):
    return clips[(i + 7) % len(clips)]


def collapsed(clips, i):
    return clips[i % 3]


KINDS = {
    "clean": lambda clips, i: clips[i],
    **{f"noise {level} dB": partial(noise, level) for level in (20, 10, 0)},
    **{f"below {hertz} Hz": partial(low_pass, hertz) for hertz in (4000, 2000, 1000)},
    "shuffled": shuffled,
    "collapsed": collapsed,
}


def scores(home, kinds, n, n_reference):
    """Scores and differences by (metric, system, versus), as a run of the systems ``kinds`` gives them."""
    place = zoo.root() / "models" / "tiny" / "reference"
    rows = [json.loads(line) for line in (place / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [{**row, "file": str(place / row["file"])} for row in rows]
    for name, part in (("prompts", rows[:n]), ("real", rows[-n_reference:])):
        (home / name).mkdir(exist_ok=True)
        (home / name / "captions.jsonl").write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
    clips = [audio.load_mono(row["file"], RATE) for row in rows[:n]]
    for kind in kinds:
        (home / kind).mkdir(exist_ok=True)
        for i, row in enumerate(rows[:n]):
            soundfile.write(home / kind / f"{row['id']}.wav", KINDS[kind](clips, i), RATE, subtype="FLOAT")
    protocol = config.Protocol(
        version=1,
        name="degradations",
        systems=[config.System("files", label=kind, set={"folder": str(home / kind)}) for kind in kinds],
        prompts=config.Prompts(source="folder", path=str(home / "prompts"), seconds=5),
        reference=config.Reference(source="folder", path=str(home / "real")),
        metrics={name: config.MetricChoice() for name in (*SETS, *PROMPTED)},
    )
    folder = pipeline.run(config.Run(protocol=protocol, results=str(home / "results")))
    assert not folder.failures()
    return {(row.metric, row.system, row.versus): row for row in folder.scores()}


def is_worse(rows, metric, system, versus):
    """Whether a system is worse than another by more than chance, which it must not be better by."""
    row = rows[metric, system, versus]
    assert row.value == pytest.approx(rows[metric, system, ""].value - rows[metric, versus, ""].value)
    assert (row.value > 0) == (METRICS[metric].better == "lower"), (metric, system, versus)
    return row.p_value < 0.05


def check_shuffled_and_collapsed(rows):
    for metric in SETS:
        shuffled, clean = rows[metric, "shuffled", ""], rows[metric, "clean", ""]
        assert shuffled.value == pytest.approx(clean.value, abs=1e-6)
        assert rows[metric, "shuffled", "clean"].p_value > 0.5
    assert all(is_worse(rows, metric, "shuffled", "clean") for metric in PROMPTED)
    assert all(is_worse(rows, metric, "collapsed", "clean") for metric in (*SETS, *PROMPTED))


@pytest.mark.slow
def test_a_few_clips_tell_noise_from_music_shuffled_from_right_and_three_from_many(tmp_path):
    rows = scores(tmp_path, ("clean", "noise 0 dB", "shuffled", "collapsed"), n=16, n_reference=24)
    assert all(is_worse(rows, metric, "noise 0 dB", "clean") for metric in (*SETS, *PROMPTED))
    check_shuffled_and_collapsed(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "too_alike"),
    [
        (("clean", "noise 20 dB", "noise 10 dB", "noise 0 dB"), ()),
        # musicnn's tags hardly change when what is left between 1 and 2 kHz goes too
        (("clean", "below 4000 Hz", "below 2000 Hz", "below 1000 Hz"), [("kl_mtt_tiny", "below 1000 Hz")]),
    ],
)
def test_every_step_is_heard(tmp_path, steps, too_alike):
    rows = scores(tmp_path, steps, N, N_REFERENCE)
    for metric in (*SETS, *PROMPTED):
        for better, worse in itertools.pairwise(steps):
            assert is_worse(rows, metric, worse, better) or (metric, worse) in too_alike
            assert is_worse(rows, metric, worse, "clean")
    for name in ("fad_musicnn_tiny", "kad_musicnn_tiny"):  # real clips, held out: no worse than the floor
        assert rows[name, "clean", ""].low < rows[name, "clean", ""].floor < rows[name, steps[-1], ""].low


@pytest.mark.slow
def test_shuffled_captions_and_mode_collapse(tmp_path):
    rows = scores(tmp_path, ("clean", "shuffled", "collapsed"), N, N_REFERENCE)
    check_shuffled_and_collapsed(rows)
    assert rows["coverage_musicnn_tiny", "collapsed", ""].value < 0.3 < rows["coverage_musicnn_tiny", "clean", ""].low
    cosine = {name: rows["clap_tiny", name, ""] for name in ("clean", "shuffled", "collapsed")}
    assert cosine["collapsed"].high < cosine["clean"].low
    # the text control says of the clean clips what the shuffled system shows
    assert rows["clap_tiny_shuffled", "clean", ""].value == pytest.approx(cosine["shuffled"].value, abs=0.1)
    assert rows["kl_mtt_tiny", "collapsed", ""].value < rows["kl_mtt_tiny", "shuffled", ""].value
