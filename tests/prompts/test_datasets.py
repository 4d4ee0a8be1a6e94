"""MusicCaps and AudioCaps: what their tables say, their id lists, and one line for everything that is none of them.

The captions of tests/data are invented; columns, types and quirks are the official tables'.
"""

import csv
import json
import logging
import sys
import types
from pathlib import Path

import pytest

from magnet_eval import config
from magnet_eval.lookup import UserError
from magnet_eval.prompts import read_prompts, read_reference
from magnet_eval.records import Prompt
from magnet_eval.store import ids_hash

DATA = Path(__file__).parents[1] / "data"
MUSICCAPS, AUDIOCAPS = DATA / "musiccaps.csv", DATA / "audiocaps_test.csv"


def musiccaps(path: Path = MUSICCAPS, **choices) -> list[Prompt]:
    return read_prompts(config.Prompts(source="musiccaps", path=str(path), seconds=10.0, **choices))


def audiocaps(path: Path = AUDIOCAPS, **choices) -> list[Prompt]:
    return read_prompts(config.Prompts(source="audiocaps", path=str(path), seconds=10.0, **choices))


def ids(prompts: list[Prompt]) -> set[str]:
    return {prompt.id for prompt in prompts}


def table(path: Path = MUSICCAPS) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, rows: list[dict[str, str]], encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"audio")


def test_captions_and_tags_of_musiccaps():
    found = {prompt.id: prompt for prompt in musiccaps()}
    assert list(found) == ["-invented01", "_invented02", "invented-03", "invented005", "invented_04"]
    assert found["invented-03"].text == "A fast jig.\nThe fiddle leads."
    assert found["_invented02"].text == 'Drums, no voice; the "groove" is steady.'
    assert found["-invented01"].tags == {"split": "eval", "quality": "low", "tempo": "slow"}
    assert found["_invented02"].tags == {"split": "balanced", "vocals": "none"}
    assert found["invented_04"].tags == {"split": "train"}
    assert {(prompt.seconds, prompt.reference) for prompt in found.values()} == {(10.0, "")}


def test_id_lists_of_musiccaps_are_nested_and_known_by_their_hash():
    whole, evaluated, balanced = (ids(musiccaps(split=name)) for name in ("all", "eval", "balanced"))
    assert balanced == {"_invented02", "invented-03"} < evaluated == balanced | {"-invented01"} < whole
    assert whole == ids(musiccaps())
    assert len({ids_hash(part) for part in (whole, evaluated, balanced)}) == 3


def test_audiocaps_has_one_caption_a_clip_or_all():
    one, five = audiocaps(), audiocaps(captions="all")
    assert {prompt.id: prompt.text for prompt in one} == {
        "-sounding01": "A dog barking, far away in scene 1",  # 998 is below 10305: ids are numbers, not words
        "sounding_02": "A dog barking, far away in scene 2",
        "Ysounding03": "A dog barks in scene 3",
    }
    assert len(five) == 15 and {"998", "10410", "998001"} < ids(five)
    assert {prompt.text for prompt in one} < {prompt.text for prompt in five}


def test_the_one_caption_does_not_depend_on_the_order_of_rows(tmp_path: Path):
    assert audiocaps(write_table(tmp_path / "test.csv", table(AUDIOCAPS)[::-1])) == audiocaps()


def test_what_a_file_of_audiocaps_holds_is_in_its_name(tmp_path: Path):
    path = write_table(tmp_path / "audiocaps_val_v2.csv", table(AUDIOCAPS))
    assert len(audiocaps(path, split="val")) == 3
    with pytest.raises(UserError, match="nothing of the split 'test' of audiocaps; it has val"):
        audiocaps(path)
    assert len(audiocaps(write_table(tmp_path / "mine.csv", table(AUDIOCAPS)))) == 3


def test_a_list_that_is_not_of_its_official_size_is_one_warning(tmp_path: Path, caplog):
    path = write_table(tmp_path / "short.csv", table())
    for _ in range(3):  # as the stages of a run do
        musiccaps(path, split="eval")
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == [f"musiccaps eval: {path} has 3 clips and 3 captions; officially they are 2,858 and 2,858"]


def test_rows_that_are_there_twice_count_once(tmp_path: Path, caplog):
    path = write_table(tmp_path / "twice.csv", [*table(), *table()[:2]])
    assert musiccaps(path) == musiccaps()
    assert f"{path}: 2 rows are there twice and count once" in caplog.text
    changed = [{**table()[0], "caption": "something else"}]
    with pytest.raises(UserError, match="two different rows of the id '-invented01'"):
        musiccaps(write_table(tmp_path / "torn.csv", [*table(), *changed]))


def test_a_byte_order_mark_and_other_line_ends_change_nothing(tmp_path: Path):
    assert musiccaps(write_table(tmp_path / "marked.csv", table(), encoding="utf-8-sig")) == musiccaps()
    windows = tmp_path / "windows.csv"
    text = MUSICCAPS.read_text(encoding="utf-8").replace("jig.\nThe", "jig. The")
    windows.write_bytes(text.replace("\n", "\r\n").encode())
    assert [p.tags for p in musiccaps(windows)] == [p.tags for p in musiccaps()]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("aspect_list", "['sad'", r"aspect_list must be a list such as .* got \"\['sad'\""),
        ("aspect_list", "__import__('os').getcwd()", "aspect_list must be a list"),
        ("aspect_list", "sad, slow", "aspect_list must be a list"),
        ("aspect_list", "[1, 2]", "aspect_list must be a list"),
        ("aspect_list", "[" * 5000, "aspect_list must be a list"),
        ("ytid", "#NAME?", "ytid must be a YouTube id.*Spreadsheets spoil"),
        ("ytid", "../../etc/p", "ytid must be a YouTube id"),
        ("start_s", "half", "start_s must be a number of seconds, got 'half'"),
        ("start_s", "nan", "start_s must be a number"),
        ("start_s", "-1", "start_s must be a number"),
        ("end_s", "10", "end_s must be above start_s, got 30 and 10"),
        ("caption", "  ", "caption is empty"),
        ("is_audioset_eval", "maybe", "is_audioset_eval must be True or False, got 'maybe'"),
    ],
)
def test_a_cell_that_cannot_be_read_is_one_line_with_its_place(tmp_path: Path, column, value, message):
    rows = table()
    rows[0][column] = value
    path = write_table(tmp_path / "bad.csv", rows)
    with pytest.raises(UserError, match=message) as caught:
        musiccaps(path)
    assert str(caught.value).startswith(f"{path}, line 2: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks ytid, .*its first line is nothing"),
        (b"<!DOCTYPE html>\n<html>", "lacks ytid, .*its first line is <!DOCTYPE html>"),
        (b'{"ytid": "-invented01"}\n', "is no table of musiccaps"),
        (b"ytid,caption\n-invented01,x\n", "lacks start_s, end_s, aspect_list, is_balanced_subset"),
        (b"RIFF\x00\xff\xfe\x00WAVE", "cannot read .*UTF-8"),
        (MUSICCAPS.read_bytes()[:-40], "line 7 has other columns than the first line"),
        (MUSICCAPS.read_bytes().replace(b'jig.\nThe fiddle leads."', b"jig."), "cannot read .*bad.csv: "),
        (MUSICCAPS.read_bytes().partition(b"\n")[0], "nothing of the split 'all' of musiccaps; it has no rows"),
    ],
)
def test_another_file_is_one_line(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        musiccaps(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "musiccaps"}, "needs a path: its official CSV"),
        ({"source": "musiccaps", "path": "gone.csv"}, "there is no file gone.csv"),
        ({"source": "musiccaps", "path": "gone.jsonl"}, "no manifest gone.jsonl. Make it: magnet-eval data prepare"),
        ({"source": "musiccaps", "path": str(AUDIOCAPS)}, "is no table of musiccaps: it lacks ytid"),
        ({"source": "musiccaps", "path": str(MUSICCAPS), "split": "test"}, "unknown split of musiccaps 'test'"),
        ({"source": "musiccaps", "path": str(MUSICCAPS), "captions": "all"}, "'musiccaps' has no captions"),
        ({"source": "musiccaps", "path": str(MUSICCAPS), "audio": "gone"}, "there is no folder gone"),
        ({"source": "musiccaps", "path": "a.jsonl", "audio": "clips"}, "names its audio itself"),
        ({"source": "audiocaps", "path": str(AUDIOCAPS), "captions": "five"}, "unknown captions 'five'"),
        ({"source": "tiny", "split": "eval"}, "source 'tiny' has no split, got 'eval'"),
    ],
)
def test_choices_that_cannot_be_are_one_line(settings: dict, message: str):
    with pytest.raises(UserError, match=message):
        read_prompts(config.Prompts(**settings))


def test_the_audio_of_musiccaps_in_every_layout(tmp_path: Path):
    names = ("-invented01.wav", "sub/[_invented02]-[0-10].flac", "invented-03_110.mp3", "deep/er/Yinvented005.ogg")
    touch(
        *(tmp_path / name for name in names), tmp_path / "invented_04_30000_40000.wav", tmp_path / "._invented_04.wav"
    )
    found = {prompt.id: Path(prompt.reference).relative_to(tmp_path) for prompt in musiccaps(audio=str(tmp_path))}
    assert [found[name].as_posix() for name in ("-invented01", "_invented02", "invented-03", "invented005")] == [*names]
    assert found["invented_04"].name == "invented_04_30000_40000.wav"


def test_another_part_of_the_same_video_is_not_taken(tmp_path: Path):
    touch(tmp_path / "[-invented01]-[50-60].wav", tmp_path / "_invented02_30.wav", tmp_path / "invented-03_110.wav")
    touch(tmp_path / "invented-03.wav")  # the one that says its time is surer
    found = {prompt.id: Path(prompt.reference).name for prompt in musiccaps(audio=str(tmp_path)) if prompt.reference}
    assert found == {"invented-03": "invented-03_110.wav"}


def test_lossless_audio_comes_first(tmp_path: Path):
    touch(tmp_path / "a" / "-invented01.mp3", tmp_path / "b" / "-invented01.wav", tmp_path / "c" / "-invented01.flac")
    assert [Path(prompt.reference).suffix for prompt in musiccaps(audio=str(tmp_path)) if prompt.reference] == [".wav"]


def test_a_clip_of_audiocaps_is_one_reference_by_whatever_caption_it_is_named(tmp_path: Path):
    touch(tmp_path / "10777.wav", tmp_path / "10410.wav", tmp_path / "sounding_02_0.wav", tmp_path / "YYsounding03.wav")
    for captions in ("one", "all"):
        choices = {"source": "audiocaps", "path": str(AUDIOCAPS), "audio": str(tmp_path), "captions": captions}
        assert len(read_reference(config.Reference(**choices))) == 3
    assert {bool(prompt.reference) for prompt in audiocaps(audio=str(tmp_path), captions="all")} == {True}


def test_a_reference_set_needs_audio(tmp_path: Path):
    with pytest.raises(UserError, match="has no audio"):
        read_reference(config.Reference(source="musiccaps", path=str(MUSICCAPS)))


def test_id_lists_of_ones_own(tmp_path: Path, caplog):
    listed = tmp_path / "ids.txt"
    listed.write_text("﻿-invented01\r\n\r\ninvented005 \r\ngone-000000\r\n", encoding="utf-8")
    assert ids(musiccaps(ids=str(listed))) == {"-invented01", "invented005"}
    assert f"{listed}: 1 of its 3 ids are not there, e.g. gone-000000" in caplog.text
    with pytest.raises(UserError, match="none of the 3 ids of .* is among those chosen, e.g. '-invented01'"):
        audiocaps(ids=str(listed))
    with pytest.raises(UserError, match="cannot read"):
        musiccaps(ids=str(tmp_path / "gone.txt"))


def test_a_list_of_caption_ids_chooses_the_captions(tmp_path: Path):
    listed = tmp_path / "ids.txt"
    listed.write_text("10777\n10003\n")
    assert {prompt.id: prompt.text for prompt in audiocaps(ids=str(listed))} == {
        "-sounding01": "An animal and wind in scene 1",
        "sounding_02": "Something barks in scene 2",
    }
    assert ids(audiocaps(ids=str(listed), captions="all")) == {"10777", "10003"}
    listed.write_text("Ysounding03\n")
    assert len(audiocaps(ids=str(listed), captions="all")) == 5


class Part:
    """What ``datasets`` gives of one part of a data set."""

    def __init__(self, rows: list[dict]):
        self.rows, self.column_names = rows, [*rows[0]]

    def select_columns(self, columns: list[str]) -> list[dict]:
        return [{column: row[column] for column in columns} for row in self.rows]


@pytest.fixture
def hub(monkeypatch):
    """A fake ``datasets`` with typed cells, as the hub's tables have them."""
    as_typed = {"start_s": int, "end_s": int, "is_balanced_subset": "True".__eq__, "is_audioset_eval": "True".__eq__}
    rows = [{name: as_typed.get(name, str)(value) for name, value in row.items()} for row in table()]
    sets = {
        "google/MusicCaps": {"train": Part([{**row, "audio": b"never read"} for row in rows])},
        "mirror/audiocaps": {"validation": Part(table(AUDIOCAPS)[:3]), "test": Part(table(AUDIOCAPS)[3:])},
    }

    def load_dataset(name: str) -> dict[str, Part]:
        if name not in sets:
            raise FileNotFoundError(f"Couldn't find {name} on the Hub\nor in the cache")
        return sets[name]

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_the_hub_gives_the_same_as_the_csv(hub):
    assert read_prompts(config.Prompts(source="musiccaps", path="hub:google/MusicCaps", seconds=10.0)) == musiccaps()
    parts = [{"path": "hub:mirror/audiocaps", "split": split, "captions": "all"} for split in ("val", "test")]
    assert [len(read_prompts(config.Prompts(source="audiocaps", **part))) for part in parts] == [3, 12]


def test_a_hub_out_of_reach_is_one_line(hub):
    with pytest.raises(UserError, match="Couldn't find google/MusicCap on the Hub. Give the official CSV") as caught:
        read_prompts(config.Prompts(source="musiccaps", path="hub:google/MusicCap"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="hub:mirror/audiocaps is no table of musiccaps"):
        read_prompts(config.Prompts(source="musiccaps", path="hub:mirror/audiocaps"))


def test_the_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'magnet-eval\[data\]'"):
        read_prompts(config.Prompts(source="musiccaps", path="hub:google/MusicCaps"))


def line(**changes) -> str:
    entry = {
        "id": "-invented01",
        "caption": "x",
        "audio": "",
        "start": 0,
        "end": 10,
        "split": "eval",
        "status": "missing",
    }
    return json.dumps({**entry, **changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has no rows"),
        ('{"id": ', "line 1 is no line of a manifest"),
        ("[]", "line 1 is no line of a manifest"),
        (line() + "\n" + line(id="invented005", status="lost"), "line 2 .*unknown status 'lost'"),
        (line(start="now"), "line 1 .*start must be a number, got 'now'"),
        (line(artist="x"), "line 1 .*unknown key 'artist'"),
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path: Path, content: str, message: str):
    path = tmp_path / "manifest.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        musiccaps(path)


def test_a_manifest_of_ones_own_needs_no_status(tmp_path: Path):
    touch(tmp_path / "a.wav")
    (tmp_path / "own.jsonl").write_text(line(audio="a.wav", status=""))
    assert [prompt.reference for prompt in musiccaps(tmp_path / "own.jsonl")] == [str(tmp_path / "a.wav")]
