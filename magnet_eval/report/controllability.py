"""Does the score measure what it says? Whether the clips that a text score likes are those that sound as asked.

Spearman's rank correlation between the text score of each clip and the share of its prompt's tags that are heard in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from magnet_eval.metrics import METRICS
from magnet_eval.report.data import Data, name_of, shown_label
from magnet_eval.report.numbers import decimals, number
from magnet_eval.report.tables import Cell, Column, Table
from magnet_eval.stats import interval
from magnet_eval.study.analysis.agreement import rank_correlation

N_RESAMPLES = 1000
TOGETHER = "all that compete"


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


def agreement(first: np.ndarray, second: np.ndarray) -> Agreement | None:
    """Rank correlation of scores [prompt, system], over all clips that have both; prompts are drawn again, as a whole.

    None for fewer than 3 clips, or where one side is constant.
    """
    value = rank_correlation(first.ravel(), second.ravel())
    if value is None:
        return None
    rng, drawn = np.random.default_rng(0), []
    for _ in range(N_RESAMPLES):
        rows = rng.integers(len(first), size=len(first))
        drawn.append(rank_correlation(first[rows].ravel(), second[rows].ravel()))
    low, high = interval(value, np.array([one for one in drawn if one is not None]))
    both = np.isfinite(first) & np.isfinite(second)
    return Agreement(value, max(low, -1.0), min(high, 1.0), int(both.sum()), len(np.unique(second[both])))


def agreements(data: Data, text: str, tags: str) -> dict[str, Agreement | None]:
    """Of each system, and of all that compete together."""
    first, second = matrix(data, text), matrix(data, tags)
    found = {label: agreement(first[:, [i]], second[:, [i]]) for i, label in enumerate(data.systems)}
    compete = [i for i, system in enumerate(data.systems.values()) if not system.role]
    return found | {TOGETHER: agreement(first[:, compete], second[:, compete])}


def evidence(data: Data) -> tuple[Table, list[str]]:
    """The table, systems by pairs of metrics, and a sentence on each pair; both empty without such clip scores."""
    names = {row.metric: shown_label(row) for row in data.quality}
    columns, rows, said = [], dict[str, list[Cell]](), []
    for text, tags in pairs(data):
        found = agreements(data, text, tags)
        columns.append(Column(f"{names[text]} and {names[tags]}", has_intervals=True))
        for label, one in found.items():
            rows.setdefault(label, []).append(one.cell if one else Cell(note="too few clips, or all alike"))
        if (together := found[TOGETHER]) is not None:
            said.append(sentence(names[text], names[tags], together))
    return Table(columns, list(rows.items())), said


def sentence(text: str, tags: str, found: Agreement) -> str:
    """What a correlation says, and what ties keep it from saying."""
    shown = f"ρ = {found.cell.text} {found.cell.interval}, {found.n} clips"
    if found.low > 0:
        verdict = f"the clips that {text} likes better tend to be those with the higher {tags}"
    elif found.high < 0:
        verdict = f"the clips that {text} likes better tend to be those with the lower {tags}"
    else:
        verdict = f"no relation between {text} and {tags} is shown"
    return f"Together, {verdict} ({shown}; {tags} takes {found.n_distinct} values here, so that many clips are tied)."
