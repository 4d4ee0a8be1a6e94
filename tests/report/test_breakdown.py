"""By kind of prompt: the right prompts behind each mean, and silence where a tag says nothing."""

import numpy as np
import pytest

from magnet_eval.records import ClipScore, Prompt
from magnet_eval.report import breakdown
from magnet_eval.report.data import load


@pytest.fixture
def tagged(run):
    """A function from tags (of a prompt's number) and clip scores (of prompt and system) to report data."""

    def make(tags, score, n=40):
        run.write_prompts(Prompt(f"p{i}", "a waltz", 2.0, tags(i)) for i in range(n))
        run.write_clip_scores(
            ClipScore(label, f"p{i}", "clap_tiny", float(score(i, label)))
            for label in ("magnet-tiny", "musicgen-tiny", "codec-tiny")
            for i in range(n)
        )
        return load(run)

    return make


NOISE = np.random.default_rng(1).normal(0, 0.01, 1000)


def test_a_tag_that_matters_is_drawn_and_one_that_does_not_is_named(tagged):
    tags = lambda i: {"tempo": "fast" if i % 2 else "slow", "parity of tens": str(i // 10 % 2)}  # noqa: E731
    figures, plain = breakdown.breakdown(tagged(tags, lambda i, label: i % 2 + NOISE[i]))
    assert [figure.title for figure in figures] == ["tempo"] and plain == ["parity of tens"]
    assert ">fast (20)<" in figures[0].svg and "n = 20 to 20 prompts" in figures[0].caption


def test_means_are_those_of_the_values_prompts():
    scores = np.array([[1.0, 10.0], [2.0, np.nan], [3.0, np.nan], [6.0, 20.0]])
    found = breakdown.means("x", scores)
    assert found.mean[0] == 3.0 and np.isnan(found.mean[1])  # two scores are too few
    assert found.low[0] < 3.0 < found.high[0] and np.isnan(found.low[1])


def test_intervals_have_the_width_of_the_standard_error():
    values = np.random.default_rng(0).normal(0, 1, (400, 1))
    found = breakdown.means("x", values)
    width = (found.high[0] - found.low[0]) / (2 * 1.96 * values.std() / 20)
    assert 0.9 < width < 1.1


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        (lambda i: {"k": "one"}, []),  # one value
        (lambda i: {"k": str(i)}, []),  # each once
        (lambda i: {"k": str(i % 12)}, []),  # too many values
        (lambda i: {"k": "rare" if i < 2 else "common"}, []),
        (lambda i: {"k": "rare" if i < 3 else "common"}, ["rare", "common"]),
        (lambda i: {} if i % 2 else {"k": str(100 if i % 4 else 20)}, ["20", "100"]),  # by size; some have no tag
    ],
)
def test_which_tags_are_looked_at(tagged, tags, kept):
    found = breakdown.candidates(tagged(tags, lambda i, label: 0.0))
    assert list(found.get("k", {})) == sorted(kept, key=breakdown.natural)


def test_at_most_four_tags_and_hostile_names(tagged):
    tags = lambda i: {f'"><b>{k}': "<i>even" if i % 2 else "odd" for k in range(6)}  # noqa: E731
    figures, plain = breakdown.breakdown(tagged(tags, lambda i, label: i % 2))
    assert len(figures) == 4 and len(plain) == 2
    assert "<b>" not in "".join(figure.svg for figure in figures) and "<i>" not in figures[0].svg


def test_controls_and_unscored_runs_have_none(tagged, run):
    figures, _ = breakdown.breakdown(tagged(lambda i: {"k": str(i % 2)}, lambda i, label: i % 2))
    assert "codec-tiny" not in figures[0].svg and "#009E73".lower() not in figures[0].svg.lower()
    run.write_clip_scores([])
    assert breakdown.breakdown(load(run)) == ([], [])
