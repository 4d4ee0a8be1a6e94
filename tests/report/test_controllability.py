"""Whether the score measures what it says: rank correlations of clip scores made by hand."""

import numpy as np
import pytest

from magnet_eval.records import ClipScore, Score
from magnet_eval.report import controllability
from magnet_eval.report.data import load
from magnet_eval.report.formats import markdown
from magnet_eval.report.html import build


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(controllability, "N_RESAMPLES", 50)


def with_accuracy(run, values):
    """The run with an attribute accuracy for each system's clips."""
    rows = [
        ClipScore(label, f"p{i}", "attributes_tiny", value) for label in values for i, value in enumerate(values[label])
    ]
    run.write_clip_scores([*run.clip_scores(), *rows])
    scores = [
        Score("quick", 1, label, "attributes_tiny", "Attribute accuracy", float(np.mean(own)), "", "higher", len(own))
        for label, own in values.items()
    ]
    run.replace_scores([*run.scores(), *scores], lambda row: True)
    return run


def test_closed_form():
    likes = np.array([[0.1], [0.2], [0.3], [0.4], [0.5]])
    assert controllability.agreement(likes, likes**3).value == pytest.approx(1)
    assert controllability.agreement(likes, -likes).value == pytest.approx(-1)
    ties = np.array([[0.0], [0.0], [1.0], [1.0], [1.0]])  # ranks 1.5 1.5 4 4 4 against 1 to 5
    found = controllability.agreement(likes, ties)
    assert found.value == pytest.approx(7.5 / np.sqrt(10 * 7.5))
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (found.n, found.n_distinct) == (5, 2)
    assert controllability.agreement(likes, np.ones((5, 1))) is None


def test_missing_clips_are_left_out():
    likes = np.array([[0.1, 0.9], [0.2, np.nan], [0.3, 0.4], [0.4, 0.2]])
    assert controllability.agreement(likes, likes).n == 7


def test_table_and_sentence(run):
    own = {row.system: [] for row in run.clip_scores()}
    for row in run.clip_scores():
        own[row.system].append(row.value)
    data = load(with_accuracy(run, {label: np.argsort(np.argsort(values)) / 6 for label, values in own.items()}))
    table, said = controllability.evidence(data)
    assert [name for name, _ in table.rows] == [*data.systems, controllability.TOGETHER]
    assert [column.label for column in table.columns] == ["CLAP-tiny and Attribute accuracy (tiny)"]
    first, together = table.rows[0][1][0], table.rows[-1][1][0]
    assert first.text.startswith("1") and first.note == "n = 3"
    assert together.note == "n = 6"  # two systems compete, three prompts
    assert len(said) == 1 and "takes 3 values" in said[0]


def test_no_section_without_both_scores(run, tmp_path):
    assert controllability.evidence(load(run)) == (controllability.Table([]), [])
    assert 'id="controllability"' not in build(run, tmp_path / "plain.html").read_text()


def test_section_and_markdown(run, tmp_path):
    values = {"magnet-tiny": [0.5, 1, 0], "musicgen-tiny": [1, 1, 1]}
    page = build(with_accuracy(run, values), tmp_path / "page.html").read_text()
    assert '<h2 id="controllability">Does the score measure what it says?' in page
    assert 'href="#controllability"' in page and "too few clips, or all alike" in page
    assert "## Does the score measure what it says?" in markdown(load(run))
