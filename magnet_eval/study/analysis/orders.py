"""Whether the place on screen or the time of the test moved the answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval.records import Rating
from magnet_eval.stats import LEVEL

PLACES = {"position": "place on screen", "page_no": "page"}  # fields of a rating


@dataclass(frozen=True)
class Trend:
    """Points of the scale that an answer gains with every further place, beyond its clip and its rater."""

    dimension: str
    place: str  # a key of PLACES
    slope: float
    low: float  # 95 % interval, for other raters
    high: float
    p_value: float
    raters: int


def trend(ratings: Sequence[Rating], dimension: str, place: str) -> Trend | None:
    """The slope of answers over ``place``; None for fewer than 3 raters, or where the place does not vary.

    From every answer the mean of its clip and the mean of its rater are taken away, of the place that of its rater;
    the error is robust against a rater's answers hanging together (Liang and Zeger, 1986), with t of raters - 1.
    """
    from scipy.special import stdtr, stdtrit

    own = [rating for rating in ratings if rating.dimension == dimension and rating.role != "repeat"]
    raters = np.unique([rating.rater for rating in own], return_inverse=True)[1]
    if not own or (n := int(raters.max()) + 1) < 3:
        return None
    clips = np.unique([f"{r.role}\n{r.system}\n{r.prompt_id}\n{r.versus}" for r in own], return_inverse=True)[1]
    x = _within(np.array([getattr(rating, place) for rating in own], dtype=np.float64), raters)
    y = np.array([rating.value for rating in own], dtype=np.float64)
    for _ in range(20):  # alternating projections: both means are gone at the end, whatever is missing
        y, x = _within(_within(y, clips), raters), _within(_within(x, clips), raters)
    spread = float(x @ x)
    if spread < 1e-9:
        return None
    slope = float(x @ y) / spread
    scores = np.bincount(raters, x * (y - slope * x), n)
    error = float(np.sqrt((scores**2).sum() * n / (n - 1))) / spread
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    p_value = 2 * float(stdtr(n - 1, -abs(slope) / error)) if error > 0 else 1.0
    return Trend(dimension, place, slope, slope - half, slope + half, p_value, n)


def _within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values less the mean of their group."""
    return values - (np.bincount(groups, values) / np.bincount(groups))[groups]
