"""Full and read-only disks, jumping clocks, other settings: what is finished stays, and the run says what happened."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import faults_world
import pytest
from pipeline_fakes import Chords

from magnet_eval import config, pipeline
from magnet_eval.cli import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    faults_world.write(tmp_path, n=6)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(err: str) -> str:
    """The one line of a mistake."""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if not line.startswith("WARNING")]
    assert line.startswith("magnet-eval: cannot write ")
    return line


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The state that an undisturbed run leaves, and how many changes of files it took."""
    home, log = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("log") / "changes.txt"
    faults_world.write(home, n=6)
    assert faults_world.call(home, "run", "protocol=stub", FAULT_LOG=str(log))[0] == 0
    return faults_world.state(home), len(log.read_text().splitlines())


@pytest.mark.parametrize(
    "share", [pytest.param(0.1, marks=pytest.mark.slow), 0.4, pytest.param(0.85, marks=pytest.mark.slow)]
)
def test_a_disk_that_fills_up_at_any_write_keeps_what_is_finished(home, whole, capsys, share):
    state, n_changes = whole
    code, _, err = faults_world.call(home, "run", "protocol=stub", FAULT=f"full:{int(share * n_changes)}")
    assert code == 2
    line = "No space left on device. Finished work is kept; free some space and run the same command again."
    assert line in one_line(err)
    assert main(["run", "protocol=stub"]) == 0
    assert faults_world.state(home) == state


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_small_disk_of_its_own(home, whole, capsys):
    small = home / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        code, _, err = faults_world.call(home, "run", "protocol=stub", f"results={small}")
        assert code == 2
        assert "No space left on device" in one_line(err)
        subprocess.run(["mount", "-o", "remount,size=16m", str(small)], check=True)
        assert main(["run", "protocol=stub", f"results={small}"]) == 0
        shutil.copytree(small, home / "results")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert faults_world.state(home) == whole[0]


def test_a_folder_that_turns_read_only(home, capsys, monkeypatch):
    assert main(["generate", "protocol=stub"]) == 0
    before = faults_world.state(home)
    path_open = Path.open

    def read_only(path, mode="r", *rest, **more):
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return path_open(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", read_only)
    for verb in ("generate", "score", "report"):
        capsys.readouterr()
        assert main([verb, "protocol=stub"]) == 2
        assert "make it writable, or choose another folder" in one_line(capsys.readouterr().err)
    assert faults_world.state(home) == before


def test_a_clock_that_goes_back_changes_nothing(home, whole, capsys):
    code, _, err = faults_world.call(home, "run", "protocol=stub", FAULT="back:3600")
    assert code == 0, err
    for path in (home / "results").rglob("*"):
        os.utime(path, (0, 0))  # and files from before everything
    assert main(["run", "protocol=stub"]) == 0
    assert faults_world.state(home) == whole[0]
    history = json.loads((home / "results" / "stub-v1" / "manifest.json").read_text())["history"]
    assert [entry["stage"] for entry in history] == ["generate", "score"]  # the second run found all of it done


def test_another_seed_is_said_before_old_clips_go(home, capsys, caplog):
    assert main(["generate", "protocol=stub"]) == 0
    assert main(["generate", "protocol=stub"]) == 0
    assert not [record for record in caplog.records if "was made with" in record.message]
    assert main(["generate", "protocol=stub", "seed=1", "protocol.prompts.seconds=0.2"]) == 0
    (said,) = [record.message for record in caplog.records if "was made with" in record.message]
    assert said.startswith("results/stub-v1 was made with generation.seed=0 (now 1); prompts.seconds=0.1 (now 0.2). ")
    assert said.endswith("results=FOLDER starts afresh and keeps both.")


def test_another_model_is_said_with_its_setting(home, capsys, caplog):
    assert main(["generate", "protocol=stub"]) == 0
    model = home / "models" / "stub1.yaml"
    model.write_text(model.read_text().replace("0.07", "0.08"))
    assert main(["generate", "protocol=stub"]) == 0
    (said,) = [record.message for record in caplog.records if "was made with" in record.message]
    assert "stub1: noise=0.07" in said and "(now 0.08" in said and "stub0" not in said


def test_other_texts_are_said_and_the_old_audio_stays_until_the_new_is_there(home, capsys, caplog, monkeypatch):
    assert main(["run", "protocol=stub"]) == 0
    run = pipeline.RunFolder("results/stub-v1")
    old = {path: path.read_bytes() for path in run.path.glob("*/audio/*")}
    captions = home / "captions.jsonl"
    captions.write_text(captions.read_text().replace("melody", "tune", 3))
    monkeypatch.setattr(Chords, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.generate(stub())
    (said,) = [record.message for record in caplog.records if "are made anew" in record.message]
    assert said.startswith("results/stub-v1 holds other clips. Clips of other texts or settings are made anew")
    assert "3 of stub0, 3 of stub1" in said
    assert {path: path.read_bytes() for path in run.path.glob("*/audio/*")} == old
    assert not run.scores() and not run.clip_scores() and len(run.all_clips("stub1")) == 3


def interrupted(*_):
    raise KeyboardInterrupt


def stub(**options):
    return config.Run(config.load_protocol("stub"), **options)


def test_clips_of_two_seeds_are_never_scored_together(home, capsys, monkeypatch):
    monkeypatch.setenv("FAKE_CRASH_AT", "-1")
    pipeline.generate(stub())
    monkeypatch.setattr(Chords, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.generate(stub(seed=1))
    assert main(["score", "protocol=stub"]) == 2
    assert "generation.seed=1 (now 0)" in capsys.readouterr().err
    assert main(["score", "protocol=stub", "seed=1"]) == 2
    assert "holds no clip to score" in capsys.readouterr().err


def test_scores_go_with_their_clips_and_others_stay(home, capsys):
    assert main(["run", "protocol=stub"]) == 0
    run = pipeline.RunFolder("results/stub-v1")
    mine = [row for row in run.scores() if row.system == "stub0" and row.versus != "stub1"]
    model = home / "models" / "stub1.yaml"
    model.write_text(model.read_text().replace("0.07", "0.08"))
    assert main(["generate", "protocol=stub"]) == 0
    assert run.scores() == mine
    assert {row.system for row in run.clip_scores()} == {"stub0"}
    assert main(["generate", "protocol=stub", "seed=1"]) == 0
    capsys.readouterr()
    assert main(["report", "protocol=stub"]) == 0
    assert not run.scores() and "FAD" not in capsys.readouterr().out


def test_a_clip_made_again_as_it_was_keeps_its_scores(home, capsys):
    assert main(["run", "protocol=stub"]) == 0
    before = faults_world.state(home)
    (home / "results/stub-v1/stub0/audio/p000001.wav").unlink()
    assert main(["generate", "protocol=stub"]) == 0
    assert faults_world.state(home) == before


def test_fewer_systems_and_prompts_are_no_change(home, capsys, caplog):
    assert main(["generate", "protocol=stub"]) == 0
    assert main(["generate", "protocol=stub", "systems=[stub1]", "protocol.prompts.n=2"]) == 0
    assert not [record for record in caplog.records if "was made with" in record.message]
    assert pipeline.RunFolder("results/stub-v1").all_clips("stub0")
