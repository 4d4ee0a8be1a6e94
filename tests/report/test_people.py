"""What people say in a report: a section of its own, that touches no other."""

import pytest

from magnet_eval import report
from magnet_eval.records import ClipScore, Score, is_people
from magnet_eval.report import formats, html, listen, people, summary, tables
from magnet_eval.report.data import load

MEANS = {"magnet-tiny": 55.0, "musicgen-tiny": 64.0, "codec-tiny": 90.0}


def rating(system, value, versus="", verdict="", p_value=None, **more):
    params = {"raters": 20, "prompts": 12, **more}
    if verdict:
        params |= {"verdict": verdict, "margin": 5.0, "equivalence_p": 0.003}
    return Score(
        "study s", 1, system, "people_ovl", "OVL (people)", value, "points", "higher", 240, value - 4, value + 4,
        versus=versus, p_value=p_value, preset="musicgen", params=params,
    )  # fmt: skip


def agrees(metric, by, value):
    params = {"metric": metric, "dimension": "ovl", "by": by, "statistic": "spearman"}
    name = f"agrees_ovl_{metric}_by_{by}"
    return Score(
        "study s", 1, "all systems", name, name, value, "", "higher", 36, value - 0.2, value + 0.2, params=params
    )


@pytest.fixture
def rated(run):
    """The run with ratings in which musicgen-tiny is above magnet-tiny."""
    rows = [rating(system, value) for system, value in MEANS.items()]
    rows.append(rating("magnet-tiny", -9.0, "musicgen-tiny", "lower", 0.0004))
    rows += [
        agrees("clap_tiny", "clip", 0.4),
        agrees("clap_tiny", "system", 0.7),
        agrees("fad_musicnn_tiny", "system", -0.1),
    ]
    run.replace_scores(rows, is_people)
    mine = [ClipScore("magnet-tiny", f"p{i}", "people_ovl", 50.0 + i) for i in range(3)]
    run.write_clip_scores([*run.clip_scores(), *mine])
    return run


def test_the_best_rated_and_by_how_much(rated):
    found = people.evidence(load(rated))
    (sentence,) = found["sentences"]
    assert sentence.text.startswith("OVL (people): musicgen-tiny is rated highest: 64.0 [60.0, 68.0] points")
    assert "rated lower: magnet-tiny by 9.0 [5.0, 13.0]" in sentence.text and "codec-tiny" not in sentence.text
    assert found["facts"] == [
        "OVL (people): 20 raters · 12 prompts · 240 answers a system · raters screened by musicgen"
        " · equivalent: shown to be within ±5 points"
    ]


@pytest.mark.parametrize(
    ("verdict", "p_value", "words", "mark"),
    [
        ("equivalent", 0.6, "equivalent to it: magnet-tiny (within ±5 points, p = 0.003)", "same"),
        ("not distinguishable", 0.3, "neither told apart from it nor shown to be equivalent: magnet-tiny", "tied"),
        ("lower, within the margin", 0.01, "rated lower: magnet-tiny by 1.0 [−3.0, 5.0], within the margin", "worse"),
    ],
)  # fmt: skip
def test_verdicts_in_words_and_marks(rated, verdict, p_value, words, mark):
    rows = [rating(system, value) for system, value in MEANS.items()]
    rows.append(rating("magnet-tiny", -1.0, "musicgen-tiny", verdict, p_value))
    rated.replace_scores(rows, is_people)
    found = people.evidence(load(rated))
    assert words in found["sentences"][0].text
    ((_, (cell,)),) = found["differences"].rows
    assert cell.mark == mark and ("within ±5, p = 0.003" in cell.note) == (mark == "same")


def test_ratings_stay_out_of_everything_else(run, rated):
    data = load(rated)
    rated.replace_scores([], is_people)
    rated.write_clip_scores([row for row in rated.clip_scores() if not is_people(row)])
    bare = load(rated)
    assert data.quality == bare.quality and data.comparisons == bare.comparisons
    assert tables.quality(data) == tables.quality(bare)
    assert summary.baseline(data) == summary.baseline(bare) and summary.lead(data) == summary.lead(bare)
    assert listen.in_order(data) == listen.in_order(bare)


def test_the_page_has_the_section_and_the_correlations(rated, tmp_path):
    page = report.build(rated, tmp_path / "page").read_text(encoding="utf-8")
    assert 'id="people"' in page and "Nobody was asked to listen" not in page
    assert "Metrics and people: OVL" in page and "● by clip (n = 36) · □ by system (n = 36)" in page
    assert ">0.70<" in page and ">\u22120.10<" in page


def test_tables_in_other_formats_have_people_too(rated):
    data = load(rated)
    assert "## People\n" in formats.markdown(data) and "people\\_" not in formats.markdown(data).split("## People")[0]
    assert "agrees_ovl_clap_tiny_by_system" in formats.csv(data)


def test_without_ratings_a_line_says_how_to_ask(run, tmp_path):
    page = report.build(run, tmp_path / "page").read_text(encoding="utf-8")
    assert 'id="people"' not in page
    assert "magnet-eval study prepare run=results/quick-v1" in page and "into_runs=true" in page


def test_without_timings_a_line_says_how_to_measure(run, tmp_path):
    rows = load(run).quality
    run.replace_scores(rows, lambda row: True)
    page = report.build(run, tmp_path / "page").read_text(encoding="utf-8")
    assert 'id="speed"' not in page and "magnet-eval bench protocol=quick" in page
    assert html.absent(load(run), {"people": True}) == [("Speed was not measured.", "magnet-eval bench protocol=quick")]
