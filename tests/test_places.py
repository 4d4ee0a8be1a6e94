"""What names a place: paths, URLs, and what is neither, refused in one line before anything is made."""

from pathlib import Path

import fsspec
import pytest

from magnet_eval import cli, config, places
from magnet_eval.lookup import UserError
from magnet_eval.prompts import read_prompts


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    yield
    fsspec.filesystem("memory").store.clear()


RUN = ["run", "protocol=fake"]
MUSICCAPS = ["dataset=musiccaps", "csv=table.csv"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*RUN, "results=memory://"], "results=memory:// names no folder in the store; add one, e.g. results="),
        ([*RUN, "results=file:///"], "add one, e.g. results=file:///home/me/results"),
        ([*RUN, "results=file://bucket"], "results=file:///bucket"),
        ([*RUN, "results=s3:/b/x"], "results=s3:/b/x is half a URL: a URL is results=s3://b/x"),
        ([*RUN, "results=file:/b/x"], "a URL is results=file:///b/x"),
        ([*RUN, "results="], "results is empty; give a path or a URL"),
        ([*RUN, "reports=file:///tmp/x"], "reports=file:///tmp/x is a URL; allowed is a path on this disk"),
        (["generate", "model=good", "prompts=[a]", "out=file:///tmp/x"], "out=file:///tmp/x is a URL"),
        (["report", "protocol=fake", "run=s3:/b/x"], "run=s3:/b/x is half a URL"),
        (["report", "protocol=fake", "run="], "run is empty"),
        (["compare", "runs=[results/a,s3:/b/x]"], "runs=s3:/b/x is half a URL"),
        (["data", "prepare", *MUSICCAPS, "audio=memory://x"], "audio=memory://x is a URL"),
        (["data", "prepare", *MUSICCAPS, "out=memory://x"], "out=memory://x is a URL"),
        (["data", "prepare", "dataset=musiccaps", "csv=memory://x/t.csv"], "there is nothing at memory://x/t.csv"),
        (["study", "prepare", "run=memory://x/y"], "run=memory://x/y is a URL; allowed is a path on this disk"),
        (["study", "analyse", "runs=[memory://x/y]"], "runs=memory://x/y is a URL"),
        (["study", "serve", "study=memory://x/y"], "study=memory://x/y is a URL"),
        (["list", "runs", "results=memory://x"], "there is nothing at memory://x"),
        (["run", "-m", "protocol=fake", "results=s3:/b", "seed=0,1"], "results=s3:/b is half a URL"),
        (["run", "-m", "protocol=fake", "reports=s3://b", "seed=0,1"], "reports=s3://b is a URL"),
        (["run", "-m", "protocol=fake", "results=", "seed=0,1"], "results is empty"),
        ([*RUN, "protocol.prompts.path=s3:/b/x"], "path=s3:/b/x is half a URL"),
    ],
)
def test_what_is_no_place_is_one_line_and_leaves_nothing(calls, capsys, words, message):
    before = set(Path().rglob("*"))
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error
    left = {path for path in Path().rglob("*") if path.parts[0] != "xdg"}
    assert left == before and calls["clips"] == 0


def test_a_model_is_on_this_disk(calls, capsys):
    Path("models/folder.yaml").write_text('{"family": "files", "folder": "memory://bucket/clips"}')
    assert cli.main([*RUN, "systems=[folder]"]) == 2
    assert "folder of model folder=memory://bucket/clips is a URL; allowed is a path" in capsys.readouterr().err
    Path("models/part.yaml").write_text('{"family": "masked", "checkpoint": "s3://bucket/model"}')
    assert cli.main([*RUN, "systems=[part]"]) == 2
    assert "s3://bucket/model is a URL; allowed is a path" in capsys.readouterr().err


def test_what_is_a_place():
    for place in ("results", "./s3:/x", "/a:b/c", "~/x", "s3://bucket", "memory://x", "file:///x", "hub:OWNER/NAME"):
        assert places.check("path", place) == place
    assert places.join("results/", "a-v1") == "results/a-v1"
    assert places.join("memory://x/", "a-v1") == "memory://x/a-v1"
    with pytest.raises(UserError, match="results is empty"):
        places.join("", "a-v1")


def test_list_runs_of_a_store_fetches_what_it_shows(calls, tmp_path, capsys):
    assert cli.main(["generate", "protocol=fake", "results=memory://bucket/results"]) == 0
    capsys.readouterr()
    assert cli.main(["list", "runs", "results=memory://bucket/results"]) == 0
    assert "memory://bucket/results/fake-v1" in capsys.readouterr().out
    assert not list((tmp_path / "xdg" / "magnet_eval" / "data").rglob("*.wav"))


def test_captions_in_a_store_come_with_their_audio(calls, tmp_path):
    fs = fsspec.filesystem("memory")
    for path in Path("real").glob("*.wav"):
        fs.pipe_file(f"/data/{path.name}", path.read_bytes())
    rows = ['{"id": "p0", "text": "one"}', '{"text": "two", "file": "deep/p1.wav"}', '{"id": "p2", "text": "three"}']
    fs.pipe_file("/data/deep/p1.wav", Path("real/p1.wav").read_bytes())
    fs.pipe_file("/data/captions.jsonl", "\n".join(rows).encode())
    settings = config.Prompts(source="jsonl", path="memory://data/captions.jsonl")
    found = [Path(prompt.reference) for prompt in read_prompts(settings)]
    assert [path.read_bytes() for path in found] == [Path(f"real/p{i}.wav").read_bytes() for i in range(3)]
    assert len(list((tmp_path / "xdg").rglob("*.wav"))) == 3  # p3 to p5 are nobody's
    fs.rm_file("/data/p2.wav")
    assert [bool(prompt.reference) for prompt in read_prompts(settings)] == [True, True, False]


def test_captions_of_audio_elsewhere_are_one_line(calls):
    fsspec.filesystem("memory").pipe_file("/data/captions.jsonl", b'{"text": "two", "file": "../p1.wav"}')
    with pytest.raises(UserError, match="line 1 names the audio '../p1.wav', which is not in"):
        read_prompts(config.Prompts(source="jsonl", path="memory://data/captions.jsonl"))
