"""Fréchet distances of many weightings of the same clips, from statistics that are summed once per clip.

A bootstrap resample, a permutation between two systems and a subset are all weights on clips. The frames are projected
by the reference's root once; then a weighting's L^T S2 L is a weighted sum of the clips' own second moments, and a
thousand of them are one matrix product. Conventions as in ``frechet``; memory is that of the frames and of some weights
in float64, and a few times BUDGET.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from magnet_eval.metrics.frechet import MIN_FRAMES, gaussian, root_sum, root_trace

# (frames, owner, weights [r, n]: an array, or rows made when asked for) -> scores [r]
Scores = Callable[[np.ndarray, np.ndarray, Any], np.ndarray]

BUDGET = 2**26  # bytes of the weighted moments at a time
WEIGHTS = 2**21  # of them in a product, whose last rows are summed up in another order than the others
PART = 2**18  # of those at a time, in multiples of 48 rows: by smaller parts a product is summed up in another order
PACKING = 120  # to form a clip's second moments takes as long as to add them up so often


def frechet_of_clips(reference: np.ndarray, *, ddof: int = 1, epsilon: float = 0.0) -> Scores:
    """Scores ``(frames [m, d], owner [m], weights [r, n]) -> distances [r]`` against reference frames.

    ``owner`` says whose of the n clips each frame is; ``weights`` counts the clips, one weighting a row. Each distance
    is that of ``frechet_to`` for frames which stand as often as their clip counts.
    Raises ValueError for a NaN or an infinity, other dimensions, or a weighting of fewer than two frames.
    """
    base = gaussian(reference, ddof=ddof)
    spread, base_trace = base.spread(epsilon), (base.factor**2).sum()
    added = np.sqrt(epsilon) * spread if epsilon else spread[:0]

    def scores(frames: np.ndarray, owner: np.ndarray, weights: np.ndarray) -> np.ndarray:
        frames, sizes = by_clip(frames, owner, weights)
        if frames.shape[1] != len(base.mean):
            raise ValueError(f"dimensions differ: {frames.shape[1]} and {len(base.mean)}")
        centre = frames.mean(axis=0)
        frames -= centre  # far from the origin the moments would cancel
        starts = np.cumsum(sizes) - sizes
        sums, squares = (np.add.reduceat(x, starts) for x in (frames, np.einsum("md,md->m", frames, frames)))
        frames = frames @ spread  # (m, k)
        step = max(1, BUDGET // max(1, 4 * spread.shape[1] ** 2))
        found = []
        for rows in _parts(weights, -(-len(weights) // step)):
            totals = _weighted(rows, sizes)
            if totals.min() < MIN_FRAMES:
                raise ValueError(f"a Fréchet distance needs at least {MIN_FRAMES} frames, got {totals.min():g}")
            means = _weighted(rows, sums) / totals[:, None]  # (r, d), from ``centre``
            traces = (_weighted(rows, squares) - totals * (means**2).sum(axis=1)) / (totals - ddof)
            offsets = ((means + centre - base.mean) ** 2).sum(axis=1)
            roots = _root_traces(frames, sizes, rows, means @ spread, totals, ddof, added)
            found.append(offsets + base_trace + traces - 2 * roots)
        return np.concatenate(found)

    return scores


def by_clip(frames: np.ndarray, owner: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames in float64 with those of a clip together, clips in order; and how many each of the n clips has.

    Raises ValueError for a NaN or an infinity, a clip without frames, or shapes that do not fit.
    """
    frames, owner = np.asarray(frames), np.asarray(owner)
    if frames.ndim != 2 or len(weights.shape) != 2 or owner.shape != frames.shape[:1] or not len(weights):
        shapes = f"{frames.shape}, {owner.shape} and {weights.shape}"
        raise ValueError(f"frames must be [m, d], their clips [m] and weights [r, n], got {shapes}")
    if not np.isfinite(frames).all():
        raise ValueError("embedding frames hold NaN or infinite values")
    sizes = np.bincount(owner, minlength=weights.shape[1])
    if len(sizes) != weights.shape[1] or not sizes.all():
        raise ValueError(f"{weights.shape[1]} clips are weighted, but frames belong to {np.count_nonzero(sizes)}")
    return frames[np.argsort(owner, kind="stable")].astype(np.float64), sizes


def _root_traces(
    projected: np.ndarray,
    sizes: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    totals: np.ndarray,
    ddof: int,
    added: np.ndarray,
) -> np.ndarray:
    """Tr((S1 S2)^(1/2)) of each weighting, from frames projected to [m, k] and their weighted means [r, k]."""
    k, divisors = projected.shape[1], totals - ddof
    if len(projected) < len(sizes) * (1 + PACKING / len(weights)):  # few frames a clip, or few weightings at a time
        counts = np.repeat(np.asarray(weights), sizes, axis=1)  # (r, m)
        return np.array(
            [
                root_trace(np.vstack([(projected[kept] - mean) * np.sqrt(count[kept] / divisor)[:, None], added]))
                for count, kept, mean, divisor in zip(counts, counts > 0, means, divisors, strict=True)
            ]
        )
    lower = np.tril_indices(k)
    moments = _weighted_moments(projected, sizes, weights, np.ravel_multi_index(lower, (k, k)))
    roots, full, fixed = np.empty(len(weights)), np.zeros((k, k)), added.T @ added
    for i, (mean, total, divisor) in enumerate(zip(means, totals, divisors, strict=True)):
        full[lower] = moments[i] / divisor
        roots[i] = root_sum(full - np.outer(mean, mean) * (total / divisor) + fixed)
    return roots


def _weighted_moments(frames: np.ndarray, sizes: np.ndarray, weights: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Weighted sums over clips of X^T X, only the entries ``lower`` of the flattened [k, k]: [r, k (k + 1) / 2]."""
    total = np.zeros((len(weights), len(lower)))
    block = min(len(sizes), max(1, BUDGET // max(1, 32 * len(lower))))
    products, square = np.empty((block, len(lower))), np.empty((frames.shape[1],) * 2)
    if block < len(sizes):
        weights = np.asarray(weights)  # all are gone through for every block
    ends = np.cumsum(sizes)
    for start in range(0, len(sizes), block):
        part = slice(start, min(start + block, len(sizes)))
        for row, end, size in zip(products, ends[part], sizes[part], strict=False):
            clip = frames[end - size : end]
            np.take(np.matmul(clip.T, clip, out=square), lower, out=row, mode="clip")
        total += _weighted(weights if block >= len(sizes) else weights[:, part], products[: part.stop - start])
    return total


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``weights [r, n] @ values [n, ...]``: a product takes its weights as float64, so not all of them at once."""
    n_weights = weights.shape[0] * weights.shape[1]
    step = 48 * -(-PART // (48 * weights.shape[1]))
    found = []
    for part in _parts(weights, -(-n_weights // WEIGHTS)):
        starts = [*range(0, len(part) - step, step)] or [0]
        for start, end in zip(starts, [*starts[1:], len(part)], strict=True):  # the last has the rest with it
            found.append(np.asarray(part[start:end]).astype(np.float64) @ values)
    return np.concatenate(found)


def _parts(weights: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """The rows in ``n`` parts of much the same length, the longer ones first."""
    size, longer = divmod(len(weights), n)
    ends = np.cumsum([size + 1] * longer + [size] * (n - longer)).tolist()
    return (weights[start:end] for start, end in zip([0, *ends], ends, strict=False))
