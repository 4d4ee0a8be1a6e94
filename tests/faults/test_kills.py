"""kill -9 in the middle of a run: the same command afterwards ends as if nothing had happened."""

import signal
import time

import faults_world
import pytest

from magnet_eval.cli import main
from magnet_eval.store import RunFolder

KILLS = [  # where it writes, after which share of its writes there, and how many seconds later
    ("/audio/", 0.4, 0.0),
    pytest.param("/clips.jsonl", 0.8, 0.001, marks=pytest.mark.slow),
    ("/cache/", 0.5, 0.002),
    ("/reports/", 0.5, 0.0),
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    faults_world.write(tmp_path, n=6)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The state that an uninterrupted run leaves, and the paths that it changed, in order."""
    home, log = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("log") / "changes.txt"
    faults_world.write(home, n=6)
    code, _, err = faults_world.call(home, "run", "protocol=stub", FAULT_LOG=str(log))
    assert code == 0, err
    return faults_world.state(home), [line.removeprefix(str(home)) for line in log.read_text().splitlines()]


@pytest.mark.parametrize(("place", "share", "seconds"), KILLS)
def test_a_killed_run_resumes_to_the_same_bytes(home, whole, capsys, place, share, seconds):
    state, changed = whole
    places = [number for number, path in enumerate(changed, start=1) if place in path]
    at = places[int(share * len(places))]
    code, _, err = faults_world.call(home, "run", "protocol=stub", FAULT=f"kill:{at}:{seconds}")
    assert code == -signal.SIGKILL, err
    assert faults_world.state(home) != state
    assert main(["run", "protocol=stub"]) == 0, capsys.readouterr().err
    assert faults_world.state(home) == state


def test_what_a_kill_left_half_written_is_gone_after_the_next_run(home, capsys):
    assert main(["run", "protocol=stub"]) == 0
    before = faults_world.state(home)
    (home / "results" / "stub-v1" / ".123-clips.jsonl.tmp").write_text("half a li")
    (home / "results" / "stub-v1" / "stub0" / "audio" / ".p000001.x.tmp").write_bytes(b"RIFF")
    (home / "results" / "cache" / ".123-0.npz.tmp").write_bytes(b"PK")
    assert main(["score", "protocol=stub"]) == 0
    assert faults_world.state(home) == before


def test_the_cache_is_not_tidied_under_another_run(home, capsys):
    assert main(["run", "protocol=stub"]) == 0
    unfinished = home / "results" / "cache" / ".123-0.npz.tmp"
    unfinished.write_bytes(b"PK")
    with RunFolder(home / "results" / "other-v1").lock():
        unfinished.write_bytes(b"PK")  # as that other run would
        assert main(["score", "protocol=stub"]) == 0
        assert unfinished.exists()
    assert main(["score", "protocol=stub"]) == 0
    assert not unfinished.exists()


def test_of_two_runs_on_one_folder_the_second_is_refused_and_the_first_goes_on(home, capsys):
    first = faults_world.start(home, "generate", "protocol=stub", "batch=1", FAKE_SECONDS="0.4")
    clips = home / "results" / "stub-v1" / "stub0" / "clips.jsonl"
    while not clips.exists() and first.poll() is None:
        time.sleep(0.01)
    for verb in ("generate", "score"):
        assert main([verb, "protocol=stub"]) == 2
        line = f"results/stub-v1 is in use by another run (process {first.pid}). Wait for it, end it, or choose another"
        assert line in capsys.readouterr().err
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert len(clips.read_text().splitlines()) == 6
