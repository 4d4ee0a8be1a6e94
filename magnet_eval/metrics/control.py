"""Controls: what a text metric gives for captions that belong to other clips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval import stats

N_PERMUTATIONS = 1999


@dataclass(frozen=True)
class TextControl:
    """A text metric with each clip's own caption (``right``) and with those of other clips (``shuffled``)."""

    shuffled: float
    shuffled_low: float
    shuffled_high: float
    value: float  # right minus shuffled
    low: float
    high: float
    p_value: float  # one-sided, that the right captions score higher
    n: int  # clips


def text_control(
    fn: Callable[[np.ndarray, np.ndarray], np.ndarray],
    audio: np.ndarray,
    text: np.ndarray,
    captions: Sequence[str],
    rng: np.random.Generator,
) -> TextControl:
    """Whether clips fit their own captions better than the captions of other clips.

    ``fn`` scores paired embeddings, [n, d] twice -> [n]; ``captions`` are the texts behind ``text``, so that a text
    which occurs twice never stands for another one. The interval is over clips, of each clip's own score minus its
    mean score with other captions; the p-value is that of the permutation test which deals the captions out anew.
    Raises ValueError with fewer than two different captions.
    """
    if len(set(captions)) < 2:
        raise ValueError("captions can only be shuffled where at least two of them differ")
    names = np.array(captions)
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
    return TextControl(
        *stats.bootstrap_mean(shuffled, rng),
        *stats.bootstrap_mean(right - shuffled, rng),
        p_value=float((1 + as_good.sum()) / (1 + N_PERMUTATIONS)),
        n=len(right),
    )
