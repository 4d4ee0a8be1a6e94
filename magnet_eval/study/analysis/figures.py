"""Figures of a listening test, in the report's style: answers, prompts, differences, raters, exclusions."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from magnet_eval.report.data import COLOURS, INK, System
from magnet_eval.report.figures import GROUND, LINE, MUTED, STYLE, WIDTH, Figure, canvas, to_svg
from magnet_eval.study.analysis.analyse import Analysis, Condition
from magnet_eval.study.analysis.compare import Comparison
from magnet_eval.study.analysis.grid import Grid

LIGHT = {"ink": "#1b1c1e", "muted": "#63666b", "line": "#dfe0dd", "ground": "#fdfdfc"}
DARK = {"ink": "#ecedee", "muted": "#a2a6ac", "line": "#34373b", "ground": "#141517"}
PIXELS = round(WIDTH * 96)


def standalone(figure: Figure) -> str:
    """A figure as a file of its own, which has no page to take colours from."""
    colours = "".join(f"--{name}:{value};" for name, value in LIGHT.items())
    dark = "".join(f"--{name}:{value};" for name, value in DARK.items())
    style = f"<style>svg{{{colours}background:var(--ground)}}"
    style += f"@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    head, _, rest = figure.svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg" width="{figure.width}">{style}{rest}'


def all_figures(analysis: Analysis, looks: Mapping[str, System]) -> dict[str, Figure]:
    """Every figure that there is something to draw for, by file name."""
    found: dict[str, Figure] = {}
    for index, grid in enumerate(analysis.grids):
        name = f"{index}"  # a question's id is the user's: no part of a file name
        rows = [row for row in analysis.kept.conditions if row.dimension == grid.dimension]
        pairs = [row for row in analysis.kept.comparisons if row.dimension == grid.dimension]
        found[f"answers-{name}"] = answers(grid, rows, looks)
        found[f"prompts-{name}"] = prompts(grid)
        if pairs:
            found[f"differences-{name}"] = forest(pairs)
        found[f"raters-{name}"] = raters(grid)
    found["screening"] = waterfall(analysis)
    return found


def answers(grid: Grid, rows: Sequence[Condition], looks: Mapping[str, System]) -> Figure:
    """How the answers about each condition spread, every rater's mean, and the mean of all with its interval."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.75 + 0.5 * len(rows))
        for y, row in enumerate(rows):
            colour = looks[row.system].colour if row.role == "system" else MUTED
            table = grid.of(row.system)
            values = table[np.isfinite(table)]
            if np.ptp(values) > 0:
                shape = axes.violinplot(values, [y], orientation="horizontal", widths=0.85, showextrema=False)
                shape["bodies"][0].set(facecolor=colour, alpha=0.25, linewidth=0)
            own = np.nanmean(table[np.isfinite(table).any(axis=1)], axis=1)
            axes.plot(own, np.full(len(own), y), "o", color=colour, alpha=0.5, markersize=3.5, markeredgewidth=0)
            error = None if row.low is None or row.high is None else [[row.mean - row.low], [row.high - row.mean]]
            marker = looks[row.system].marker if row.role == "system" else "d"
            axes.errorbar(
                row.mean, y, xerr=error, fmt=marker, color=INK, markersize=6, elinewidth=1.6,
                markeredgecolor=GROUND, markeredgewidth=0.8,
            )  # fmt: skip
        axes.set(yticks=range(len(rows)), yticklabels=[row.system for row in rows], ylim=(len(rows) - 0.4, -0.6))
        axes.grid(axis="x")
        axes.set_xlabel(f"{grid.dimension.upper()} (points)")
        svg = to_svg(figure, f"answers-{grid.dimension}")
    n = sorted({row.n for row in rows})
    count = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    caption = f"↑ higher is better · {count} answers · shape: answers · dots: raters' means · bars: 95 % interval"
    return Figure(svg, f"{grid.dimension.upper()}: answers", caption, PIXELS)


def prompts(grid: Grid) -> Figure:
    """Mean answer of every clip: prompts down, systems across, prompts ordered by their mean."""
    from magnet_eval.study.analysis.compare import block_means

    means = block_means(grid.values[: grid.n_systems], 1)  # [prompt, system]
    rows = np.flatnonzero(np.isfinite(means).any(axis=1))
    rows = rows[np.argsort(-np.nanmean(means[rows], axis=1), kind="stable")]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.9 + 0.19 * len(rows))
        shown = np.ma.masked_invalid(means[rows])
        axes.pcolormesh(shown, cmap=_veil(), vmin=float(shown.min()), vmax=max(float(shown.max()), shown.min() + 1))
        for (y, x), value in np.ndenumerate(means[rows]):
            if np.isfinite(value):
                axes.text(x + 0.5, y + 0.5, f"{value:.0f}", ha="center", va="center", fontsize=7)
        axes.set_xticks(np.arange(len(grid.systems)) + 0.5, grid.systems, rotation=20, ha="right")
        axes.set_yticks(np.arange(len(rows)) + 0.5, [grid.prompts[row] for row in rows], fontsize=7)
        axes.invert_yaxis()
        svg = to_svg(figure, f"prompts-{grid.dimension}")
    caption = f"mean answer in points · {len(rows)} prompts, the best rated first · empty: no answer"
    return Figure(svg, f"{grid.dimension.upper()}: prompt by prompt", caption, PIXELS)


def forest(rows: Sequence[Comparison]) -> Figure:
    """Every paired difference with its interval, and the margin within which it would not matter."""
    margin = rows[0].margin
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.75 + 0.34 * len(rows))
        axes.axvspan(-margin, margin, color=LINE, alpha=0.5, linewidth=0)
        axes.axvline(0, color=MUTED, linewidth=1)
        for y, row in enumerate(rows):
            error = [[row.difference - row.low], [row.high - row.difference]]
            filled = "none" if row.verdict == "not distinguishable" else INK
            axes.errorbar(row.difference, y, xerr=error, fmt="o", color=INK, markerfacecolor=filled, elinewidth=1.6)
        names = [f"{row.system} − {row.versus}" for row in rows]
        axes.set(yticks=range(len(rows)), yticklabels=names, ylim=(len(rows) - 0.4, -0.6))
        axes.grid(axis="x")
        axes.set_xlabel(f"difference in {rows[0].dimension.upper()} (points)")
        svg = to_svg(figure, f"differences-{rows[0].dimension}")
    caption = (
        f"same raters, same prompts · bars: 95 % interval · band: ±{margin:g} points · hollow: not distinguishable"
    )
    return Figure(svg, f"{rows[0].dimension.upper()}: differences", caption, PIXELS)


def raters(grid: Grid) -> Figure:
    """How far each rater's answers lie from the others' mean of the same clips, and how much they vary about it."""
    table = grid.by_rater()
    apart = table - np.nanmean(table, axis=0)
    heard = np.isfinite(apart).any(axis=1)
    bias, spread = np.nanmean(apart[heard], axis=1), np.nanstd(apart[heard], axis=1)
    order = np.argsort(bias, kind="stable")
    with mpl.rc_context(STYLE):
        figure, axes = canvas(2.6)
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.errorbar(
            np.arange(len(order)), bias[order], yerr=spread[order], fmt="o", color=INK, ecolor=LINE, markersize=4,
            elinewidth=1.4,
        )  # fmt: skip
        axes.set(xticks=[], xlabel=f"{len(order)} raters, in order", ylabel="points from the mean")
        axes.grid(axis="y")
        svg = to_svg(figure, f"raters-{grid.dimension}")
    caption = f"{len(order)} raters · dot: mean distance from the mean of the same clips · line: 1 standard deviation"
    return Figure(svg, f"{grid.dimension.upper()}: strict and lenient raters", caption, PIXELS)


def waterfall(analysis: Analysis) -> Figure:
    """How many raters started, how many each rule took away from those before it, how many are left."""
    steps, left = steps_of(analysis), len(analysis.screening.raters)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.75 + 0.32 * (len(steps) + 2))
        _bar(axes, 0, 0, left, INK, "all raters")
        for y, (_, n) in enumerate(steps, start=1):
            left -= n
            _bar(axes, y, left, n, MUTED, f"−{n}" if n else "0")
        _bar(axes, len(steps) + 1, 0, left, INK, "kept")
        names = ["all", *(name for name, _ in steps), "kept"]
        axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6), xlabel="raters")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="x")
        svg = to_svg(figure, "screening")
    caption = f"{len(analysis.screening.raters)} raters · a rater counts at the first rule that leaves them out"
    return Figure(svg, "Exclusions", caption, PIXELS)


def _veil() -> Any:
    """One colour, thin to thick, so that the page's own ink can be read on it, light or dark."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    return LinearSegmentedColormap.from_list("veil", [to_rgba(COLOURS[3], 0.03), to_rgba(COLOURS[3], 0.6)])


def steps_of(analysis: Analysis) -> list[tuple[str, int]]:
    """The rules that were applied and how many raters each left out that none before it had."""
    gone: set[str] = set()
    found = []
    chosen = [row for row in analysis.screening.verdicts if row.rule_set in analysis.settings.exclusions]
    for key in dict.fromkeys((row.rule_set, row.rule) for row in chosen):
        out = {row.rater for row in chosen if (row.rule_set, row.rule) == key and row.dropped} - gone
        gone |= out
        found.append((": ".join(key), len(out)))
    return found


def _bar(axes: Any, y: int, left: int, width: int, colour: str, text: str) -> None:
    axes.barh(y, width, 0.62, left, color=colour, alpha=0.85, linewidth=0)
    axes.annotate(str(width) if colour == INK else text, (left + width, y), (4, -3), textcoords="offset points")
