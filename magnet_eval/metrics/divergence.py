"""Divergence of a classifier's opinions about paired clips, in nats, row by row.

Published directions: KL(reference || generated) in audiocraft, audioldm_eval and av-benchmark; KL(generated ||
reference) in stable-audio-metrics. Published epsilons: 1e-6 on the second distribution; none in av-benchmark.
"""

import numpy as np

from magnet_eval.lookup import check

EPSILON = 1e-6
DIRECTIONS = ("reference_generated", "generated_reference")


def bernoulli_kl(generated: np.ndarray, reference: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """KL(reference || generated) of independent tags, summed over the tags, in nats: [n, tags] twice -> [n], >= 0.

    sum over tags of r ln(r / g) + (1 - r) ln((1 - r) / (1 - g)). Probabilities are clipped to
    [epsilon, 1 - epsilon], so that a tag which the generated clip rules out costs at most about 14 nats.
    Both halves count: tags are no mutually exclusive classes, so no softmax. Raises ValueError on values outside 0..1.
    """
    g, r = (np.asarray(p, dtype=np.float64) for p in (generated, reference))
    if g.shape != r.shape or g.ndim != 2:
        raise ValueError(f"paired probabilities must be two [n, tags] arrays of one shape, got {g.shape} and {r.shape}")
    for p in (g, r):
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError("tag probabilities must lie in 0..1")
    g, r = (np.clip(p, epsilon, 1 - epsilon) for p in (g, r))
    return (r * np.log(r / g) + (1 - r) * np.log((1 - r) / (1 - g))).sum(axis=1)


def softmax_kl(
    generated: np.ndarray, reference: np.ndarray, *, direction: str = DIRECTIONS[0], epsilon: float = EPSILON
) -> np.ndarray:
    """KL of the softmax of classifier logits: [n, classes] twice -> [n].

    ``direction`` "reference_generated" is KL(reference || generated), and likewise the other. ``epsilon`` is added to
    the second distribution's probabilities alone, which then sum to more than 1: equal rows score down to
    -epsilon x classes. With 0 the KL is exact and never negative. Raises ValueError on logits that are not finite.

    Reference: Kreuk et al. (2022), arXiv:2209.15352.
    """
    p, q = _logits(generated, reference, direction)
    log_p, log_q = log_softmax(p), log_softmax(q)
    if epsilon:
        log_q = np.log(np.exp(log_q) + epsilon)
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=1)


def sigmoid_kl(
    generated: np.ndarray, reference: np.ndarray, *, direction: str = DIRECTIONS[0], epsilon: float = EPSILON
) -> np.ndarray:
    """The sigmoid variant of audioldm_eval: sum over tags of p (ln p - ln(q + epsilon)); [n, tags] twice -> [n].

    Of logits, like ``softmax_kl``. The half of the tag's absence is missing, as published, so that it can be negative:
    ``bernoulli_kl`` is the true divergence. Raises ValueError on logits that are not finite.
    """
    p, q = _logits(generated, reference, direction)
    log_p, log_q = (-np.logaddexp(0, -x) for x in (p, q))
    if epsilon:
        log_q = np.log(np.exp(log_q) + epsilon)
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _logits(generated: np.ndarray, reference: np.ndarray, direction: str) -> tuple[np.ndarray, np.ndarray]:
    check("direction", direction, DIRECTIONS)
    g, r = (np.asarray(x, dtype=np.float64) for x in (generated, reference))
    if g.shape != r.shape or g.ndim != 2:
        raise ValueError(f"paired logits must be two [n, classes] arrays of one shape, got {g.shape} and {r.shape}")
    if not (np.isfinite(g).all() and np.isfinite(r).all()):
        raise ValueError("logits hold NaN or infinite values")
    return (r, g) if direction == DIRECTIONS[0] else (g, r)
