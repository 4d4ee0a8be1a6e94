"""Published data sets of captions and clips of videos: an official CSV, the hub or a prepared manifest to prompts.

    Dataset   what is known of a data set: its columns, its named id lists with their official sizes
    Entry     one caption and its clip; a line of a manifest
    read      a path and choices to entries

A path that ends in .jsonl is a manifest, one that begins with hub: is read through the package ``datasets``, any other
is the official CSV. The captions are read row by row; the audio is only looked for here, never opened.
"""

import functools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError, check
from magnet_eval.prompts import tables
from magnet_eval.prompts.idlists import keep
from magnet_eval.prompts.layouts import clip_file, index
from magnet_eval.records import Prompt, Record
from magnet_eval.typed import typed

log = logging.getLogger(__name__)

MANIFEST = ".jsonl"  # how its name ends
STATUSES = ("have", "missing", "wrong length", "silent", "duplicated", "unreadable")


@dataclass(frozen=True)
class Entry(Record):
    """One caption and its clip. Times in seconds from the beginning of the video."""

    id: str  # of the caption
    caption: str
    audio: str  # path of the clip's file, in a manifest relative to it where it can be; "" where there is none
    start: float
    end: float
    split: str  # the smallest part of the data set that the clip belongs to
    sha256: str = ""  # of the audio file
    status: str = ""  # one of STATUSES; "" where the audio was not opened
    clip: str = ""  # id of the audio: the video's
    tags: dict[str, str] = field(default_factory=dict)  # few and short, for breakdowns


@dataclass(frozen=True)
class IdList:
    """A named part of a data set."""

    splits: tuple[str, ...]  # of its entries
    n_clips: int  # officially
    n_captions: int


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set."""

    name: str
    columns: tuple[str, ...]  # of the official CSV
    entry: Callable[[Mapping[str, Any], str], Entry]  # from a row and a part's name that the table itself tells
    lists: Mapping[str, IdList]  # the first one is the default


def read(
    dataset: Dataset, path: str | None, split: str | None = None, *, audio: str | None = None, ids: str | None = None
) -> list[Entry]:
    """The entries of one named id list, in the order of the table, with their audio where it is known.

    ``ids`` is a further list, of captions or of clips. Raises UserError on a table that is none of this data set, and
    on a list without entries; a named list that is not of its official size is a warning.
    """
    name = check(f"split of {dataset.name}", split or next(iter(dataset.lists)), dataset.lists)
    if not path:
        raise UserError(
            f"source {dataset.name!r} needs a path: its official CSV, a manifest of magnet-eval data prepare, "
            "or hub:OWNER/NAME."
        )
    if audio and path.endswith(MANIFEST):
        raise UserError(f"the manifest {path} names its audio itself; leave audio out, or give the CSV as path.")
    listed = of_list(dataset, name, path, list(unique(entries(dataset, path), path)))
    if ids:
        listed = keep(listed, ids, lambda entry: (entry.id, entry.clip))
    return located(listed, Path(audio).expanduser()) if audio else listed


def of_list(dataset: Dataset, name: str, path: str, found: Sequence[Entry]) -> list[Entry]:
    """The entries of a named id list, compared with its official size. Raises UserError if there are none."""
    wanted = dataset.lists[name]
    listed = [entry for entry in found if entry.split in wanted.splits]
    if not listed:
        there = ", ".join(sorted({entry.split for entry in found})) or "no rows"
        raise UserError(f"{path} has nothing of the split {name!r} of {dataset.name}; it has {there}.")
    n_clips = len({entry.clip for entry in listed})
    if (n_clips, len(listed)) != (wanted.n_clips, wanted.n_captions):
        warn(
            f"{dataset.name} {name}: {path} has {n_clips:,} clips and {len(listed):,} captions; "
            f"officially they are {wanted.n_clips:,} and {wanted.n_captions:,}"
        )
    return listed


def entries(dataset: Dataset, path: str) -> Iterator[Entry]:
    """All entries of a table or a manifest. Raises UserError with the row that it cannot read."""
    if path.endswith(MANIFEST):
        file = Path(path).expanduser()
        if not file.is_file():
            how = f"dataset={dataset.name} csv=FILE audio=FOLDER out={path}"
            raise UserError(f"there is no manifest {path}. Make it: magnet-eval data prepare {how}")
        yield from manifest(file)
        return
    for where, part, row in tables.rows(path, dataset.columns, dataset.name):
        try:
            yield dataset.entry(row, part)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error


def located(found: Sequence[Entry], folder: Path) -> list[Entry]:
    """The entries with their audio files in a folder: one for each clip, whatever caption it is named by."""
    files = index(folder)
    ids: dict[str, list[str]] = {}
    for entry in found:
        ids.setdefault(entry.clip, []).append(entry.id)
    return [
        replace(entry, audio=str(clip_file(files, entry.clip, entry.start, entry.end, *ids[entry.clip]) or ""))
        for entry in found
    ]


def manifest(path: Path) -> Iterator[Entry]:
    """The entries of a manifest, their audio as paths that can be opened."""
    n_gone = 0
    for number, line in enumerate(tables.lines(path), start=1):
        try:
            entry = typed(Entry, json.loads(line))
            check("status", entry.status, ("", *STATUSES))
        except ValueError as error:
            raise UserError(f"{path}, line {number} is no line of a manifest: {error} Prepare it again.") from error
        file = path.parent / entry.audio
        there = bool(entry.audio) and file.is_file()
        n_gone += bool(entry.audio) and not there
        yield replace(entry, audio=str(file) if there else "", clip=entry.clip or entry.id)
    if n_gone:
        warn(f"{path}: {n_gone:,} of its audio files are gone; magnet-eval data prepare looks for them again")


def unique(rows: Iterable[Entry], path: str) -> Iterator[Entry]:
    """Every entry once. Raises UserError where two rows of one id differ."""
    seen: dict[str, Entry] = {}
    n_again = 0
    for entry in rows:
        if entry.id not in seen:
            seen[entry.id] = entry
            yield entry
        elif entry == seen[entry.id]:
            n_again += 1
        else:
            raise UserError(f"{path} has two different rows of the id {entry.id!r}. Use the file as it was published.")
    if n_again:
        warn(f"{path}: {n_again:,} rows are there twice and count once")


def prompt_of(entry: Entry, name: str, seconds: float) -> Prompt:
    """The prompt ``name`` of an entry; audio that was found unfit is no reference."""
    reference = entry.audio if entry.status in ("", "have") else ""
    tags = {"split": entry.split, **entry.tags}
    return Prompt(name, entry.caption, seconds, tags, reference, entry.sha256 if reference else "")


@functools.cache
def warn(text: str) -> None:
    """Logs a warning once: every stage of a run reads the data set again."""
    log.warning("%s", text)
