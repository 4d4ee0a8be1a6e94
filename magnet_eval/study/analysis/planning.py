"""How many raters and prompts a study needs: what difference it would find, from where answers' variance comes.

The variance of the difference of two systems, each heard by every rater on the same prompts:
2 [system x prompt / prompts + rater x system / raters + residual / answers], each a squared standard deviation.
So more prompts, fewer of them for each rater, find more with as many answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval.lookup import UserError
from magnet_eval.records import Rating
from magnet_eval.study.analysis.grid import differences, dimensions, grid
from magnet_eval.study.analysis.intervals import components

PLAYS = 1.5  # times that a clip is heard on the average
PAGE_SECONDS = 10.0  # to read, judge and go on


@dataclass(frozen=True)
class Spread:
    """Standard deviations in points of the scale."""

    system_prompt: float  # how differently prompts suit systems
    rater_system: float  # how differently raters like systems
    residual: float  # of a single answer


@dataclass(frozen=True)
class Design:
    """One size of a study and what it can show."""

    raters: int
    prompts: int  # those that anybody hears
    per_rater: int  # prompts that a rater hears
    answers: int  # about a system, to one question
    minutes: float  # a rater's
    detectable: float  # smallest difference found with the wanted power
    provable: float  # smallest margin within which equal systems are shown to be, with the same power


def design(
    spread: Spread, raters: int, prompts: int, per_rater: int, *,
    systems: int = 2, extra: int = 0, dimensions: int = 1, seconds: float = 10.0,
    alpha: float = 0.05, power: float = 0.8,
) -> Design:  # fmt: skip
    """What a study of this size can show. Alpha is shared out over all pairs and questions, as Holm's first step does.

    Prompts that nobody hears do not count. extra: clips that a page has besides the systems', anchors and gold; they
    only cost time.
    """
    from scipy.special import stdtrit

    per_rater = min(per_rater, prompts)
    answers = raters * per_rater
    prompts = min(prompts, answers)
    parts = 2 * np.array([spread.system_prompt**2 / prompts, spread.rater_system**2 / raters])
    residual = 2 * spread.residual**2 / answers
    variance = float(parts.sum() + residual)
    loss = float(((parts + residual) ** 2 / np.array([prompts - 1, raters - 1])).sum())
    freedom = variance**2 / loss if loss > 0 else 1.0
    tests = max(1, systems * (systems - 1) // 2 * dimensions)
    error = variance**0.5
    detectable = float(stdtrit(freedom, 1 - alpha / tests / 2) + stdtrit(freedom, power)) * error
    provable = float(stdtrit(freedom, 1 - alpha) + stdtrit(freedom, (1 + power) / 2)) * error
    minutes = per_rater * dimensions * ((systems + extra) * seconds * PLAYS + PAGE_SECONDS) / 60
    return Design(raters, prompts, per_rater, answers, minutes, detectable, provable)


def from_pilot(ratings: Sequence[Rating]) -> dict[str, Spread]:
    """The standard deviations of every question, from the differences of a pilot's systems, mean over their pairs.

    Raises UserError for a pilot of fewer than 2 systems, raters or prompts.
    """
    found = {}
    for dimension in dimensions(ratings):
        own = grid(ratings, dimension)
        tables = [table for table in differences(own, ratings).values() if _can_be_split(table)]
        if tables:
            parts = [components(table) for table in tables]
            halves = [np.mean([getattr(part, name) for part in parts]) / 2 for name in ("prompt", "rater", "residual")]
            found[dimension] = Spread(*(max(0.0, float(half)) ** 0.5 for half in halves))
    if not found:
        raise UserError("a pilot needs 2 systems, each heard by the same 2 raters or more on 2 prompts or more.")
    return found


def _can_be_split(table: np.ndarray) -> bool:
    heard = np.isfinite(table)
    return min(heard.any(axis=1).sum(), heard.any(axis=0).sum()) > 1
