"""By kind of prompt: the mean clip score of every system on the prompts of each value of a tag."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Drawing

from magnet_eval.report.data import Data, shown_label
from magnet_eval.report.figures import LINE, STYLE, WIDTH, Figure, direction, to_svg
from magnet_eval.stats import interval, resampled_counts

MOST_KEYS, VALUES, LEAST = 4, (2, 8), 3  # figures; values of a key; prompts of a value
N_RESAMPLES = 1000
CHANCE = 0.1  # share of intervals beside the mean up to which a tag says nothing: one in twenty is by chance alone


@dataclass(frozen=True)
class Means:
    """Means of every (metric, system) over the prompts of one value of a tag; NaN where fewer than LEAST have one."""

    value: str
    n: int  # prompts
    mean: np.ndarray  # [metric x system]
    low: np.ndarray
    high: np.ndarray


def breakdown(data: Data) -> tuple[list[Figure], list[str]]:
    """A figure for each tag that tells prompts apart, at most MOST_KEYS, and the names of the tags that do not.

    A tag says something where more than one interval in ten leaves out the same system's mean over all prompts; those
    with most such intervals come first. Of the systems that compete.
    """
    metrics = [row.metric for row in data.quality if row.better]
    compete = [label for label, system in data.systems.items() if not system.role]
    columns = [(metric, label) for metric in dict.fromkeys(metrics) for label in compete]
    place = {column: i for i, column in enumerate(columns)}
    row_of = {prompt.id: i for i, prompt in enumerate(data.prompts)}
    scores = np.full((len(data.prompts), len(columns)), np.nan)  # [prompt, metric x system]
    for row in data.clip_scores:
        if (row.metric, row.system) in place and row.prompt_id in row_of:
            scores[row_of[row.prompt_id], place[row.metric, row.system]] = row.value
    used = np.flatnonzero(np.isfinite(scores).any(axis=0))
    keys = candidates(data) if len(used) else {}
    found: list[tuple[float, str, list[Means]]] = []
    for key, values in keys.items():
        of_key = [means(value, scores[np.array(members)][:, used]) for value, members in values.items()]
        found.append((strength(of_key, scores[:, used]), key, of_key))
    telling = sorted((one for one in found if one[0] > CHANCE), key=lambda one: (-one[0], one[1]))
    shown = telling[:MOST_KEYS]
    drawn = [draw(data, key, of_key, [columns[i] for i in used]) for _, key, of_key in shown]
    return drawn, sorted({key for _, key, _ in found} - {key for _, key, _ in shown})


def candidates(data: Data) -> dict[str, dict[str, list[int]]]:
    """Tag -> value -> prompts, for the values that occur often enough, of the tags with few enough of them."""
    found = {}
    for key in sorted({key for prompt in data.prompts for key in prompt.tags}):
        counts = Counter(str(prompt.tags[key]) for prompt in data.prompts if key in prompt.tags)
        values = sorted((value for value, n in counts.items() if n >= LEAST), key=natural)
        if VALUES[0] <= len(values) <= VALUES[1]:
            found[key] = {
                value: [i for i, prompt in enumerate(data.prompts) if str(prompt.tags.get(key)) == value]
                for value in values
            }
    return found


def natural(value: str) -> tuple[float, str]:
    """Numbers by size, before words."""
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def means(value: str, scores: np.ndarray) -> Means:
    """Means of scores [prompt, column] and their intervals: the prompts are drawn again, all columns together."""
    known = np.isfinite(scores)
    filled = np.where(known, scores, 0.0)
    enough = known.sum(axis=0) >= LEAST
    mean = np.where(enough, filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)
    counts = np.stack(list(resampled_counts(len(scores), N_RESAMPLES, np.random.default_rng(0)))).astype(np.float64)
    n = counts @ known
    drawn = np.where(n > 0, counts @ filled / np.maximum(n, 1), mean)
    low, high = np.full((2, len(mean)), np.nan)
    for i in np.flatnonzero(enough):
        low[i], high[i] = interval(float(mean[i]), drawn[:, i])
    return Means(value, len(scores), mean, low, high)


def strength(of_key: list[Means], scores: np.ndarray) -> float:
    """The share of intervals that leave out their system's mean over all prompts."""
    mean = np.array([np.nanmean(column) for column in scores.T])
    apart = [(one.low > mean) | (one.high < mean) for one in of_key]
    return float(np.mean(apart))


def draw(data: Data, key: str, of_key: list[Means], columns: list[tuple[str, str]]) -> Figure:
    """Values of a tag down, metrics across, systems in their looks."""
    metrics = list(dict.fromkeys(metric for metric, _ in columns))
    rows = {metric: next(row for row in data.quality if row.metric == metric) for metric in metrics}
    labels = [label for label in data.systems if any(label == system for _, system in columns)]
    height = 0.9 + len(of_key) * (0.14 + 0.1 * len(labels))
    with mpl.rc_context(STYLE):
        figure = Drawing(figsize=(WIDTH * (0.55 + 0.45 * len(metrics)), height), layout="constrained")
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            axes.set_axisbelow(True)
            axes.spines[:].set_visible(False)
            for i, label in enumerate(labels):
                if (metric, label) in columns:
                    shift = (i - (len(labels) - 1) / 2) * 0.75 / max(1, len(labels))
                    _points(axes, data, label, of_key, columns.index((metric, label)), shift)
            for y in range(1, len(of_key)):
                axes.axhline(y - 0.5, color=LINE, linewidth=0.7)
            axes.set_xlabel(f"{shown_label(rows[metric])}{f' ({rows[metric].unit})' if rows[metric].unit else ''}")
            axes.grid(axis="x")
            axes.locator_params("x", nbins=5)
        names = [f"{one.value} ({one.n})" for one in of_key]
        panels[0].set(yticks=range(len(of_key)), yticklabels=names, ylim=(len(of_key) - 0.45, -0.55))
        svg = to_svg(figure, f"tag-{key}")
    ways = " · ".join(f"{shown_label(rows[metric])}: {direction(rows[metric].better)}" for metric in metrics)
    n = f"n = {min(one.n for one in of_key)} to {max(one.n for one in of_key)} prompts a value, in brackets"
    return Figure(svg, key, f"{ways} · {n} · bars: 95\u00a0% interval", round(figure.get_figwidth() * 96))


def _points(axes: Any, data: Data, label: str, of_key: list[Means], column: int, shift: float) -> None:
    system = data.systems[label]
    look = {"fmt": system.marker, "color": system.colour, "markersize": 4.5, "elinewidth": 1.1, "markeredgewidth": 0}
    for y, one in enumerate(of_key):
        mean, low, high = (float(values[column]) for values in (one.mean, one.low, one.high))
        if np.isfinite(mean):
            axes.errorbar(mean, y + shift, xerr=[[max(0.0, mean - low)], [max(0.0, high - mean)]], **look)
