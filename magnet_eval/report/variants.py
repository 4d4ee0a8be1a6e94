"""Variants that were trained at several seeds: each metric's mean over the seeds, with what the seeds leave open."""

from collections.abc import Sequence
from dataclasses import replace

import matplotlib as mpl
import numpy as np
from scipy import stats

from magnet_eval.records import Score
from magnet_eval.report.ablation import rows_of
from magnet_eval.report.data import Data, shown_label
from magnet_eval.report.figures import (
    MUTED,
    STYLE,
    WIDTH,
    Figure,
    bars,
    canvas,
    counts,
    direction,
    is_wide,
    logarithmic,
    point,
    reach,
    to_svg,
)
from magnet_eval.report.numbers import interval_text, value_text
from magnet_eval.report.tables import Cell, Table, heading

LEGEND = (
    "A value is the mean over the seeds; its interval (Student's t, 95 %) is of the training, so it holds for other "
    "seeds, where those of single systems hold for other prompts."
)


def over_seeds(rows: Sequence[Score], **changes: object) -> Score:
    """The mean of rows of one metric, one a seed, with Student's interval over the seeds.

    A single row has no interval. Nor have equal ones: that they are all alike is no measure of other seeds.
    """
    values = np.array([row.value for row in rows])
    low = high = None
    if not np.allclose(values, values[0], rtol=1e-9, atol=1e-12):
        half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
        low, high = float(values.mean()) - half, float(values.mean()) + half
    facts = {"value": float(values.mean()), "low": low, "high": high, "n": len(values), "floor": None, "p_value": None}
    return replace(rows[0], **facts, **changes)  # type: ignore[arg-type]


def pooled(data: Data) -> dict[tuple[str, str], list[Score]]:
    """(metric, preset) -> a row for each variant that has scores: the mean over its seeds, ``system`` its name."""
    rows = rows_of(data)
    found: dict[tuple[str, str], list[Score]] = {}
    for key in dict.fromkeys((row.metric, row.preset) for row in rows):
        own = {row.system: row for row in rows if (row.metric, row.preset) == key}
        for name, labels in data.variants.items():
            if scored := [own[label] for label in labels.values() if label in own]:
                found.setdefault(key, []).append(over_seeds(scored, system=name))
    return found


def table(data: Data) -> Table:
    """Variants by metrics."""
    found = pooled(data)
    names = list(data.variants)
    cells: dict[str, list[Cell]] = {name: [] for name in names}
    for rows in found.values():
        by_name = {row.system: Cell(value_text(row), interval_text(row)) for row in rows}
        for name in names:
            cells[name].append(by_name.get(name, Cell()))
    return of_seeds(Table([heading(rows) for rows in found.values()], list(cells.items()))) if found else Table([])


def of_seeds(table: Table) -> Table:
    """A table whose rows are means over seeds: its headings count these."""
    columns = [replace(column, n=f"{column.n.removeprefix('n = ')} seeds") for column in table.columns]
    return replace(table, columns=columns)


def figures(data: Data) -> list[Figure]:
    """Every metric by variant: the mean with its interval, and behind it every seed."""
    return [_figure(data, rows) for rows in pooled(data).values()]


def _figure(data: Data, rows: Sequence[Score]) -> Figure:
    first, every = rows[0], rows_of(data)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.75 + 0.34 * len(rows))
        values = []
        for y, row in enumerate(rows):
            labels = list(data.variants[row.system].values())
            seeds = [
                one for one in every if one.system in labels and (one.metric, one.preset) == (row.metric, row.preset)
            ]
            axes.scatter([one.value for one in seeds], [y] * len(seeds), s=14, color=MUTED, alpha=0.6, zorder=1)
            point(axes, data, replace(row, system=labels[0]), row.value, y, xerr=reach(row))
            values += [one.value for one in seeds]
        if is_wide(values):
            logarithmic(axes, "x")
        axes.set(yticks=range(len(rows)), yticklabels=[row.system for row in rows], ylim=(len(rows) - 0.5, -0.6))
        axes.grid(axis="x")
        axes.set_xlabel(f"{shown_label(first)}{f' ({first.unit})' if first.unit else ''}")
        svg = to_svg(figure, f"variants-{first.metric}-{first.preset}")
    caption = f"{direction(first.better)} · mean of seeds ({counts(rows)}), which are in grey{bars(rows)}"
    return Figure(svg, f"{shown_label(first)} by variant", caption, round(WIDTH * 96))
