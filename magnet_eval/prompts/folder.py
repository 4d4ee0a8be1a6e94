"""A user's own folder: audio files and captions.jsonl or captions.csv beside them. Only ever read.

A caption row has ``text`` (or ``caption``), and may have ``id``, ``file`` (relative to the captions) and tags: the
object ``tags`` in JSON lines, every further column in CSV. Without ``id`` the file's stem is the id; without ``file``
the audio is looked for as <id>.<suffix>. A folder without captions gives its audio with empty texts: a reference set.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from magnet_eval.audio import SUFFIXES
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt

CAPTIONS = ("captions.jsonl", "captions.csv")


def read_folder(path: str | None, seconds: float) -> list[Prompt]:
    """The prompts of a folder, each with its reference audio. Raises UserError on a missing or empty folder."""
    if not path:
        raise UserError("source 'folder' needs a path; set path to a folder with audio and captions.jsonl.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}. Give an existing one with audio and captions.jsonl.")
    for name in CAPTIONS:
        if (folder / name).is_file():
            return read_captions(str(folder / name), seconds)
    files = audio_files(folder)
    if not files:
        raise UserError(f"{folder} holds neither {' nor '.join(CAPTIONS)} nor audio ({', '.join(SUFFIXES)}).")
    return [Prompt(id=name, text="", seconds=seconds, reference=str(file)) for name, file in files.items()]


def audio_files(folder: Path) -> dict[str, Path]:
    """Stem to path of the audio in a folder, sorted; of two files with one stem the first suffix wins."""
    found = sorted((SUFFIXES.index(file.suffix.lower()), file) for file in folder.iterdir() if is_audio(file))
    by_stem = {file.stem: file for _, file in reversed(found)}
    return dict(sorted(by_stem.items()))


def is_audio(file: Path) -> bool:
    """Whether a file is named as audio; the hidden ones that some systems leave beside others are not meant."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def read_captions(path: str | None, seconds: float) -> list[Prompt]:
    """The prompts of one JSON-lines or CSV file. Raises UserError with the line of a row that cannot be read."""
    if not path:
        raise UserError("source 'jsonl' needs a path; set path to a captions file with an id and a text a line.")
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"there is no captions file {file}. Give an existing .jsonl or .csv file.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}. It must be a readable UTF-8 text file.") from error
    rows = csv_rows(text) if file.suffix.lower() == ".csv" else json_rows(text, file)
    beside = audio_files(file.parent)
    return [prompt_of(row, seconds, file, number, beside) for number, row in rows]


def json_rows(text: str, file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line number and object of each JSON line."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{file}, line {number} is no JSON: {error}. Write one object a line.") from error
            if not isinstance(row, dict):
                raise UserError(f"{file}, line {number} is no JSON object, got {line.strip()[:40]!r}.")
            yield number, row


def csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line number and row of each CSV line; further columns become tags."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    known = ("id", "text", "caption", "file")
    for row in reader:
        tags = {name: value for name, value in row.items() if name and name not in known and value}
        yield reader.line_num, {**{name: row[name] for name in known if row.get(name)}, "tags": tags}


def prompt_of(row: Mapping[str, Any], seconds: float, file: Path, number: int, beside: Mapping[str, Path]) -> Prompt:
    """The prompt of one caption row. Raises UserError on a row without text or with audio that is not there."""
    where = f"{file}, line {number}"
    text, named = row.get("text", row.get("caption")), row.get("file")
    name = row.get("id") or (Path(str(named)).stem if named else None)
    if not isinstance(text, str) or name is None:
        raise UserError(f"{where} needs a text and an id or a file, got {', '.join(row) or 'nothing'}.")
    if named and not (file.parent / str(named)).is_file():
        raise UserError(f"{where} names the audio {named!r}, which is not in {file.parent}.")
    audio = file.parent / str(named) if named else beside.get(str(name))
    tags = row.get("tags") or {}
    if not isinstance(tags, Mapping):
        raise UserError(f"{where}: tags must be an object of names and values, got {tags!r}.")
    return Prompt(
        id=str(name),
        text=text,
        seconds=seconds,
        tags={str(tag): str(value) for tag, value in tags.items()},
        reference=str(audio) if audio else "",
    )
