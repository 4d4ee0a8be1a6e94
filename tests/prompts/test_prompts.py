"""Sources of prompts: deterministic choice, ids that can name files, and one line for every mistake."""

import json
import sys
import types
from pathlib import Path

import pytest

from magnet_eval import config
from magnet_eval.lookup import UserError
from magnet_eval.prompts import draw, prompts_from_texts, read_prompts, read_reference
from magnet_eval.records import Prompt


def write_captions(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(n: int) -> list[dict]:
    return [{"id": f"clip-{i:02}", "text": f"text {i}", "tags": {"key": "C"}} for i in range(n)]


def of_jsonl(path: Path, n: int | None = None) -> list[Prompt]:
    return read_prompts(config.Prompts(source="jsonl", path=str(path), n=n, seconds=2.0))


def test_a_smaller_choice_is_part_of_a_larger_one_and_order_of_the_file_does_not_matter(tmp_path: Path):
    forward = write_captions(tmp_path / "a.jsonl", rows(20))
    backward = write_captions(tmp_path / "b.jsonl", rows(20)[::-1])
    four, nine = of_jsonl(forward, 4), of_jsonl(forward, 9)
    assert {prompt.id for prompt in four} < {prompt.id for prompt in nine}
    assert four == of_jsonl(backward, 4)
    assert [prompt.id for prompt in nine] == sorted(prompt.id for prompt in nine)
    assert [prompt.id for prompt in four] != [f"clip-{i:02}" for i in range(4)]  # a draw, not the head of the list
    assert four[0].seconds == 2.0
    assert four[0].tags == {"key": "C"}


def test_draw_takes_everything_without_n():
    prompts = [Prompt("b", "x", 1.0), Prompt("a", "x", 1.0)]
    assert [prompt.id for prompt in draw(prompts, None)] == ["a", "b"]


def test_texts_keep_their_order_and_get_readable_ids():
    made = prompts_from_texts(["slow waltz for strings", "Ärger & Lärm!"], 3.0)
    assert [prompt.text for prompt in made] == ["slow waltz for strings", "Ärger & Lärm!"]
    assert made[0].id.startswith("slow-waltz-for-strings-")
    assert len({prompt.id for prompt in prompts_from_texts(["a!", "a?", "!", "?"], 3.0)}) == 4


def test_folder_with_captions_finds_audio_by_name_and_by_file(tmp_path: Path):
    for name in ("a.flac", "b.wav"):
        (tmp_path / name).write_bytes(b"audio")
    write_captions(
        tmp_path / "captions.jsonl",
        [{"id": "a", "text": "one"}, {"file": "b.wav", "text": "two"}, {"id": "c", "text": "three"}],
    )
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    made = read_prompts(config.Prompts(source="folder", path=str(tmp_path)))
    assert [(prompt.id, Path(prompt.reference).name) for prompt in made] == [("a", "a.flac"), ("b", "b.wav"), ("c", "")]
    reference = read_reference(config.Reference(source="folder", path=str(tmp_path)))
    assert [prompt.id for prompt in reference] == ["a", "b"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_csv_has_tags_in_further_columns(tmp_path: Path):
    table = 'id,caption,style\nx,"a waltz, slow",waltz\ny,march,\n'
    (tmp_path / "captions.csv").write_text(table, encoding="utf-8-sig")
    made = read_prompts(config.Prompts(source="folder", path=str(tmp_path)))
    assert [(prompt.text, prompt.tags) for prompt in made] == [("a waltz, slow", {"style": "waltz"}), ("march", {})]


def test_audio_alone_is_a_reference_set_but_no_prompts(tmp_path: Path):
    (tmp_path / "song 1.mp3").write_bytes(b"audio")
    assert [prompt.id for prompt in read_reference(config.Reference(source="folder", path=str(tmp_path)))] == ["song 1"]
    with pytest.raises(UserError, match="song 1"):
        read_prompts(config.Prompts(source="folder", path=str(tmp_path)))


def test_a_source_of_the_users_own(monkeypatch):
    module = types.ModuleType("own_source")
    module.read = lambda path, seconds: [Prompt("own", " text ", seconds)]
    monkeypatch.setitem(sys.modules, "own_source", module)
    assert read_prompts(config.Prompts(source="own_source:read", seconds=1.5)) == [Prompt("own", "text", 1.5)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "'a' occurs 2 times"),
        (json.dumps({"id": "a", "text": "x" * 5000}), "5000 characters, allowed are 2000"),
        ('{"id": "a", "text": "  "}', "'a'.* is empty"),
        ('{"id": "../a", "text": "x"}', "cannot name a file"),
        ('{"id": "a/b", "text": "x"}', "cannot name a file"),
        ('{"id": ".", "text": "x"}', "cannot name a file"),
        (json.dumps({"id": "a" * 300, "text": "x"}), "cannot name a file"),
        ('{"id": "a\\n", "text": "x"}', "cannot name a file"),
        ('{"id": "a"}', "line 1 needs a text"),
        ('{"text": "x"}', "line 1 needs a text"),
        ('\n{"id": ', "line 2 is no JSON"),
        ("[1]", "line 1 is no JSON object"),
        ('{"id": "a", "text": "x", "file": "gone.wav"}', "'gone.wav', which is not in"),
        ('{"id": "a", "text": "x", "tags": "fast"}', "tags must be"),
    ],
)
def test_bad_captions_are_one_line(tmp_path: Path, content: str, message: str):
    path = tmp_path / "captions.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        of_jsonl(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (config.Prompts(source="folder"), "needs a path"),
        (config.Prompts(source="jsonl"), "needs a path"),
        (config.Prompts(source="folder", path="no/such/folder"), "there is no folder no/such/folder"),
        (config.Prompts(source="jsonl", path="no/such.jsonl"), "there is no captions file"),
        (config.Prompts(source="tiny", path="x"), "has no path"),
        (config.Prompts(source="tiny-sounds", path="x"), "'tiny-sounds' has no path"),
        (config.Prompts(source="foldr", path="x"), "Did you mean folder"),
    ],
)
def test_bad_sources_are_one_line(settings: config.Prompts, message: str):
    with pytest.raises(UserError, match=message):
        read_prompts(settings)


def test_an_empty_folder_and_no_texts(tmp_path: Path):
    with pytest.raises(UserError, match="holds neither"):
        read_prompts(config.Prompts(source="folder", path=str(tmp_path)))
    with pytest.raises(UserError, match=r"'\[slow waltz"):
        prompts_from_texts([], 5.0)
    with pytest.raises(UserError, match="occurs 2 times"):
        prompts_from_texts(["same", "same"], 5.0)


@pytest.mark.parametrize(("source", "folder"), [("tiny", "reference"), ("tiny-sounds", "audio/reference")])
def test_an_embedded_source_reads_its_folder_of_the_zoo(tmp_path: Path, monkeypatch, source: str, folder: str):
    from magnet_eval import zoo

    monkeypatch.setattr(zoo, "folders", lambda kind: [tmp_path / "own", tmp_path / "shipped"])
    with pytest.raises(UserError, match="reference set is missing"):
        read_prompts(config.Prompts(source=source))
    home = tmp_path / "shipped" / "tiny" / folder
    home.mkdir(parents=True)
    (home / "a.flac").write_bytes(b"audio")
    write_captions(home / "captions.jsonl", [{"id": "a", "text": "x", "file": "a.flac", "tags": {"bpm": 90}}])
    assert read_prompts(config.Prompts(source=source)) == [Prompt("a", "x", 5.0, {"bpm": "90"}, str(home / "a.flac"))]
