"""MAUVE-style divergence: embeddings of both sets in common clusters, and the two histograms' divergence frontier.

Conventions: rows [n, d], each scaled to length 1; principal components up to 90 % of the variance; k-means of our own,
so that a version of some package moves no number; min(n, m) / 10 clusters; c = 5.
Reference: Pillutla et al. (2021), arXiv:2102.01454; for music: Huang et al. (2025), arXiv:2503.16669.
"""

import numpy as np

SCALE = 5.0
N_POINTS = 25
VARIANCE = 0.9
N_STARTS = 5
MAX_ITERATIONS = 500


def mauve(
    generated: np.ndarray, reference: np.ndarray, rng: np.random.Generator, n_clusters: int | None = None
) -> float:
    """MAUVE of rows [n, d] and [m, d]: 0 (disjoint) to 1 (alike in every cluster). Higher is better.

    Depends on n, m and the number of clusters: compare equal ones only. The order of rows does not matter.
    Raises ValueError for a NaN, an infinity, a zero row, other dimensions, or fewer rows than clusters.
    """
    sides = []
    for rows in (np.asarray(generated, dtype=np.float64), np.asarray(reference, dtype=np.float64)):
        if rows.ndim != 2 or not np.isfinite(rows).all():
            raise ValueError(f"embeddings must be finite [n, d], got shape {rows.shape}")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not lengths.all():
            raise ValueError("an embedding is the zero vector; it has no direction")
        rows = rows / lengths
        sides.append(rows[np.lexsort(rows.T[::-1])])  # the draws of k-means fall on rows by their place
    n, m = map(len, sides)
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(f"dimensions differ: {sides[0].shape[1]} and {sides[1].shape[1]}")
    n_clusters = max(2, round(min(n, m) / 10)) if n_clusters is None else n_clusters
    if not 2 <= n_clusters <= min(n, m):
        raise ValueError(f"{n_clusters} clusters need at least 2 of them and as many rows in each set, got {n} and {m}")
    labels = k_means(_principal(np.concatenate(sides)), n_clusters, rng)
    p, q = (np.bincount(part, minlength=n_clusters) / len(part) for part in (labels[:n], labels[n:]))
    return histogram_mauve(p, q)


def histogram_mauve(p: np.ndarray, q: np.ndarray, scale: float = SCALE, n_points: int = N_POINTS) -> float:
    """Area under the divergence frontier of two histograms [k] that sum to 1, by straight lines between its points."""
    x, y = frontier(p, q, scale, n_points)
    return float(-np.diff(x) @ (y[1:] + y[:-1]) / 2)


def frontier(
    p: np.ndarray, q: np.ndarray, scale: float = SCALE, n_points: int = N_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """exp(-c KL(q || r)) and exp(-c KL(p || r)) for mixtures r = w p + (1 - w) q: two arrays [n_points + 2].

    The first falls from 1 to 0 while the second rises from 0 to 1, both ends included.
    """
    x, y = [1.0], [0.0]
    for w in np.linspace(1e-6, 1 - 1e-6, n_points):
        mixture = w * p + (1 - w) * q
        x.append(np.exp(-scale * _kl(q, mixture)))
        y.append(np.exp(-scale * _kl(p, mixture)))
    return np.array([*x, 0.0]), np.array([*y, 1.0])


def k_means(rows: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Cluster of each row of [n, d]: the tightest of N_STARTS runs of Lloyd's iteration from k-means++ seeds: int [n].

    Clusters may turn out empty where rows are equal. Reference: Arthur and Vassilvitskii (2007).
    """
    best, labels = np.inf, np.zeros(len(rows), dtype=int)
    for _ in range(N_STARTS):
        centres, previous = _seeds(rows, n_clusters, rng), None
        for _ in range(MAX_ITERATIONS):
            # |x - c|^2 without |x|^2, which is the same for all centres
            distances = (centres**2).sum(axis=1) - 2 * rows @ centres.T
            found = distances.argmin(axis=1)
            if previous is not None and np.array_equal(found, previous):
                break
            previous, counts = found, np.bincount(found, minlength=n_clusters)
            sums = np.zeros_like(centres)
            np.add.at(sums, found, rows)
            centres = np.where(counts[:, None] > 0, sums / counts.clip(min=1)[:, None], centres)
        spread = distances.min(axis=1).sum()
        if spread < best:
            best, labels = spread, found
    return labels


def _seeds(rows: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++: each next seed is a row drawn in proportion to its squared distance to the nearest seed so far."""
    chosen = [int(rng.integers(len(rows)))]
    nearest = np.full(len(rows), np.inf)
    for _ in range(n_clusters - 1):
        nearest = np.minimum(nearest, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
        edges = np.cumsum(nearest)
        chosen.append(min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(rows) - 1))
    return rows[chosen]


def _principal(rows: np.ndarray) -> np.ndarray:
    """Rows in as many principal components as hold VARIANCE of the variance, at least one."""
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    share = np.cumsum(values[::-1])
    n_components = int(np.searchsorted(share, VARIANCE * share[-1])) + 1
    return centred @ vectors[:, ::-1][:, :n_components]


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    kept = p > 0
    return float((p[kept] * np.log(p[kept] / q[kept])).sum())
