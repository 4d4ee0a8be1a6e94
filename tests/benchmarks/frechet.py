"""Times a Fréchet distance of given moments against scipy's general matrix root, at full and at small rank.

Run it on an otherwise idle machine: python tests/benchmarks/frechet.py [dimensions]
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import scipy.linalg

from magnet_eval.metrics.frechet import Gaussian, frechet_distance

BAR = 4.0


def by_sqrtm(means: list[np.ndarray], covariances: list[np.ndarray]) -> float:
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    offset = ((means[0] - means[1]) ** 2).sum()
    return float(offset + np.trace(covariances[0] + covariances[1]) - 2 * np.trace(np.real(root)))


def by_eigenvalues(means: list[np.ndarray], covariances: list[np.ndarray]) -> float:
    return frechet_distance(*(Gaussian.of(*moments) for moments in zip(means, covariances, strict=True)))


def timed(distance: Callable[..., float], *moments: list[np.ndarray]) -> tuple[float, float]:
    start = time.perf_counter()
    value = distance(*moments)
    return value, time.perf_counter() - start


def main(d: int = 2048) -> None:
    rng = np.random.default_rng(0)
    sys.stdout.write(
        f"numpy {np.__version__}, scipy {scipy.__version__}, d = {d}; faster by {BAR:g} or more is asked\n"
    )
    for n in (4 * d, d // 2):
        sets = [rng.normal(size=(n, d)), 1.1 * rng.normal(size=(n, d))]
        moments = [x.mean(axis=0) for x in sets], [np.cov(x.T) for x in sets]
        (value, seconds), (other, slow) = timed(by_eigenvalues, *moments), timed(by_sqrtm, *moments)
        agree = abs(value - other) / value
        sys.stdout.write(
            f"{n} frames: {seconds:.2f} s, sqrtm {slow:.2f} s, {slow / seconds:.1f} times faster; apart {agree:.0e}\n"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
