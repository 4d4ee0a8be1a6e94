"""CSV that goes out to spreadsheets and comes back from them or from strangers: nothing in it is obeyed or lost."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError

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
    return file.getvalue().encode("utf-8", "replace").decode()  # half an emoji is no UTF-8


def guarded(value: Any) -> Any:
    """A text that a spreadsheet will not take for a formula; true and false as 1 and 0; None as nothing."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith((*FORMULA, GUARD)):
        return GUARD + value
    return "" if value is None else value


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str] | None]]]:
    """The columns of a CSV file, and its rows with their line numbers; None for a line that is no row.

    Separated by commas, semicolons or tabs, whichever the header has. Raises UserError if there is no such file.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}. Check the path.") from error
    lines = list(io.StringIO(text, newline=""))
    separator = max(",;\t", key=lines[0].count) if lines else ","
    before = csv.field_size_limit(LONGEST)
    try:
        (_, header), *others = list(_rows(lines, separator)) or [(1, [])]
    finally:
        csv.field_size_limit(before)
    if header is None:
        raise UserError(f"{path} is no CSV file: its first line is no header. Export it again as CSV, UTF-8.")
    columns = [name.strip() for name in header]
    return columns, [(number, _row(columns, cells)) for number, cells in others]


def _rows(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str] | None]]:
    """Line numbers and cells, as many as the first row has; None for a line that is no row.

    Behind such a line it begins anew: a quote that is never closed would take in all that follows.
    """
    done = n_cells = 0
    while done < len(lines):
        before = done
        rows = csv.reader(map(lines.__getitem__, range(done, len(lines))), delimiter=separator, strict=True)
        try:
            for cells in rows:
                if any(cells):
                    n_cells = n_cells or len(cells)
                    if len(cells) != n_cells:
                        break
                    yield before + rows.line_num, cells
                done = before + rows.line_num
            else:
                return
        except csv.Error:
            pass  # told below
        done += 1
        yield done, None


def _row(columns: Sequence[str], cells: Sequence[str] | None) -> dict[str, str] | None:
    if cells is None:
        return None
    return dict(zip(columns, [cell.removeprefix(GUARD) for cell in cells], strict=True))
