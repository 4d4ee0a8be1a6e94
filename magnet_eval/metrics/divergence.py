"""Divergence of a classifier's opinions about paired clips."""

import numpy as np

EPSILON = 1e-6


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
