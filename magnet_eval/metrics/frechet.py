"""Fréchet distance between embedding sets, each taken as one Gaussian.

Conventions: frames [n, d]; unbiased covariance (n - 1); everything in float64; nothing is added to a singular
covariance, because the eigenvalue form needs no such help.
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
        return cls(np.asarray(mean, dtype=np.float64), square_root(covariance))

    @property
    def covariance(self) -> np.ndarray:
        """S [d, d]."""
        return self.factor.T @ self.factor


def square_root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root of a symmetric matrix [d, d] without negative eigenvalues (those of rounding become 0)."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def gaussian(frames: np.ndarray, weights: np.ndarray | None = None) -> Gaussian:
    """Moments of frames [n, d]; ``weights`` [n] counts each frame, as a bootstrap resample does.

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
    return Gaussian(mean, (frames - mean) * np.sqrt(counts / (total - 1))[:, None])


def distance_to(reference: Gaussian) -> Callable[[Gaussian], float]:
    """The distance of a Gaussian to ``reference``, whose matrix root is taken only once.

    |m1 - m2|^2 + Tr(S1) + Tr(S2) - 2 Tr((S1 S2)^(1/2)). The eigenvalues of S1 S2 are those of the symmetric
    R S2 R with R = S1^(1/2), and with S2 = F^T F those of (F R)(F R)^T too, whichever is smaller.
    Unlike a general matrix root this cannot turn complex or blow up on singular covariances.

    Reference: Dowson and Landau (1982); as a score of audio: Kilgour et al. (2019), arXiv:1812.08466.
    """
    root = square_root(reference.covariance)
    trace = (reference.factor**2).sum()

    def distance(other: Gaussian) -> float:
        if other.mean.shape != reference.mean.shape:
            raise ValueError(f"dimensions differ: {other.mean.shape[0]} and {reference.mean.shape[0]}")
        product = other.factor @ root  # [k, d]
        small = product @ product.T if len(product) < product.shape[1] else product.T @ product
        root_trace = np.sqrt(np.linalg.eigvalsh(small).clip(min=0)).sum()
        offset = ((other.mean - reference.mean) ** 2).sum()
        return float(offset + trace + (other.factor**2).sum() - 2 * root_trace)

    return distance


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Fréchet distance of two Gaussians: symmetric, 0 for equal ones up to rounding (which can be just below 0)."""
    return distance_to(first)(second)


def frechet_to(reference: np.ndarray) -> Callable[..., float]:
    """The score ``(frames [n, d], weights [n] or None) -> distance`` against reference frames [m, d]."""
    distance = distance_to(gaussian(reference))
    return lambda frames, weights=None: distance(gaussian(frames, weights))
