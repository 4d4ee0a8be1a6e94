"""Results and data at a URL: the same bytes as on a disk, whole for a reader, one writer, nothing outside the copy."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from magnet_eval import cli, mirror, remote
from magnet_eval.lookup import UserError
from magnet_eval.records import Clip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(remote, "EVERY", 0.0)
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(params=["memory", pytest.param("file", marks=pytest.mark.slow)])
def url(request, tmp_path):
    return f"{request.param}://{tmp_path / 'bucket'}/results"


def there(url: str) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(url)
    return {path.removeprefix(root).lstrip("/"): fs.cat_file(path) for path in fs.find(root)}


def same(found: dict[str, bytes], folder: str) -> bool:
    """Whether all but manifests (with times and commands) is as in the runs of a folder on this disk."""
    paths = [path for path in Path(folder).glob("*-v1/**/*") if path.is_file() and not path.name.startswith(".")]
    expected = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return expected.keys() == found.keys() and all(
        found[name] == content for name, content in expected.items() if not name.endswith("manifest.json")
    )


def forget(tmp_path):
    """As on another machine: no copy here."""
    if (tmp_path / "xdg").exists():
        (tmp_path / "xdg").rename(tmp_path / f"xdg-{len(list(tmp_path.iterdir()))}")


def test_a_run_in_a_store_is_the_run_on_a_disk(calls, url, tmp_path, capsys):
    assert cli.main(["run", "protocol=fake"]) == 0
    assert cli.main(["run", "protocol=fake", f"results={url}"]) == 0
    assert same(there(url), "results")
    forget(tmp_path)
    calls.clear()
    assert cli.main(["run", "protocol=fake", f"results={url}"]) == 0
    assert calls["clips"] == 0 and same(there(url), "results")
    forget(tmp_path)
    assert cli.main(["report", f"run={url}/fake-v1", "protocol=fake"]) == 0
    assert not [name for name in there(url) if Path(name).name.startswith(".")]
    assert Path("reports/fake-v1.html").is_file() and not list(Path().glob("memory:*"))


def test_an_interrupted_run_goes_on_elsewhere(calls, url, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_CRASH_AT", "5")
    assert cli.main(["run", "protocol=fake", f"results={url}"]) == 130
    forget(tmp_path)
    monkeypatch.delenv("FAKE_CRASH_AT")
    made = calls["clips"]
    assert cli.main(["run", "protocol=fake", f"results={url}"]) == 0
    assert made == 8 and calls["clips"] == 12  # none is made twice
    assert cli.main(["run", "protocol=fake"]) == 0
    assert same(there(url), "results")


def test_a_killed_machine_loses_no_more_than_it_had_not_yet_sent(calls, url, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_CRASH_AT", "3")
    with monkeypatch.context() as patch:
        push, n_pushes = mirror.Mirror.push, []

        def once(self):
            n_pushes.append(1)
            if len(n_pushes) > 1:
                raise KeyboardInterrupt  # the network and the machine are gone
            push(self)

        patch.setattr(mirror.Mirror, "push", once)
        assert cli.main(["run", "protocol=fake", f"results={url}"]) == 130
    found = there(url)
    lines = [json.loads(line) for line in found["fake-v1/good/clips.jsonl"].splitlines()]
    assert [line["prompt_id"] for line in lines] == ["p0", "p1"]
    assert all(f"fake-v1/{line['path']}" in found for line in lines)
    assert "fake-v1/good/audio/p2.wav" not in found
    monkeypatch.delenv("FAKE_CRASH_AT")
    assert cli.main(["run", "protocol=fake", f"results={url}"]) == 0  # here, over what had not been sent
    assert cli.main(["run", "protocol=fake"]) == 0
    assert same(there(url), "results")


def test_what_is_damaged_or_pruned_here_or_there_is_mended_or_goes(calls, url, capsys):
    assert cli.main(["run", "protocol=fake", f"results={url}"]) == 0
    folder = remote.run_folder(f"{url}/fake-v1")
    (folder.path / "scores.jsonl").write_text("damaged")
    assert remote.run_folder(f"{url}/fake-v1").scores()
    assert cli.main(["prune", f"run={url}/fake-v1", "yes=true"]) == 0
    assert not [name for name in there(url) if name.endswith(".wav")]
    assert "fake-v1/scores.jsonl" in there(url)


def test_two_writers(calls, url, capsys):
    one, other = remote.RemoteRun(f"{url}/fake-v1"), remote.RemoteRun(f"{url}/fake-v1")
    other.path = other.path.with_name("on another machine")
    with one.lock(), pytest.raises(UserError, match=f"in use by another run .process {os.getpid()} on"), other.lock():
        pass
    with other.lock():  # the first has ended
        pass
    assert cli.main(["generate", "protocol=fake", f"results={url}"]) == 0


@pytest.mark.parametrize(("age", "free"), [(timedelta(minutes=1), False), (timedelta(minutes=16), True)])
def test_the_lock_of_a_machine_that_is_gone_ends(url, age, free):
    run = remote.RemoteRun(f"{url}/fake-v1")
    fs = run.mirror.fs
    fs.makedirs(run.mirror.root, exist_ok=True)
    at = (datetime.now(UTC) - age).isoformat(timespec="seconds")
    fs.pipe_file(run.lock_file, json.dumps({"host": "elsewhere", "process": 1, "at": at}).encode())
    if free:
        with run.lock():
            assert run.holder()["process"] == os.getpid()
        assert not run.holder()
    else:
        with pytest.raises(UserError, match="on elsewhere"), run.lock():
            pass
        assert run.holder()["host"] == "elsewhere"


def test_the_manifest_comes_last(calls, url, monkeypatch):
    sent = []
    upload = mirror.Mirror.upload
    monkeypatch.setattr(mirror.Mirror, "upload", lambda self, name: (sent.append(name), upload(self, name))[1])
    monkeypatch.setattr(remote, "EVERY", 1e9)
    run = remote.run_folder(f"{url}/x-v1")
    with run.lock():
        run.update_manifest(n=1)
        run.append_clips("good", [Clip("p0", "good", "good/audio/p0.wav", 8000, 10, 0, "", "")])
        (run.path / "good" / "audio").mkdir()
        run.audio("good", "p0").write_bytes(b"x")
    assert sent[-3:] == ["good/audio/p0.wav", "good/clips.jsonl", "manifest.json"]


def test_data_from_a_store(calls, url, tmp_path):
    fs, root = fsspec.core.url_to_fs(url)
    for path in Path("real").iterdir():
        fs.makedirs(f"{root}/real", exist_ok=True)
        fs.pipe_file(f"{root}/real/{path.name}", path.read_bytes())
    assert cli.main(["run", "protocol=fake"]) == 0
    words = [f"protocol.prompts.path={url}/real", f"protocol.reference.path={url}/real"]
    assert cli.main(["run", "protocol=fake", "results=other", *words]) == 0
    assert Path("other/fake-v1/scores.jsonl").read_bytes() == Path("results/fake-v1/scores.jsonl").read_bytes()
    alone = mirror.here(f"{url}/real/captions.jsonl")
    assert Path(alone).read_bytes() == Path("real/captions.jsonl").read_bytes()
    fs.pipe_file(f"{root}/real/captions.jsonl", b"{}\n")
    assert Path(mirror.here(f"{url}/real/captions.jsonl")).read_bytes() == b"{}\n"


@pytest.mark.parametrize("name", ["../../outside", "a/../../outside", "a\0b"])
def test_a_store_writes_nothing_outside_its_copy(tmp_path, monkeypatch, name):
    copy = mirror.Mirror("memory://bucket/run", mirror.home_of("memory://bucket/run"))
    files = {f"/bucket/run/{name}": {"size": 1}}
    monkeypatch.setattr(copy.fs, "find", lambda *args, **kwargs: files)
    monkeypatch.setattr(copy.fs, "get_file", lambda *args: pytest.fail("was fetched"))
    with pytest.raises(UserError, match="leads out of the folder"):
        copy.pull()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s4://bucket/results", "Protocol not known: s4"),
        ("s3://bucket/results", "pip install 'magnet-eval.s3.'|s3://bucket"),
        ("file:///proc/nowhere/results", "file:///proc/nowhere"),
    ],
)
def test_a_store_that_refuses_is_one_line(calls, capsys, place, message, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if place.startswith("s3"):
        monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    assert cli.main(["generate", "protocol=fake", f"results={place}"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1 and "Traceback" not in error


def test_a_sweep_and_no_data_are_told(calls, capsys):
    assert cli.main(["run", "-m", "protocol=fake", "results=memory://x", "seed=0,1"]) == 2
    assert "a sweep needs results=FOLDER" in capsys.readouterr().err
    assert cli.main(["run", "protocol=fake", "protocol.prompts.path=memory://nothing/here"]) == 2
    assert "there is nothing at memory://nothing/here" in capsys.readouterr().err
