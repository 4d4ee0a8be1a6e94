"""Inception score: how sure a classifier is of each clip, and how much its answers differ between clips."""

import numpy as np

from magnet_eval.metrics.divergence import log_softmax

PUBLISHED = {"n_splits": 10, "seed": 2020}  # audioldm_eval's, on clips in the order of their file names


def inception_score(logits: np.ndarray, *, n_splits: int = 1, seed: int | None = None) -> tuple[float, float]:
    """Inception score of logits [n, classes]: exp of the clips' mean KL(p(y | clip) || p(y)), 1 to n or classes.

    Mean and standard deviation over ``n_splits`` parts of nearly equal size, each with a p(y) of its own. Rows
    are shuffled by ``seed``; with one part no order matters. More and smaller parts score lower: compare equal n and
    splits only.
    Raises ValueError on logits that are not finite, or with fewer clips than parts.

    Reference: Salimans et al. (2016), arXiv:1606.03498; the shuffle is that of torch-fidelity.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or not np.isfinite(logits).all():
        raise ValueError(f"logits must be finite [n, classes], got shape {logits.shape}")
    n = len(logits)
    if not 1 <= n_splits <= n:
        raise ValueError(f"an inception score of {n_splits} parts needs at least as many clips, got {n}")
    if seed is not None:
        # The published order is that of NumPy's old generator.
        logits = logits[np.random.RandomState(seed).permutation(n)]
    log_p = log_softmax(logits)
    scores = []
    for i in range(n_splits):
        part = log_p[i * n // n_splits : (i + 1) * n // n_splits]
        p = np.exp(part)
        mean = p.mean(axis=0).clip(min=np.finfo(np.float64).tiny)  # a class that underflows in all rows adds 0
        scores.append(np.exp((p * (part - np.log(mean))).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))
