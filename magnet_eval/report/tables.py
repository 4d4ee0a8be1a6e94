"""Score rows -> tables. A table's columns are whatever metrics the rows hold; a missing row is a dash."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from magnet_eval.records import Score
from magnet_eval.report.data import Data, shown_label
from magnet_eval.report.numbers import DASH, MINUS, decimals, interval_text, number, p_text, value_text

ALPHA = 0.05
ARROWS = {"lower": "↓", "higher": "↑", "": ""}


@dataclass(frozen=True)
class Cell:
    """One entry: the number, its interval, and what is to be said about it."""

    text: str = DASH
    interval: str = ""
    mark: str = ""  # "best", "tied" (with the best; with zero), "same" (shown to be), "better", "worse" or ""
    note: str = ""


@dataclass(frozen=True)
class Column:
    """One metric as a heading."""

    label: str
    unit: str = ""
    better: str = ""
    n: str = ""  # "n = 32" where all rows agree
    floor: str = ""
    has_intervals: bool = False

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return ARROWS[self.better]


@dataclass(frozen=True)
class Table:
    """Columns, and rows of (heading, cells)."""

    columns: list[Column]
    rows: list[tuple[str, list[Cell]]] = field(default_factory=list)


def pivot(rows: Sequence[Score], index: Sequence[str], column: pd.Series | None = None) -> pd.DataFrame:
    """Score rows as a frame [label, column] of Score objects; None where there is no row.

    ``column`` names each row's column; its metric and preset unless given. Columns come in the order of the rows.
    """
    frame = pd.DataFrame({"system": [row.system for row in rows], "row": pd.Series(list(rows), dtype=object)})
    frame["column"] = column if column is not None else [(row.metric, row.preset) for row in rows]
    order = list(dict.fromkeys(frame["column"]))
    wide = frame.drop_duplicates(["system", "column"], keep="last").set_index(["system", "column"])["row"].unstack()
    wide = wide.reindex(index=list(index), columns=order)
    return wide.astype(object).where(wide.notna(), None)


def is_tested(row: Score) -> bool:
    """Whether anything says how sure a difference is."""
    return row.p_value is not None or (row.low is not None and row.high is not None)


def is_significant(row: Score) -> bool:
    """Whether a difference is told apart from zero: by its adjusted p-value, else by its interval."""
    if row.p_value is not None:
        return row.p_value < ALPHA
    return row.low is not None and row.high is not None and not row.low <= 0 <= row.high


def difference(data: Data, system: str, versus: str, metric: str) -> Score | None:
    """The comparison row of two systems, whichever way round it was made."""
    pairs = {(system, versus), (versus, system)}
    rows = [row for row in data.told_apart if row.metric == metric and (row.system, row.versus) in pairs]
    return rows[-1] if rows else None


def best_of(data: Data, rows: Sequence[Score | None]) -> Score | None:
    """The best row of a column among the systems that compete; None for facts, and where fewer than two compete."""
    contest = [row for row in rows if row is not None and row.better and data.competes(row.system)]
    if len(contest) < 2:
        return None
    return (min if contest[0].better == "lower" else max)(contest, key=lambda row: row.value)


def mark(data: Data, row: Score, best: Score | None) -> str:
    """The verdict on a row against the best of its column; none where no interval says how sure the best one is."""
    if best is None or best.low is None or not data.competes(row.system):
        return ""
    if row.value == best.value:
        return "best"
    compared = difference(data, row.system, best.system, row.metric)
    return "" if compared is None or not is_tested(compared) or is_significant(compared) else "tied"


def heading(rows: Sequence[Score | None]) -> Column:
    """A column's heading from its rows."""
    present = [row for row in rows if row is not None]
    n = sorted({row.n for row in present})
    floors = [row.floor for row in present if row.floor is not None]
    floor = number(float(np.median(floors)), decimals(float(np.median(floors)))) if floors else ""
    first = present[0]
    counts = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    intervals = any(row.low is not None for row in present)
    return Column(shown_label(first), first.unit, first.better, counts, floor, intervals)


def table(data: Data, wide: pd.DataFrame) -> Table:
    """A pivoted frame as a table with marks."""
    columns: list[Column] = []
    cells: dict[str, list[Cell]] = {label: [] for label in wide.index}
    for name in wide.columns:
        rows = list(wide[name])
        best = best_of(data, rows)
        columns.append(heading(rows))
        for label, row in zip(wide.index, rows, strict=True):
            cells[label].append(
                Cell() if row is None else Cell(value_text(row), interval_text(row), mark(data, row, best))
            )
    return Table(columns, list(cells.items()))


def quality(data: Data) -> Table:
    """Systems by metrics."""
    return table(data, pivot(data.quality, list(data.systems))) if data.quality else Table([])


def comparisons(rows: Sequence[Score]) -> Table:
    """Pairs of systems by metrics, from rows of differences: difference, interval, verdict and p-value."""
    if not rows:
        return Table([])
    pairs = list(dict.fromkeys((row.system, row.versus) for row in rows))
    metrics = list(dict.fromkeys(row.metric for row in rows))
    by_key = {(row.system, row.versus, row.metric): row for row in rows}

    def cell(pair: tuple[str, str], metric: str) -> Cell:
        row = by_key.get((*pair, metric))
        if row is None:
            return Cell()
        verdict = "same" if row.params.get("verdict") == "equivalent" else "tied" if is_tested(row) else ""
        if is_significant(row):
            verdict = (
                {"lower": "better", "higher": "worse"}.get(row.better, "")
                if row.value < 0
                else ({"lower": "worse", "higher": "better"}.get(row.better, ""))
            )
        sided = " (one-sided)" if row.params.get("one_sided") else ""
        p_value = p_text(row.p_value) + sided if row.p_value is not None else ""
        if verdict == "same" and {"margin", "equivalence_p"} <= set(row.params):
            p_value = f"within ±{row.params['margin']:g}, {p_text(row.params['equivalence_p'])}"
        return Cell(value_text(row), interval_text(row), verdict, p_value)

    columns = [heading([row for row in rows if row.metric == metric]) for metric in metrics]
    return Table(columns, [(f"{a} {MINUS} {b}", [cell((a, b), metric) for metric in metrics]) for a, b in pairs])


def plain_text(data: Data) -> str:
    """Quality, and latency at the smallest batch size, as text in columns."""
    rows = [*data.quality]
    if data.batches:
        found = (data.latency(label, data.batches[0]) for label in data.systems)
        rows += [row for row in found if row is not None]
    if not rows:
        return "no scores yet"
    shown = table(data, pivot(rows, list(data.systems)))
    titles = [
        f"{column.label} {column.arrow}".strip() + (f" ({column.unit})" if column.unit else "")
        for column in shown.columns
    ]
    signs = {"best": " *", "tied": " ="}
    lines = [["", *titles]]
    for label, cells in shown.rows:
        lines.append([label, *(f"{cell.text} {cell.interval}".strip() + signs.get(cell.mark, "  ") for cell in cells)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(
            part.ljust(width) if i == 0 else part.rjust(width)
            for i, (part, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    legend = "* best   = not distinguishable from the best (p >= 0.05)   brackets: 95 % interval"
    batch = f"   latency: batch {data.batches[0]}" if data.batches else ""
    return "\n".join([*text, "", legend + batch, *unsettled(data)])


def unsettled(data: Data) -> list[str]:
    """A line on latencies whose warm-up calls had not come to agree; none where all had."""
    rows = [row for label in data.systems if (row := data.latency(label, data.batches[0]))] if data.batches else []
    uneven = [row.system for row in rows if row.params.get("settled") is False]
    return [f"latency not settled (warm-up calls differ by more than 2 %): {', '.join(uneven)}"] if uneven else []
