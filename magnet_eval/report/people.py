"""What people say: the ratings of a listening test among a run's scores, and how far each metric agrees with them."""

from dataclasses import replace
from typing import Any

import matplotlib as mpl

from magnet_eval.records import PEOPLE, Score
from magnet_eval.report.data import Data, shown_label
from magnet_eval.report.figures import INK, MUTED, STYLE, WIDTH, Figure, bars, canvas, quality, reach, to_svg
from magnet_eval.report.numbers import interval_text, number, p_text, value_text
from magnet_eval.report.summary import Clause, Sentence
from magnet_eval.report.tables import Table, best_of, comparisons, difference, is_significant, pivot, table

ANCHOR = "people"


def evidence(data: Data) -> dict[str, Any] | None:
    """Sentences, tables and figures of the section, by their names in the template; None without ratings."""
    questions = list(dict.fromkeys(row.metric for row in data.people if not row.versus))
    if not questions:
        return None
    drawn = [quality(data, metric, "answers") for metric in questions]
    return {
        "sentences": [said for metric in questions if (said := sentence(data, metric)) is not None],
        "facts": [facts(data, metric) for metric in questions],
        "means": means(data),
        "differences": comparisons([row for row in data.people if row.versus]),
        "figures": [*drawn, *agreement(data)],
    }


def means(data: Data) -> Table:
    """Systems by questions; of the systems that were rated."""
    rows = [row for row in data.people if not row.versus]
    rated = {row.system for row in rows}
    return table(data, pivot(rows, [label for label in data.systems if label in rated])) if rows else Table([])


def facts(data: Data, metric: str) -> str:
    """How much was asked of one question: answers, raters, prompts, who was left out, what counts as equivalent."""
    rows = [row for row in data.people if row.metric == metric]
    counts = [f"{span(values)} {what}" for what in ("raters", "prompts") if (values := params(rows, what))]
    margins = [f"equivalent: shown to be within ±{margin:g} points" for margin in params(rows, "margin")]
    rules = sorted({f"raters screened by {row.preset}" if row.preset != "all-raters" else "all raters" for row in rows})
    n = span(sorted({row.n for row in rows if not row.versus}))
    return f"{shown_label(rows[0])}: " + " · ".join([*counts, f"{n} answers a system", *rules, *margins])


def params(rows: list[Score], name: str) -> list[float]:
    """The values that the rows give one of their params."""
    return sorted({row.params[name] for row in rows if name in row.params})


def span(values: list[float]) -> str:
    """One number, or the least and the most."""
    return f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"


def sentence(data: Data, metric: str) -> Sentence | None:
    """Who is rated highest on a question, who is shown to be equivalent, who lower, and of whom it cannot be told."""
    rows = [row for row in data.people if row.metric == metric and not row.versus]
    best = best_of(data, rows)
    if best is None:
        return None
    groups: dict[str, list[str]] = {"tied": [], "same": [], "lower": [], "unknown": []}
    for row in rows:
        if row is not best and data.competes(row.system):
            kind, text = against(data, row.system, best)
            groups[kind].append(text)
    points = " ".join(filter(None, [value_text(best), interval_text(best), best.unit]))
    clauses = [Clause(f"is rated highest: {points}", ANCHOR, "better")]
    for kind, words, verdict in (
        ("same", "equivalent to it", "tied"),
        ("lower", "rated lower", ""),
        ("tied", "neither told apart from it nor shown to be equivalent", "tied"),
        ("unknown", "not compared with it", ""),
    ):
        if groups[kind]:
            clauses.append(Clause(f"{words}: {', '.join(groups[kind])}", ANCHOR, verdict))
    return Sentence(best.system, clauses, f"{shown_label(best)}: ")


def against(data: Data, system: str, best: Score) -> tuple[str, str]:
    """A system against the best rated: tied, same, lower or unknown, and its name with what there is to say of it."""
    row = difference(data, system, best.system, best.metric)
    if row is None:
        return "unknown", system
    p_value = row.params.get("equivalence_p")
    if row.params.get("verdict") == "equivalent":
        margin = f"within ±{row.params['margin']:g} points" if "margin" in row.params else ""
        detail = ", ".join(filter(None, [margin, "" if p_value is None else p_text(p_value)]))
        return "same", f"{system} ({detail})" if detail else system
    if not is_significant(row):
        return "tied", system + (f" ({p_text(row.p_value)})" if row.p_value is not None else "")
    if row.value < 0:  # the amount is positive; the words say which way
        flipped = (None, None) if row.low is None or row.high is None else (-row.high, -row.low)
        row = replace(row, value=-row.value, low=flipped[0], high=flipped[1])
    near = ", within the margin" if "margin" in str(row.params.get("verdict")) else ""
    amount = " ".join(filter(None, [value_text(row), interval_text(row)]))
    return "lower", f"{system} by {amount}{near}"


def agreement(data: Data) -> list[Figure]:
    """Metrics by their rank correlation with the ratings, by clip and by system: a figure for each question."""
    rows = [row for row in data.agreements if {"metric", "dimension", "by"} <= set(row.params)]
    questions = list(dict.fromkeys(row.params["dimension"] for row in rows))
    return [_agreement(data, [row for row in rows if row.params["dimension"] == name], name) for name in questions]


def _agreement(data: Data, rows: list[Score], question: str) -> Figure:
    labels = {row.metric: shown_label(row) for row in data.quality}
    keys = list(dict.fromkeys((row.params["metric"], row.preset) for row in rows))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.8 + 0.4 * len(keys))
        axes.axvline(0, color=MUTED, linewidth=1)
        kinds = {"clip": ("o", INK, -0.13), "system": ("s", "none", 0.13)}
        for row in rows:
            marker, fill, shift = kinds.get(row.params["by"], ("d", MUTED, 0.0))
            y = keys.index((row.params["metric"], row.preset)) + shift
            look = {"fmt": marker, "color": INK, "markerfacecolor": fill, "markersize": 5.5, "elinewidth": 1.4}
            axes.errorbar(row.value, y, xerr=reach(row), **look)
            axes.annotate(number(row.value, 2), (row.value, y), (0, 5), textcoords="offset points", ha="center", size=7)
        names = [labels.get(metric, metric) for metric, _ in keys]
        axes.set(yticks=range(len(keys)), yticklabels=names, ylim=(len(keys) - 0.4, -0.7), xlim=(-1.05, 1.05))
        axes.grid(axis="x")
        axes.set_xlabel("Spearman's rank correlation")
        svg = to_svg(figure, f"agrees-{question}")
    n = {by: sorted({row.n for row in rows if row.params["by"] == by}) for by in ("clip", "system")}
    parts = [
        f"{sign} by {by} (n = {span([float(size) for size in n[by]])})"
        for by, sign in (("clip", "●"), ("system", "□")) if n[by]
    ]  # fmt: skip
    caption = f"1: the metric orders as people do, whichever way it counts · {' · '.join(parts)}{bars(rows)}"
    return Figure(svg, f"Metrics and people: {question.removeprefix(PEOPLE).upper()}", caption, round(WIDTH * 96))
