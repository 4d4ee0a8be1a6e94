"""From embeddings to numbers that can be believed: value, interval, floor, and differences between systems.

Conventions: clips are matched by id, never by position; the unit of resampling is the clip; the reference set is taken
as it is and not resampled; every draw comes from ``rng``. Only clips that both sides have are scored, and ``ids``
says which. Three ways, by the metric's kind: per-clip scores (bootstrap, sign flips), weighted sets (bootstrap and
permutations through sums per clip), and sets whose score cannot be weighted (jackknife over groups of clips).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from magnet_eval import stats
from magnet_eval.lookup import UserError
from magnet_eval.metrics import Metric, jackknife, resampling
from magnet_eval.records import Embeddings

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
    sizes: tuple[int, int, int] | None = None  # frames of the system, of the reference, their dimensions: of sets only

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


def estimate(metric: Metric, system: Embeddings, against: Embeddings | None, rng: np.random.Generator) -> Estimate:
    """The score of a system against the real clips; of a text metric, against the captions; of some, against None.

    Raises UserError if fewer than two clips can be scored.
    """
    if metric.per_clip:
        scores = per_clip(metric, system, against)
        value, low, high = stats.bootstrap_mean(np.array(list(scores.values())), rng)
        return Estimate(value, low, high, tuple(scores), per_clip=scores)
    _check_count(metric, len(system.clip_ids))
    if metric.needs == "reference_set":
        assert against is not None
        found = resampling.bootstrap(_scores(metric, against), *_frames(metric, system), rng)
        lowest = floor(metric, against, len(system.clip_ids), rng)
        return Estimate(*found, system.clip_ids, floor=lowest, sizes=_sizes(metric, system, against))
    if metric.needs == "reference_limit":
        assert against is not None
        line = _scores(metric, against)(*_frames(metric, system), rng)
        return Estimate(line.value, line.low, line.high, system.clip_ids, sizes=_sizes(metric, system, against))
    score, rows = _of_rows(metric, against), _clip_means(metric, system, system.clip_ids)
    return Estimate(*jackknife.interval(score, rows, rng), system.clip_ids)


def per_clip(metric: Metric, system: Embeddings, against: Embeddings | None) -> dict[str, float]:
    """Score of every clip that both sides have, by id, in the system's order."""
    known = set(system.clip_ids if against is None else against.clip_ids)
    ids = [i for i in system.clip_ids if i in known]
    _check_count(metric, len(ids))
    if metric.needs == "reference_segments":
        assert against is not None
        return {name: _of_segments(metric, system, against, name) for name in ids}
    sides = [system] if against is None else [system, against]
    scores = metric.fn(*(_clip_means(metric, side, ids) for side in sides))
    return dict(zip(ids, scores.tolist(), strict=True))


def floor(metric: Metric, reference: Embeddings, n: int, rng: np.random.Generator) -> float | None:
    """What new music as good as the reference would score with ``n`` clips: the bias of so small a set.

    Mean score of ``n`` random reference clips against all the other reference clips, over N_SPLITS random splits (of a
    set larger than half the reference, half of it stands for it). The bias of a distance between n and m clips is in
    the first order a multiple of 1/n + 1/m: with that it is brought from the sizes of the parts to those asked for.
    The two parts share no clip, as new music shares none with the reference; a system that repeats reference clips
    (a codec that decodes them) can therefore score below the floor. None for fewer than 4 reference clips.
    """
    total = len(reference.clip_ids)
    size = min(n, total // 2)
    if size < MIN_CLIPS:
        return None
    frames, found = reference.frames[:, metric.columns], []
    for _ in range(N_SPLITS):
        chosen = np.isin(reference.owner, rng.permutation(total)[:size])
        _, owner = np.unique(reference.owner[chosen], return_inverse=True)
        found.append(metric.fn(frames[~chosen])(frames[chosen], owner, np.ones((1, size)))[0])
    return float(np.mean(found)) * (1 / n + 1 / total) / (1 / size + 1 / (total - size))


def difference(
    metric: Metric, first: Embeddings, second: Embeddings, against: Embeddings | None, rng: np.random.Generator
) -> Difference:
    """First minus second on their common clips: paired interval and paired p-value.

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
    if metric.needs == "reference_set":
        assert against is not None
        frames = (_frames(metric, first, ids), _frames(metric, second, ids))
        return Difference(*resampling.paired_difference(_scores(metric, against), *frames, rng), tuple(ids))
    rows = (_clip_means(metric, first, ids), _clip_means(metric, second, ids))
    return Difference(*jackknife.paired_difference(_of_rows(metric, against), *rows, rng), tuple(ids))


def _scores(metric: Metric, against: Embeddings) -> Any:
    return metric.fn(against.frames[:, metric.columns])


def _sizes(metric: Metric, system: Embeddings, against: Embeddings) -> tuple[int, int, int]:
    return len(system.frames), len(against.frames), system.frames[:1, metric.columns].shape[1]


def _of_rows(metric: Metric, against: Embeddings | None) -> jackknife.Score:
    """The score of rows [n, d], the reference's rows already given."""
    if against is None:
        return metric.fn
    reference = _clip_means(metric, against, against.clip_ids)
    return lambda rows: metric.fn(rows, reference)


def _of_segments(metric: Metric, system: Embeddings, against: Embeddings, name: str) -> float:
    """Mean score of the frames of one clip; those that only the longer side has are left out.

    audiocraft counts every segment of every clip once: the same wherever all clips have as many.
    """
    sides = [_frames(metric, side, [name])[0] for side in (system, against)]
    n = min(map(len, sides))
    return float(np.mean(metric.fn(*(side[:n] for side in sides))))


def _clip_means(metric: Metric, embeddings: Embeddings, ids: tuple[str, ...] | list[str]) -> np.ndarray:
    """Mean frame of the clips ``ids``, in that order: float64 [n, d]."""
    row = {clip_id: index for index, clip_id in enumerate(embeddings.clip_ids)}
    return embeddings.per_clip()[[row[i] for i in ids]][:, metric.columns]


def _frames(metric: Metric, embeddings: Embeddings, ids: list[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the clips ``ids`` (None: all) and, for each frame, its clip's index in ``ids``."""
    if ids is None:
        return embeddings.frames[:, metric.columns], embeddings.owner
    place = {clip_id: index for index, clip_id in enumerate(ids)}
    owner = np.array([place.get(clip_id, -1) for clip_id in embeddings.clip_ids])[embeddings.owner]
    return embeddings.frames[owner >= 0][:, metric.columns], owner[owner >= 0]


def _check_count(metric: Metric, n: int) -> None:
    if n < MIN_CLIPS:
        raise UserError(f"{metric.label} needs at least {MIN_CLIPS} clips that can be scored, got {n}. Make more.")
