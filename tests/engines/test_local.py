"""Processes of this machine: the same bytes however many there are, and whatever happens to them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from magnet_eval import engines, pipeline
from magnet_eval.engines import local
from magnet_eval.lookup import UserError

TESTS = Path(__file__).resolve().parents[1]


def test_two_processes_make_the_same_files_as_one(world):
    folder, files, failures = world("one")
    assert [clip.prompt_id for clip in folder.clips("plain")] == [f"p{i:02}" for i in range(12) if i != 5]
    assert [(row["system"], row["prompt_id"]) for row in failures] == [
        ("plain", "p05"),
        ("choir", "p04"),
        ("choir", "p05"),
    ]
    for workers in (2, 3):
        assert world(f"with {workers}", workers=workers)[1:] == (files, failures)


def test_an_interrupted_run_ends_up_the_same(world, monkeypatch):
    _, files, failures = world("whole")
    append = pipeline.RunFolder.append_clips
    calls = []

    def interrupted(self, system, clips):
        append(self, system, clips)
        calls.append(system)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.RunFolder, "append_clips", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world("halves", workers=2)
    lines = Path("halves/fake-v1/plain/clips.jsonl").read_text().splitlines()
    assert 4 <= len(lines) <= 6  # three batches of two, one of them perhaps with the clip that fails
    assert world("halves", workers=2)[1:] == (files, failures)


def test_a_killed_worker_costs_nothing(world, deadly, caplog):
    _, files, failures = world("killed", workers=2, systems=[deadly(once=True)])
    assert "worker" in caplog.text and "was killed, as the system does where memory runs out" in caplog.text
    assert not failures
    assert files == world("unharmed", systems=[deadly(once=True)])[1]


def test_a_clip_that_kills_every_worker_is_named_and_the_others_are_made(world, deadly):
    folder, _, failures = world("deadly", workers=2, systems=[deadly(once=False)])
    assert [row["prompt_id"] for row in failures] == ["p02", "p03"]  # its batch
    assert {row["reason"].partition(";")[0] for row in failures} == {"3 workers died of it"}
    assert len(folder.clips("fragile")) == 10


def test_a_model_that_cannot_be_loaded_ends_the_run(world, tmp_path):
    (tmp_path / "models" / "doomed.yaml").write_text(json.dumps({"family": "engine_fakes:Doomed"}))
    with pytest.raises(UserError, match="no worker can load the model: its process was killed"):
        world("doomed", workers=2, systems=["doomed"])


def test_errors_of_the_work_come_home_with_their_traceback(fakes_on_path):
    import engine_fakes

    engine = engines.build("local", 2)
    with pytest.raises(KeyError, match="boom") as raised:
        list(engine.map(engine_fakes.square, [1, "boom", 3], "cpu"))
    assert "engine_fakes.py" in "".join(raised.value.__notes__)


def test_workers_have_the_parents_threads_and_folder_and_a_process_each(fakes_on_path, tmp_path, monkeypatch):
    import engine_fakes
    import torch

    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen = [answer for _, answer in engines.build("local", 2).map(engine_fakes.where, range(8), "cpu")]
    finally:
        torch.set_num_threads(before)
    assert len({pid for pid, *_ in seen} - {os.getpid()}) == 2
    assert {rest[1:] for rest in seen} == {("cpu", 3, str(tmp_path))}
    ((_, (pid, *_)),) = engines.build("local", 1).map(engine_fakes.where, [0], "cpu")
    assert pid == os.getpid()


@pytest.mark.parametrize(
    ("n_gpus", "device", "workers", "expected"),
    [
        (0, "auto", None, ["auto"]),
        (0, "auto", 2, ["auto", "auto"]),
        (1, "auto", None, ["auto"]),
        (4, "auto", None, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        (4, "cuda", 2, ["cuda:0", "cuda:1"]),
        (2, "cuda", 3, ["cuda:0", "cuda:1", "cuda:0"]),
        (4, "cuda", 1, ["cuda"]),
        (4, "cuda:1", None, ["cuda:1"]),
        (4, "cpu", None, ["cpu"]),
    ],
)
def test_the_gpus_are_shared_out(monkeypatch, n_gpus, device, workers, expected):
    monkeypatch.setattr(local, "n_visible_gpus", lambda: n_gpus)
    assert local.devices_of(device, workers) == expected


@pytest.mark.slow
def test_workers_of_a_killed_run_end_by_themselves(fakes_on_path, tmp_path):
    code = (
        "import engine_fakes\nfrom magnet_eval import engines\n"
        "if __name__ == '__main__':\n"
        "    for _, (pid, *_) in engines.build('local', 2).map(engine_fakes.where, range(1000), 'cpu'):\n"
        "        print(pid, flush=True)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS / 'engines'}"}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as run:
        workers = {int(run.stdout.readline()) for _ in range(6)}
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_running(pid) for pid in workers)


def is_running(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("name", "workers", "words"),
    [
        ("rey", None, "unknown engine 'rey'. Did you mean ray?"),
        ("local", 0, "workers must be 1 to 10000, got 0"),
        ("nowhere:Engine", None, "engine 'nowhere:Engine' cannot be imported"),
    ],
)
def test_mistakes_are_named_before_anything_is_made(world, tmp_path, name, workers, words):
    with pytest.raises(UserError) as raised:
        world("results", engine=name, workers=workers)
    assert words in str(raised.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_trained_model_gives_the_same_bytes(world):
    _, files, _ = world("one", systems=["magnet-tiny"])
    assert world("two", workers=2, systems=["magnet-tiny"])[1] == files
