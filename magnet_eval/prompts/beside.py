"""Which audio a captions file or a manifest speaks of: what is fetched with it where it comes from a store."""

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from magnet_eval.audio import SUFFIXES


def beside(captions: Path) -> Callable[[str], bool]:
    """Whether a file, by its name from the folder of the captions, is theirs: named by a row, or by a row's id."""
    files, ids = set(), set()
    for row in rows(captions):
        files |= {PurePosixPath(row[key]).as_posix() for key in ("file", "audio") if isinstance(row.get(key), str)}
        ids.add(str(row.get("id")))

    def wanted(name: str) -> bool:
        path = PurePosixPath(name)
        return name in files or (name == path.name and path.stem in ids and path.suffix.lower() in SUFFIXES)

    return wanted


def rows(captions: Path) -> Iterator[dict[str, Any]]:
    """The rows of JSON lines or CSV that can be read; whoever uses them complains of the others."""
    with contextlib.suppress(OSError, ValueError, csv.Error):
        text = captions.read_text(encoding="utf-8-sig")
        if captions.suffix.lower() == ".csv":
            yield from csv.DictReader(io.StringIO(text, newline=""))
            return
        for line in text.split("\n"):
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row
