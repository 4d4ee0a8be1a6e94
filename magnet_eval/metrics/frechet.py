"""Fréchet distance between embedding sets, each taken as one Gaussian.

Conventions: frames [n, d]; everything in float64; unbiased covariance (``ddof`` 1: every published tool divides by
n - 1); nothing is added to a singular covariance (``epsilon`` 0), because the eigenvalue form needs no such help.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MIN_FRAMES = 2


@dataclass(frozen=True)
class Gaussian:
    """A mean [d] and a factor F [k, d] of the covariance: S = F^T F. With few frames k stays small, and all is fast."""

    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, covariance: np.ndarray) -> "Gaussian":
        """The Gaussian of known moments, [d] and [d, d]."""
        return cls(np.asarray(mean, dtype=np.float64), factor_of(covariance))

    @property
    def covariance(self) -> np.ndarray:
        """S [d, d]."""
        return self.factor.T @ self.factor

    def spread(self, epsilon: float = 0.0) -> np.ndarray:
        """L [d, k] with L L^T = S + epsilon I and k <= d: few columns where few frames stand behind S."""
        factor = self.factor
        if epsilon:
            factor = np.vstack([factor, np.sqrt(epsilon) * np.eye(factor.shape[1])])
        return factor.T if len(factor) <= factor.shape[1] else factor_of(factor.T @ factor).T


def factor_of(covariance: np.ndarray) -> np.ndarray:
    """F [k, d] with F^T F = S, for a symmetric S [d, d] without negative eigenvalues; k is its rank where k < d.

    Cholesky where S is positive definite, ten times faster; else by eigenvalues, of which those of rounding count as 0.
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    try:
        return np.linalg.cholesky(covariance).T
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
    kept = beyond_rounding(values)
    return np.sqrt(values[kept])[:, None] * vectors[:, kept].T


def beyond_rounding(eigenvalues: np.ndarray) -> np.ndarray:
    """Which eigenvalues (ascending, of a matrix that has no negative ones) are more than the rounding of the largest.

    The root of a zero that became 1e-16 would be 1e-8, and a covariance of few frames has many zeros.
    """
    return eigenvalues > len(eigenvalues) * np.finfo(np.float64).eps * eigenvalues.max(initial=0)


def gaussian(frames: np.ndarray, weights: np.ndarray | None = None, ddof: int = 1) -> Gaussian:
    """Moments of frames [n, d]; ``weights`` [n] counts each frame, as a bootstrap resample does.

    The covariance divides by n - ``ddof``.

    Raises ValueError for fewer than two frames, or for a NaN or an infinity.
    """
    frames = np.asarray(frames, dtype=np.float64)
    if frames.ndim != 2:
        raise ValueError(f"frames must be [n, d], got shape {frames.shape}")
    counts = np.ones(len(frames)) if weights is None else np.asarray(weights, dtype=np.float64)
    frames, counts = frames[counts > 0], counts[counts > 0]
    total = counts.sum()
    if total < MIN_FRAMES:
        raise ValueError(
            f"a Fréchet distance needs at least {MIN_FRAMES} frames, got {total:g}; use more or longer clips"
        )
    if not np.isfinite(frames).all():
        raise ValueError("embedding frames hold NaN or infinite values")
    mean = counts @ frames / total
    return Gaussian(mean, (frames - mean) * np.sqrt(counts / (total - ddof))[:, None])


def root_trace(rows: np.ndarray) -> float:
    """Sum of the singular values of rows [n, k], as the roots of the eigenvalues of the smaller of its two Grams."""
    return root_sum(rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows)


def root_sum(gram: np.ndarray) -> float:
    """Tr(G^(1/2)) of a symmetric G [k, k] without negative eigenvalues; only its lower triangle is read."""
    values = np.linalg.eigvalsh(gram)
    return float(np.sqrt(values[beyond_rounding(values)]).sum())


def distance_to(reference: Gaussian, epsilon: float = 0.0) -> Callable[[Gaussian], float]:
    """The distance of a Gaussian to ``reference``, whose matrix root is taken only once.

    |m1 - m2|^2 + Tr(S1) + Tr(S2) - 2 Tr((S1 S2)^(1/2)). The eigenvalues of S1 S2 are those of the symmetric
    L^T S2 L with L L^T = S1, and with S2 = F^T F those of (F L)(F L)^T too, whichever is smaller.
    Unlike a general matrix root this cannot turn complex or blow up on singular covariances.
    ``epsilon`` stands on both diagonals under the root, and only there, as in the tools that help sqrtm with it.

    Reference: Dowson and Landau (1982); as a score of audio: Kilgour et al. (2019), arXiv:1812.08466.
    """
    spread = reference.spread(epsilon)
    trace = (reference.factor**2).sum()

    def distance(other: Gaussian) -> float:
        if other.mean.shape != reference.mean.shape:
            raise ValueError(f"dimensions differ: {other.mean.shape[0]} and {reference.mean.shape[0]}")
        root = root_trace(other.spread(epsilon).T @ spread if epsilon else other.factor @ spread)
        offset = ((other.mean - reference.mean) ** 2).sum()
        return float(offset + trace + (other.factor**2).sum() - 2 * root)

    return distance


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Fréchet distance of two Gaussians: symmetric, 0 for equal ones up to rounding (which can be just below 0)."""
    return distance_to(first)(second)


def frechet_to(reference: np.ndarray, *, ddof: int = 1, epsilon: float = 0.0) -> Callable[..., float]:
    """The score ``(frames [n, d], weights [n] or None) -> distance`` against reference frames [m, d]."""
    distance = distance_to(gaussian(reference, ddof=ddof), epsilon)
    return lambda frames, weights=None: distance(gaussian(frames, weights, ddof))
