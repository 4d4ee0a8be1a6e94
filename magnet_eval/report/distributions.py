"""How the scores of single clips spread: every clip a tick, the middle half a box, the median the system's marker.

So many clips that their ticks run into each other (and weigh megabytes) are a shape: the wider, the more clips.
"""

from typing import Any

import matplotlib as mpl
import pandas as pd

from magnet_eval.report.data import Data, shown_label
from magnet_eval.report.figures import (
    GROUND,
    MUTED,
    STYLE,
    WIDTH,
    Figure,
    canvas,
    direction,
    is_wide,
    logarithmic,
    short,
    to_svg,
)

MOST_TICKS = 300  # of one system


def frame(data: Data, metric: str) -> pd.DataFrame:
    """Clip scores of one metric: columns system and value, systems in the order of the protocol."""
    rows = [(row.system, row.value) for row in data.clip_scores if row.metric == metric and row.system in data.systems]
    table = pd.DataFrame(rows, columns=["system", "value"])
    return table.sort_values("system", key=lambda labels: labels.map(list(data.systems).index), kind="stable")


def draw(data: Data, table: pd.DataFrame) -> tuple[Any, Any]:
    """A figure and its axes from the columns of ``frame``; call within ``mpl.rc_context(STYLE)``."""
    import seaborn as sns  # a second of imports: only where there is something to draw

    labels = list(table["system"].unique())
    looks = [data.systems[label] for label in labels]
    figure, axes = canvas(0.75 + 0.34 * len(labels))
    if is_wide(table["value"].tolist(), 100):
        logarithmic(axes, "x")
    shared = {"data": table, "x": "value", "y": "system", "order": labels, "ax": axes}
    coloured = {"hue": "system", "hue_order": labels, "palette": [look.colour for look in looks], "legend": False}
    if table["system"].value_counts().max() > MOST_TICKS:
        sns.violinplot(**shared, **coloured, inner=None, cut=0, density_norm="width", linewidth=0, alpha=0.35)
    else:  # ticks on one line rather than points moved at random: the same records make the same page
        sns.stripplot(**shared, **coloured, jitter=False, marker="|", size=11, linewidth=1.1, alpha=0.4)
    hidden = {"visible": False}  # the ticks show the tails, the marker the median
    sns.boxplot(
        **shared, fill=False, width=0.6, color=MUTED, linewidth=1, showfliers=False, showcaps=False,
        whiskerprops=hidden, medianprops=hidden,
    )  # fmt: skip
    sns.pointplot(
        **shared, **coloured, estimator="median", errorbar=None, linestyles="none", markers=[x.marker for x in looks],
        markersize=9.5, markeredgewidth=1.2, markeredgecolor=GROUND,
    )  # fmt: skip
    axes.grid(axis="x")
    axes.set(ylabel="", yticks=range(len(labels)), yticklabels=[short(label) for label in labels])
    return figure, axes


def clip_scores(data: Data, metric: str) -> Figure | None:
    """Every system's clips on one metric; None where clips have no scores of their own."""
    table = frame(data, metric)
    if table.empty:
        return None
    row = next(row for row in data.quality if row.metric == metric)
    with mpl.rc_context(STYLE):
        figure, axes = draw(data, table)
        axes.set_xlabel(f"{shown_label(row)} of one clip{f' ({row.unit})' if row.unit else ''}")
        svg = to_svg(figure, f"clips-{metric}")
    n = sorted(table["system"].value_counts().unique())
    count = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    shape = "shape: clips" if n[-1] > MOST_TICKS else "tick: a clip"
    caption = f"{direction(row.better)} · {count} clips a system · {shape} · marker: median · box: middle half"
    return Figure(svg, f"{shown_label(row)}, clip by clip", caption, round(WIDTH * 96))
