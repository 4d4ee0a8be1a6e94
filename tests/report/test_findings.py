"""Variants over seeds, and findings: intervals against hand-made numbers, verdicts at their edges."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from magnet_eval.ablation import Finding, Training, Variant
from magnet_eval.config import load_protocol
from magnet_eval.lookup import UserError
from magnet_eval.records import Score
from magnet_eval.report import findings, variants
from magnet_eval.report.data import Data, looks

VALUES = {"span 1": (5.0, 6.0, 7.0), "span 3": (2.0, 2.5, 3.5)}


def score(system: str, value: float, **changes) -> Score:
    row = Score("p", 1, system, "fad", "FAD", value, "", "lower", 48, preset="x")
    return dataclasses.replace(row, **changes)


def data(rows: list[Score], training: dict | None, claims: list[dict]) -> Data:
    systems = looks({row.system: "masked" for row in rows if not row.versus})
    manifest = {"protocol": {"training": training, "findings": claims}}
    return Data(None, manifest, [], systems, {}, rows, [], [], [], [])


@pytest.fixture
def trained() -> Data:
    rows = [score(f"{name}, seed {i}", value) for name, values in VALUES.items() for i, value in enumerate(values)]
    claims = [{"claim": "three is best", "better": "span 3", "than": ["span 1"], "source": "A paper"}]
    return data(rows, {"variants": {"span 1": {"span_len": 1}, "span 3": {}}, "seeds": [0, 1, 2]}, claims)


def test_a_variants_value_is_its_mean_with_students_interval(trained):
    rows = {row.system: row for row in variants.pooled(trained)["fad", "x"]}
    for name, values in VALUES.items():
        low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
        assert (rows[name].value, rows[name].n) == (pytest.approx(np.mean(values)), 3)
        assert (rows[name].low, rows[name].high) == (pytest.approx(low), pytest.approx(high))
    assert [name for name, _ in variants.table(trained).rows] == list(VALUES)
    assert len(variants.figures(trained)) == 1


def test_a_finding_pairs_the_seeds(trained):
    (tested,) = findings.evidence(trained)
    gaps = np.subtract(VALUES["span 3"], VALUES["span 1"])
    ((pair, (cell,)),) = tested.table.rows
    low, high = stats.t.interval(0.95, 2, gaps.mean(), stats.sem(gaps))
    assert pair == "span 3 \u2212 span 1" and float(cell.text.replace("\u2212", "-")) == pytest.approx(
        gaps.mean(), 0.01
    )
    assert high < 0 and cell.mark == "better"
    assert tested.outcome == "Of 1 comparison: supported in 1."


@pytest.mark.parametrize(
    ("low", "high", "better", "margin", "said"),
    [
        (-2.0, -0.1, "lower", 0.0, "supported"),
        (0.1, 2.0, "lower", 0.0, "contradicted"),
        (-1.0, 0.1, "lower", 0.0, "undecided"),
        (0.1, 0.9, "lower", 0.1, "supported"),  # worse, but by less than a tenth of 10
        (0.1, 1.1, "lower", 0.1, "undecided"),
        (1.1, 1.2, "lower", 0.1, "contradicted"),
        (0.1, 2.0, "higher", 0.0, "supported"),
        (-2.0, -0.1, "higher", 0.0, "contradicted"),
        (None, None, "higher", 0.0, "undecided"),
    ],
)
def test_the_verdict_follows_from_the_interval(low, high, better, margin, said):
    row = score("a", 0.0, versus="b", low=low, high=high, better=better)
    assert findings.verdict(Finding("c", "a", ["b"], margin=margin), row, 10.0) == said


@pytest.mark.parametrize("turned", [False, True])
def test_two_single_systems_use_the_runs_own_comparison(turned):
    own = (
        score("b", 1.0, versus="a", low=0.5, high=1.5) if turned else score("a", -1.0, versus="b", low=-1.5, high=-0.5)
    )
    run = data([score("a", 2.0), score("b", 3.0), own], None, [{"claim": "c", "better": "a", "than": ["b"]}])
    ((row, other),) = findings.differences(run, Finding("c", "a", ["b"]))
    assert (row.system, row.versus, row.value, row.low, row.high, other) == ("a", "b", -1.0, -1.5, -0.5, 3.0)
    assert findings.evidence(run)[0].outcome == "Of 1 comparison: supported in 1."


def test_without_a_comparison_both_intervals_count():
    run = data([score("a", 2.0, low=1.5, high=2.5), score("b", 4.0, low=3.0, high=5.0)], None, [])
    ((row, _),) = findings.differences(run, Finding("c", "a", ["b"]))
    assert (row.value, row.low, row.high) == (-2.0, -3.5, -0.5)


def test_what_a_manifest_of_another_version_says_is_no_error():
    run = data([score("a", 2.0)], {"variants": 3}, [{"who": "knows"}])
    assert findings.evidence(run) == [] and variants.groups(run) == {} and variants.table(run).rows == []


def test_two_variants_that_differ_in_name_alone_share_their_networks():
    plan = Training({"a": Variant(), "b": Variant(), "c": Variant(span_len=1)}, seeds=[0, 1])
    assert len(list(plan.networks())) == 4
    assert plan.changes("a", 1) == plan.changes("b", 1) != plan.changes("c", 1)


def test_a_trained_protocol_composes_its_systems_once():
    protocol = load_protocol("ablation-hybrid")
    again = dataclasses.replace(protocol, systems=protocol.systems[:2])
    assert len(protocol.systems) == 12 and len(again.systems) == 2
    assert protocol.systems[6].set.keys() == {"checkpoint", "prompter"}
    assert protocol.node()["systems"] == []


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"variants": {}}, "training needs variants"),
        ({"variants": {"a": {"span_len": 0}}}, "span_len"),
        ({"variants": {"a": {"parts": {"checkpoint": "maskd"}}}}, "masked"),
        ({"variants": {"a": {"parts": {"decoder": "masked"}}}}, "checkpoint, prompter"),
    ],
)
def test_a_wrong_plan_is_named(block, says):
    from magnet_eval.typed import typed

    with pytest.raises(UserError, match=says):
        typed(Training, block, "training")


def test_a_finding_about_nothing_is_named():
    from magnet_eval.config import Protocol, System

    with pytest.raises(UserError, match="nobody"):
        Protocol(1, [System("magnet-tiny")], findings=[Finding("c", "nobody", ["magnet-tiny"])])
