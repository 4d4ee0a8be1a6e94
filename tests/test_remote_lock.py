"""The lock of a run in a store: whose it is, when it ends, and what its loser leaves alone."""

import json
import multiprocessing
import os
import platform
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import fsspec
import pytest

from magnet_eval import remote
from magnet_eval.lookup import UserError
from magnet_eval.records import Clip
from magnet_eval.store import DiskError

URL = "memory://bucket/x-v1"
CLIP = Clip("p0", "good", "good/audio/p0.wav", 8000, 10, 0, "", "")
FRESH, OLD = timedelta(minutes=1), timedelta(minutes=16)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(remote, "EVERY", 0.0)
    yield
    fsspec.filesystem("memory").store.clear()


def at(age: timedelta) -> str:
    return (datetime.now(UTC) - age).isoformat(timespec="seconds")


def taken_over(run: remote.RemoteRun) -> bytes:
    """Another run takes the lock and writes its list of clips; its lock."""
    lock = json.dumps({"host": "elsewhere", "process": 7, "id": "another", "at": at(timedelta())}).encode()
    run.mirror.fs.pipe_file(run.lock_file, lock)
    run.mirror.fs.pipe_file(f"{run.mirror.root}/good/clips.jsonl", b"the other's")
    return lock


def test_a_run_that_has_lost_its_lock_sends_and_removes_nothing():
    run = remote.RemoteRun(URL)
    with pytest.raises(DiskError, match="taken over by another run .process 7 on elsewhere") as error, run.lock():
        run.append_clips("good", [CLIP])
        lock = taken_over(run)
        run.append_clips("good", [CLIP])
        pytest.fail("it went on")
    assert "\n" not in str(error.value)
    fs = run.mirror.fs
    assert fs.cat_file(run.lock_file) == lock
    assert fs.cat_file(f"{run.mirror.root}/good/clips.jsonl") == b"the other's"


def test_at_the_end_too():
    run = remote.RemoteRun(URL)
    with pytest.raises(DiskError, match="taken over"), run.lock():
        run.update_manifest(n=1)
        lock = taken_over(run)
    assert run.mirror.fs.cat_file(run.lock_file) == lock
    assert not run.mirror.fs.exists(f"{run.mirror.root}/manifest.json")


def beats(run: remote.RemoteRun, n: int) -> int:
    """Beats that many times unless the beat ends itself; how many signs of life there were."""
    waits = iter([*[False] * n, True])
    run.beat(SimpleNamespace(wait=lambda seconds: next(waits)))
    return n - len(list(waits))


def test_a_beat_renews_its_own_lock_and_no_other():
    run = remote.RemoteRun(URL)
    with pytest.raises(DiskError, match="taken over"), run.lock():
        run.mirror.fs.pipe_file(run.lock_file, json.dumps({**run.me, "at": at(OLD)}).encode())
        assert beats(run, 2) == 2 and run.holder()["at"] > at(FRESH)
        lock = taken_over(run)
        assert beats(run, 2) == 0  # it ends at its first look
        assert run.mirror.fs.cat_file(run.lock_file) == lock


def ended() -> dict[str, object]:
    """What a process of this machine that has ended put into its lock."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(remote.identity)
        pool.close()
        pool.join()
    return found


def changed(**fields: object) -> dict[str, object]:
    return {**remote.identity(), **fields}


@pytest.mark.parametrize(
    ("holder", "age", "over"),
    [
        (changed(), OLD, False),  # alive, as its process shows
        (ended, FRESH, True),
        (changed(started="1"), FRESH, True),  # another process has its number now
        (changed(boot="another"), FRESH, False),  # the machine of this name has started again, or is another one
        (changed(boot="another"), OLD, True),
        (changed(spaces=["pid:[1]", ""], process=2**22), FRESH, False),  # in a container: its number says nothing here
        (changed(spaces=["pid:[1]", ""]), OLD, True),
        ({"host": platform.node(), "process": os.getpid()}, OLD, True),  # a lock of earlier versions
        ({"host": platform.node(), "process": 2**22}, FRESH, False),
        (changed(process=-1), FRESH, False),
        (changed(process="1"), OLD, True),
    ],
)
def test_a_holder_is_gone_where_its_process_or_the_age_says_so(holder, age, over):
    if not remote.boot():
        pytest.skip("needs a kernel with boot ids")
    holder = holder() if callable(holder) else holder
    assert remote.is_over({**holder, "at": at(age)}) is over


def test_without_boot_ids_the_age_decides(monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "BOOT", tmp_path / "none")
    assert remote.is_over({**remote.identity(), "at": at(OLD)})
    assert not remote.is_over({**remote.identity(), "process": 2**22, "at": at(FRESH)})


def test_half_a_lock_ends_with_its_age(monkeypatch):
    run = remote.RemoteRun(URL)
    run.mirror.fs.pipe_file(run.lock_file, b'{"host": "else')
    with pytest.raises(UserError, match="in use by another run .process unknown on unknown, last sign of life 2"):
        run.claim()
    monkeypatch.setattr(type(run.mirror.fs), "modified", lambda *_: datetime.now(UTC) - OLD)
    with run.lock():
        assert run.is_own(run.holder())


def test_readers_leave_the_copy_alone_while_a_run_is_at_work_in_it():
    run = remote.RemoteRun(URL)
    with run.lock():
        run.write_clips("good", [CLIP])
        assert remote.run_folder(URL).all_clips("good")
        run.mirror.fs.pipe_file(f"{run.mirror.root}/late.txt", b"x")
        assert not (remote.run_folder(URL).path / "late.txt").exists()
    assert (remote.run_folder(URL).path / "late.txt").exists()
