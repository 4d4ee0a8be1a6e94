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


def test_a_gap_between_systems_moves_the_pooled_correlation_alone():
    """Within each system the orders are reversed; that one leads in both scores makes the pooled one positive."""
    likes = np.array([[0.1, 0.7], [0.2, 0.8], [0.3, 0.9]])
    heard = np.array([[0.3, 0.9], [0.2, 0.8], [0.1, 0.7]])
    assert controllability.agreement(likes, heard).value > 0.5
    assert controllability.agreement(likes, heard, controllability.within).value == pytest.approx(-1)
    likes[0, 1] = np.nan  # of the second system two clips count: ranks 1 2 against 2 1
    assert controllability.within(likes, heard) == pytest.approx(-1)
    assert controllability.within(likes, np.ones_like(likes)) is None


def test_missing_clips_are_left_out():
    likes = np.array([[0.1, 0.9], [0.2, np.nan], [0.3, 0.4], [0.4, 0.2]])
    assert controllability.agreement(likes, likes).n == 7


def test_table_and_sentence(run):
    own = {row.system: [] for row in run.clip_scores()}
    for row in run.clip_scores():
        own[row.system].append(row.value)
    data = load(with_accuracy(run, {label: np.argsort(np.argsort(values)) / 6 for label, values in own.items()}))
    table, said = controllability.evidence(data)
    assert [name for name, _ in table.rows] == [*data.systems, controllability.TOGETHER, controllability.WITHIN]
    assert [column.label for column in table.columns] == ["CLAP-tiny and Attribute accuracy (tiny)"]
    first, together, inside = (table.rows[i][1][0] for i in (0, -2, -1))
    assert first.text.startswith("1") and first.note == "n = 3"
    assert together.note == "n = 6"  # two systems compete, three prompts
    assert inside.text.startswith("1")  # as the accuracies of each system were made
    assert len(said) == 3 and "takes 3 values" in said[0] and f"gaps between systems: ρ = {inside.text}" in said[0]
    assert said[1].startswith("Guessing gets 0.31 of Attribute accuracy (tiny): ")
    assert "learned from the same composed music" in said[2]


def test_no_section_without_both_scores(run, tmp_path):
    assert controllability.evidence(load(run)) == (controllability.Table([]), [])
    assert 'id="controllability"' not in build(run, tmp_path / "plain.html").read_text()


def test_section_and_markdown(run, tmp_path):
    values = {"magnet-tiny": [0.5, 1, 0], "musicgen-tiny": [1, 1, 1]}
    page = build(with_accuracy(run, values), tmp_path / "page.html").read_text()
    assert '<h2 id="controllability">Does the score measure what it says?' in page
    assert 'href="#controllability"' in page and "too few clips, or all alike" in page
    for text in (page, markdown(load(run))):
        assert "Guessing gets 0.31 of Attribute accuracy (tiny)" in text and "the same composed music" in text
    assert "## Does the score measure what it says?" in markdown(load(run))
