"""From ratings to what they say: validate, screen, means, differences, agreement; with and without exclusions.

Conventions: values in points of the question's scale; the order of systems is the plan's; draws come from one seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from magnet_eval import stats
from magnet_eval.lookup import UserError, check
from magnet_eval.records import Rating
from magnet_eval.study.analysis import agreement, compare, crowdmos, grid, intervals, orders, pairwise
from magnet_eval.study.analysis.grid import Grid
from magnet_eval.study.analysis.screening import RULE_SETS, Screening, screen

MIN_RATERS = 2
BY_PROTOCOL = {"mushra": ["bs1534"], "multi_nr": ["musicgen"], "acr": ["p808"], "ab": ["headphones"]}


@dataclass(frozen=True)
class Settings:
    """What was decided before the answers came in, or instead."""

    study_id: str
    protocol: str = "multi_nr"
    systems: tuple[str, ...] = ()  # their order; those not named follow
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # by question
    exclusions: tuple[str, ...] = ("musicgen",)  # screening rule sets
    margin: float = 5.0  # points within which systems count as equivalent
    alpha: float = 0.05
    seed: int = 0
    unplanned: tuple[str, ...] = ()  # what of these was decided after the packet was made, in words
    rehearsal: bool = False  # whether the raters are synthetic

    def __post_init__(self) -> None:
        """Refuses unknown rule sets and levels that are none."""
        for name in self.exclusions:
            check("screening rule set", name, RULE_SETS)
        if not 0 < self.alpha < 0.5 or not self.margin > 0:
            raise UserError(
                f"alpha must be between 0 and 0.5 and the margin above 0, got {self.alpha:g}, {self.margin:g}."
            )


@dataclass(frozen=True)
class Condition:
    """What the raters said of one system, or of one kind of clip that no system made."""

    dimension: str
    system: str
    role: str  # system, reference, gold, anchor35 or anchor70
    n: int  # answers
    raters: int
    prompts: int
    mean: float
    low: float | None  # 95 % interval, for other raters and other prompts
    high: float | None
    median: float
    q1: float
    q3: float
    crowdmos_low: float | None
    crowdmos_high: float | None


@dataclass(frozen=True)
class Concord:
    """How far the raters of one question agree."""

    dimension: str
    alpha: float | None  # Krippendorff, interval
    icc_single: float | None  # ICC(2,1)
    icc_mean: float | None  # ICC(2,k)
    k: float | None  # answers a clip has
    split_half_clips: float | None
    split_half_systems: float | None
    friedman_raters: float | None  # p that some systems differ, raters as blocks
    friedman_prompts: float | None
    consistency: agreement.Consistency | None  # of repeated clips


@dataclass(frozen=True)
class Findings:
    """What one selection of ratings says."""

    raters: int
    ratings: int
    conditions: list[Condition]
    comparisons: list[compare.Comparison]
    strengths: list[pairwise.Strength]  # of pairs only
    concord: list[Concord]
    trends: list[orders.Trend]


@dataclass(frozen=True)
class Analysis:
    """All of it."""

    settings: Settings
    problems: dict[str, int]  # ratings left out, by reason
    screening: Screening
    kept: Findings  # after the exclusions
    everyone: Findings  # without them
    ratings: list[Rating]  # after the exclusions
    grids: list[Grid]  # of these, one for each question

    @property
    def dropped(self) -> set[str]:
        """The raters that were left out."""
        return self.screening.dropped(self.settings.exclusions)


def analyse(ratings: Sequence[Rating], sessions: Sequence[Mapping[str, Any]], settings: Settings) -> Analysis:
    """Everything that the ratings say. Raises UserError if too few are usable, or fewer than 2 raters are kept."""
    usable, problems = grid.validate(ratings, settings.scales)
    screening = screen(usable, sessions, settings.scales)
    kept = screening.kept(usable, settings.exclusions)
    n = len({rating.rater for rating in kept if rating.role == "system"})
    if n < MIN_RATERS:
        raise UserError(
            f"{', '.join(settings.exclusions) or 'no rule set'} leaves {n} of {len(screening.raters)} raters; needed "
            f"are {MIN_RATERS}. Choose other rule sets, e.g. rules=[crowdmos], or none: rules=[]."
        )
    grids = [grid.grid(kept, dimension, settings.systems) for dimension in grid.dimensions(kept)]
    found = findings(kept, settings)
    everyone = found if len(kept) == len(usable) else findings(usable, settings)
    return Analysis(settings, problems, screening, found, everyone, kept, grids)


def findings(ratings: Sequence[Rating], settings: Settings) -> Findings:
    """What these ratings say, all of them."""
    rng = np.random.default_rng(settings.seed)
    conditions, comparisons, strengths, concord, trends = [], [], [], [], []
    for dimension in grid.dimensions(ratings):
        own = grid.grid(ratings, dimension, settings.systems)
        conditions += [_condition(own, index, rng) for index in range(len(own.conditions))]
        tables = grid.differences(own, ratings)
        limits = settings.margin, settings.alpha
        found = (compare.compare(dimension, pair, table, *limits, rng) for pair, table in tables.items())
        comparisons += [row for row in found if row is not None]
        if grid.is_paired(ratings):
            strengths += pairwise.strengths(ratings, dimension, own.systems, rng)
        concord.append(_concord(own, ratings, rng))
        trends += [row for place in orders.PLACES if (row := orders.trend(ratings, dimension, place)) is not None]
    adjusted = stats.holm([row.p_value for row in comparisons]) if comparisons else []
    comparisons = [replace(row, p_adjusted=p) for row, p in zip(comparisons, adjusted, strict=True)]
    comparisons = [replace(row, verdict=compare.verdict(row, settings.alpha)) for row in comparisons]
    n_raters = len({rating.rater for rating in ratings})
    return Findings(n_raters, len(ratings), conditions, comparisons, strengths, concord, trends)


def _condition(own: Grid, index: int, rng: np.random.Generator) -> Condition:
    label, table = own.conditions[index], own.values[index]
    heard = np.isfinite(table)
    mean = intervals.mean(table, rng)
    low, high = mean.interval() if mean else (None, None)
    crowd_low, crowd_high = crowdmos.interval(table) or (None, None)
    q1, median, q3 = (float(x) for x in np.percentile(table[heard], [25, 50, 75]))
    return Condition(
        own.dimension, label, "system" if index < own.n_systems else label,
        int(heard.sum()), int(heard.any(axis=1).sum()), int(heard.any(axis=0).sum()),
        float(table[heard].mean()), low, high, median, q1, q3, crowd_low, crowd_high,
    )  # fmt: skip


def _concord(own: Grid, ratings: Sequence[Rating], rng: np.random.Generator) -> Concord:
    table, groups = own.by_rater(), own.systems_of_clips()
    single, mean, k = agreement.icc(table) or (None, None, None)
    systems = own.values[: own.n_systems]
    blocks = [compare.block_means(systems, axis) for axis in (2, 1)]  # over prompts: raters are the blocks
    return Concord(
        own.dimension, agreement.alpha(table), single, mean, k,
        agreement.split_half(table, np.arange(table.shape[1]), rng), agreement.split_half(table, groups, rng),
        compare.friedman(blocks[0]), compare.friedman(blocks[1]),
        agreement.consistency(ratings, own.dimension),
    )  # fmt: skip
