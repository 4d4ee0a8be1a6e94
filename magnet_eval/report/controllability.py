"""Does the score measure what it says? Whether the clips that a text score likes are those that sound as asked.

Spearman's rank correlation between the text score of each clip and the share of its prompt's tags that are heard in it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from magnet_eval.metrics import METRICS
from magnet_eval.metrics.attributes import SIZES, chance
from magnet_eval.report.data import Data, name_of, shown_label
from magnet_eval.report.numbers import decimals, number
from magnet_eval.report.tables import Cell, Column, Table
from magnet_eval.stats import interval
from magnet_eval.study.analysis.agreement import rank_correlation

N_RESAMPLES = 1000
TOGETHER = "all that compete"
WITHIN = "all that compete, ranks within each system"


@dataclass(frozen=True)
class Agreement:
    """A rank correlation and its 95 % interval over prompts."""

    value: float
    low: float
    high: float
    n: int  # clips
    n_distinct: int  # values that the accuracy takes

    @property
    def cell(self) -> Cell:
        """As an entry of a table."""
        digits = decimals(self.value, self.low, self.high)
        bounds = f"[{number(self.low, digits)}, {number(self.high, digits)}]"
        return Cell(number(self.value, digits), bounds, note=f"n = {self.n}")


def pairs(data: Data) -> Iterator[tuple[str, str]]:
    """Each text score with each accuracy of tags, where both have scores of single clips."""
    scored = {row.metric for row in data.clip_scores}
    shown = [name for name in dict.fromkeys(row.metric for row in data.quality) if name in scored]
    kind = {name: METRICS[name_of(name)].needs for name in shown if name_of(name) in METRICS}
    for text in (name for name in kind if kind[name] == "text"):
        yield from ((text, tags) for tags in kind if kind[tags] == "tags")


def matrix(data: Data, metric: str) -> np.ndarray:
    """Clip scores [prompt, system]; NaN where there is none."""
    rows = {prompt.id: i for i, prompt in enumerate(data.prompts)}
    columns = {label: i for i, label in enumerate(data.systems)}
    scores = np.full((len(rows), len(columns)), np.nan)
    for row in data.clip_scores:
        if row.metric == metric and row.prompt_id in rows and row.system in columns:
            scores[rows[row.prompt_id], columns[row.system]] = row.value
    return scores


def within(first: np.ndarray, second: np.ndarray) -> float | None:
    """Correlation of ranks that are taken within each system, then pooled: how far apart systems are moves it not.

    Scores are [prompt, system]; None where one side is constant in every system.
    """
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3:
        return None
    ranks = [rankdata(np.where(both, side, np.nan), axis=0, nan_policy="omit") for side in (first, second)]
    x, y = (np.where(both, side - np.nansum(side, axis=0) / np.maximum(both.sum(axis=0), 1), 0.0) for side in ranks)
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / spread if spread > 0 else None


def pooled(first: np.ndarray, second: np.ndarray) -> float | None:
    """Rank correlation of all clips at once."""
    return rank_correlation(first.ravel(), second.ravel())


def agreement(
    first: np.ndarray, second: np.ndarray, correlation: Callable[[np.ndarray, np.ndarray], float | None] = pooled
) -> Agreement | None:
    """Correlation of scores [prompt, system], over all clips that have both; prompts are drawn again, as a whole.

    None for fewer than 3 clips, or where one side is constant.
    """
    value = correlation(first, second)
    if value is None:
        return None
    rng, drawn = np.random.default_rng(0), []
    for _ in range(N_RESAMPLES):
        rows = rng.integers(len(first), size=len(first))
        drawn.append(correlation(first[rows], second[rows]))
    low, high = interval(value, np.array([one for one in drawn if one is not None]))
    both = np.isfinite(first) & np.isfinite(second)
    return Agreement(value, max(low, -1.0), min(high, 1.0), int(both.sum()), len(np.unique(second[both])))


def agreements(data: Data, text: str, tags: str) -> dict[str, Agreement | None]:
    """Of each system, and of all that compete: together, and with ranks within each."""
    first, second = matrix(data, text), matrix(data, tags)
    found = {label: agreement(first[:, [i]], second[:, [i]]) for i, label in enumerate(data.systems)}
    compete = [i for i, system in enumerate(data.systems.values()) if not system.role]
    sides = first[:, compete], second[:, compete]
    return found | {TOGETHER: agreement(*sides), WITHIN: agreement(*sides, within)}


def evidence(data: Data) -> tuple[Table, list[str]]:
    """The table, systems by pairs of metrics, and sentences on them; both empty without such clip scores."""
    names = {row.metric: shown_label(row) for row in data.quality}
    columns, rows, said = [], dict[str, list[Cell]](), []
    found = list(pairs(data))
    for text, tags in found:
        by_label = agreements(data, text, tags)
        columns.append(Column(f"{names[text]} and {names[tags]}", has_intervals=True))
        for label, one in by_label.items():
            rows.setdefault(label, []).append(one.cell if one else Cell(note="too few clips, or all alike"))
        if (together := by_label[TOGETHER]) is not None:
            said.append(sentence(names[text], names[tags], together, by_label[WITHIN]))
    said += notes(found, names)
    return Table(columns, list(rows.items())), said


def notes(found: Sequence[tuple[str, str]], names: Mapping[str, str]) -> Iterator[str]:
    """What guessing gets of each accuracy, and what judges have in common."""
    heard = {tags: METRICS[name_of(tags)].tags for _, tags in found}
    by_chance = [f"{chance(own):.2g} of {names[tags]}" for tags, own in heard.items() if set(own) <= set(SIZES)]
    if by_chance:
        yield f"Guessing gets {', '.join(by_chance)}: one in the number of values, averaged over the attributes."
    if any(METRICS[name_of(text)].tiny and METRICS[name_of(tags)].tiny for text, tags in found):
        yield "Both tiny judges learned from the same composed music, so that they may share their errors."


def sentence(text: str, tags: str, found: Agreement, inside: Agreement | None) -> str:
    """What a correlation says, and what gaps between systems and ties keep it from saying."""
    if found.low > 0:
        verdict = f"the clips that {text} likes better tend to be those with the higher {tags}"
    elif found.high < 0:
        verdict = f"the clips that {text} likes better tend to be those with the lower {tags}"
    else:
        verdict = f"no relation between {text} and {tags} is shown"
    alone = f"; ranks within each system, without the gaps between systems: {shown(inside)}" if inside else ""
    return (
        f"Together, {verdict} ({shown(found)}, {found.n} clips{alone}). {tags} takes {found.n_distinct} values here, "
        "so that many clips are tied."
    )


def shown(found: Agreement) -> str:
    """A correlation with its interval."""
    return f"ρ = {found.cell.text} {found.cell.interval}"
