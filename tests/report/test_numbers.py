"""The digits that an interval supports."""

import pytest

from magnet_eval.report.numbers import decimals, interval_text, number, p_text, seconds_text, value_text


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (5.1234, 4.82, 5.44, 2),  # half-width 0.31
        (0.3123, 0.2993, 0.3253, 3),  # half-width 0.013
        (512.34, 480.0, 540.0, 0),  # half-width 30: none, and not fewer than none
        (1.0, 1.0, 1.0, 0),  # an interval without width says nothing
        (0.012345, None, None, 4),
        (1234.5, None, None, 0),
        (50, None, None, 0),
        (0.0, None, None, 0),
    ],
)
def test_decimals(value, low, high, expected):
    assert decimals(value, low, high) == expected


def test_numbers_have_a_true_minus_and_zero_has_none():
    assert number(-1.25, 1) == "\u22121.2" and number(-0.001, 1) == "0.0"


def test_value_and_interval_share_their_digits(make_score):
    row = make_score(value=-0.0217, low=-0.0352, high=-0.0089)
    assert (value_text(row), interval_text(row)) == ("\u22120.022", "[\u22120.035, \u22120.009]")
    assert interval_text(make_score(value=1.0)) == ""


def test_words_for_p_and_for_durations():
    assert p_text(0.00004) == "p < 0.001" and p_text(0.0412) == "p = 0.041" and p_text(1.0) == "p = 1"
    assert seconds_text(0.4123) == "412 ms" and seconds_text(12.34) == "12.3 s"
