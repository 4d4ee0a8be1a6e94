"""Ratings as arrays: one question, systems x raters x prompts, NaN where there is no answer.

Only what systems made competes; reference, gold and anchors are conditions of their own, repeats are for consistency.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval.lookup import UserError
from magnet_eval.records import Rating
from magnet_eval.study.schema import ROLES

SCALE = (0.0, 100.0)  # of a question that names none, and of pairs


@dataclass(frozen=True)
class Grid:
    """All answers to one question."""

    dimension: str
    conditions: tuple[str, ...]  # labels of the systems in their order, then the roles of what no system made
    raters: tuple[str, ...]
    prompts: tuple[str, ...]
    values: np.ndarray  # float64 [condition, rater, prompt]; NaN where there is no answer
    n_systems: int  # the first conditions are systems

    @property
    def systems(self) -> tuple[str, ...]:
        """The conditions that compete."""
        return self.conditions[: self.n_systems]

    def of(self, condition: str) -> np.ndarray:
        """Answers about one condition: float64 [rater, prompt]."""
        return self.values[self.conditions.index(condition)]

    def by_rater(self) -> np.ndarray:
        """Answers about the systems' clips: float64 [rater, clip]; clips that nobody rated are left out."""
        flat = self.values[: self.n_systems].transpose(1, 0, 2).reshape(len(self.raters), -1)
        return flat[:, np.isfinite(flat).any(axis=0)]

    def systems_of_clips(self) -> np.ndarray:
        """The index of the system behind each column of ``by_rater``."""
        return np.nonzero(np.isfinite(self.values[: self.n_systems]).any(axis=1))[0]


def validate(
    ratings: Sequence[Rating], scales: Mapping[str, tuple[float, float]] | None = None
) -> tuple[list[Rating], dict[str, int]]:
    """The ratings that can be used, and how many were left out for which reason.

    Of two answers of one rater about one stimulus the later one counts. Raises UserError if nothing is left.
    """
    problems: Counter[str] = Counter()
    kept: dict[tuple[str, ...], Rating] = {}
    for rating in ratings:
        reason = _problem(rating, (scales or {}).get(rating.dimension, SCALE))
        if reason:
            problems[reason] += 1
            continue
        what = (rating.stimulus_id,) if rating.stimulus_id else (rating.system, rating.prompt_id, rating.role)
        key = (rating.rater, rating.dimension, rating.page_id, rating.versus, *what)
        problems["answered twice, the later answer counts"] += key in kept
        kept[key] = rating
    if not any(rating.role == "system" for rating in kept.values()):
        raise UserError(
            f"of {len(ratings)} ratings none is a usable answer about a system's clip. "
            "Import the answers first: magnet-eval study import study=STUDY."
        )
    return list(kept.values()), {reason: n for reason, n in problems.items() if n}


def _problem(rating: Rating, scale: tuple[float, float]) -> str:
    """Why a rating cannot be used; "" if it can."""
    if rating.role not in ROLES:
        return "unknown role"
    if isinstance(rating.value, bool) or not isinstance(rating.value, int | float) or not math.isfinite(rating.value):
        return "no finite number"
    return "" if scale[0] <= rating.value <= scale[1] else "off the scale"


def dimensions(ratings: Sequence[Rating]) -> list[str]:
    """The questions, in the order in which they come."""
    return list(dict.fromkeys(rating.dimension for rating in ratings))


def grid(ratings: Sequence[Rating], dimension: str, systems: Sequence[str] = ()) -> Grid:
    """The answers to one question, without repeats; several of one rater about one clip (pairs) become their mean.

    systems: their order; those it does not name follow by name.
    """
    own = [rating for rating in ratings if rating.dimension == dimension and rating.role != "repeat"]
    found = {rating.system for rating in own if rating.role == "system"}
    named = [label for label in dict.fromkeys(systems) if label in found] + sorted(found - set(systems))
    roles = [role for role in ROLES[1:] if any(rating.role == role for rating in own)]
    conditions = {("system", label): index for index, label in enumerate(named)}
    conditions |= {(role, ""): len(named) + index for index, role in enumerate(roles)}
    raters, prompts = (sorted({getattr(rating, name) for rating in own}) for name in ("rater", "prompt_id"))
    row, column = ({name: index for index, name in enumerate(names)} for names in (raters, prompts))
    total, count = (np.zeros((len(conditions), len(raters), len(prompts))) for _ in range(2))
    for rating in own:
        label = rating.system if rating.role == "system" else ""
        place = conditions[rating.role, label], row[rating.rater], column[rating.prompt_id]
        total[place] += rating.value
        count[place] += 1
    values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return Grid(dimension, (*named, *roles), tuple(raters), tuple(prompts), values, len(named))


def differences(grid: Grid, ratings: Sequence[Rating]) -> dict[tuple[str, str], np.ndarray]:
    """First minus second of every pair of systems, rater by rater and prompt by prompt: float64 [rater, prompt].

    Of pairs that were heard as pairs, the share of preference beyond one half, in points: the one's answer minus 50.
    """
    systems = grid.systems
    pairs = [(a, b) for i, a in enumerate(systems) for b in systems[i + 1 :]]
    if not is_paired(ratings):
        return {(a, b): grid.of(a) - grid.of(b) for a, b in pairs}
    row, column = ({name: index for index, name in enumerate(names)} for names in (grid.raters, grid.prompts))
    found = {pair: np.full((len(grid.raters), len(grid.prompts)), np.nan) for pair in pairs}
    for rating in ratings:
        pair = rating.system, rating.versus
        if rating.dimension == grid.dimension and rating.role == "system" and pair in found:
            found[pair][row[rating.rater], column[rating.prompt_id]] = rating.value - 50
    return {pair: values for pair, values in found.items() if np.isfinite(values).any()}


def is_paired(ratings: Sequence[Rating]) -> bool:
    """Whether listeners chose between two systems instead of rating each."""
    return any(rating.versus for rating in ratings)
