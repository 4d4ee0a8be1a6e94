"""Figures as inline SVG: text stays text, ink and lines take the page's colours, so that one file suits light and dark.

Drawn with stand-in colours that CSS variables then take the place of; ids get the figure's name as a prefix, since all
figures share one page. Captions (n, unit, direction) are the page's, beside the figure.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

from magnet_eval.records import Score
from magnet_eval.report.data import INK, Data, shown_label
from magnet_eval.report.tables import ARROWS
from magnet_eval.store import content_key

MUTED, LINE, GROUND = "#777778", "#dddde0", "#fdfdfe"  # placeholders, as INK is
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", GROUND: "var(--ground)"}
WIDTH = 4.4  # inches
FONT_SIZE = 9
LONGEST = 36  # characters of a label in a drawing
STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": FONT_SIZE, "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": FONT_SIZE, "ytick.labelsize": FONT_SIZE, "text.color": INK, "axes.labelcolor": MUTED,
    "xtick.color": MUTED, "ytick.color": MUTED, "ytick.labelcolor": INK, "axes.edgecolor": LINE, "grid.color": LINE,
    "axes.facecolor": "none", "figure.facecolor": "none", "savefig.facecolor": "none", "grid.linewidth": 0.7,
    "axes.linewidth": 0.7, "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0, "ytick.minor.size": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One drawing and the words beside it."""

    svg: str
    title: str
    caption: str  # n, unit, which way is better
    width: int  # CSS pixels


def to_svg(figure: Any, name: str) -> str:
    """A matplotlib figure as inline SVG of its own. ``name`` may be anything: a run folder from elsewhere names it."""
    plain = re.sub(r"[^\w-]+", "-", name, flags=re.ASCII)
    name = name if name == plain else f"{plain}-{content_key(name)[:8]}"
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", svg)
    for colour, variable in VARIABLES.items():
        svg = re.sub(colour, variable, svg, flags=re.IGNORECASE)
    return svg


def canvas(height: float, width: float = WIDTH) -> tuple[Any, Any]:
    """A figure of one pair of axes in the page's style; call within ``mpl.rc_context(STYLE)``."""
    figure = Drawing(figsize=(width, height), layout="constrained")  # without pyplot: no global state
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    return figure, axes


def counts(rows: Sequence[Score]) -> str:
    """``n = 32``, or the range where the rows differ."""
    n = sorted({row.n for row in rows})
    return f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"


def bars(rows: Sequence[Score]) -> str:
    """What the bars of a figure are, if it has any."""
    return " · bars: 95\u00a0% interval" if any(row.low is not None for row in rows) else ""


def direction(better: str) -> str:
    """Which way is better, in words."""
    return f"{ARROWS[better]} {better} is better" if better else ""


def short(label: str) -> str:
    """A label as it stands inside a drawing, which has no room for hundreds of characters; tables have it in full."""
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 11]}…{label[-10:]}"


def spread(values: Sequence[float], least: float) -> list[float]:
    """The values moved apart, as little as a simple pass needs, until neighbours are ``least`` apart; same order."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    placed = list(values)
    for before, after in zip(order, order[1:], strict=False):
        placed[after] = max(placed[after], placed[before] + least)
    shift = (sum(placed) - sum(values)) / max(1, len(values))
    return [value - shift for value in placed]


def is_wide(values: Sequence[float], factor: float = 12.0) -> bool:
    """Whether values want a logarithmic axis."""
    return min(values) > 0 and max(values) / min(values) > factor


def logarithmic(axes: Any, which: str) -> None:
    """Makes the axis ``which`` ("x" or "y") logarithmic, its numbers written plainly."""
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: "")


def round_ticks(axes: Any, which: str) -> None:
    """Numbers 1, 2 and 5 of each decade on a logarithmic axis that spans too few decades for one each."""
    low, high = getattr(axes, f"get_{which}lim")()
    if high / low < 100:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
        ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        getattr(axes, f"set_{which}ticks")([tick for tick in ticks if low <= tick <= high])


def point(axes: Any, data: Data, row: Score, x: float, y: float, **error: Any) -> None:
    """One system's marker with its interval."""
    system = data.systems[row.system]
    look = {"fmt": system.marker, "color": system.colour, "markersize": 7, "elinewidth": 1.6, "markeredgewidth": 0}
    axes.errorbar(x, y, **look, **error)


def reach(row: Score) -> list[list[float]] | None:
    """The interval as matplotlib's error lengths."""
    if row.low is None or row.high is None:
        return None
    return [[max(0.0, row.value - row.low)], [max(0.0, row.high - row.value)]]


def quality(data: Data, metric: str, of: str = "clips") -> Figure:
    """Every system on one metric: value, interval, and the floor of real against real. ``of``: what n counts."""
    rows = [row for row in data.plain if row.metric == metric]
    rows.sort(key=lambda row: list(data.systems).index(row.system))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.75 + 0.3 * len(rows))
        for y, row in enumerate(rows):
            point(axes, data, row, row.value, y, xerr=reach(row))
        floors = [row.floor for row in rows if row.floor is not None]
        if floors:
            floor = sorted(floors)[len(floors) // 2]
            axes.axvline(floor, color=MUTED, linewidth=1, dashes=(3, 3))
            axes.annotate("real", (floor, 1), (3, 2), ("data", "axes fraction"), "offset points", color=MUTED)
        if is_wide([row.value for row in rows] + floors):
            logarithmic(axes, "x")
        axes.set(yticks=range(len(rows)), yticklabels=[short(row.system) for row in rows], ylim=(len(rows) - 0.5, -0.6))
        axes.grid(axis="x")
        axes.set_xlabel(f"{shown_label(rows[0])}{f' ({rows[0].unit})' if rows[0].unit else ''}")
        svg = to_svg(figure, f"quality-{metric}")
    caption = f"{direction(rows[0].better)} · {counts(rows)} {of}{bars(rows)}"
    caption += " · dashed: as many real clips against the other real clips" if floors else ""
    return Figure(svg, shown_label(rows[0]), caption, round(WIDTH * 96))


def quality_latency(data: Data, metric: str, name: str = "tradeoff") -> Figure | None:
    """Quality of every competing system over its latency at the smallest batch size; None for fewer than two."""
    batch = data.batches[0] if data.batches else 0
    found = [(row, data.latency(row.system, batch)) for row in data.quality if row.metric == metric]
    points = [(row, latency) for row, latency in found if latency is not None and not data.systems[row.system].role]
    if len(points) < 2:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.3, 4.8)
        for row, latency in points:
            point(axes, data, row, latency.value, row.value, xerr=reach(latency), yerr=reach(row))
        times = [latency.value for _, latency in points]
        if is_wide(times, 6):
            logarithmic(axes, "x")
            axes.set_xlim(min(times) / 1.4, max(times) * (max(times) / min(times)) ** 0.45)
        else:
            axes.set_xlim(0, max(times) * 1.55)
            axes.locator_params("x", nbins=6)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms")
        if is_wide([row.value for row, _ in points]):
            logarithmic(axes, "y")
        first = points[0][0]
        front = pareto([(latency.value, row.value) for row, latency in points], first.better)
        if len(front) > 1:
            steps = [*front, (axes.get_xlim()[1], front[-1][1])]
            axes.plot(*zip(*steps, strict=True), drawstyle="steps-post", color=MUTED, linewidth=1, zorder=1)
        name_points(
            figure, axes, [(latency.high or latency.value, row.value, row.system) for row, latency in points], 7
        )
        axes.grid()
        axes.set_xlabel(f"latency at batch {batch}")
        axes.set_ylabel(f"{shown_label(first)}{f' ({first.unit})' if first.unit else ''}")
        svg = to_svg(figure, f"{name}-{metric}")
    corner = {"lower": "bottom left", "higher": "top left"}.get(first.better, "left")
    audio = points[0][1].params.get("seconds")
    caption = (
        f"Better is {corner}. Quality: {counts([row for row, _ in points])} clips; latency: median of "
        f"{counts([latency for _, latency in points])} calls for {audio:g} s of audio. Bars: 95 % intervals."
    )
    caption += " Line: what no other system beats in both." if len(front) > 1 else ""
    return Figure(svg, f"{shown_label(first)} and latency", caption, round(4.8 * 96))


def pareto(points: Sequence[tuple[float, float]], better: str) -> list[tuple[float, float]]:
    """The points (latency, quality) that no other is at least as good as in both and better in one, fastest first."""
    sign = -1 if better == "higher" else 1
    front: list[tuple[float, float]] = []
    for latency, value in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not front or sign * value < sign * front[-1][1]:
            front.append((latency, value))
    return front


def name_points(figure: Any, axes: Any, points: Sequence[tuple[float, float, str]], rise: float = 0) -> None:
    """Writes names to the right of points, moved up or down until none covers another; lines join them if far.

    ``rise`` (points) lifts the names off a line that leaves their points to the right.
    """
    figure.canvas.draw()  # fixes the layout, so that positions in points can be computed
    pixel = [axes.transData.transform((x, y)) for x, y, _ in points]
    placed = spread([float(position[1]) for position in pixel], 12 * figure.dpi / 72)
    moved = [(wanted - at[1]) * 72 / figure.dpi for at, wanted in zip(pixel, placed, strict=True)]
    is_crowded = any(abs(step) > FONT_SIZE for step in moved)
    line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 4}
    look = {"arrowprops": line if is_crowded else None, "color": INK, "va": "center"}
    for (x, y, name), step in zip(points, moved, strict=True):
        axes.annotate(short(name), (x, y), (20 if is_crowded else 8, step + rise), textcoords="offset points", **look)
