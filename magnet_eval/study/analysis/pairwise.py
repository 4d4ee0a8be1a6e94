"""Strengths of systems from choices between two of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval.records import Rating
from magnet_eval.study.analysis import intervals

N_RESAMPLES = 1000
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Strength:
    """One system's place on the Bradley-Terry scale of its question."""

    dimension: str
    system: str
    value: float  # log-odds against the average system; two systems' odds are exp of the difference
    low: float  # 95 % interval, for other raters and other prompts
    high: float
    wins: float  # choices for it, ties counted half
    n: int  # choices that it took part in


def strengths(
    ratings: Sequence[Rating], dimension: str, systems: Sequence[str], rng: np.random.Generator
) -> list[Strength]:
    """Bradley-Terry strengths with a two-way bootstrap; empty for fewer than 2 raters or prompts."""
    own = [r for r in ratings if r.dimension == dimension and r.role == "system" and r.versus in systems]
    if not own:
        return []
    place = {label: index for index, label in enumerate(systems)}
    raters, prompts = (
        np.unique([getattr(r, name) for r in own], return_inverse=True)[1] for name in ("rater", "prompt_id")
    )
    if raters.max() < 1 or prompts.max() < 1:
        return []
    k = len(systems)
    pair = np.array([place[r.system] * k + place[r.versus] for r in own])
    share = np.array([r.value / 100 for r in own])
    of_raters, of_prompts = intervals.weights(int(raters.max()) + 1, int(prompts.max()) + 1, N_RESAMPLES, rng)
    often = of_raters[:, raters] * of_prompts[:, prompts]
    drawn = np.stack([np.bincount(pair, row * share, k * k) for row in often]).reshape(-1, k, k)
    wins = np.bincount(pair, share, k * k).reshape(k, k)
    compared = wins + wins.T > 0
    values = bradley_terry(wins[None], compared)[0]
    low, high = np.percentile(bradley_terry(drawn, compared), [2.5, 97.5], axis=0)
    won, met = wins.sum(axis=1), (wins + wins.T).sum(axis=1)
    rows = np.stack([values, low, high, won], axis=1).tolist()
    return [
        Strength(dimension, label, value, low, high, won, round(n))
        for label, (value, low, high, won), n in zip(systems, rows, met.tolist(), strict=True)
    ]


def bradley_terry(wins: np.ndarray, compared: np.ndarray) -> np.ndarray:
    """Log-strengths, mean 0, of [resample, winner, loser] counts of wins: float64 [resample, system].

    Ties are half a win each. Every compared pair gets one drawn game more, so that a system that always won has a
    finite strength: of two systems, log((wins + 1/2) / (losses + 1/2)).
    Source: Bradley and Terry (1952); Hunter (2004), "MM algorithms for generalized Bradley-Terry models".
    """
    wins = wins + 0.5 * compared
    games, won = wins + wins.transpose(0, 2, 1), wins.sum(axis=2)
    strength = np.ones(wins.shape[:2])
    for _ in range(10_000):
        new = won / np.maximum((games / (strength[:, :, None] + strength[:, None, :])).sum(axis=2), 1e-300)
        new = np.where(won > 0, new, 1.0)  # a system that met nobody stays in the middle
        new /= np.exp(np.log(new).mean(axis=1, keepdims=True))
        done = np.abs(np.log(new / strength)).max() < TOLERANCE
        strength = new
        if done:
            break
    return np.log(strength)
