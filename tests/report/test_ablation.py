"""Ablations: found where a run is one, in the order of the setting."""

import pytest

from magnet_eval import report
from magnet_eval.report import ablation
from magnet_eval.report.data import load

LABELS = ("magnet-tiny", "musicgen-tiny", "codec-tiny")


@pytest.fixture
def changed(run):
    """A function from changes by system (and models) to report data; codec-tiny does not compete."""

    def make(*changes, models=("m", "m"), made=None):
        systems = [
            {"model": model, "label": label, "set": change}
            for label, model, change in zip(LABELS, models, changes, strict=False)
        ]
        protocol = run.manifest()["protocol"]
        run.update_manifest(protocol={**protocol, "systems": [*systems, {"model": "c", "label": "codec-tiny"}]})
        if made:
            known = run.manifest()["systems"]
            run.update_manifest(systems={label: {**known[label], **made} for label in known})
        return load(run)

    return make


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ((3.0, 1.0), ["musicgen-tiny", "magnet-tiny"]),
        (([60, 10, 10], [20, 10, 10]), ["musicgen-tiny", "magnet-tiny"]),
        (("stride1", "nonoverlap"), ["magnet-tiny", "musicgen-tiny"]),  # words: as in the protocol
    ],
)
def test_systems_come_in_the_order_of_the_setting(changed, values, order):
    data = changed(*({"decoding.x": value} for value in values))
    found = ablation.find(data)
    assert list(found.values) == order and found.settings == ("decoding.x",) and found.model == "m"
    table = ablation.settings_table(data, found)
    assert [name for name, _ in table.rows] == order
    assert [column.label for column in table.columns][0] == "decoding.x"
    assert any(column.label == "Latency" for column in table.columns)


def test_a_system_without_the_change_has_what_its_model_ran_with(changed):
    data = changed({}, {"decoding.steps": [5, 3]}, made={"settings": {"steps": [20, 10]}})
    assert ablation.find(data).values == {"musicgen-tiny": "5 3", "magnet-tiny": "20 10"}


def test_several_settings_stay_in_the_protocols_order(changed):
    found = ablation.find(changed({"a": 3.0, "b": 1, "c": 0}, {"a": 1.0, "b": 2, "c": 0}))
    assert found.settings == ("a", "b") and found.values == {"magnet-tiny": "3 / 1", "musicgen-tiny": "1 / 2"}


@pytest.mark.parametrize(
    ("changes", "models"),
    [(({"a": 1}, {"a": 2}), ("m", "other")), (({}, {}), ("m", "m")), (({"a": 1}, {"a": 1}), ("m", "m"))],
)
def test_other_runs_are_no_ablation(changed, changes, models):
    assert ablation.find(changed(*changes, models=models)) is None


def test_the_page_shows_metric_and_latency_by_setting(changed, run, tmp_path):
    changed({"decoding.steps": [60, 10]}, {"decoding.steps": [20, 10]})
    page = report.build(run, tmp_path / "page").read_text(encoding="utf-8")
    assert 'id="ablation"' in page and "FAD-musicnn (tiny) by steps" in page and "Latency by steps" in page
    assert page.index(">20 10</text>") < page.index(">60 10</text>")
