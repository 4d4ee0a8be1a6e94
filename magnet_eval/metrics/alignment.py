"""How well audio and text embeddings of one space agree."""

import numpy as np


def cosine_score(audio: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Cosine of each clip's embedding and its caption's: [n, d] twice -> [n] in -1..1.

    Raises ValueError for different shapes, or for a zero vector, whose direction means nothing.
    """
    a, t = (np.asarray(x, dtype=np.float64) for x in (audio, text))
    if a.shape != t.shape or a.ndim != 2:
        raise ValueError(f"paired embeddings must be two [n, d] arrays of one shape, got {a.shape} and {t.shape}")
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(t, axis=1)
    if not (lengths > 0).all():
        raise ValueError("an embedding is the zero vector or not finite; its cosine means nothing")
    return (a * t).sum(axis=1) / lengths
