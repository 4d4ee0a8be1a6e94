"""Clips as WAV or FLAC: the same samples, the same scores, and a run goes on with either."""

import shutil
from pathlib import Path

import numpy as np
import soundfile

from magnet_eval import audio, cli
from magnet_eval.study.packet.sounds import Sound, verified


def scores(folder: str) -> str:
    return Path(folder, "fake-v1", "scores.jsonl").read_text()


def test_both_formats_hold_the_same_16_bits(tmp_path):
    loud = np.random.default_rng(0).normal(0, 0.5, (2, 9001)).astype(np.float32)
    loud[:, :4] = 1.0, -1.0, -1e-12, 1 - 1e-7
    for kind in audio.FORMATS:
        audio.write(tmp_path / f"clip.{kind}", loud, 32000)
    wav, flac = (soundfile.read(tmp_path / f"clip.{kind}", dtype="int16") for kind in audio.FORMATS)
    assert np.array_equal(wav[0], flac[0]) and wav[1] == flac[1] == 32000
    soundfile.write(tmp_path / "plain.wav", loud.T.clip(-1, 1), 32000, "PCM_16")
    assert (tmp_path / "clip.wav").read_bytes() == (tmp_path / "plain.wav").read_bytes()
    assert soundfile.info(tmp_path / "clip.flac").format == "FLAC"
    assert np.array_equal(audio.read(tmp_path / "clip.wav")[0], audio.read(tmp_path / "clip.flac")[0])


def test_a_run_in_flac_scores_the_same_and_is_reported(calls, capsys):
    assert cli.main(["run", "protocol=fake", "results=wav"]) == 0
    assert cli.main(["run", "protocol=fake", "results=flac", "audio=flac"]) == 0
    assert scores("wav") == scores("flac")
    kept = sorted(path.name for path in Path("flac/fake-v1/good/audio").iterdir())
    assert kept == [f"p{i}.flac" for i in range(6)]
    page = Path("reports/fake-v1.html").read_text()
    assert "no clip" not in page and "cannot read" not in page
    assert cli.main(["compare", "runs=[wav/fake-v1,flac/fake-v1]", "results=both"]) == 0
    assert len([*Path("both/comparison").rglob("*.flac")]) == len([*Path("both/comparison").rglob("*.wav")]) == 12
    sound = Sound("x", Path("flac/fake-v1/good/audio/p0.flac"), "system", "")
    assert verified(sound)


def test_a_run_goes_on_in_the_other_format_without_making_clips_again(calls):
    assert cli.main(["generate", "protocol=fake", "systems=[good]"]) == 0
    shutil.copytree("results", "finished")
    Path("results/fake-v1/good/audio/p3.wav").unlink()
    calls.clear()
    assert cli.main(["run", "protocol=fake", "systems=[good]", "audio=flac"]) == 0
    assert calls["clips"] == 1
    names = {path.name for path in Path("results/fake-v1/good/audio").iterdir()}
    assert names == {"p0.wav", "p1.wav", "p2.wav", "p3.flac", "p4.wav", "p5.wav"}
    before, after = (soundfile.read(f"{run}/p3.{kind}")[0] for run, kind in (
        ("finished/fake-v1/good/audio", "wav"), ("results/fake-v1/good/audio", "flac")
    ))  # fmt: skip
    assert np.array_equal(before, after)


def test_a_format_that_there_is_not(calls, capsys):
    assert cli.main(["run", "protocol=fake", "audio=mp3"]) == 2
    assert "unknown audio 'mp3'" in capsys.readouterr().err


def test_clips_of_ones_own_texts(calls, capsys):
    assert cli.main(["generate", "model=good", "prompts=[waltz]", "seconds=0.2", "audio=flac"]) == 0
    made = Path(capsys.readouterr().out.strip())
    assert made.suffix == ".flac" and soundfile.info(made).format == "FLAC"
