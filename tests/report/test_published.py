"""Published numbers: beside measured ones of the same kind, and nowhere else."""

from dataclasses import asdict

import pytest

from magnet_eval import config, zoo
from magnet_eval.records import Score
from magnet_eval.report import published
from magnet_eval.report.data import load
from magnet_eval.report.html import build
from magnet_eval.store import RunFolder


@pytest.fixture
def measured(tmp_path):
    """A function from a model, a metric and a preset to the report data of a run that measured 4.5 for it."""

    def make(
        protocol="musiccaps-musicgen",
        model="magnet-small-10secs",
        metric="fad_vggish",
        preset="audiocraft-tf",
        set=None,
        weights=None,
        prompts=None,
        reference=None,
        version=None,
        padding=None,
        standing=None,
    ):
        folder = RunFolder(tmp_path / "run-v1")
        params = {"weights": standing} if standing else {}
        row = Score(protocol, 1, "mine", metric, "FAD", 4.5, "", "lower", 5000, 4.3, 4.7, preset=preset, params=params)
        folder.replace_scores([row], lambda row: True)
        made = asdict(config.load_protocol(protocol))
        made["prompts"] |= {"path": "/elsewhere/musiccaps.jsonl", **(prompts or {})}
        made["reference"] |= reference or {}
        made["version"] = version or made["version"]
        made["systems"] = [{"model": model, "label": "mine", "set": set or {}}]
        made["metrics"] = {metric: {"preset": [preset], "weights": weights}}
        about = asdict(config.load_model(model))
        folder.update_manifest(protocol=made, systems={"mine": {**about, "padding": padding or about["padding"]}})
        return load(folder)

    return make


def test_a_measured_number_stands_beside_its_published_one(measured, tmp_path):
    (row,) = published.beside(measured())
    assert (row.system, row.measured, row.interval) == ("mine", "4.50", "[4.30, 4.70]")
    assert (row.published, row.difference, row.n) == ("4.22", "0.28", "5,000 here, 5,469 published")
    assert "model cards" in row.source
    page = build(measured().folder, tmp_path / "page").read_text()
    assert "Beside published numbers" in page and "4.22" in page


def test_weights_from_elsewhere_count_if_they_are_the_published_ones(measured):
    assert len(published.beside(measured(weights="copy.pth", standing="published"))) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "musiccaps-native"}, {"preset": "native"}, {"model": "magnet-tiny"}, {"metric": "kl_mtt_tiny"},
        {"set": {"decoding.steps": [60, 10, 10, 10]}}, {"weights": "another.pth"}, {"prompts": {"seconds": 5.0}},
        {"prompts": {"n": 10}}, {"reference": {"split": "balanced"}}, {"version": 99}, {"padding": "other"},
        {"standing": "other"},
    ],
    ids=lambda other: "-".join(map(str, next(iter(other.items())))),
)  # fmt: skip
def test_nothing_published_is_shown_for_something_else(measured, other, tmp_path):
    data = measured(**other)
    assert published.beside(data) == []
    assert "Beside published numbers" not in build(data.folder, tmp_path / "page").read_text()


def test_every_published_number_is_of_a_model_and_a_metric_of_the_protocol():
    files = sorted((zoo.root() / "results" / "published").glob("*.yaml"))
    assert files
    for protocol in ("musiccaps-musicgen", "audiocaps-magnet"):
        chosen = config.load_protocol(protocol)
        for table in published.tables(protocol):
            assert set(table["scores"]) <= {system.model for system in chosen.systems} and table["source"]
            for scores in table["scores"].values():
                assert set(scores) <= set(chosen.metrics)
            for metric, preset in table["presets"].items():
                assert preset in chosen.metrics[metric].preset
