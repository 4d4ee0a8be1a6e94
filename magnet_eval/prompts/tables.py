"""Rows of a published table: a CSV file, or a data set of the hub through the package ``datasets``."""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError

HUB = "hub:"
Row = tuple[str, str, Mapping[str, Any]]  # where it is, the name of the file or part that it is of, its cells


def rows(path: str, columns: Collection[str], name: str) -> Iterator[Row]:
    """The rows of a table with these columns, and maybe more. Raises UserError where it is something else."""
    if path.startswith(HUB):
        return hub_rows(path.removeprefix(HUB), columns, name)
    return csv_rows(Path(path).expanduser(), columns, name)


def csv_rows(path: Path, columns: Collection[str], name: str) -> Iterator[Row]:
    """The rows of a CSV file, as they are read."""
    if not path.is_file():
        raise UserError(f"there is no file {path}. Give the official CSV of {name}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            # strict: a quote that is never closed would take the rest of the file for one caption
            reader = csv.DictReader(file, strict=True)
            check_columns(reader.fieldnames or (), columns, str(path), name)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise UserError(f"{where} has other columns than the first line. Use the file as it was published.")
                yield where, path.stem, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}. Give the official CSV of {name}, UTF-8.") from error


def hub_rows(name: str, columns: Collection[str], dataset: str) -> Iterator[Row]:
    """The rows of a data set of the hub (or of its cache), without its audio where it has some."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UserError(
            f"{HUB}{name} needs the package datasets: pip install 'magnet-eval[data]'; or give the official CSV."
        ) from error
    try:
        parts = load_dataset(name)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"cannot read {HUB}{name}: {reason}. Give the official CSV of {dataset} instead.") from error
    for part, table in parts.items():
        check_columns(table.column_names, columns, f"{HUB}{name}", dataset)
        for number, row in enumerate(table.select_columns(list(columns)), start=1):
            yield f"{HUB}{name}, {part} row {number}", part, row


def check_columns(found: Collection[str], columns: Collection[str], where: str, name: str) -> None:
    """Raises UserError on a table without one of the columns."""
    absent = [column for column in columns if column not in found]
    if absent:
        there = ", ".join(column[:30] for column in found)[:120] or "nothing"
        raise UserError(f"{where} is no table of {name}: it lacks {', '.join(absent)}; its first line is {there}.")


def lines(path: Path) -> Iterable[str]:
    """The lines of a UTF-8 text file that are not blank."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from (line for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}. It must be a readable UTF-8 text file.") from error


def cell(row: Mapping[str, Any], column: str) -> str:
    """The text of a cell without outer blanks. Raises UserError on an empty one."""
    text = str("" if row[column] is None else row[column]).strip()
    if not text:
        raise UserError(f"{column} is empty.")
    return text


def video(row: Mapping[str, Any], column: str) -> str:
    """The YouTube id of a cell. Raises UserError on anything else."""
    name = str(row[column])
    if not re.fullmatch(r"[A-Za-z0-9_-]{11}", name):
        raise UserError(
            f"{column} must be a YouTube id of 11 characters, got {name[:30]!r}. "
            "Spreadsheets spoil ids that begin with a hyphen: use the file as it was published."
        )
    return name


def number(row: Mapping[str, Any], column: str) -> float:
    """The number of a cell, 0 or more. Raises UserError on anything else."""
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"{column} must be a number of seconds, got {row[column]!r}.")
    return value


def flag(row: Mapping[str, Any], column: str) -> bool:
    """The truth of a cell. Raises UserError on anything but true and false."""
    words = {"true": True, "false": False}
    word = str(row[column]).strip().lower()
    if word not in words:
        raise UserError(f"{column} must be True or False, got {row[column]!r}.")
    return words[word]
