"""How well audio and text embeddings of one space agree."""

import numpy as np


def mean_cosine(audio: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Mean cosine of each clip's windows and its caption, from the windows' mean: [n, d] twice -> [n] in -1..1.

    The windows are unit vectors, so that the mean of their cosines is the product of their plain mean with the text.
    Raises ValueError as ``cosine_score`` does.
    """
    lengths = np.linalg.norm(np.asarray(audio, dtype=np.float64), axis=1)
    return cosine_score(audio, text) * lengths


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
