"""The sentences: every verdict in words."""

import pytest

from magnet_eval import speed
from magnet_eval.report import summary, tables
from magnet_eval.report.data import load


def latency(make_score, system, value, half=0.01):
    params = {"batch": 1, "stage": "total", "quantile": 0.5, "seconds": 5.0, "device": "cpu"}
    interval = {"low": value - half, "high": value + half} if half else {}
    return make_score(system, speed.LATENCY, value, **interval, params=params)


@pytest.mark.parametrize(
    ("numbers", "expected", "verdict"),
    [
        ((-0.02, -0.03, -0.01, 0.01), "lower by 0.020 [0.010, 0.030] asper (better)", "better"),
        ((0.5, 0.2, 0.8, 0.001), "higher by 0.50 [0.20, 0.80] asper (worse)", "worse"),
        ((0.5, -0.2, 1.2, 0.4), "not distinguishable (p = 0.4)", "tied"),
        ((0.5, -0.2, 1.2, None), "not distinguishable", "tied"),  # by the interval alone
        ((0.5, 0.2, 0.8, None), "higher by 0.50 [0.20, 0.80] asper (worse)", "worse"),
    ],
)  # fmt: skip
def test_a_difference_in_words(make_score, numbers, expected, verdict):
    value, low, high, p_value = numbers
    row = make_score("a", versus="b", value=value, low=low, high=high, p_value=p_value)
    clause = summary.quality_clause(row, "a")
    assert (clause.text, clause.verdict) == (f"Roughness {expected}", verdict)


def test_a_difference_without_a_test_has_no_verdict(make_data, make_score):
    plain = [make_score(s, value=v, low=v - 0.1, high=v + 0.1) for s, v in (("a", 2.0), ("b", 1.0))]
    data = make_data(*plain, make_score("b", value=-1.0, versus="a"))
    (best,) = summary.lead(data)
    assert best.text.endswith("not compared with it: a.")
    assert summary.quality_clause(data.comparisons[0], "b").verdict == ""
    cells = dict(tables.quality(data).rows)
    assert (cells["b"][0].mark, cells["a"][0].mark) == ("best", "")
    assert tables.comparisons(data.comparisons).rows[0][1][0].mark == ""


def test_equal_times_are_no_advantage(make_data, make_score):
    clause = summary.speed_clause(make_data(latency(make_score, "a", 1.0, None), latency(make_score, "b", 1.002, None)),
                                  "a", "b")  # fmt: skip
    assert (clause.text, clause.verdict) == ("is as fast as b at batch 1 (n = 32, too few for an interval)", "")


def test_a_difference_made_the_other_way_round_is_turned(make_score):
    clause = summary.quality_clause(make_score("b", versus="a", value=0.5, low=0.2, high=0.8, p_value=0.01), "a")
    assert clause.text == "Roughness lower by 0.50 [0.20, 0.80] asper (better)"


def test_faster_slower_and_overlapping(make_data, make_score):
    data = make_data(*(latency(make_score, s, v) for s, v in (("a", 1.0), ("b", 3.1), ("c", 1.005), ("d", 25.0))))
    text = lambda a, b: summary.speed_clause(data, a, b).text  # noqa: E731
    assert text("a", "b") == "is 3.1× faster than b at batch 1"
    assert text("b", "a") == "is 3.1× slower than a at batch 1"
    assert text("a", "d") == "is 25× faster than d at batch 1"
    assert text("a", "c") == "is about as fast as c at batch 1 (intervals overlap)"
    assert summary.speed_clause(data, "a", "nobody") is None


def test_a_pair_without_timings_is_still_compared(make_data, make_score):
    data = make_data(make_score("a", value=0.1, versus="b", p_value=0.4), make_score("b"))
    assert [sentence.text for sentence in summary.pairs(data)] == [
        "a against b: Roughness not distinguishable (p = 0.4)."
    ]


def test_the_answer_of_a_whole_run(run):
    data = load(run)
    assert [sentence.text for sentence in summary.pairs(data)] == [
        "magnet-tiny is 3.1× faster than musicgen-tiny at batch 1; "
        "FAD-musicnn (tiny) not distinguishable (p = 0.4); CLAP-tiny lower by 0.022 [0.009, 0.035] (worse)."
    ]
    lead = [sentence.text for sentence in summary.lead(data)]
    assert lead[0] == (
        "No difference shown in FAD-musicnn (tiny): "
        "musicgen-tiny has 4.87, and cannot be told from magnet-tiny (n = 3, all 4.87 to 5.13)."
    )
    assert lead[2] == "Fastest: magnet-tiny makes 2 s of audio in 410 ms at batch 1 on cpu (median of 5 calls)."


def test_who_was_not_compared_with_the_best_is_named(make_data, make_score):
    plain = [make_score(s, value=v, low=v - 0.1, high=v + 0.1) for s, v in (("a", 2.0), ("b", 1.0), ("c", 1.01))]
    pairs = [make_score(s, value=-1.0, low=-1.2, high=-0.8, versus="a", p_value=0.001) for s in ("b", "c")]
    (best,) = summary.lead(make_data(*plain, *pairs))
    assert best.text.endswith("lower is better; not compared with it: c.")


def test_nothing_is_said_of_nothing(make_data, make_score):
    data = make_data(make_score("only", value=1.0))
    assert summary.lead(data) == [] and summary.pairs(data) == []
    assert summary.lead(make_data()) == []
