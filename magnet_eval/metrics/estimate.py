"""From embeddings to numbers that can be believed: value, interval, floor, and differences between systems.

Conventions: clips are matched by id, never by position; the unit of resampling is the clip; the reference set is taken
as it is and not resampled; every draw comes from ``rng``. Only clips that both sides have are scored, and ``ids``
says which.
"""

from dataclasses import dataclass, field

import numpy as np

from magnet_eval import stats
from magnet_eval.lookup import UserError
from magnet_eval.metrics import Metric
from magnet_eval.records import Embeddings

N_RESAMPLES = 400  # of a set: each costs an eigen-decomposition
N_SPLITS = 20
MIN_CLIPS = 2


@dataclass(frozen=True)
class Estimate:
    """One score of one system: value with its 95 % interval, over the clips ``ids``."""

    value: float
    low: float
    high: float
    ids: tuple[str, ...]
    floor: float | None = None  # see ``floor``; None for metrics of single clips
    per_clip: dict[str, float] = field(default_factory=dict)  # clip id -> score, where the metric has one

    @property
    def n(self) -> int:
        """Number of clips."""
        return len(self.ids)


@dataclass(frozen=True)
class Difference:
    """How far one system is from another (first minus second) on the clips that both have."""

    value: float
    low: float
    high: float
    p_value: float  # two-sided, of this comparison alone: adjust a family of them with stats.holm
    ids: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of clips."""
        return len(self.ids)


def estimate(metric: Metric, system: Embeddings, against: Embeddings, rng: np.random.Generator) -> Estimate:
    """The score of a system against the real clips (or, for a text metric, against the embedded captions).

    Raises UserError if fewer than two clips can be scored.
    """
    if metric.per_clip:
        scores = per_clip(metric, system, against)
        value, low, high = stats.bootstrap_mean(np.array(list(scores.values())), rng)
        return Estimate(value, low, high, tuple(scores), per_clip=scores)
    _check_count(metric, len(system.clip_ids))
    score = metric.fn(against.frames[:, metric.columns])
    frames = system.frames[:, metric.columns]
    value = score(frames)
    counts = stats.resampled_counts(len(system.clip_ids), N_RESAMPLES, rng)
    low, high = stats.interval(value, np.array([score(frames, count[system.owner]) for count in counts]))
    return Estimate(value, low, high, system.clip_ids, floor=floor(metric, against, len(system.clip_ids), rng))


def per_clip(metric: Metric, system: Embeddings, against: Embeddings) -> dict[str, float]:
    """Score of every clip that both sides have, by id, in the system's order."""
    known = set(against.clip_ids)
    ids = [i for i in system.clip_ids if i in known]
    _check_count(metric, len(ids))
    scores = metric.fn(*(_clip_means(side, ids)[:, metric.columns] for side in (system, against)))
    return dict(zip(ids, scores.tolist(), strict=True))


def floor(metric: Metric, reference: Embeddings, n: int, rng: np.random.Generator) -> float | None:
    """What real music would score with ``n`` clips: the bias of so small a set, below which no difference is a merit.

    Mean score of ``n`` random reference clips against all the other reference clips, over N_SPLITS random splits.
    The two parts share no clip, as new music shares none with the reference; a system that repeats reference clips
    (a codec that decodes them) can therefore score below the floor.
    A set larger than half the reference is stood for by half of it, and the floor is then a little too high, as it
    is, slightly, because the other clips are fewer than the whole reference. None for fewer than 4 reference clips.
    """
    total = len(reference.clip_ids)
    size = min(n, total // 2)
    if size < MIN_CLIPS:
        return None
    frames, scores = reference.frames[:, metric.columns], []
    for _ in range(N_SPLITS):
        chosen = np.isin(reference.owner, rng.permutation(total)[:size])
        scores.append(metric.fn(frames[~chosen])(frames[chosen]))
    return float(np.mean(scores))


def difference(
    metric: Metric, first: Embeddings, second: Embeddings, against: Embeddings, rng: np.random.Generator
) -> Difference:
    """First minus second on their common clips: paired bootstrap interval and paired permutation p-value.

    The permutation swaps the two systems' clips of a prompt, which would change nothing if the systems were alike.
    Raises UserError if fewer than two clips are common.
    """
    if metric.per_clip:
        scores, others = per_clip(metric, first, against), per_clip(metric, second, against)
        ids = [i for i in scores if i in others]
        _check_count(metric, len(ids))
        differences = np.array([scores[i] - others[i] for i in ids])
        value, low, high = stats.bootstrap_mean(differences, rng)
        return Difference(value, low, high, stats.sign_flip_test(differences, rng), tuple(ids))
    common = set(second.clip_ids)
    ids = [i for i in first.clip_ids if i in common]
    _check_count(metric, len(ids))
    return _set_difference(metric, (first, second), ids, against, rng)


def _set_difference(
    metric: Metric, pair: tuple[Embeddings, Embeddings], ids: list[str], against: Embeddings, rng: np.random.Generator
) -> Difference:
    score = metric.fn(against.frames[:, metric.columns])
    parts = [_select(side, ids) for side in pair]
    frames = np.concatenate([frames[:, metric.columns] for frames, _ in parts])
    owner = np.concatenate([owner for _, owner in parts])
    side = np.repeat([0, 1], [len(owner) for _, owner in parts])

    def contrast(counts: np.ndarray, swapped: np.ndarray) -> float:
        """First minus second, each clip counted ``counts`` times and given to the other side where ``swapped``."""
        in_first = side == swapped[owner]
        weights = counts[owner]
        return score(frames, weights * in_first) - score(frames, weights * ~in_first)

    n = len(ids)
    once, kept = np.ones(n, dtype=int), np.zeros(n, dtype=int)
    value = contrast(once, kept)
    boot = np.array([contrast(counts, kept) for counts in stats.resampled_counts(n, N_RESAMPLES, rng)])
    permuted = np.array([contrast(once, swapped) for swapped in rng.integers(0, 2, size=(N_RESAMPLES, n))])
    low, high = stats.interval(value, boot)
    return Difference(value, low, high, stats.permutation_p(value, permuted), tuple(ids))


def _clip_means(embeddings: Embeddings, ids: list[str]) -> np.ndarray:
    """Mean frame of the clips ``ids``, in that order: float64 [n, d]."""
    row = {clip_id: index for index, clip_id in enumerate(embeddings.clip_ids)}
    return embeddings.per_clip()[[row[i] for i in ids]]


def _select(embeddings: Embeddings, ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the clips ``ids`` and, for each frame, its clip's index in ``ids``."""
    place = {clip_id: index for index, clip_id in enumerate(ids)}
    owner = np.array([place.get(clip_id, -1) for clip_id in embeddings.clip_ids])[embeddings.owner]
    return embeddings.frames[owner >= 0], owner[owner >= 0]


def _check_count(metric: Metric, n: int) -> None:
    if n < MIN_CLIPS:
        raise UserError(f"{metric.label} needs at least {MIN_CLIPS} clips that can be scored, got {n}. Make more.")
