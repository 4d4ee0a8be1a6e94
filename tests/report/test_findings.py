"""Variants over seeds, and findings: intervals against hand-made numbers, verdicts at their edges."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from magnet_eval import ablation, speed
from magnet_eval.ablation import Finding, Training, Variant
from magnet_eval.config import Protocol, Run, System, load_protocol
from magnet_eval.lookup import UserError
from magnet_eval.records import Score
from magnet_eval.report import findings, summary, tables, variants
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
    assert (tested.legend, tested.table.columns[0].n) == (findings.OVER_SEEDS, "3 seeds")


def without(run: Data, *labels: str) -> Data:
    """The run without some systems."""
    rows = [row for row in run.scores if row.system not in labels]
    return data(rows, run.manifest["protocol"]["training"], run.manifest["protocol"]["findings"])


def test_seeds_are_paired_by_their_number_where_a_system_is_missing(trained):
    (found,) = findings.differences(without(trained, "span 1, seed 0"), Finding("c", "span 3", ["span 1"]))
    assert (found.row.value, found.row.n) == (pytest.approx(np.mean([2.5 - 6, 3.5 - 7])), 2)
    assert found.base == pytest.approx(6.5)  # of the seeds that count


def test_one_seed_in_common_is_undecided_and_said(trained):
    (tested,) = findings.evidence(without(trained, "span 1, seed 0", "span 3, seed 2"))
    assert tested.outcome == "Of 1 comparison: undecided in 1. One seed says nothing of training."
    (tested,) = findings.evidence(without(trained, "span 1, seed 0", "span 3, seed 1", "span 3, seed 2"))
    assert tested.outcome == "Not measured: FAD." and tested.table.rows == []


@pytest.mark.parametrize("turned", [False, True])
def test_a_variant_and_a_single_system_are_compared_at_every_seed(trained, turned):
    plan, names = trained.manifest["protocol"]["training"], ("span 3", "plain")
    run = data([*trained.scores, score("plain", 4.0)], plan, [])
    better, other = reversed(names) if turned else names
    (found,) = findings.differences(run, Finding("c", better, [other]))
    gaps = (np.array(VALUES["span 3"]) - 4.0) * (-1 if turned else 1)
    low, high = stats.t.interval(0.95, 2, gaps.mean(), stats.sem(gaps))
    assert (found.row.system, found.row.versus, found.row.n) == (better, other, 3)
    assert (found.row.value, found.row.low, found.row.high) == pytest.approx((gaps.mean(), low, high))
    assert found.base == pytest.approx(np.mean(VALUES["span 3"]) if turned else 4.0)


def test_equal_differences_are_no_certainty(trained):
    rows = [
        score(f"{name}, seed {i}", i / 10 + gap) for name, gap in (("span 1", 0.3), ("span 3", 0.1)) for i in (0, 1, 2)
    ]
    run = data(rows, trained.manifest["protocol"]["training"], trained.manifest["protocol"]["findings"])
    (tested,) = findings.evidence(run)
    assert tested.outcome == "Of 1 comparison: undecided in 1."
    assert tested.table.rows[0][1][0].mark == "" and tested.table.rows[0][1][0].interval == ""


def test_what_was_not_measured_is_named(trained):
    plan, claim = (
        trained.manifest["protocol"]["training"],
        {"claim": "c", "better": "span 3", "than": ["span 1", "span 2"]},
    )
    run = data(trained.scores, {**plan, "variants": {**plan["variants"], "span 2": {}}}, [
        {**claim, "metrics": ["latency"]}, claim, {**claim, "metrics": ["fad", "latency"]},
    ])  # fmt: skip
    assert [tested.outcome for tested in findings.evidence(run)] == [
        "Not measured: latency.",
        "Of 1 comparison: supported in 1. Not measured: FAD against span 2.",
        "Of 1 comparison: supported in 1. Not measured: FAD against span 2, latency.",
    ]
    assert all(bool(tested.table.rows) == ("Of 1" in tested.outcome) for tested in findings.evidence(run))


def test_a_finding_about_sound_does_not_count_latency():
    assert ablation.LATENCY == speed.LATENCY
    params = {"batch": 1, "stage": "total", "quantile": 0.5, "seconds": 5.0}
    times = [
        score(label, value, metric="latency", preset="", low=value, high=value + 0.1, params=params)
        for label, value in (("a", 1.0), ("b", 2.0))
    ]
    run = data([score("a", 5.0, low=4.0, high=6.0), score("b", 2.0, low=1.0, high=3.0), *times], None, [])
    kinds = {"fad": Finding("c", "a", ["b"]), "latency": Finding("c", "a", ["b"], metrics=["latency"])}
    for metric, finding in kinds.items():
        assert [found.row.metric for found in findings.differences(run, finding)] == [metric]


def test_no_seed_of_a_variant_is_called_the_best(trained):
    best = [score(name, value, low=value - 0.1, high=value + 0.1) for name, value in (("plain", 4.0), ("other", 4.5))]
    rows = [dataclasses.replace(row, low=row.value - 0.1, high=row.value + 0.1) for row in trained.scores]
    plan = trained.manifest["protocol"]["training"]
    assert {cells[0].mark for _, cells in tables.quality(data(rows, plan, [])).rows} == {""}
    assert "best" in {cells[0].mark for _, cells in tables.quality(data(rows, None, [])).rows}  # plain systems
    assert summary.lead(data(rows, plan, [])) == summary.pairs(data(rows, plan, [])) == []
    (said,) = summary.lead(data([*best, *rows], plan, []))
    assert said.system == "plain" and "seed" not in said.text


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
    (found,) = findings.differences(run, Finding("c", "a", ["b"]))
    row = found.row
    assert (row.system, row.versus, row.value, row.low, row.high, found.base) == ("a", "b", -1.0, -1.5, -0.5, 3.0)
    (tested,) = findings.evidence(run)
    assert (tested.outcome, tested.legend) == ("Of 1 comparison: supported in 1.", findings.OF_SYSTEMS)
    assert tested.source == "A question of this project" and tested.table.columns[0].n == "n = 48"


def test_without_a_comparison_both_intervals_count():
    run = data([score("a", 2.0, low=1.5, high=2.5), score("b", 4.0, low=3.0, high=5.0)], None, [])
    (found,) = findings.differences(run, Finding("c", "a", ["b"]))
    assert (found.row.value, found.row.low, found.row.high) == (-2.0, -3.5, -0.5)


def test_what_a_manifest_of_another_version_says_is_no_error():
    run = data([score("a", 2.0)], {"variants": 3}, [{"who": "knows"}])
    assert findings.evidence(run) == [] and run.variants == {} and variants.table(run).rows == []


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
        ({"variants": {"a": {}}, "seeds": [0, 1, 0]}, "a seed twice"),
    ],
)
def test_a_wrong_plan_is_named(block, says):
    from magnet_eval.typed import typed

    with pytest.raises(UserError, match=says):
        typed(Training, block, "training")


def test_a_finding_about_nothing_is_named():
    with pytest.raises(UserError, match="nobody"):
        Protocol(1, [System("magnet-tiny")], findings=[Finding("c", "nobody", ["magnet-tiny"])])
    speaks = Finding("c", "magnet-tiny", ["musicgen-tiny"], metrics=["latncy"])
    with pytest.raises(UserError, match=r"metric 'latncy'\. Did you mean latency .*Allowed: clap_tiny, latency\."):
        Protocol(1, [System("magnet-tiny"), System("musicgen-tiny")], metrics={"clap_tiny": {}}, findings=[speaks])


def test_a_run_of_fewer_systems_keeps_the_findings():
    protocol = load_protocol("ablation-steps")
    run = Run(protocol, systems=[System("20 3 3 3")])
    assert [system.label for system in run.protocol.systems] == ["20 3 3 3"]
    assert run.protocol.findings == protocol.findings
