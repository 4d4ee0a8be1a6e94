"""Means over raters and prompts: closed forms, other people's formulas, coverage, and tables with holes."""

import numpy as np
import pytest

from magnet_eval.study.analysis import crowdmos, intervals
from magnet_eval.study.analysis.intervals import Components, components, mean


def table(rater=10.0, prompt=8.0, residual=12.0, size=(20, 20), seed=0, per_rater=None):
    rng = np.random.default_rng(seed)
    r, p = size
    values = rater * rng.standard_normal((r, 1)) + prompt * rng.standard_normal((1, p))
    values = 50 + values + residual * rng.standard_normal(size)
    if per_rater:
        place = (np.arange(p) - per_rater * np.arange(r)[:, None]) % p
        values = np.where(place < per_rater, values, np.nan)
    return values


def rng():
    return np.random.default_rng(1)


def anova(values):
    """Components of a complete table from mean squares."""
    r, p = values.shape
    rows, columns, grand = values.mean(axis=1), values.mean(axis=0), values.mean()
    residual = ((values - rows[:, None] - columns + grand) ** 2).sum() / ((r - 1) * (p - 1))
    of_raters = (p * ((rows - grand) ** 2).sum() / (r - 1) - residual) / p
    return Components(of_raters, (r * ((columns - grand) ** 2).sum() / (p - 1) - residual) / r, residual)


def test_components_of_a_complete_table_are_those_of_the_analysis_of_variance():
    values = table(size=(7, 11))
    found, expected = components(values), anova(values)
    assert [found.rater, found.prompt, found.residual] == pytest.approx(
        [expected.rater, expected.prompt, expected.residual]
    )


def test_components_do_not_depend_on_where_the_scale_begins():
    values = table(size=(6, 9), per_rater=4)
    assert components(values + 1e6).residual == pytest.approx(components(values).residual, rel=1e-5)


@pytest.mark.parametrize("per_rater", [None, 8])
def test_components_are_unbiased_with_and_without_holes(per_rater):
    found = [components(table(6, 4, 5, (12, 24), seed, per_rater)) for seed in range(600)]
    means = [np.mean([getattr(row, name) for row in found]) for name in ("rater", "prompt", "residual")]
    assert means == pytest.approx([36, 16, 25], rel=0.08)


def test_error_of_a_complete_table_is_that_of_its_mean_squares():
    values = table(size=(9, 14))
    parts = anova(values)
    found = mean(values, rng())
    assert found.error**2 == pytest.approx(parts.rater / 9 + parts.prompt / 14 + parts.residual / 126)
    assert (found.n, found.n_raters, found.n_prompts) == (126, 9, 14)
    assert found.value == pytest.approx(values.mean())


def test_interval_is_about_student_t_times_the_error():
    from scipy.stats import t

    found = mean(table(), rng(), 20_000)
    low, high = found.interval()
    half = t.ppf(0.975, found.freedom) * found.error
    assert [low, high] == pytest.approx([found.value - half, found.value + half], abs=0.12 * half)
    assert 19 < found.freedom < 400  # more than the smaller side alone has, fewer than answers


def test_p_value_and_interval_say_the_same():
    for seed in range(40):
        values = table(2, 2, 10, (8, 10), seed)
        values += 3.3 - values.mean()
        found = mean(values, rng())
        low, high = found.interval()
        if abs(found.p_value() - 0.05) > 0.005:  # percentiles are interpolated
            assert (found.p_value() < 0.05) == (not low <= 0 <= high)
        assert found.p_above(2) + found.p_below(2) == pytest.approx(1, abs=0.02)


def test_p_values_fall_beyond_what_a_share_of_draws_could_say():
    values = table(1, 1, 5)
    assert mean(values, rng()).p_value() < 1e-8
    p = [mean(values - shift, rng()).p_above(0) for shift in (0, 40, 48, 49, 50)]
    assert p == sorted(p)


def test_answers_that_do_not_vary():
    found = mean(np.full((4, 5), 3.0), rng())
    assert found.interval() == (3, 3) and found.p_value() == 0
    assert mean(np.zeros((4, 5)), rng()).p_value() == 1


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (0, 0)])
def test_one_rater_or_one_prompt_tells_nothing_of_others(shape):
    assert mean(np.ones(shape), rng()) is None


def test_raters_and_prompts_without_an_answer_do_not_count():
    values = table(size=(6, 8))
    padded = np.full((9, 12), np.nan)
    padded[2:8, 1:9] = values
    found, expected = mean(padded, rng()), mean(values, rng())
    assert found.interval() == expected.interval() and found.n_raters == 6


def test_nested_raters_who_each_hear_one_prompt():
    values = np.full((6, 6), np.nan)
    np.fill_diagonal(values, [1, 2, 3, 4, 5, 6])
    found = mean(values, rng())
    assert found.error**2 == pytest.approx(3.5 / 6, rel=0.01)  # that of independent answers


def test_resamples_without_an_answer_are_left_out():
    values = np.array([[1.0, np.nan], [np.nan, 3.0]])
    drawn = intervals.resampled_means(values, *intervals.weights(2, 2, 400, rng()))
    assert np.isfinite(drawn).all() and len(drawn) < 400


@pytest.mark.parametrize(("size", "per_rater"), [((20, 20), None), ((30, 60), 8)])
def test_interval_covers(size, per_rater):
    """The benchmark has the exact figures; this catches a wrong formula."""
    found = [mean(table(size=size, seed=seed, per_rater=per_rater), rng(), 300).interval() for seed in range(300)]
    assert 0.91 <= np.mean([low <= 50 <= high for low, high in found]) <= 0.985


def crowdmos_of_complete_table(values):
    """The published formula, written out for tables without holes."""
    from scipy.stats import t

    r, p = values.shape
    in_rater, in_clip, overall = (
        values.var(axis=1, ddof=1).mean(),
        values.var(axis=0, ddof=1).mean(),
        values.var(ddof=1),
    )
    variances = np.linalg.solve([[1, 0, 1], [0, 1, 1], [1, 1, 1]], [in_rater, in_clip, overall])  # clip, rater, rest
    variances = np.maximum(variances, 0)
    error = np.sqrt(variances[0] / p + variances[1] / r + variances[2] / (r * p))
    half = t.ppf(0.975, min(r, p) - 1) * error
    return values.mean() - half, values.mean() + half


def test_crowdmos_of_a_complete_table():
    values = table(size=(9, 13))
    assert crowdmos.interval(values) == pytest.approx(crowdmos_of_complete_table(values))


def test_crowdmos_without_a_second_answer_of_any_rater_is_student_t_of_clips():
    """Every rater heard one clip, every clip has one rater: independent answers."""
    from scipy.stats import t

    values = np.full((5, 5), np.nan)
    answers = np.array([1.0, 4.0, 2.0, 8.0, 5.0])
    np.fill_diagonal(values, answers)
    half = t.ppf(0.975, 4) * answers.std(ddof=1) / np.sqrt(5)
    assert crowdmos.interval(values) == pytest.approx((4 - half, 4 + half))


def test_crowdmos_of_one_rater_or_too_little():
    low, high = crowdmos.interval(np.array([[1.0, 2.0, 3.0]]))
    assert low < 2 < high
    assert crowdmos.interval(np.array([[1.0, np.nan]])) is None
