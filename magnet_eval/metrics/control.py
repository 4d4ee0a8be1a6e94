"""Controls: what a text metric gives for captions that belong to other clips."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from magnet_eval import stats

N_PERMUTATIONS = 1999


@dataclass(frozen=True)
class TextControl:
    """How much better a text metric likes each clip with its own caption than with those of other clips."""

    value: float  # mean of own minus other captions, with its 95 % interval over clips
    low: float
    high: float
    p_value: float  # one-sided, that a clip's own caption scores higher
    shuffled: tuple[float, float, float]  # mean score with captions of other clips, and its 95 % interval
    ids: tuple[str, ...]


def text_control(
    fn: Callable[[np.ndarray, np.ndarray], np.ndarray],
    audio: np.ndarray,
    text: np.ndarray,
    captions: Mapping[str, str],
    rng: np.random.Generator,
) -> TextControl:
    """Whether clips fit their own captions better than the captions of other clips.

    ``fn`` scores paired embeddings, [n, d] twice -> [n]; ``captions`` has clip id -> caption in the order of the
    rows, so that a text which occurs twice never stands for another one. The interval is over clips, of each clip's
    own score minus its mean score with other captions; the p-value is that of the permutation test which deals the
    captions out anew.
    Raises ValueError with fewer than two different captions.
    """
    if len(set(captions.values())) < 2:
        raise ValueError("captions can only be shuffled where at least two of them differ")
    names = np.array(list(captions.values()))
    right = np.asarray(fn(audio, text), dtype=np.float64)
    total, count, means = np.zeros(len(right)), np.zeros(len(right)), []
    for _ in range(N_PERMUTATIONS):
        order = rng.permutation(len(right))
        scores = fn(audio, text[order])
        other = names[order] != names
        total += np.where(other, scores, 0.0)
        count += other
        means.append(scores.mean())
    shuffled = total / count
    # Rounding must not make a permutation that changes nothing look better than the truth.
    as_good = np.array(means) >= right.mean() - 1e-12
    p_value = float((1 + as_good.sum()) / (1 + N_PERMUTATIONS))
    of_shuffled = stats.bootstrap_mean(shuffled, rng)
    return TextControl(*stats.bootstrap_mean(right - shuffled, rng), p_value, of_shuffled, tuple(captions))
