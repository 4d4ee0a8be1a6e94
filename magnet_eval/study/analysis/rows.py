"""An analysis as Score rows, so that a report shows what people say beside what metrics say."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from magnet_eval.records import AGREES, PEOPLE, ClipScore, Score
from magnet_eval.store import ids_hash
from magnet_eval.study.analysis.analyse import Analysis
from magnet_eval.study.analysis.correlation import Agreement
from magnet_eval.study.analysis.grid import Grid

VERSION = 1  # of the analysis: goes up with every change that moves a number
ALL = "all systems"


def scores(analysis: Analysis, agreements: Sequence[Agreement] = ()) -> list[Score]:
    """Every mean, every difference, and every correlation of a metric with the ratings.

    Values are in points; n is the number of answers (of correlations: of clips or systems).
    """
    return [*_means(analysis), *_differences(analysis), *(_correlation(analysis, row) for row in agreements)]


def clip_scores(analysis: Analysis) -> list[ClipScore]:
    """Mean answer about every clip of the systems."""
    return [row for grid in analysis.grids for row in _of_clips(grid)]


def _means(analysis: Analysis) -> Iterator[Score]:
    for row in analysis.kept.conditions:
        extra = ("raters", "prompts", "role", "median", "q1", "q3", "crowdmos_low", "crowdmos_high")
        params = {name: value for name, value in asdict(row).items() if name in extra and value is not None}
        yield Score(
            _protocol(analysis), VERSION, row.system, PEOPLE + row.dimension, _label(row.dimension), row.mean,
            "points", "higher", row.n, row.low, row.high,
            ids_hash=_ids(analysis, row.dimension, [row.system]), preset=_preset(analysis), params=params,
        )  # fmt: skip


def _differences(analysis: Analysis) -> Iterator[Score]:
    extra = (
        "raters", "prompts", "margin", "equivalence_p", "equivalence_low", "equivalence_high", "wilcoxon_raters",
        "wilcoxon_prompts", "rank_biserial", "probability_higher", "verdict",
    )  # fmt: skip
    for row in analysis.kept.comparisons:
        params = {name: value for name, value in asdict(row).items() if name in extra and value is not None}
        yield Score(
            _protocol(analysis), VERSION, row.system, PEOPLE + row.dimension, _label(row.dimension), row.difference,
            "points", "higher", row.n, row.low, row.high, versus=row.versus, p_value=row.p_adjusted,
            ids_hash=_ids(analysis, row.dimension, [row.system, row.versus]), preset=_preset(analysis), params=params,
        )  # fmt: skip


def _correlation(analysis: Analysis, row: Agreement) -> Score:
    return Score(
        _protocol(analysis), VERSION, ALL, f"{AGREES}{row.dimension}_{row.metric}_by_{row.by}",
        f"{row.label} and {row.dimension.upper()}, by {row.by}", row.value, "", "higher", row.n, row.low, row.high,
        ids_hash=ids_hash(row.prompts), preset=row.preset,
        params={"metric": row.metric, "dimension": row.dimension, "by": row.by, "statistic": "spearman"},
    )  # fmt: skip


def _of_clips(grid: Grid) -> Iterator[ClipScore]:
    for label in grid.systems:
        table = grid.of(label)
        for column in np.flatnonzero(np.isfinite(table).any(axis=0)):
            value = float(np.nanmean(table[:, column]))
            yield ClipScore(label, grid.prompts[column], PEOPLE + grid.dimension, value)


def _ids(analysis: Analysis, dimension: str, conditions: Sequence[str]) -> str:
    """Hash of the prompts that all the conditions were rated on."""
    grid = next(grid for grid in analysis.grids if grid.dimension == dimension)
    heard = np.all([np.isfinite(grid.of(label)).any(axis=0) for label in conditions], axis=0)
    return ids_hash(np.array(grid.prompts)[heard].tolist())


def _protocol(analysis: Analysis) -> str:
    return f"study {analysis.settings.study_id}"


def _preset(analysis: Analysis) -> str:
    return "+".join(analysis.settings.exclusions) or "all-raters"


def _label(dimension: str) -> str:
    return f"{dimension.upper()} (people)"
