"""Softmax and sigmoid KL of logits: closed forms, direction, the published epsilon, and scipy's formula."""

import numpy as np
import pytest
from scipy.special import expit, rel_entr, softmax

from magnet_eval.lookup import UserError
from magnet_eval.metrics.divergence import DIRECTIONS, EPSILON, log_softmax, sigmoid_kl, softmax_kl

RNG = np.random.default_rng(0)
GENERATED, REFERENCE = 3 * RNG.normal(size=(20, 527)), 3 * RNG.normal(size=(20, 527))


def test_closed_form_and_direction():
    """Reference (1/2, 1/2), generated (1/4, 3/4): KL(ref || gen) = ln(4/3) / 2 and KL(gen || ref) = ln(27/16) / 4."""
    generated, reference = np.log([[1.0, 3.0]]), np.log([[1.0, 1.0]])
    assert softmax_kl(generated, reference, epsilon=0)[0] == pytest.approx(np.log(4 / 3) / 2)
    back = softmax_kl(generated, reference, direction="generated_reference", epsilon=0)
    assert back[0] == pytest.approx(np.log(27 / 16) / 4)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_agrees_with_scipy(direction):
    p, q = (softmax(x, axis=1) for x in (REFERENCE, GENERATED))
    first, second = (p, q) if direction == "reference_generated" else (q, p)
    exact = softmax_kl(GENERATED, REFERENCE, direction=direction, epsilon=0)
    assert exact == pytest.approx(rel_entr(first, second).sum(axis=1), rel=1e-9)
    assert (exact > 0).all()
    helped = softmax_kl(GENERATED, REFERENCE, direction=direction)
    assert helped == pytest.approx((first * np.log(first / (second + 1e-6))).sum(axis=1), rel=1e-9)


def test_epsilon_bounds_a_class_that_is_ruled_out():
    """It stands on the second distribution alone: ln(1 / 1e-6) where the generated clip denies the one true class."""
    sure, other = np.array([[500.0, 0.0]]), np.array([[0.0, 500.0]])
    assert softmax_kl(sure, other)[0] == pytest.approx(-np.log(EPSILON), rel=1e-6)
    assert softmax_kl(sure, other, epsilon=0)[0] == pytest.approx(500)
    assert softmax_kl(sure, sure)[0] == pytest.approx(0, abs=2 * EPSILON)


def test_rows_are_apart_and_a_shift_of_logits_is_nothing():
    scores = softmax_kl(GENERATED, REFERENCE)
    assert softmax_kl(GENERATED[5:6], REFERENCE[5:6])[0] == pytest.approx(scores[5])
    assert softmax_kl(GENERATED + 7, REFERENCE - 1000) == pytest.approx(scores)
    assert np.exp(log_softmax(GENERATED)).sum(axis=1) == pytest.approx(1)


def test_sigmoid_variant_is_the_published_half():
    """No term of a tag's absence: negative where the generated clip is surer of every tag."""
    p, q = expit(REFERENCE), expit(GENERATED)
    expected = (p * (np.log(p) - np.log(q + 1e-6))).sum(axis=1)
    assert sigmoid_kl(GENERATED, REFERENCE) == pytest.approx(expected, rel=1e-9)
    assert sigmoid_kl(np.array([[2.0]]), np.array([[0.0]]))[0] < 0
    assert sigmoid_kl(np.array([[-800.0]]), np.array([[0.0]]), epsilon=0)[0] == pytest.approx(400 - np.log(2) / 2)


@pytest.mark.parametrize("kl", [softmax_kl, sigmoid_kl])
def test_refuses_what_are_no_paired_logits(kl):
    with pytest.raises(ValueError, match="one shape"):
        kl(GENERATED, REFERENCE[:, 1:])
    with pytest.raises(ValueError, match="NaN"):
        kl(GENERATED * np.nan, REFERENCE)
    with pytest.raises(UserError, match="Did you mean generated_reference"):
        kl(GENERATED, REFERENCE, direction="generated_references")
