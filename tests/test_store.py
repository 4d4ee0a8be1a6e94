"""Run folders: keys see content, writes are whole or absent, torn lines and dead processes do no harm."""

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from magnet_eval.lookup import UserError
from magnet_eval.records import ClipScore, Prompt, Score
from magnet_eval.store import DiskError, RunFolder, append_lines, content_key, ids_hash, read_lines, write_atomic


def prompts(*names: str) -> list[Prompt]:
    return [Prompt(id=name, text=f"text of {name}", seconds=1.0) for name in names]


def score(metric: str, value: float = 1.0) -> Score:
    return Score("p", 1, "s", metric, metric, value, "", "lower", 3)


def test_content_key_sees_content_and_only_content():
    key = content_key("a", 1, {"x": 1, "y": [2.0, None]})
    assert key == content_key("a", 1, {"y": [2.0, None], "x": 1})
    assert key != content_key("a", 1, {"x": 1, "y": [2.5, None]})
    assert key != content_key("a", "1", {"x": 1, "y": [2.0, None]})
    assert content_key("ab", "c") != content_key("a", "bc")
    with pytest.raises((TypeError, ValueError)):
        content_key(float("nan"))


def test_ids_hash_is_of_the_set():
    assert ids_hash(["b", "a"]) == ids_hash(["a", "b"]) != ids_hash(["a", "c"])


def test_write_atomic_replaces_and_leaves_nothing_beside(tmp_path: Path):
    path = tmp_path / "new" / "x.json"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_refusing_disk_is_one_line_and_the_old_file_stays(tmp_path: Path, monkeypatch, code: int):
    path = tmp_path / "x.json"
    write_atomic(path, "old")

    def refuse(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskError, match=os.strerror(code)) as caught:
        write_atomic(path, "new")
    assert "\n" not in str(caught.value)
    assert ("free some space" in str(caught.value)) == (code == errno.ENOSPC)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_results_folder_that_cannot_be_made_is_a_user_error(tmp_path: Path):
    (tmp_path / "results").write_text("a file in the way")
    with pytest.raises(UserError, match="results=FOLDER"), RunFolder.of(tmp_path / "results", "p", 1).lock():
        pass


def test_a_torn_last_line_is_left_out_and_overwritten(tmp_path: Path, caplog):
    path = tmp_path / "prompts.jsonl"
    append_lines(path, prompts("a", "b"))
    with path.open("a") as file:
        file.write('{"id": "c", "te')
    with caplog.at_level(logging.WARNING):
        assert read_lines(Prompt, path) == prompts("a", "b")
    assert "line 3" in caplog.text
    append_lines(path, prompts("c"))
    assert read_lines(Prompt, path) == prompts("a", "b", "c")
    assert path.read_text().count("\n") == 3


def test_lines_of_zeros_or_of_another_kind_are_left_out(tmp_path: Path):
    path = tmp_path / "prompts.jsonl"
    append_lines(path, prompts("a"))
    with path.open("ab") as file:
        file.write(b"\0" * 20 + b"\n" + b"\xff\xfe\n" + b'{"other": 1}\n' + b"[1]\n")
    append_lines(path, prompts("b"))
    assert read_lines(Prompt, path) == prompts("a", "b")


def test_a_missing_file_has_no_lines(tmp_path: Path):
    assert read_lines(Prompt, tmp_path / "none.jsonl") == []


def test_scores_of_other_verbs_survive(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    run.replace_scores([score("latency")], lambda row: row.metric == "latency")
    run.replace_scores([score("fad", 1.0)], lambda row: row.metric == "fad")
    run.replace_scores([score("fad", 2.0)], lambda row: row.metric == "fad")
    assert run.scores() == [score("fad", 2.0), score("latency")]


def test_clip_scores_come_back(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    rows = [ClipScore("s", "ä", "m", 0.1)]
    run.write_clip_scores(rows)
    assert run.clip_scores() == rows


def test_failures_are_replaced_stage_by_stage(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    run.update_manifest(command="x")
    run.set_failures("generate", [{"system": "a", "prompt_id": "1", "reason": "no"}])
    run.set_failures("score", [{"system": "a", "prompt_id": "2", "reason": "no"}])
    run.set_failures("generate", [])
    assert run.failures() == [{"stage": "score", "system": "a", "prompt_id": "2", "reason": "no"}]
    assert run.manifest()["command"] == "x"


def test_a_damaged_manifest_says_what_to_do(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    run.update_manifest(command="x")
    (run.path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="Remove it and run again"):
        run.manifest()


HOLDER = """
import sys, time
from magnet_eval.store import RunFolder
with RunFolder(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time_and_a_dead_one_holds_nothing(tmp_path: Path):
    run = RunFolder(tmp_path / "run")
    root = Path(__file__).resolve().parents[1]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.path)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"in use by another run .process {holder.pid}."), run.lock():
            pass
    finally:
        holder.kill()
        holder.wait()
    with run.lock():
        assert (run.path / ".lock").read_text() == f"{os.getpid()}\n"


def test_environment_names_machine_packages_and_commit_without_importing_them():
    code = "import sys, json; from magnet_eval.environment import environment; e = environment();"
    code += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules; print(json.dumps(e))"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    facts = json.loads(done.stdout)
    assert facts["hardware"]["cores"] >= 1
    assert facts["hardware"]["cpu"]
    assert "numpy" in facts["packages"]
    assert isinstance(facts["commit"], str)
