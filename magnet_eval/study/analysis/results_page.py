"""The analysis as one HTML file: the answer in words, then the evidence. It asks nothing of the network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magnet_eval.report import html as report
from magnet_eval.report.figures import Figure
from magnet_eval.report.numbers import DASH, number, p_text
from magnet_eval.study.analysis import words
from magnet_eval.study.analysis.analyse import Analysis
from magnet_eval.study.analysis.correlation import Agreement
from magnet_eval.study.analysis.orders import PLACES

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(analysis: Analysis, agreements: Sequence[Agreement], drawn: Mapping[str, Figure], paragraph: str) -> str:
    """The whole HTML text; every name in it is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    style = (report.CODE / "templates" / "style.css").read_text(encoding="utf-8")
    return environment.get_template("analysis.html.j2").render(
        title=f"Listening test {analysis.settings.study_id}", policy=POLICY, style=style, analysis=analysis,
        sentences=words.sentences(analysis), changed=words.changed(analysis), figures=list(drawn.values()),
        tables=tables(analysis, agreements), paragraph=paragraph,
    )  # fmt: skip


def tables(analysis: Analysis, agreements: Sequence[Agreement]) -> list[dict[str, Any]]:
    """Title, note, headings and rows of every table that has rows."""
    found = [_means(analysis), _pairs(analysis), _strengths(analysis), _concord(analysis), _trends(analysis)]
    found += [_metrics(agreements), _screening(analysis)]
    return [table for table in found if table["rows"]]


def _table(title: str, note: str, headings: str, rows: list[list[str]]) -> dict[str, Any]:
    return {"title": title, "note": note, "headings": headings.split("|"), "rows": rows}


def _means(analysis: Analysis) -> dict[str, Any]:
    everyone = {(row.dimension, row.system): row for row in analysis.everyone.conditions}
    rows = [
        [
            f"{row.system} ({row.dimension.upper()})", words.mean_text(row), f"{row.median:g}",
            f"{row.q1:g} to {row.q3:g}", words.span(row.mean, row.crowdmos_low, row.crowdmos_high),
            words.mean_text(everyone[row.dimension, row.system]), str(row.n),
        ]
        for row in analysis.kept.conditions
    ]  # fmt: skip
    note = "Points, with 95 % intervals for other raters and other prompts; CrowdMOS's beside it, as papers print it."
    return _table("Answers", note, "system|mean|median|middle half|mean (CrowdMOS)|mean of all raters|n", rows)


def _pairs(analysis: Analysis) -> dict[str, Any]:
    rows = [
        [
            f"{row.system} − {row.versus} ({row.dimension.upper()})", words.span(row.difference, row.low, row.high),
            p_text(row.p_adjusted), p_text(row.equivalence_p), _p(row.wilcoxon_raters), _p(row.wilcoxon_prompts),
            number(row.rank_biserial, 2), number(row.probability_higher, 2), row.verdict,
        ]
        for row in analysis.kept.comparisons
    ]  # fmt: skip
    note = (
        f"Same rater, same prompt. p: Holm-adjusted; equivalence: two one-sided tests at ±{analysis.settings.margin:g} "
        "points. Wilcoxon over raters speaks of other raters with these prompts, over prompts of other prompts with "
        "these raters: neither is the claim that a paper wants."
    )
    headings = (
        "pair|difference|p|equivalence p|Wilcoxon, raters|Wilcoxon, prompts|rank-biserial|P(first higher)|verdict"
    )
    return _table("Differences", note, headings, rows)


def _strengths(analysis: Analysis) -> dict[str, Any]:
    rows = [
        [
            f"{row.system} ({row.dimension.upper()})",
            words.span(row.value, row.low, row.high),
            f"{row.wins:g}",
            str(row.n),
        ]
        for row in analysis.kept.strengths
    ]
    return _table("Strengths", "Bradley-Terry, log-odds against the average system.", "system|strength|wins|n", rows)


def _concord(analysis: Analysis) -> dict[str, Any]:
    rows = [
        [
            row.dimension.upper(), _two(row.alpha), _two(row.icc_single), _two(row.icc_mean),
            _two(row.split_half_clips), _two(row.split_half_systems), _p(row.friedman_raters), _p(row.friedman_prompts),
            f"{row.consistency.mean_distance:.1f} (n = {row.consistency.n})" if row.consistency else DASH,
        ]
        for row in analysis.kept.concord
    ]  # fmt: skip
    headings = "question|alpha|ICC(2,1)|ICC(2,k)|split-half, clips|split-half, systems|Friedman, raters"
    note = "Alpha and ICC: 1 is perfect, 0 is chance. Self-consistency: mean distance of a repeated answer, in points."
    return _table("Agreement of raters", note, f"{headings}|Friedman, prompts|self-consistency", rows)


def _trends(analysis: Analysis) -> dict[str, Any]:
    rows = [
        [f"{row.dimension.upper()}, {PLACES[row.place]}", words.span(row.slope, row.low, row.high), p_text(row.p_value)]
        for row in analysis.kept.trends
    ]
    return _table("Order", "Points an answer gains with every further place.", "effect|points a place|p", rows)


def _metrics(agreements: Sequence[Agreement]) -> dict[str, Any]:
    rows = [
        [f"{row.label} ({row.dimension.upper()}), by {row.by}", words.span(row.value, row.low, row.high), str(row.n)]
        for row in agreements
    ]
    note = "Spearman's rank correlation; 1: the metric orders as people do, whichever way it counts."
    return _table("Metrics and people", note, "metric|correlation|n", rows)


def _screening(analysis: Analysis) -> dict[str, Any]:
    chosen = analysis.settings.exclusions
    rows = []
    for key in dict.fromkeys((row.rule_set, row.rule, row.limit) for row in analysis.screening.verdicts):
        own = [row for row in analysis.screening.verdicts if (row.rule_set, row.rule, row.limit) == key]
        looked, out = sum(row.total > 0 for row in own), [row.rater for row in own if row.dropped]
        rows.append([": ".join(key[:2]), key[2], str(looked), str(len(out)), ", ".join(out[:12]) or DASH])
        rows[-1].append("yes" if key[0] in chosen else "no")
    note = "Every rule of every set, applied or not; screening.csv has every rater."
    return _table("Screening", note, "rule|allowed|raters looked at|left out|who|applied", rows)


def _p(value: float | None) -> str:
    return DASH if value is None else p_text(value)


def _two(value: float | None) -> str:
    return DASH if value is None else number(value, 2)
