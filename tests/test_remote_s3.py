"""Results in S3, as moto's server plays it on this machine: no two writers, and a run goes on elsewhere."""

import shutil
from pathlib import Path

import pytest

from magnet_eval import cli, remote
from magnet_eval.lookup import UserError

s3fs = pytest.importorskip("s3fs", reason="needs the extra s3")
server = pytest.importorskip("moto.server", reason="needs the package moto[server]")
pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(tmp_path, monkeypatch, request):
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"), ("XDG_CACHE_HOME", str(tmp_path / "xdg")),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = request.node.name.replace("_", "-")  # all servers of one process share their buckets
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}/results"
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def test_a_run_in_s3(calls, bucket, tmp_path, capsys):
    assert cli.main(["run", "protocol=fake"]) == 0
    assert cli.main(["run", "protocol=fake", f"results={bucket}"]) == 0
    shutil.rmtree(tmp_path / "xdg")
    calls.clear()
    assert cli.main(["run", "protocol=fake", f"results={bucket}"]) == 0
    assert calls["clips"] == 0
    folder = remote.run_folder(f"{bucket}/fake-v1")
    for name in ("scores.jsonl", "good/clips.jsonl", "noisy/audio/p3.wav"):
        assert (folder.path / name).read_bytes() == Path("results/fake-v1", name).read_bytes()
    assert cli.main(["run", "protocol=fake", "results=s3://nowhere/results"]) == 2
    error = capsys.readouterr().err
    assert "s3://nowhere/results/fake-v1: " in error and "Traceback" not in error


def test_two_writers_in_s3(calls, bucket):
    one, other = remote.RemoteRun(f"{bucket}/fake-v1"), remote.RemoteRun(f"{bucket}/fake-v1")
    other.path = other.path.with_name("on another machine")
    with one.lock(), pytest.raises(UserError, match="in use by another run"), other.lock():
        pass
    with one.lock(), pytest.raises(FileExistsError):  # the store itself refuses, at the same moment too
        other.mirror.fs.pipe_file(other.lock_file, other.life(), mode="create")
    assert not one.holder()
