"""AudioCaps (Kim et al. 2019): clips of 10 s of YouTube videos; those for testing have five captions each.

Papers score one caption a clip or all five, on the 957 to 881 clips of the 975 that they still had: numbers compare
only on one id list. ``one`` is the caption of the smallest audiocap_id: it depends on no order of rows and is the
same caption in versions 1 and 2. A table does not say its part: a file is taken for what its name says (train, val,
test; else test).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from magnet_eval.lookup import UserError, check
from magnet_eval.prompts.datasets import Dataset, Entry, IdList, prompt_of
from magnet_eval.prompts.datasets import read as read_entries
from magnet_eval.prompts.tables import cell, number, video
from magnet_eval.records import Prompt

SECONDS = 10.0  # of a clip; the table has its beginning alone


def read(
    path: str | None,
    seconds: float,
    *,
    split: str | None = None,
    audio: str | None = None,
    captions: str = "one",
    ids: str | None = None,
) -> list[Prompt]:
    """The prompts of one id list (test | val | train), with the clips of the folder ``audio`` or of the manifest.

    ``ids`` are of clips (youtube_id) or of captions (audiocap_id), which then choose the caption too. The prompts have
    the clips' ids where each clip has one caption, the captions' where it has all.
    """
    check("captions", captions, ("one", "all"))
    found = read_entries(DATASET, path, split, audio=audio, ids=ids)
    if captions == "all":
        return [prompt_of(entry, entry.id, seconds) for entry in found]
    return [prompt_of(entry, entry.clip, seconds) for entry in one_each(found)]


def one_each(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entry with the smallest audiocap_id of each clip."""
    in_order = sorted(entries, key=lambda entry: (entry.clip, len(entry.id), entry.id))  # as numbers
    return (next(group) for _, group in groupby(in_order, key=lambda entry: entry.clip))


def entry_of(row: Mapping[str, Any], part: str) -> Entry:
    """The entry of a row of the official table. Raises UserError on a cell that cannot be read."""
    name, start = cell(row, "audiocap_id"), number(row, "start_time")
    if not (name.isascii() and name.isdecimal()):
        raise UserError(f"audiocap_id must be a whole number, got {name!r}.")
    words = re.findall("[a-z]+", part.lower())
    return Entry(
        id=name,
        caption=cell(row, "caption"),
        audio="",
        start=start,
        end=start + SECONDS,
        split=next((split for split in DATASET.lists if any(word.startswith(split) for word in words)), "test"),
        clip=video(row, "youtube_id"),
    )


DATASET = Dataset(
    name="audiocaps",
    columns=("audiocap_id", "youtube_id", "start_time", "caption"),
    entry=entry_of,
    lists={
        "test": IdList(("test",), 975, 4875),
        "val": IdList(("val",), 495, 2475),
        "train": IdList(("train",), 49838, 49838),  # version 1; version 2 has more captions
    },
)
