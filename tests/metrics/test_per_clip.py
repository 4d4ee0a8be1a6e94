"""Closed forms, direction and faults of the metrics of single clips."""

import numpy as np
import pytest

from magnet_eval.metrics.alignment import cosine_score
from magnet_eval.metrics.divergence import EPSILON, bernoulli_kl


def test_bernoulli_kl_closed_form_and_direction():
    """One tag, reference 1/2, generated 1/4: KL(ref || gen) = ln 2 / 2 + ln(2/3) / 2; the other way is different."""
    half, quarter = np.array([[0.5]]), np.array([[0.25]])
    assert bernoulli_kl(quarter, half)[0] == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert bernoulli_kl(half, quarter)[0] == pytest.approx(0.25 * np.log(1 / 2) + 0.75 * np.log(3 / 2))


def test_bernoulli_kl_sums_over_tags_and_keeps_clips_apart():
    reference, generated = np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([[0.25, 0.25], [0.5, 0.25]])
    one = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    assert bernoulli_kl(generated, reference) == pytest.approx([2 * one, one])


def test_bernoulli_kl_of_certain_tags_is_bounded():
    """A tag that is certain in one and excluded in the other costs ln((1 - eps) / eps), nearly."""
    both_ways = bernoulli_kl(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]]))
    assert both_ways == pytest.approx(np.log(1 / EPSILON), rel=1e-4)
    assert bernoulli_kl(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]))[0] == 0


def test_bernoulli_kl_is_never_negative():
    rng = np.random.default_rng(0)
    assert (bernoulli_kl(rng.random((100, 50)), rng.random((100, 50))) > 0).all()


def test_bernoulli_kl_refuses_what_is_no_probability():
    for bad in ([[1.1]], [[-0.1]], [[np.nan]]):
        with pytest.raises(ValueError, match=r"0\.\.1"):
            bernoulli_kl(np.array(bad), np.array([[0.5]]))
    with pytest.raises(ValueError, match="one shape"):
        bernoulli_kl(np.ones((2, 3)), np.ones((2, 4)))


def test_cosine():
    audio = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    text = np.array([[5.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert cosine_score(audio, text) == pytest.approx([1, np.sqrt(0.5), -1, 0])


def test_cosine_refuses_a_zero_vector():
    with pytest.raises(ValueError, match="zero vector"):
        cosine_score(np.zeros((1, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="one shape"):
        cosine_score(np.ones((2, 2)), np.ones((1, 2)))
