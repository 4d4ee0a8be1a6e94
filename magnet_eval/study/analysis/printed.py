"""What study analyse and study plan print."""

import json
from dataclasses import asdict
from itertools import product

import numpy as np

from magnet_eval.lookup import UserError
from magnet_eval.store import write_atomic
from magnet_eval.study.analysis import correlation, output, planning, words
from magnet_eval.study.analysis.analyse import Analysis
from magnet_eval.study.analysis.analyse import analyse as analysed
from magnet_eval.study.analysis.screening import screen
from magnet_eval.study.options import AnalyseOptions, PlanOptions
from magnet_eval.study.schema import Folders, read_packet
from magnet_eval.table import table


def analyse(chosen: AnalyseOptions) -> str:
    """Analyses the ratings of a study and writes STUDY.analysis; the answer in words, with where the rest is."""
    folders = Folders.of(chosen.study)
    if folders.rehearsal and chosen.into_runs:
        raise UserError(
            f"{folders} is a rehearsal: what synthetic raters say does not go into runs. Leave into_runs out."
        )
    ratings, sessions = output.read_ratings(folders), output.read_sessions(folders)
    decided = output.planned(folders)
    settings = output.settings(read_packet(folders), decided, chosen)
    try:
        found = analysed(ratings, sessions, settings)
    except UserError:
        verdicts = output.screening_csv(screen(ratings, sessions, settings.scales))
        write_atomic(folders.analysis / "screening.csv", verdicts)  # says who was left out, and why
        raise
    runs = output.those_there(decided.runs) if chosen.runs is None else chosen.runs
    scores, clip_scores = output.read_runs(runs)
    rng = np.random.default_rng(chosen.seed)
    agreements = [row for grid in found.grids for row in correlation.agreements(grid, scores, clip_scores, rng)]
    page = output.write(found, agreements, folders.analysis)
    if chosen.into_runs:
        output.into_runs(found, agreements, runs)
    return "\n".join([*_answer(found), "", *_left_out(found), f"analysis: {page}"])


def plan(chosen: PlanOptions) -> str:
    """Every size of study as a row: what it costs a rater and what it finds."""
    spreads = {"": planning.Spread(chosen.system_item_sd, chosen.rater_system_sd, chosen.residual_sd)}
    if chosen.pilot is not None:
        spreads = planning.from_pilot(output.read_ratings(Folders.of(chosen.pilot)))
    asked = product(chosen.raters, chosen.prompts, chosen.per_rater)
    sizes = dict.fromkeys((r, min(p, r * k), min(k, p)) for r, p, k in asked)
    given = {name: getattr(chosen, name) for name in ("systems", "extra", "dimensions", "seconds", "alpha", "power")}
    designs = {name: [planning.design(spread, *size, **given) for size in sizes] for name, spread in spreads.items()}
    if chosen.json:
        found = {
            name: {"spread": asdict(spreads[name]), "designs": [asdict(row) for row in designs[name]]}
            for name in spreads
        }
        return json.dumps(found, indent=1, ensure_ascii=False)
    return "\n\n".join(_sizes(name, spreads[name], rows, chosen) for name, rows in designs.items())


def _answer(found: Analysis) -> list[str]:
    rows = [[row.dimension.upper(), row.system, words.mean_text(row), str(row.n)] for row in found.kept.conditions]
    return [table(["question", "system", "mean [95 %]", "n"], rows), "", *words.sentences(found)]


def _left_out(found: Analysis) -> list[str]:
    n, rules = len(found.screening.raters), " + ".join(found.settings.exclusions)
    lines = ["A rehearsal: the raters are synthetic."] if found.settings.rehearsal else []
    lines += [f"{len(found.dropped)} of {n} raters left out ({rules})." if rules else f"All {n} raters kept."]
    lines += [f"{n} ratings left out: {reason}." for reason, n in found.problems.items()]
    lines += [f"Not as planned: {line}." for line in found.settings.unplanned]
    lines += ["Changed by the exclusions: " + line for line in words.changed(found)]
    return lines


def _sizes(name: str, spread: planning.Spread, designs: list[planning.Design], chosen: PlanOptions) -> str:
    rows = [
        [str(row.raters), str(row.prompts), str(row.per_rater), f"{row.minutes:.0f}", str(row.answers),
         f"{row.detectable:.1f}", f"{row.provable:.1f}"]
        for row in sorted(designs, key=lambda row: row.detectable)
    ]  # fmt: skip
    is_cut = any(row.prompts not in chosen.prompts for row in designs)
    spreads = f"{spread.system_prompt:.3g}, {spread.rater_system:.3g} and {spread.residual:.3g} points"
    headings = ["raters", "prompts", "prompts a rater", "minutes a rater", "answers a system", "finds", "proves"]
    return "\n".join(
        [
            *([f"{name.upper()}"] if name else []),
            table(headings, rows),
            f"finds: the smallest difference found with a power of {chosen.power:g} among {chosen.systems} systems and "
            f"{chosen.dimensions} questions; proves: the smallest margin within which equal systems are shown to be.",
            f"Spreads of system x prompt, rater x system, residual: {spreads}.",
            "More prompts, fewer of them for each rater, find more with as many answers.",
            *(["Prompts that so few raters would not come to are not counted."] if is_cut else []),
        ]
    )
