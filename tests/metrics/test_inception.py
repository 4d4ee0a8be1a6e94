"""Inception score: closed forms, its range, and the published parts."""

import numpy as np
import pytest

from magnet_eval.metrics.inception import PUBLISHED, inception_score

LOGITS = 2 * np.random.default_rng(0).normal(size=(43, 9))


def published(logits: np.ndarray) -> tuple[float, float]:
    """The rule of audioldm_eval: ten parts of the clips as shuffled by NumPy's old generator with seed 2020."""
    logits = logits[np.random.RandomState(2020).permutation(len(logits))]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = []
    for i in range(10):
        part = p[i * len(p) // 10 : (i + 1) * len(p) // 10]
        scores.append(np.exp((part * np.log(part / part.mean(axis=0))).sum(axis=1).mean()))
    return np.mean(scores), np.std(scores)


def test_sure_and_even_answers_score_the_number_of_classes():
    assert inception_score(1000 * np.eye(6)) == pytest.approx((6, 0))


def test_equal_answers_score_one():
    assert inception_score(np.tile(LOGITS[:1], (12, 1)), n_splits=3) == pytest.approx((1, 0))


def test_two_clips_in_closed_form():
    """(1/4, 3/4) and (3/4, 1/4): exp of KL to (1/2, 1/2)."""
    logits = np.log([[1.0, 3.0], [3.0, 1.0]])
    expected = np.exp(0.25 * np.log(0.5) + 0.75 * np.log(1.5))
    assert inception_score(logits)[0] == pytest.approx(expected)


def test_published_parts():
    assert inception_score(LOGITS, **PUBLISHED) == pytest.approx(published(LOGITS))


def test_mode_collapse_scores_lower():
    collapsed = np.where(np.arange(43)[:, None] < 20, LOGITS[:1], LOGITS)
    assert inception_score(collapsed)[0] < inception_score(LOGITS)[0]


def test_refuses_what_has_no_score():
    with pytest.raises(ValueError, match="10 parts needs at least as many clips, got 9"):
        inception_score(LOGITS[:9], **PUBLISHED)
    with pytest.raises(ValueError, match="finite"):
        inception_score(LOGITS * np.nan)
