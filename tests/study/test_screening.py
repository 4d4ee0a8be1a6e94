"""Screening rules at their edges: the limit itself is allowed, what is beyond it is not."""

import pytest

from magnet_eval.records import Rating
from magnet_eval.study.analysis.screening import RULE_SETS, screen


def answers(role, values, rater="a", dimension="ovl", **fields):
    return [
        Rating("s", rater, dimension, role, f"p{i:02}", role, float(value), stimulus_id=f"{role}{i}", **fields)
        for i, value in enumerate(values)
    ]


def verdict(screening, rule_set, part, rater="a"):
    (found,) = [
        row for row in screening.verdicts if (row.rule_set, row.rater) == (rule_set, rater) and part in row.rule
    ]
    return found


def misses(n, total, value=89):
    return [value] * n + [95] * (total - n)


@pytest.mark.parametrize(
    ("n", "total", "dropped"),
    [(1, 7, False), (1, 20, False), (3, 20, False), (6, 40, False), (4, 20, True), (1, 6, True), (2, 7, True)],
)
def test_reference_may_be_missed_on_15_percent_of_the_items(n, total, dropped):
    """3 of 20 are exactly 15 %: allowed. A listener who misses 1 of 20 stays (pymushra dropped them)."""
    found = verdict(screen(answers("reference", misses(n, total))), "bs1534", "A:")
    assert (found.failed, found.total, found.dropped) == (n, total, dropped)


@pytest.mark.parametrize(("value", "failed"), [(90, 0), (89.999, 5), (90.001, 0)])
def test_a_reference_at_exactly_90_is_not_missed(value, failed):
    assert verdict(screen(answers("reference", [value] * 5)), "bs1534", "A:").failed == failed


@pytest.mark.parametrize(("value", "failed"), [(90, 0), (90.5, 1), (100, 1)])
def test_an_anchor_at_exactly_90_is_not_taken_for_good(value, failed):
    others = [row for i in range(9) for row in answers("anchor70", [40] * 4, f"o{i}")]
    found = verdict(screen([*answers("anchor70", [value, 40, 40, 40]), *others]), "bs1534", "B:")
    assert (found.failed, found.dropped) == (failed, failed / 4 > 0.15)


@pytest.mark.parametrize(("fooled", "total"), [(1, 4), (2, 3)])
def test_an_item_on_which_more_than_a_quarter_is_fooled_is_left_out_of_rule_b(fooled, total):
    """1 of 4 raters is exactly 25 %: the item still counts. 2 of 4 is more: it does not."""
    rows = [*answers("anchor70", [95, 40, 40]), *answers("anchor70", [95 if fooled == 2 else 40, 40, 40], "b")]
    rows += [row for name in "cd" for row in answers("anchor70", [40, 40, 40], name)]
    assert verdict(screen(rows), "bs1534", "B:").total == {1: 3, 2: 2}[fooled]
    assert verdict(screen(rows), "bs1534", "B:").dropped == (fooled == 1)


def test_rule_b_has_nothing_to_look_at_without_a_mid_anchor():
    """Audio at 16 kHz has no 7 kHz anchor."""
    found = verdict(screen([*answers("reference", [95] * 5), *answers("anchor35", [99] * 5)]), "bs1534", "B:")
    assert (found.total, found.value, found.dropped) == (0, None, False)


@pytest.mark.parametrize(("values", "dropped"), [([85, 85], False), ([80, 90], False), ([84.9, 85], True)])
def test_musicgen_real_clips_of_exactly_85_are_allowed(values, dropped):
    assert verdict(screen(answers("gold", values)), "musicgen", "real clips").dropped == dropped


def test_musicgen_every_clip_must_be_heard():
    rows = [*answers("system", [50] * 9), *answers("gold", [99], heard_all=False)]
    found = verdict(screen(rows), "musicgen", "heard")
    assert (found.failed, found.total, found.dropped) == (1, 10, True)


def crowd(rater_values, n_others=4, n=20):
    others = [row for i in range(n_others) for row in answers("system", [40 + k for k in range(n)], f"o{i}")]
    return [*answers("system", rater_values), *others]


def test_crowdmos_correlation_with_the_others():
    up, down = list(range(40, 60)), list(range(60, 40, -1))
    assert verdict(screen(crowd(up)), "crowdmos", "correlation").value == pytest.approx(1)
    found = verdict(screen(crowd(down)), "crowdmos", "correlation")
    assert found.value == pytest.approx(-1) and found.dropped
    assert verdict(screen(crowd([50] * 20)), "crowdmos", "correlation").dropped  # always the same: no agreement


@pytest.mark.parametrize(("n", "dropped"), [(1, False), (2, True)])
def test_crowdmos_one_outlying_answer_of_20_is_allowed_and_left_out(n, dropped):
    """1 of 20 is exactly 5 %."""
    rows = crowd([0] * n + [50] * (20 - n), n_others=10)
    screening = screen(rows)
    found = verdict(screening, "crowdmos", "2.5 sd")
    assert (found.failed, found.total, found.dropped) == (n, 20, dropped)
    kept = screening.kept(rows, ["crowdmos"])
    assert not [row for row in kept if row.rater == "a" and row.value == 0]
    assert len(screening.kept(rows, ["musicgen"])) == len(rows)


@pytest.mark.parametrize(("value", "dropped"), [(75, False), (74.9, True)])
def test_p808_gold_may_be_one_class_below_the_top(value, dropped):
    assert verdict(screen(answers("gold", [value, 100])), "p808", "gold").dropped == dropped


def test_p808_on_its_own_scale_of_1_to_5():
    scales = {"ovl": (1.0, 5.0)}
    assert not verdict(screen(answers("gold", [4, 5]), (), scales), "p808", "gold").dropped
    assert verdict(screen(answers("gold", [3, 5]), (), scales), "p808", "gold").dropped


@pytest.mark.parametrize(("values", "dropped"), [([3] * 20, True), ([3] * 9 + [4], False), ([3] * 11 + [4], True)])
def test_p808_answers_must_vary(values, dropped):
    """One other answer of 10: a variance of exactly 0.1 squared classes, allowed; of 12: 0.083."""
    found = verdict(screen(answers("system", values), (), {"ovl": (1.0, 5.0)}), "p808", "variance")
    assert found.dropped == dropped


@pytest.mark.parametrize(
    ("row", "total", "dropped"),
    [
        ({"headphones_correct": "6", "headphones_total": "6"}, 6, False),
        ({"headphones_correct": "5", "headphones_total": "6"}, 6, True),
        ({"headphones_correct": "", "headphones_total": ""}, 0, False),
        ({"headphones_correct": "-1", "headphones_total": "<b>"}, 0, False),
        ({}, 0, False),
    ],
)
def test_headphones(row, total, dropped):
    found = verdict(screen(answers("system", [1, 2]), [{"session": "a", **row}]), "headphones", "Huggins")
    assert (found.total, found.dropped) == (total, dropped)


def test_every_rater_has_a_verdict_of_every_rule_and_repeats_do_not_count():
    rows = [row for name in "abc" for row in answers("system", [1, 2, 3], name)]
    rows += answers("repeat", [0] * 5, heard_all=False)
    screening = screen(rows)
    rules = {(row.rule_set, row.rule) for row in screening.verdicts}
    assert {rule_set for rule_set, _ in rules} == set(RULE_SETS)
    assert len(screening.verdicts) == 3 * len(rules)
    assert verdict(screening, "musicgen", "heard").total == 3


def test_only_the_chosen_rule_sets_drop():
    rows = [*answers("gold", [10, 20]), *answers("gold", [99, 98], "b")]
    screening = screen(rows)
    assert screening.dropped(["musicgen"]) == {"a"} and screening.dropped(["bs1534"]) == set()
    assert screening.dropped([]) == set()
