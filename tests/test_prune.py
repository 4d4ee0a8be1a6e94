"""prune: says first, removes only what it named, and leaves a run that is reported and can be made whole again."""

import json
from pathlib import Path

import pytest

from magnet_eval import cli

RUN = Path("results/fake-v1")


@pytest.fixture
def run(calls):
    assert cli.main(["run", "protocol=fake"]) == 0
    calls.clear()
    return RUN


def answer(capsys, *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert cli.main(["prune", *words]) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def contents(*, without: str = "") -> dict[str, bytes]:
    files = (path for path in Path("results").rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): path.read_bytes() for path in files if not without or without not in path.parts}


def test_without_yes_it_only_says_what_it_would_free(run, capsys):
    before = contents()
    size = sum(path.stat().st_size for path in run.glob("*/audio/*"))
    assert f"would remove 12 files of audio, {size / 1e6:.1f} MB" in answer(capsys, f"run={run}")
    assert contents() == before


def test_audio_goes_and_scores_stay_and_the_report_says_why_there_are_no_players(run, capsys):
    before = contents(without="audio")
    assert "removed 12 files of audio" in answer(capsys, f"run={run}", "yes=true")
    after = contents()
    changed = {name for name in before if before[name] != after.get(name)}
    assert set(after) == set(before) and changed == {str(run / "manifest.json")}
    assert json.loads((run / "manifest.json").read_text())["pruned"]["audio"]["n_files"] == 12
    assert cli.main(["report", f"run={run}", "protocol=fake"]) == 0
    assert "removed by prune on" in Path("reports/fake-v1.html").read_text()
    assert "nothing to remove" in answer(capsys, f"run={run}", "yes=true")
    assert cli.main(["score", "protocol=fake"]) == 2  # and does not write scores of nothing
    assert (run / "scores.jsonl").read_bytes() == before[str(run / "scores.jsonl")]


def test_a_pruned_run_is_made_whole_again_bit_for_bit(run, calls, capsys):
    audio, scores = {k: v for k, v in contents().items() if "/audio/" in k}, (run / "scores.jsonl").read_bytes()
    answer(capsys, f"run={run}", "yes=true")
    assert cli.main(["run", "protocol=fake"]) == 0
    assert calls["clips"] == 12
    assert {k: v for k, v in contents().items() if "/audio/" in k} == audio
    assert (run / "scores.jsonl").read_bytes() == scores
    assert "removed by prune" not in Path("reports/fake-v1.html").read_text()


def test_the_cache_goes_alone(run, calls, capsys):
    before = contents(without="cache")
    Path("results/cache/notes.txt").write_text("mine")
    assert "so do the other runs" in answer(capsys, f"run={run}", "what=cache", "yes=true")
    assert [path.name for path in Path("results/cache").iterdir() if path.name != ".lock"] == ["notes.txt"]
    after = contents(without="cache")
    assert all(after[name] == before[name] for name in before if not name.endswith("manifest.json"))
    assert cli.main(["score", "protocol=fake"]) == 0
    assert calls["embedded"] > 0 and calls["clips"] == 0


def test_audio_that_is_a_link_to_elsewhere_is_left_alone(run, capsys, tmp_path):
    (run / "good" / "audio").rename(tmp_path / "elsewhere")
    (run / "good" / "audio").symlink_to(tmp_path / "elsewhere")
    assert "removed 6 files" in answer(capsys, f"run={run}", "yes=true")
    assert len(list((tmp_path / "elsewhere").iterdir())) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "prune needs run=FOLDER"),
        (["run=real"], "real is no run folder"),
        (["run=results/fake-v1", "what=scores"], "unknown what 'scores'"),
    ],
)
def test_mistakes(calls, capsys, words, message):
    assert message in answer(capsys, *words, code=2)
    assert len(list(Path("real").iterdir())) == 7
