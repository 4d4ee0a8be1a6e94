"""Does a metric agree with people? Rank correlations of metrics with ratings, by clip and by system.

A correlation of 1 means that the metric orders as people do: for a metric of which less is better, the sign is turned.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval import speed
from magnet_eval.records import ClipScore, Score
from magnet_eval.stats import LEVEL
from magnet_eval.study.analysis import intervals
from magnet_eval.study.analysis.agreement import rank_correlation
from magnet_eval.study.analysis.grid import Grid

N_RESAMPLES = 1000
MIN_SYSTEMS = 3


@dataclass(frozen=True)
class Agreement:
    """One metric held against one question."""

    dimension: str
    metric: str
    preset: str
    label: str
    by: str  # clip or system
    value: float  # Spearman's rank correlation, -1 to 1
    low: float | None  # 95 % interval, for other raters and other prompts; of systems: of these systems
    high: float | None
    n: int  # clips or systems
    prompts: tuple[str, ...]


def agreements(
    grid: Grid, scores: Sequence[Score], clip_scores: Sequence[ClipScore], rng: np.random.Generator
) -> list[Agreement]:
    """Every metric that has scores of the clips, or of three systems or more, that were rated."""
    return [*_by_clip(grid, scores, clip_scores, rng), *_by_system(grid, scores, rng)]


def _by_clip(
    grid: Grid, scores: Sequence[Score], clip_scores: Sequence[ClipScore], rng: np.random.Generator
) -> Iterator[Agreement]:
    known = {key: row for row in scores if not row.versus for key in ((row.metric, row.preset), (row.metric, ""))}
    for metric, preset in dict.fromkeys((row.metric, row.preset) for row in clip_scores):
        values = _of_clips(grid, [row for row in clip_scores if (row.metric, row.preset) == (metric, preset)])
        rated = np.isfinite(values) & np.isfinite(grid.values[: grid.n_systems]).any(axis=1)
        row = known.get((metric, preset))
        sign = -1 if row is not None and row.better == "lower" else 1
        value = rank_correlation(sign * values[rated], _means(grid)[rated])
        if value is not None:
            low, high = _interval(_resampled_by_clip(grid, sign * values, rng))
            prompts = tuple(np.array(grid.prompts)[rated.any(axis=0)].tolist())
            of, label = (row.preset, row.label) if row is not None else (preset, metric)
            yield Agreement(grid.dimension, metric, of, label, "clip", value, low, high, int(rated.sum()), prompts)


def _by_system(grid: Grid, scores: Sequence[Score], rng: np.random.Generator) -> Iterator[Agreement]:
    plain = [row for row in scores if not row.versus and row.better and row.metric not in speed.METRICS]
    for key in dict.fromkeys((row.metric, row.preset) for row in plain):
        rows = {row.system: row for row in plain if (row.metric, row.preset) == key and row.system in grid.systems}
        if len(rows) < MIN_SYSTEMS:
            continue
        first = next(iter(rows.values()))
        sign = -1 if first.better == "lower" else 1
        metric = np.array([sign * rows[label].value if label in rows else np.nan for label in grid.systems])
        value = rank_correlation(metric, np.nanmean(_means(grid), axis=1))
        if value is not None:
            drawn = (rank_correlation(metric, means) for means in _resampled_systems(grid, rng))
            low, high = _interval([rho for rho in drawn if rho is not None])
            yield Agreement(grid.dimension, *key, first.label, "system", value, low, high, len(rows), grid.prompts)


def _of_clips(grid: Grid, rows: Sequence[ClipScore]) -> np.ndarray:
    """A metric's scores [system, prompt], NaN where there is none."""
    system, prompt = ({name: i for i, name in enumerate(names)} for names in (grid.systems, grid.prompts))
    values = np.full((len(system), len(prompt)), np.nan)
    for row in rows:
        if row.system in system and row.prompt_id in prompt:
            values[system[row.system], prompt[row.prompt_id]] = row.value
    return values


def _means(grid: Grid, of_raters: np.ndarray | None = None) -> np.ndarray:
    """Mean rating of every clip [system, prompt], raters weighted; NaN where nobody rated it."""
    answers = grid.values[: grid.n_systems]
    heard = np.isfinite(answers)
    weights = np.ones(len(grid.raters)) if of_raters is None else of_raters
    total = np.einsum("srp,r->sp", np.where(heard, answers, 0.0), weights)
    count = np.einsum("srp,r->sp", heard, weights)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _resampled_by_clip(grid: Grid, values: np.ndarray, rng: np.random.Generator) -> list[float]:
    found = []
    for raters, prompts in zip(*intervals.weights(*_size(grid), N_RESAMPLES, rng), strict=True):
        chosen = np.repeat(np.arange(len(prompts)), prompts.astype(int))  # all clips of a prompt together
        rho = rank_correlation(values[:, chosen].ravel(), _means(grid, raters)[:, chosen].ravel())
        found += [] if rho is None else [rho]
    return found


def _resampled_systems(grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Mean rating of every system in each resample: [resample, system], the same raters and prompts for all."""
    of_raters, of_prompts = intervals.weights(*_size(grid), N_RESAMPLES, rng)
    answers = grid.values[: grid.n_systems]
    heard = np.isfinite(answers)
    total, count = (
        np.einsum("br,srp,bp->bs", of_raters, side, of_prompts, optimize=True)
        for side in (np.where(heard, answers, 0.0), heard.astype(np.float64))
    )
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _size(grid: Grid) -> tuple[int, int]:
    return len(grid.raters), len(grid.prompts)


def _interval(drawn: Sequence[float]) -> tuple[float | None, float | None]:
    """Percentiles; none where fewer than half of the resamples have a correlation."""
    if len(drawn) < N_RESAMPLES / 2:
        return None, None
    low, high = np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)
