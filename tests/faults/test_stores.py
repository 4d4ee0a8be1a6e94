"""Two processes on one run in a store, and the SIGTERM that announces the end of a machine."""

import json
import signal
import time
from pathlib import Path

import faults_world
import pytest

from magnet_eval.cli import main
from magnet_eval.remote import run_folder

SLOW = "0.3"  # seconds that a batch of 4 takes, of which there are four


@pytest.fixture
def home(tmp_path, monkeypatch):
    faults_world.write(tmp_path, n=8)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path


def begun(home: Path, *words: str):
    """A slow ``generate`` in a process of its own that has finished its first clips here."""
    process = faults_world.start(home, "generate", "protocol=stub", *words, FAKE_SECONDS=SLOW)
    until = time.monotonic() + 60
    while not any(home.rglob("clips.jsonl")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    return process


def whole_clips(run: Path) -> int:
    """How many clips are on record in a run folder, each of which has its file."""
    lines = [json.loads(line) for file in run.glob("*/clips.jsonl") for line in file.read_text().splitlines()]
    assert all((run / line["path"]).is_file() for line in lines)
    return len(lines)


def test_a_second_command_leaves_what_the_first_has_made(home, capsys):
    url = f"file://{home}/bucket"
    process = begun(home, f"results={url}")
    process.send_signal(signal.SIGSTOP)  # so that the others surely meet it at work
    assert main(["generate", "protocol=stub", f"results={url}"]) == 2
    error = capsys.readouterr().err
    assert f"in use by another run (process {process.pid})" in error and error.count("\n") == 1
    assert main(["prune", f"run={url}/stub-v1"]) == 2
    assert run_folder(f"{url}/stub-v1").clips("stub0")  # as report and compare read it
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert whole_clips(home / "bucket" / "stub-v1") == 16
    assert json.loads((home / "bucket" / "stub-v1" / "manifest.json").read_text())["failures"] == []


@pytest.mark.parametrize("results", ["results", "file://{}/bucket"])
def test_sigterm_ends_a_run_cleanly(home, capsys, results):
    results = results.format(home)
    process = begun(home, f"results={results}")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "the same command goes on from here" in err and "Traceback" not in err
    run = home / Path(results).name / "stub-v1"
    assert 4 <= whole_clips(run) < 16
    if "://" in results:
        assert not (run / ".lock").exists()
    assert main(["generate", "protocol=stub", f"results={results}"]) == 0
    assert whole_clips(run) == 16
