"""Differences, choices between two, order, plans: closed forms and other people's implementations."""

import numpy as np
import pytest

from magnet_eval.lookup import UserError
from magnet_eval.records import Rating
from magnet_eval.study.analysis import compare, intervals, pairwise, planning
from magnet_eval.study.analysis.compare import friedman, rank_biserial, wilcoxon
from magnet_eval.study.analysis.orders import trend
from magnet_eval.study.analysis.pairwise import bradley_terry
from magnet_eval.study.analysis.planning import Spread


def rng():
    return np.random.default_rng(0)


def made(value, margin=5.0, noise=1.0):
    table = value + noise * np.random.default_rng(3).standard_normal((10, 12))
    return compare.compare("ovl", ("a", "b"), table - table.mean() + value, margin, 0.05, rng())


def test_a_difference_and_its_mirror_image():
    table = 2 + 6 * rng().standard_normal((10, 12))
    one, other = (compare.compare("ovl", ("a", "b"), sign * table, 5, 0.05, rng()) for sign in (1, -1))
    assert one.difference == pytest.approx(-other.difference)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.05)
    assert one.p_value == pytest.approx(other.p_value, rel=0.2)
    assert one.rank_biserial == pytest.approx(-other.rank_biserial)
    assert one.probability_higher == pytest.approx(1 - other.probability_higher)
    assert one.wilcoxon_raters == pytest.approx(other.wilcoxon_raters)


@pytest.mark.parametrize(
    ("value", "noise", "p_adjusted", "expected"),
    [
        (0, 1, 0.9, "equivalent"),
        (2, 1, 0.001, "higher, within the margin"),
        (-9, 1, 0.001, "lower"),
        (3, 60, 0.6, "not distinguishable"),
    ],
)
def test_verdicts(value, noise, p_adjusted, expected):
    from dataclasses import replace

    assert compare.verdict(replace(made(value, noise=noise), p_adjusted=p_adjusted), 0.05) == expected


def test_equivalence_is_the_interval_at_twice_the_level():
    """TOST at 5 % and the 90 % interval inside the margin are one claim."""
    for value in np.linspace(3.0, 5.5, 26):
        row = made(value, noise=6.0)
        if abs(row.equivalence_p - 0.05) > 0.005:
            assert (row.equivalence_p < 0.05) == (row.equivalence_low > -5 and row.equivalence_high < 5)


def test_too_few_to_compare():
    table = np.full((4, 4), np.nan)
    table[0] = 1.0
    assert compare.compare("ovl", ("a", "b"), table, 5, 0.05, rng()) is None


def test_wilcoxon_of_six_differences_of_one_sign():
    assert wilcoxon(np.array([1.0, 2, 3, 4, 5, 6])) == pytest.approx(2 / 2**6)
    assert wilcoxon(np.zeros(5)) == 1
    assert wilcoxon(np.ones(1)) is None


def test_rank_biserial():
    assert rank_biserial(np.array([1.0, 2, 3])) == 1
    assert rank_biserial(np.array([-1.0, 2, 0])) == pytest.approx(1 / 3)
    assert rank_biserial(np.zeros(3)) == 0


def test_friedman_leaves_out_blocks_with_a_gap():
    """Three systems, all four blocks in one order: the statistic is 8."""
    table = np.array([[1.0, 2, 3]] * 4 + [[np.nan, 9, 1]])
    assert friedman(table) == pytest.approx(np.exp(-4))
    assert friedman(np.ones((4, 3))) == 1
    assert friedman(table[:, :2]) is None and friedman(table[:1]) is None


def choices(wins_a, wins_b, ties=0, versus=("a", "b"), raters=4):
    rows = []
    for i, value in enumerate([100.0] * wins_a + [0.0] * wins_b + [50.0] * ties):
        common = {"page_id": f"g{i}", "stimulus_id": ""}
        for system, other, score in ((*versus, value), (*versus[::-1], 100 - value)):
            rows.append(
                Rating(
                    "s", f"r{i % raters}", "ovl", system, f"p{i}", "system", score, versus=other, **common
                )
            )  # fmt: skip
    return rows


def test_bradley_terry_of_two_systems_is_the_log_odds():
    first, second = pairwise.strengths(choices(12, 4, 4), "ovl", ["a", "b"], rng())
    assert first.value - second.value == pytest.approx(np.log(14.5 / 6.5))
    assert first.value == pytest.approx(-second.value)
    assert (first.wins, first.n, second.wins) == (14, 20, 6)
    assert first.low < first.value < first.high


def test_bradley_terry_finds_known_strengths():
    true = np.array([1.0, 0.2, -0.4, -0.8])
    odds = np.exp(true[:, None] - true)
    wins = 1e6 * odds / (1 + odds)
    np.fill_diagonal(wins, 0)
    assert bradley_terry(wins[None], ~np.eye(4, dtype=bool))[0] == pytest.approx(true, abs=1e-4)


def test_bradley_terry_is_the_likelihoods_maximum():
    """By a general optimiser, from uneven counts."""
    from scipy.optimize import minimize

    wins = np.array([[0, 7, 3.5], [2, 0, 9], [1.5, 4, 0]])
    compared = ~np.eye(3, dtype=bool)
    padded = wins + 0.5 * compared

    def loss(x):
        return (padded * np.log1p(np.exp(x[None, :] - x[:, None]))).sum()

    best = minimize(loss, np.zeros(3), tol=1e-12).x
    assert bradley_terry(wins[None], compared)[0] == pytest.approx(best - best.mean(), abs=1e-4)


def test_a_system_that_always_won_has_a_finite_strength():
    first, second = pairwise.strengths(choices(20, 0), "ovl", ["a", "b"], rng())
    assert first.value - second.value == pytest.approx(np.log(41))
    assert np.isfinite([first.low, first.high]).all()


def test_choices_of_one_rater_have_no_strengths():
    assert pairwise.strengths(choices(3, 2, raters=1), "ovl", ["a", "b"], rng()) == []


def places(slope, seed=0, raters=12, clips=15):
    draw = np.random.default_rng(seed)
    rows = []
    for r in range(raters):
        for position, clip in enumerate(draw.permutation(clips)):
            value = 50 + 3 * r + 2 * clip + slope * position + draw.normal(0, 4)
            rows.append(Rating("s", f"r{r}", "ovl", "a", f"p{clip}", "system", value, page_no=position))
    return rows


def test_trend_finds_a_planted_slope():
    found = trend(places(-0.8), "ovl", "page_no")
    assert found.low < -0.8 < found.high and found.p_value < 0.001


def test_trend_keeps_its_level():
    p_values = [trend(places(0, seed), "ovl", "page_no").p_value for seed in range(150)]
    assert np.mean(np.array(p_values) < 0.05) < 0.11


def test_no_trend_where_nothing_varies():
    assert trend(places(1), "ovl", "position") is None
    assert trend(places(1)[:15], "ovl", "page_no") is None
    assert trend([], "ovl", "page_no") is None


def test_plan_of_the_known_design():
    """2 [36/20 + 25/20 + 144/400] = 6.82; by normal quantiles 7.3 points are found, by Student's t a little more."""
    found = planning.design(Spread(6, 5, 12), 20, 20, 20)
    assert found.answers == 400
    assert 7.3 < found.detectable < 7.8
    wide = planning.design(Spread(6, 5, 12), 40, 100, 10)
    assert wide.answers == 400 and 4.6 < wide.detectable < 4.8


def test_more_of_anything_finds_more():
    base = planning.design(Spread(6, 5, 12), 20, 40, 10, systems=3, extra=1, dimensions=2, seconds=10)
    more = [(40, 40, 10), (20, 80, 10), (20, 40, 20)]
    for size in more:
        larger = planning.design(Spread(6, 5, 12), *size, systems=3, extra=1, dimensions=2, seconds=10)
        assert larger.detectable < base.detectable and larger.provable < base.provable
    assert base.minutes == pytest.approx(10 * 2 * (4 * 15 + 10) / 60)
    assert planning.design(Spread(6, 5, 12), 20, 40, 99).per_rater == 40
    assert planning.design(Spread(6, 5, 12), 10, 100, 5) == planning.design(Spread(6, 5, 12), 10, 50, 5)


def pilot(spread, seed=0, size=(40, 40)):
    draw = np.random.default_rng(seed)
    rater, prompt = 9 * draw.standard_normal((size[0], 1)), 7 * draw.standard_normal((1, size[1]))
    rows = []
    for system in "abc":
        values = 50 + rater + prompt + spread.residual * draw.standard_normal(size)
        values = values + spread.system_prompt * draw.standard_normal((1, size[1]))
        values = values + spread.rater_system * draw.standard_normal((size[0], 1))
        rows += [
            Rating("s", f"r{r}", "ovl", system, f"p{p}", "system", float(values[r, p]))
            for r in range(size[0]) for p in range(size[1])
        ]  # fmt: skip
    return rows


def test_spreads_of_a_pilot():
    found = planning.from_pilot(pilot(Spread(6, 5, 12)))["ovl"]
    assert [found.system_prompt, found.rater_system, found.residual] == pytest.approx([6, 5, 12], rel=0.2)


def test_a_pilot_of_one_system_says_nothing():
    with pytest.raises(UserError, match="2 systems"):
        planning.from_pilot([row for row in pilot(Spread(1, 1, 1), size=(3, 3)) if row.system == "a"])


def test_equivalence_p_of_a_mean_at_the_margin_is_one_half():
    table = rng().standard_normal((10, 12))
    found = intervals.mean(table - table.mean() + 5, rng())
    assert compare.equivalence_p(found, 5) == pytest.approx(0.5, abs=0.03)
