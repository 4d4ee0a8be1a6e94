"""The text control: its value in closed form, its level under chance, its power where captions matter."""

import numpy as np
import pytest

from magnet_eval.metrics.alignment import cosine_score
from magnet_eval.metrics.control import N_PERMUTATIONS, text_control


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def names(n):
    return {f"c{i}": f"caption {i}" for i in range(n)}


def test_clips_equal_to_their_captions():
    """Orthogonal captions: the own one scores 1, any other one 0, and no dealing out does as well."""
    eye = np.eye(8)
    found = text_control(cosine_score, eye, eye, names(8), np.random.default_rng(0))
    assert found.value == pytest.approx(1.0)
    assert found.shuffled == pytest.approx((0.0, 0.0, 0.0))
    assert found.p_value == pytest.approx(1 / (1 + N_PERMUTATIONS), rel=1.5)
    assert found.ids == tuple(names(8))


def test_value_is_own_minus_mean_of_others():
    rng = np.random.default_rng(1)
    audio, text = unit(rng.standard_normal((6, 4))), unit(rng.standard_normal((6, 4)))
    found = text_control(cosine_score, audio, text, names(6), rng)
    scores = audio @ text.T
    others = scores[~np.eye(6, dtype=bool)].mean()
    assert found.shuffled[0] == pytest.approx(others, abs=0.02)  # of N_PERMUTATIONS draws
    assert found.value == pytest.approx(np.diag(scores).mean() - others, abs=0.02)
    assert found.low < found.value < found.high


def test_unrelated_captions_are_seldom_significant():
    p_values = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        audio, text = (unit(rng.standard_normal((12, 5))) for _ in range(2))
        p_values.append(text_control(cosine_score, audio, text, names(12), rng).p_value)
    assert np.mean(np.array(p_values) < 0.05) < 0.2
    assert 0.3 < np.mean(p_values) < 0.7


def test_an_equal_caption_never_stands_for_another():
    captions = {"a": "x", "b": "x", "c": "y"}
    text = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = text_control(cosine_score, text, text, captions, np.random.default_rng(0))
    assert found.shuffled[0] == 0.0


def test_one_caption_cannot_be_shuffled():
    with pytest.raises(ValueError, match="at least two of them differ"):
        text_control(cosine_score, np.ones((2, 3)), np.ones((2, 3)), {"a": "x", "b": "x"}, np.random.default_rng(0))
