"""Runs of thousands of clips: what is shown of them, and that it says so."""

import pytest

from magnet_eval import report
from magnet_eval.records import ClipScore, Prompt
from magnet_eval.report import distributions, listen
from magnet_eval.report.data import load

N = 400


@pytest.fixture
def many(run):
    """400 prompts without audio; the higher the number, the better; systems disagree on every hundredth most."""
    run.write_prompts(Prompt(f"p{i}", f"waltz {i}", 2.0) for i in range(N))
    run.write_clip_scores(
        ClipScore(label, f"p{i}", "clap_tiny", i / N + sign * 0.4 * (i % 100 == 50))
        for label, sign in (("magnet-tiny", 1), ("musicgen-tiny", -1))
        for i in range(N)
    )
    return run


def test_the_telling_prompts_and_a_draw_are_shown(many):
    order = listen.in_order(load(many))
    by_badge = {badge: [prompt.id for prompt, own in order if own == badge] for badge in (*listen.BADGES, "")}
    assert by_badge["best"] == [f"p{i}" for i in range(N - 1, N - 6, -1)]
    assert by_badge["worst"] == [f"p{i}" for i in range(5)]
    assert set(by_badge["most disagreed"]) >= {"p50", "p150", "p250", "p350"}
    assert len(by_badge[""]) == listen.DRAWN and len({prompt.id for prompt, _ in order}) == len(order)
    assert order == listen.in_order(load(many))


def test_the_page_says_which_are_shown(many, tmp_path):
    page = report.build(many, tmp_path / "page").read_text(encoding="utf-8")
    assert "Of the 400 prompts these are the 5 best, 5 worst and 5 most disagreed, and 15 drawn at random" in page
    assert page.count('<script type="application/json" id="prompt-') == 30
    many.write_clip_scores([])
    assert listen.which(load(many)) == "Of the 400 prompts these are 15 drawn at random (seed 0)."


def test_clips_in_their_hundreds_are_a_shape_not_ticks(many):
    figure = distributions.clip_scores(load(many), "clap_tiny")
    assert "shape: clips" in figure.caption and len(figure.svg) < 60_000


def test_the_same_records_make_the_same_bytes_anywhere(run, tmp_path, monkeypatch):
    pages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        pages.append(report.build(run, tmp_path / name / "page").read_bytes())
    assert pages[0] == pages[1]
