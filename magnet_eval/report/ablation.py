"""Ablations: where the systems of a run are one model with changed settings, the metrics against these settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl

from magnet_eval.records import Score
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
from magnet_eval.report.numbers import DASH
from magnet_eval.report.tables import Cell, Column, Table, pivot, table


@dataclass(frozen=True)
class Ablation:
    """What was changed, and to what, in the order of the values."""

    model: str
    settings: tuple[str, ...]  # dotted names
    values: dict[str, str]  # by system


def find(data: Data) -> Ablation | None:
    """The ablation that a run is; None unless all systems that compete are one model with different settings.

    Variants that were trained differ in more than a setting; see variants.py.
    """
    if data.manifest.get("protocol", {}).get("training"):
        return None
    protocol = data.manifest.get("protocol", {}).get("systems") or []
    systems = [one for one in protocol if (look := data.systems.get(one.get("label", ""))) and not look.role]
    changes = {one["label"]: one.get("set") or {} for one in systems}
    names = tuple(dict.fromkeys(name for change in changes.values() for name in change))
    if len({one.get("model") for one in systems}) != 1 or len(systems) < 2:
        return None
    made = data.manifest.get("systems", {})
    found = {label: {name: value_of(change, name, made.get(label, {})) for name in names} for label, change in
             changes.items()}  # fmt: skip
    names = tuple(name for name in names if len({repr(values[name]) for values in found.values()}) > 1)
    if not names:
        return None
    labels = list(changes)
    if len(names) == 1:
        labels = in_order({label: values[names[0]] for label, values in found.items()})
    values = {label: " / ".join(text_of(found[label][name]) for name in names) for label in labels}
    return Ablation(str(systems[0]["model"]), names, values)


def value_of(change: Mapping[str, Any], name: str, model: Mapping[str, Any]) -> Any:
    """What a system has for a setting: its change, else the setting that its model ran with; None if neither says."""
    if name in change:
        return change[name]
    block, _, key = name.rpartition(".")
    places = (model.get("settings"), model.get(block) if block else model)
    return next((place[key] for place in places if isinstance(place, Mapping) and key in place), None)


def in_order(values: Mapping[str, Any]) -> list[str]:
    """Labels by their value: numbers by size, lists by their sum, anything else as in the protocol."""

    def size(value: Any) -> tuple[float, ...]:
        parts = value if isinstance(value, list) else [value]
        return (float(sum(parts)), *map(float, parts))

    try:
        return sorted(values, key=lambda label: size(values[label]))
    except TypeError:
        return list(values)


def text_of(value: Any) -> str:
    """A setting's value in few characters."""
    if isinstance(value, list):
        return " ".join(text_of(part) for part in value)
    return DASH if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def rows_of(data: Data) -> list[Score]:
    """What an ablation can move: the metrics that rank, and the latency of whole calls at the smallest batch size."""
    latency = [row for label in data.systems if data.batches and (row := data.latency(label, data.batches[0]))]
    return [*(row for row in data.plain if row.better), *latency]


def settings_table(data: Data, found: Ablation) -> Table:
    """Systems in the order of the setting: its value, every metric, latency."""
    rows = [row for row in rows_of(data) if row.system in found.values]
    shown = table(data, pivot(rows, list(found.values))) if rows else Table([])
    columns = [Column(" / ".join(found.settings)), *(replace(column, floor="") for column in shown.columns)]
    return Table(columns, [(label, [Cell(found.values[label]), *cells]) for label, cells in shown.rows])


def figures(data: Data, found: Ablation) -> list[Figure]:
    """Every metric, and latency, against the setting."""
    rows = [row for row in rows_of(data) if row.system in found.values]
    keys = dict.fromkeys((row.metric, row.preset) for row in rows)
    return [_figure(data, found, [row for row in rows if (row.metric, row.preset) == key]) for key in keys]


def _figure(data: Data, found: Ablation, rows: Sequence[Score]) -> Figure:
    order = list(found.values)
    rows = sorted(rows, key=lambda row: order.index(row.system))
    first, setting = rows[0], " / ".join(name.rpartition(".")[2] for name in found.settings)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.75 + 0.34 * len(rows))
        if len(found.settings) == 1:
            axes.plot([row.value for row in rows], range(len(rows)), color=MUTED, linewidth=1, zorder=1)
        for y, row in enumerate(rows):
            point(axes, data, row, row.value, y, xerr=reach(row))
        if is_wide([row.value for row in rows]):
            logarithmic(axes, "x")
        names = [found.values[row.system] for row in rows]
        axes.set(yticks=range(len(rows)), yticklabels=names, ylim=(len(rows) - 0.5, -0.6), ylabel=setting)
        axes.grid(axis="x")
        axes.set_xlabel(f"{shown_label(first)}{f' ({first.unit})' if first.unit else ''}")
        svg = to_svg(figure, f"setting-{first.metric}-{first.preset}")
    return Figure(
        svg, f"{shown_label(first)} by {setting}", f"{direction(first.better)} · {counts(rows)}{bars(rows)}",
        round(WIDTH * 96),
    )  # fmt: skip
