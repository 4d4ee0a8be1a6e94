"""Kernel distance between embedding sets: the squared maximum mean discrepancy, known for audio as KAD.

mean k(x, x') + mean k(y, y') - 2 mean k(x, y), the first two over pairs of different frames (unbiased: it can be
negative) or over all pairs (biased). Conventions: kernels of g d^2 with g = 1 / (2 s^2) and bandwidth s.
The kernel matrix is taken in blocks and never exists. Its values are float32, of frames that were centred and divided
by s in float64, and so right to about 1e-6; sums over blocks are float64.

Reference: Gretton et al. (2012); as a score of audio: Chung et al. (2025), arXiv:2502.15602.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from magnet_eval.lookup import check
from magnet_eval.metrics.clip_stats import Scores, by_clip

BLOCK = 1024  # frames: two blocks and their kernel stay in a core's cache
MEDIAN_SEED = 0


Kernel = Callable[[np.ndarray], object]  # turns -g d^2 into kernel values, in place


def _gaussian(a: np.ndarray) -> None:
    np.exp(a, out=a)


def _inverse_quadratic(a: np.ndarray) -> None:
    np.reciprocal(np.subtract(1, a, out=a), out=a)


def _inverse_multiquadric(a: np.ndarray) -> None:
    _inverse_quadratic(a)
    np.sqrt(a, out=a)


KERNELS: Mapping[str, Kernel] = {
    "gaussian": _gaussian,
    "iq": _inverse_quadratic,
    "imq": _inverse_multiquadric,
}


@dataclass(frozen=True)
class Convention:
    """Everything that moves a kernel distance, given the frames."""

    kernel: str = "gaussian"  # a name in KERNELS
    bandwidth: str | float = "reference"  # the set whose median distance it is ("reference", "evaluated"), or a number
    median_rows: int | None = 10_000  # the median is that of so many frames, drawn with MEDIAN_SEED; None: of all
    epsilon: float = 0.0  # g = 1 / (2 s^2 + epsilon)
    unbiased: bool = True
    scale: float = 1.0  # what the distance is multiplied by


CONVENTIONS: Mapping[str, Convention] = {
    "native": Convention(),
    # As shipped: the bandwidth is that of the evaluated set, though its documentation names the reference.
    "kadtk-1.1": Convention(bandwidth="evaluated", median_rows=None, epsilon=1e-8, scale=100.0),
}


def median_distance(frames: np.ndarray, n_rows: int | None = None) -> float:
    """Median Euclidean distance between two different frames of [n, d], or of ``n_rows`` of them drawn by a fixed seed.

    The lower one of two middle distances, found exactly by counting, in blocks of pairs that are computed twice.
    Raises ValueError for fewer than two frames, or if more than half of the pairs are equal frames.
    """
    frames = np.asarray(frames, dtype=np.float64)
    if n_rows is not None and len(frames) > n_rows:
        frames = frames[np.random.default_rng(MEDIAN_SEED).choice(len(frames), n_rows, replace=False)]
    n = len(frames)
    if n < 2:
        raise ValueError(f"a median distance needs at least 2 frames, got {n}")
    frames = frames - frames.mean(axis=0)
    norms = np.einsum("nd,nd->n", frames, frames)
    square = _at_rank(lambda: _squares(frames, norms), (n * (n - 1) // 2 - 1) // 2)
    if square <= 1e-12 * norms.max():
        raise ValueError("more than half of the frames are equal: their median distance is no bandwidth; give a number")
    return float(np.sqrt(square))


def _squares(frames: np.ndarray, norms: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances of all pairs of different frames, a block at a time: float32, none below 0."""
    for start in range(0, len(frames), BLOCK):
        for other in range(start, len(frames), BLOCK):
            rows, columns = slice(start, start + BLOCK), slice(other, other + BLOCK)
            block = frames[rows] @ frames[columns].T
            block *= -2
            block += norms[rows, None]
            block += norms[columns]
            pairs = block[np.triu_indices(len(block), 1)] if other == start else block.reshape(-1)
            yield np.maximum(pairs, 0).astype(np.float32)


def _at_rank(blocks: Callable[[], Iterable[np.ndarray]], rank: int) -> float:
    """The value with ``rank`` others before it in order; all are float32, none below 0, and so ordered as their bits.

    Half of the bits are counted in each of two passes, the second over the values that share the first half.
    """
    found = 0
    for shift in (16, 0):
        counts = np.zeros(2**16, dtype=np.int64)
        for block in blocks():
            bits = block.view(np.uint32)
            counts += np.bincount((bits if shift else bits[bits >> 16 == found] & 0xFFFF) >> shift, minlength=2**16)
        below = np.cumsum(counts)
        half = int(np.searchsorted(below, rank, side="right"))
        rank -= int(below[half] - counts[half])
        found = found << 16 | half
    return float(np.array(found, dtype=np.uint32).view(np.float32)[()])


def kernel_to(reference: np.ndarray, convention: Convention = CONVENTIONS["native"]) -> Callable[..., float]:
    """The score ``(frames [n, d], weights [n] or None) -> distance`` against reference frames [m, d].

    ``weights`` counts each frame. Raises ValueError as ``kernel_of_clips`` does.
    """
    of_clips = kernel_of_clips(reference, convention)

    def score(frames: np.ndarray, weights: np.ndarray | None = None) -> float:
        frames = np.asarray(frames) if weights is None else np.repeat(frames, weights, axis=0)
        return float(of_clips(frames, np.zeros(len(frames), dtype=int), np.ones((1, 1)))[0])

    return score


def kernel_of_clips(reference: np.ndarray, convention: Convention = CONVENTIONS["native"]) -> Scores:
    """Scores ``(frames [n, d], owner [n], weights [r, clips]) -> distances [r]`` against reference frames [m, d].

    A weighting counts each clip, and its distance is that of frames which stand as often as their clip counts. All
    come from the same sums of the kernel over pairs of clips, so a thousand cost little more than one.
    A bandwidth of the evaluated set is that of all frames that are given, whatever their weights.
    Raises ValueError for a NaN or an infinity, other dimensions, or fewer than two frames.
    """
    reference = np.asarray(reference, dtype=np.float64)
    if reference.ndim != 2 or len(reference) < 2 or not np.isfinite(reference).all():
        raise ValueError(f"a reference must be at least 2 finite frames [m, d], got shape {reference.shape}")
    kernel, m = KERNELS[check("kernel", convention.kernel, KERNELS)], len(reference)
    less = 1 if convention.unbiased else 0  # pairs of a frame with itself are left out; their kernel is 1
    bandwidth = _bandwidth_rule(reference, convention)
    of_reference: dict[float, float] = {}  # mean of the kernel over pairs of the reference, by bandwidth

    def scores(frames: np.ndarray, owner: np.ndarray, weights: np.ndarray) -> np.ndarray:
        frames, sizes = by_clip(frames, owner, weights)
        if frames.shape[1] != reference.shape[1]:
            raise ValueError(f"dimensions differ: {frames.shape[1]} and {reference.shape[1]}")
        weights = np.asarray(weights, dtype=np.float64)
        totals = weights @ sizes
        if totals.min() < 2:
            raise ValueError(f"a kernel distance needs at least 2 frames, got {totals.min():g}")
        s = bandwidth(frames)
        unit = np.sqrt(s**2 + convention.epsilon / 2)
        x, y = frames / unit, reference / unit
        if s not in of_reference:
            pairs = _pair_sums(y, np.array([m]), np.ones((1, 1)), kernel)
            of_reference[s] = float(pairs[0] - less * m) / (m * (m - less))
        own = (_pair_sums(x, sizes, weights, kernel) - less * totals) / (totals * (totals - less))
        cross = weights @ _cross_sums(x, sizes, y, kernel) / (totals * m)
        return convention.scale * (own + of_reference[s] - 2 * cross)

    return scores


def _bandwidth_rule(reference: np.ndarray, convention: Convention) -> Callable[[np.ndarray], float]:
    """The function of the evaluated frames that gives the bandwidth; what needs no such frames is taken once."""
    rule = convention.bandwidth
    if rule == "evaluated":
        return lambda frames: median_distance(frames, convention.median_rows)
    if isinstance(rule, str):
        check("bandwidth", rule, ("reference", "evaluated"))
        rule = median_distance(reference, convention.median_rows)
    if not rule > 0:
        raise ValueError(f"a bandwidth must be above 0, got {rule}")
    return lambda _: rule


def _pair_sums(x: np.ndarray, sizes: np.ndarray, weights: np.ndarray, kernel: Kernel) -> np.ndarray:
    """w^T B w for each row w of weights [r, n], with B [n, n] the sums of the kernel over the pairs of two clips."""
    x = x - x.mean(axis=0)
    left, right = _factor(x, right=False), _factor(x, right=True)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    total, buffer = np.zeros(len(weights)), np.empty((BLOCK, BLOCK), dtype=np.float32)
    for start in range(0, len(x), BLOCK):
        clips = _local(owner, start)
        strip = np.zeros((clips.stop - clips.start, len(sizes)))
        for other in range(start, len(x), BLOCK):  # B is symmetric: what is left of the diagonal counts on its right
            values = _values(left[start : start + BLOCK], right[other : other + BLOCK], kernel, buffer)
            values = _reduced(_reduced(values, owner, other, axis=1).astype(np.float64), owner, start, axis=0)
            strip[:, _local(owner, other)] += values if other == start else 2 * values
        total += np.einsum("cr,rc->r", strip @ weights.T, weights[:, clips])
    return total


def _cross_sums(x: np.ndarray, sizes: np.ndarray, y: np.ndarray, kernel: Kernel) -> np.ndarray:
    """Sum of the kernel over each clip's frames and all of y: [n]."""
    centre = y.mean(axis=0)
    left, right = _factor(x - centre, right=False), _factor(y - centre, right=True)
    sums, buffer = np.zeros(len(x)), np.empty((BLOCK, BLOCK), dtype=np.float32)
    ones = np.ones(BLOCK, dtype=np.float32)
    for start in range(0, len(x), BLOCK):
        for other in range(0, len(y), BLOCK):
            values = _values(left[start : start + BLOCK], right[other : other + BLOCK], kernel, buffer)
            sums[start : start + BLOCK] += values @ ones[: values.shape[1]]
    return np.add.reduceat(sums, np.cumsum(sizes) - sizes)


def _factor(x: np.ndarray, right: bool) -> np.ndarray:
    """float32 [n, d + 2]: a left row times a right one is -|x - y|^2 / 2."""
    factor = np.empty((len(x), x.shape[1] + 2), dtype=np.float32)
    factor[:, :-2] = x
    halves = np.einsum("nd,nd->n", x, x) / 2
    factor[:, -2], factor[:, -1] = (-1, -halves) if right else (halves, 1)
    return factor


def _values(left: np.ndarray, right: np.ndarray, kernel: Kernel, buffer: np.ndarray) -> np.ndarray:
    """Kernel of every pair of a block: float32 [b, c], in ``buffer``."""
    values = np.matmul(left, right.T, out=buffer[: len(left), : len(right)])
    kernel(np.minimum(values, 0, out=values))
    return values


def _local(owner: np.ndarray, start: int) -> slice:
    """The clips whose frames stand in the block from ``start`` on."""
    return slice(owner[start], owner[min(start + BLOCK, len(owner)) - 1] + 1)


def _reduced(values: np.ndarray, owner: np.ndarray, start: int, axis: int) -> np.ndarray:
    """Sums over the frames of each clip of a block, along an axis."""
    starts = np.flatnonzero(np.diff(owner[start : start + BLOCK], prepend=-1))
    return np.add.reduceat(values, starts, axis=axis)
