"""The verb data: every clip judged, a manifest that the sources read, and a folder of audio left as it was."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from magnet_eval import cli, config
from magnet_eval.prompts import read_prompts, read_reference
from magnet_eval.store import ids_hash

DATA = Path(__file__).parents[1] / "data"
RATE = 8_000
WORDS = ["data", "prepare", "dataset=musiccaps", f"csv={DATA / 'musiccaps.csv'}", "audio=clips", "out=mc.jsonl"]
STATUSES = ("have", "missing", "wrong length", "silent", "duplicated", "unreadable")


def noise(path: Path, seconds: float = 10.0, peak: float = 0.1, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-peak, peak, round(seconds * RATE))
    soundfile.write(path, samples, RATE, subtype="FLOAT" if path.suffix == ".wav" else None)


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Of every file its hash and its time."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working directory with the clips of tests/data/musiccaps.csv, all of them well."""
    for seed, name in enumerate(("-invented01", "sub/_invented02", "invented-03_110", "invented_04", "invented005")):
        noise(tmp_path / "clips" / f"{name}.wav", seed=seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(*words: str) -> tuple[dict[str, dict], dict]:
    """The manifest by id, and the report."""
    assert cli.main([*WORDS, *words]) == 0
    lines = Path("mc.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}, json.loads(Path("mc.availability.json").read_text())


def test_what_is_well_is_had(home):
    before = snapshot(home / "clips")
    rows, report = prepared()
    assert snapshot(home / "clips") == before
    assert {row["status"] for row in rows.values()} == {"have"}
    assert rows["_invented02"] == {
        "id": "_invented02",
        "caption": 'Drums, no voice; the "groove" is steady.',
        "audio": "clips/sub/_invented02.wav",
        "start": 0.0,
        "end": 10.0,
        "split": "balanced",
        "sha256": before[str(home / "clips" / "sub" / "_invented02.wav")][0],
        "status": "have",
        "clip": "_invented02",
        "tags": {"vocals": "none"},
    }
    assert report["lists"]["eval"] == {"official": 2858, "clips": 3, "have": 3, **dict.fromkeys(STATUSES[1:], 0)}
    have = Path("mc.have.txt").read_text().split()
    assert have == [*rows] and report["have_ids_hash"] == ids_hash(have)


def corrupt(path: Path) -> None:
    path.write_bytes(b"RIFF, but no more of it")


def torn(path: Path) -> None:
    """A header that promises more samples than there are."""
    path.write_bytes(path.read_bytes()[: 4 * 4 * RATE])


def not_finite(path: Path) -> None:
    soundfile.write(path, np.full(10 * RATE, np.nan), RATE, subtype="FLOAT")


def as_m4a(path: Path) -> None:
    corrupt(path)
    path.rename(path.with_suffix(".m4a"))


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (lambda path: path.unlink(), "missing", "no file of its name"),
        (lambda path: noise(path, 9.4), "wrong length", "9.40 s instead of 10 s"),
        (lambda path: noise(path, 10.6), "wrong length", "10.60 s instead of 10 s"),
        (lambda path: noise(path, 10.4, seed=9), "have", ""),
        (torn, "wrong length", "4.* s instead of 10 s"),
        (lambda path: noise(path, peak=9e-4), "silent", "-60 dBFS"),
        (lambda path: noise(path, peak=2e-3), "have", ""),
        (lambda path: noise(path, 0), "unreadable", "holds no samples"),
        (corrupt, "unreadable", "cannot read"),
        (not_finite, "unreadable", "NaN"),
        (as_m4a, "unreadable", "cannot read"),
        (lambda path: shutil.copy(path.with_name("-invented01.wav"), path), "duplicated", "same bytes as -invented01"),
    ],
)
def test_what_is_wrong_with_a_clip(home, fault, status, reason):
    fault(home / "clips" / "invented005.wav")
    rows, report = prepared()
    assert rows["invented005"]["status"] == status
    assert {row["status"] for name, row in rows.items() if name != "invented005"} == {"have"}
    assert report["statuses"][status] == (5 if status == "have" else 1)
    assert sum(report["statuses"].values()) == report["n_clips"] == 5
    if status != "have":
        problem = report["problems"][0]
        assert (problem["clip"], problem["status"]) == ("invented005", status)
        assert re.search(reason, problem["reason"])
    assert ("invented005" in Path("mc.have.txt").read_text()) == (status == "have")


def test_the_tolerance_is_the_users(home):
    noise(home / "clips" / "invented005.wav", 7.0, seed=9)
    assert prepared("tolerance=3.1")[1]["statuses"]["have"] == 5


def test_the_answer_is_a_table_or_the_report(home, capsys):
    (home / "clips" / "invented005.wav").unlink()
    noise(home / "clips" / "stranger.wav")
    assert cli.main(WORDS) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["musiccaps", "all", "eval", "balanced"]
    counted = {line[:12].strip(): line[12:].split() for line in lines[:8]}
    assert counted["have"] == ["4", "3", "2"] and counted["missing"] == ["1", "0", "0"]
    assert counted["official"] == ["5,521", "2,858", "1,000"]
    report = json.loads(Path("mc.availability.json").read_text())
    assert lines[9:] == [
        "audio files of no clip: 1, e.g. clips/stranger.wav",
        "manifest: mc.jsonl",
        "report: mc.availability.json",
        f"ids of the clips at hand: mc.have.txt (hash {report['have_ids_hash']})",
    ]
    assert cli.main([*WORDS, "json=true"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_the_sources_read_the_manifest(home, caplog):
    (home / "clips" / "invented005.wav").unlink()
    noise(home / "clips" / "invented_04.wav", 3.0)
    prepared()
    prompts = read_prompts(config.Prompts(source="musiccaps", path="mc.jsonl"))
    of_csv = read_prompts(config.Prompts(source="musiccaps", path=str(DATA / "musiccaps.csv")))
    assert [(p.id, p.text, p.tags) for p in prompts] == [(p.id, p.text, p.tags) for p in of_csv]
    reference = read_reference(config.Reference(source="musiccaps", path="mc.jsonl"))
    assert [prompt.id for prompt in reference] == ["-invented01", "_invented02", "invented-03"]
    at_hand = read_prompts(config.Prompts(source="musiccaps", path="mc.jsonl", ids="mc.have.txt"))
    assert {prompt.id for prompt in at_hand} == {prompt.id for prompt in reference}
    (home / "clips" / "-invented01.wav").unlink()
    assert len(read_reference(config.Reference(source="musiccaps", path="mc.jsonl"))) == 2
    assert "mc.jsonl: 1 of its audio files are gone" in caplog.text


def test_a_manifest_moves_with_its_clips_and_can_be_prepared_again(home, monkeypatch):
    rows, _ = prepared()
    moved = home / "elsewhere"
    moved.mkdir()
    for name in ("clips", "mc.jsonl"):
        (home / name).rename(moved / name)
    assert len(read_reference(config.Reference(source="musiccaps", path=str(moved / "mc.jsonl")))) == 5
    monkeypatch.chdir(moved)
    before = Path("mc.jsonl").read_bytes()
    assert cli.main(["data", "prepare", "dataset=musiccaps", "csv=mc.jsonl", "out=mc.jsonl"]) == 0
    assert Path("mc.jsonl").read_bytes() == before


def test_without_audio_everything_is_missing(home):
    assert cli.main([*WORDS[:4], "split=balanced", "out=data/mc.jsonl"]) == 0
    rows = [json.loads(line) for line in Path("data/mc.jsonl").read_text().splitlines()]
    assert [(row["id"], row["status"], row["audio"]) for row in rows] == [
        ("_invented02", "missing", ""),
        ("invented-03", "missing", ""),
    ]
    assert Path("data/mc.have.txt").read_text() == ""


def test_five_captions_are_five_lines_of_one_clip(home, capsys):
    noise(home / "sounds" / "10777.wav")
    words = ["data", "prepare", "dataset=audiocaps", f"csv={DATA / 'audiocaps_test.csv'}", "audio=sounds"]
    assert cli.main([*words, "json=true"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_clips"], report["n_captions"], report["statuses"]["have"]) == (3, 15, 1)
    rows = [json.loads(line) for line in Path("data/audiocaps.jsonl").read_text().splitlines()]
    assert len([row for row in rows if row["status"] == "have"]) == 5
    path = "data/audiocaps.jsonl"
    for captions, n in (("one", 1), ("all", 5)):
        choices = {"source": "audiocaps", "path": path, "captions": captions, "ids": "data/audiocaps.have.txt"}
        assert len(read_prompts(config.Prompts(**choices))) == n
        assert len(read_reference(config.Reference(**choices))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out=clips/mc.jsonl"], "in the audio folder, where nothing is ever written"),
        (["out=clips/../clips/deep/mc.jsonl"], "in the audio folder"),
        (["audio=gone"], "there is no folder gone"),
        (["csv=gone.csv"], "there is no file gone.csv"),
        (["split=tset"], "unknown split of musiccaps 'tset'"),
        (["dataset=musicaps"], "Did you mean musiccaps"),
        (["tolerance=-1"], "tolerance must be at least 0"),
        (["action=prepair"], "unknown action 'prepair'. Did you mean prepare?"),
        (["adio=clips"], "Did you mean audio"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(home, capsys, words, message):
    before = snapshot(home)
    replaced = {word.partition("=")[0] for word in words}
    assert cli.main(["data", *(word for word in WORDS[2:] if word.partition("=")[0] not in replaced), *words]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.splitlines()[-1].startswith("magnet-eval: ")
    assert shown.out == "" and snapshot(home) == before


def test_data_without_a_data_set_says_what_to_type(home, capsys):
    assert cli.main(["data"]) == 2
    assert "data needs dataset=NAME" in capsys.readouterr().err
    assert cli.main(["data", "prepare", "dataset=musiccaps"]) == 2
    assert "data needs csv=FILE" in capsys.readouterr().err


def test_captions_that_cannot_be_generated_from_are_told_and_left_out(home, capsys):
    table = (DATA / "musiccaps.csv").read_text(encoding="utf-8").replace("is steady", "is \x07 steady")
    Path("bad.csv").write_text(table, encoding="utf-8")
    rows, report = prepared("csv=bad.csv")
    assert "control character" in report["unusable_captions"]["_invented02"]
    assert rows["_invented02"]["status"] == "have"  # its audio is
    assert Path("mc.have.txt").read_text().split() == [name for name in rows if name != "_invented02"]
    assert "caption _invented02 cannot be used" in capsys.readouterr().out
    chosen = config.Prompts(source="musiccaps", path="mc.jsonl", ids="mc.have.txt")
    assert len(read_prompts(chosen)) == len(rows) - 1
