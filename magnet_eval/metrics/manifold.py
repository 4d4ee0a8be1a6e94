"""Density, coverage, precision and recall: whether clips lie where real ones do, and everywhere that real ones do.

Conventions: rows [n, d], one per clip; the manifold of a set is the union of balls around its rows, each as large as
the distance to its k-th nearest other row; a row on the edge of a ball is outside. Distances are float64 sums of
squared differences, so that a row equals itself exactly.
"""

from dataclasses import dataclass

import numpy as np

K = 5
BLOCK_VALUES = 2**23  # distances at a time: 64 MB


@dataclass(frozen=True)
class Manifold:
    """Four shares; 1 is best for all, and only density can exceed it."""

    precision: float  # of generated rows inside the reference's manifold
    recall: float  # of reference rows inside the generated manifold
    density: float  # mean number of reference balls around a generated row, divided by k
    coverage: float  # of reference balls that hold a generated row: falls under mode collapse


def manifold(generated: np.ndarray, reference: np.ndarray, k: int = K) -> Manifold:
    """All four of generated rows [n, d] and reference rows [m, d].

    Precision and recall hang on outliers, density and coverage hardly. All depend on n and m: compare equal ones only.
    Raises ValueError for a NaN or an infinity, other dimensions, or sets of k rows or fewer.

    Reference: Kynkäänniemi et al. (2019), arXiv:1904.06991; Naeem et al. (2020), arXiv:2002.09797.
    """
    from scipy.spatial.distance import cdist

    generated, reference = (np.asarray(x, dtype=np.float64) for x in (generated, reference))
    if generated.ndim != 2 or reference.ndim != 2 or generated.shape[1] != reference.shape[1]:
        raise ValueError(f"rows must be [n, d] and [m, d], got {generated.shape} and {reference.shape}")
    around_reference, around_generated = (nearest_distances(x, k) for x in (reference, generated))
    n, m = len(generated), len(reference)
    n_balls, covered, recalled = np.zeros(n, dtype=int), np.zeros(m, dtype=bool), np.zeros(m, dtype=bool)
    step = max(1, BLOCK_VALUES // m)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        distances = cdist(generated[rows], reference)  # (b, m)
        inside = distances < around_reference
        n_balls[rows] = inside.sum(axis=1)
        covered |= inside.any(axis=0)
        recalled |= (distances < around_generated[rows, None]).any(axis=0)
    return Manifold(
        precision=float((n_balls > 0).mean()),
        recall=float(recalled.mean()),
        density=float(n_balls.mean() / k),
        coverage=float(covered.mean()),
    )


def nearest_distances(rows: np.ndarray, k: int = K) -> np.ndarray:
    """Distance of each row of [n, d] to its k-th nearest other row: [n], with n x block values in memory at a time.

    Raises ValueError for a NaN or an infinity, or for k rows or fewer.
    """
    from scipy.spatial.distance import cdist

    if not 1 <= k < len(rows):
        raise ValueError(f"the {k}-th nearest other row needs at least {k + 1} rows, got {len(rows)}")
    if not np.isfinite(rows).all():
        raise ValueError("embeddings hold NaN or infinite values")
    found, step = np.empty(len(rows)), max(1, BLOCK_VALUES // len(rows))
    for start in range(0, len(rows), step):
        distances = cdist(rows[start : start + step], rows)
        distances[np.arange(len(distances)), np.arange(start, start + len(distances))] = np.inf
        found[start : start + step] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return found
