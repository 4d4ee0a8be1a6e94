"""CSV that goes out to spreadsheets and comes back from them or from strangers: nothing in it is obeyed or lost."""

import csv
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError

log = logging.getLogger(__name__)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet compute a cell
GUARD = "'"  # put before such a text: shown as text, and taken away again when read
LONGEST = 64 * 2**20  # characters of a cell: the csv module gives up at 128 kB otherwise


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header; columns that a row lacks are empty, other columns are left out."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guarded(row.get(name, "")) for name in columns])
    return file.getvalue()


def guarded(value: Any) -> Any:
    """A text that a spreadsheet will not take for a formula; true and false as 1 and 0; None as nothing."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith((*FORMULA, GUARD)):
        return GUARD + value
    return "" if value is None else value


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str] | None]]]:
    """The columns of a CSV file, and its rows with their line numbers; None for a row that is cut short or too long.

    Separated by commas, semicolons or tabs, whichever the header has. Raises UserError if there is no such file.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}. Check the path.") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    before = csv.field_size_limit(LONGEST)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        columns = [name.strip() for name in next(lines, [])]
        return columns, list(_rows(lines, columns))
    except csv.Error as error:
        raise UserError(f"{path} is no CSV file: {error}. Export it again as CSV, UTF-8.") from error
    finally:
        csv.field_size_limit(before)


def _rows(lines: Any, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | None]]:
    for cells in lines:
        if not any(cells):
            continue
        fits = len(cells) == len(columns)
        plain = [cell[1:] if cell.startswith(GUARD) else cell for cell in cells]
        yield lines.line_num, dict(zip(columns, plain, strict=True)) if fits else None
