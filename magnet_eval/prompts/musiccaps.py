"""MusicCaps (Agostinelli et al. 2023): 5,521 clips of 10 s of YouTube videos, each with one caption by a musician.

"MusicCaps" in published tables means all of it; ``eval`` is what stems from AudioSet's evaluation part, ``balanced``
the genre-balanced 1,000 of that. The captions are CC BY-SA 4.0; the audio is not distributed.
"""

import ast
from collections.abc import Mapping
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.prompts.datasets import Dataset, Entry, IdList, prompt_of
from magnet_eval.prompts.datasets import read as read_entries
from magnet_eval.prompts.tables import cell, flag, number, video
from magnet_eval.records import Prompt

TAGS = {  # frequent aspects -> tag and value; every fifth caption asks for bad sound
    "low quality": ("quality", "low"),
    "instrumental": ("vocals", "none"),
    "slow tempo": ("tempo", "slow"),
    "medium tempo": ("tempo", "medium"),
    "fast tempo": ("tempo", "fast"),
}


def read(
    path: str | None, seconds: float, *, split: str | None = None, audio: str | None = None, ids: str | None = None
) -> list[Prompt]:
    """The prompts of one id list (all | eval | balanced), with the clips of the folder ``audio`` or of the manifest."""
    found = read_entries(DATASET, path, split, audio=audio, ids=ids)
    return [prompt_of(entry, entry.id, seconds) for entry in found]


def entry_of(row: Mapping[str, Any], part: str) -> Entry:
    """The entry of a row of the official table. Raises UserError on a cell that cannot be read."""
    name, start, end = video(row, "ytid"), number(row, "start_s"), number(row, "end_s")
    if end <= start:
        raise UserError(f"end_s must be above start_s, got {start:g} and {end:g}.")
    is_eval, is_balanced = flag(row, "is_audioset_eval"), flag(row, "is_balanced_subset")
    return Entry(
        id=name,
        caption=cell(row, "caption"),
        audio="",
        start=start,
        end=end,
        split="balanced" if is_balanced else "eval" if is_eval else "train",
        clip=name,
        tags=dict(TAGS[aspect] for aspect in aspects(row) if aspect in TAGS),
    )


def aspects(row: Mapping[str, Any]) -> list[str]:
    """The aspect list of a row, which is written as a Python list of strings."""
    text = str(row["aspect_list"])
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(aspect, str) for aspect in found):
        raise UserError(f"aspect_list must be a list such as ['slow tempo', 'sad'], got {text[:40]!r}.")
    return found


DATASET = Dataset(
    name="musiccaps",
    columns=("ytid", "start_s", "end_s", "aspect_list", "caption", "is_balanced_subset", "is_audioset_eval"),
    entry=entry_of,
    lists={
        "all": IdList(("train", "eval", "balanced"), 5521, 5521),
        "eval": IdList(("eval", "balanced"), 2858, 2858),
        "balanced": IdList(("balanced",), 1000, 1000),
    },
)
