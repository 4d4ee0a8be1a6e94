"""Reading what an analysis needs, and writing STUDY.analysis.

summary.json     everything, with and without the exclusions
scores.jsonl     Score rows; clip_scores.jsonl: mean answer about every clip
screening.csv    every rater and every rule
methods.md       the paragraph to paste
figures/*.svg    each a file of its own
analysis.html    all of it on one page
"""

import csv
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.records import ClipScore, Rating, Score, is_people, to_jsonl
from magnet_eval.report.data import looks
from magnet_eval.store import RunFolder, read_lines, write_atomic
from magnet_eval.study.analysis import figures, rows, words
from magnet_eval.study.analysis.analyse import Analysis, Settings
from magnet_eval.study.analysis.correlation import Agreement
from magnet_eval.study.analysis.screening import Screening, Verdict
from magnet_eval.study.options import AnalyseOptions
from magnet_eval.study.schema import Folders, Packet, Plan, read_key, read_packet, read_plan, sha256

log = logging.getLogger(__name__)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def read_ratings(folders: Folders) -> list[Rating]:
    """The imported ratings. Raises UserError if there are none, or if they are of another study."""
    path = folders.responses / "ratings.jsonl"
    ratings = read_lines(Rating, path)
    if not ratings:
        raise UserError(
            f"there are no ratings in {path}. Import the answers first: magnet-eval study import study={folders}."
        )
    own = read_packet(folders).study_id
    if others := {rating.study for rating in ratings} - {own}:
        raise UserError(
            f"{path} has ratings of study {', '.join(sorted(others))}; {folders.study.name} is {own}. "
            f"Import the answers to this one: magnet-eval study import study={folders}."
        )
    return ratings


def read_sessions(folders: Folders) -> list[dict[str, Any]]:
    """Rows of sessions.csv; none where there is no such file."""
    path = folders.responses / "sessions.csv"
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}. Export the answers again.") from error


def planned(folders: Folders) -> Plan:
    """STUDY.key/plan.json. Raises UserError if it is not what the packet was made with: then it decides nothing."""
    key, plan = read_key(folders), read_plan(folders)
    path = folders.key / "plan.json"
    if sha256(path.read_bytes()) != key.plan_sha256:
        raise UserError(
            f"{path} was changed since the packet was made. Bring the original back; what you decide otherwise "
            "goes on the command line (rules, margin, alpha), and the results say so."
        )
    return plan


def settings(packet: Packet, plan: Plan, chosen: AnalyseOptions) -> Settings:
    """The packet's scales and the plan's decisions, or what was chosen instead."""
    scales = {row.id: (row.scale[0], row.scale[1]) for row in packet.dimensions} if packet.protocol != "ab" else {}
    rules = tuple(plan.exclusions if chosen.rules is None else chosen.rules)
    margin = plan.margin if chosen.margin is None else chosen.margin
    alpha = plan.alpha if chosen.alpha is None else chosen.alpha
    decided = [("exclusions", " + ".join(plan.exclusions) or "none", " + ".join(rules) or "none")]
    decided += [("margin", f"{plan.margin:g}", f"{margin:g}"), ("alpha", f"{plan.alpha:g}", f"{alpha:g}")]
    unplanned = tuple(f"{name} {now} (planned: {before})" for name, before, now in decided if now != before)
    systems = tuple(plan.systems)
    rehearsal = Folders.of(chosen.study).rehearsal
    return Settings(
        packet.study_id, packet.protocol, systems, scales, rules, margin, alpha, chosen.seed, unplanned, rehearsal
    )


def those_there(runs: Iterable[str]) -> list[str]:
    """The planned runs that are where they were. Ratings are analysed without the others' metrics, with a warning."""
    found = []
    for run in runs:
        if RunFolder(Path(run)).path.is_dir():
            found.append(run)
        else:
            log.warning(
                "there is no run %s: its metrics are not held against the ratings; say where it is with runs=[FOLDER]",
                run,
            )
    return found


def read_runs(paths: Iterable[str]) -> tuple[list[Score], list[ClipScore]]:
    """Scores of the runs, without those of people. Raises UserError on a folder that holds no run."""
    scores: list[Score] = []
    clips: list[ClipScore] = []
    for path in paths:
        folder = RunFolder(Path(path).expanduser())
        if not folder.path.is_dir():
            raise UserError(f"there is no run {folder.path}. Give run folders: runs=[results/quickstart-v1].")
        scores += [row for row in folder.scores() if not is_people(row)]
        clips += [row for row in folder.clip_scores() if not is_people(row)]
    return scores, clips


def write(analysis: Analysis, agreements: Sequence[Agreement], out: Path) -> Path:
    """Writes the folder ``out``; the page in it. Figures of an earlier analysis go."""
    from magnet_eval.study.analysis.results_page import page

    systems = dict.fromkeys(label for grid in analysis.grids for label in grid.systems)
    drawn = figures.all_figures(analysis, looks(dict.fromkeys(systems, "")))
    paragraph = words.methods(analysis)
    for stale in (out / "figures").glob("*.svg"):
        stale.unlink()
    for name, figure in drawn.items():
        write_atomic(out / "figures" / f"{name}.svg", figures.standalone(figure))
    write_atomic(out / "scores.jsonl", to_jsonl(rows.scores(analysis, agreements)))
    write_atomic(out / "clip_scores.jsonl", to_jsonl(rows.clip_scores(analysis)))
    write_atomic(out / "screening.csv", screening_csv(analysis.screening))
    write_atomic(out / "methods.md", paragraph + "\n")
    write_atomic(out / "summary.json", json.dumps(summary(analysis, agreements), indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / "analysis.html", page(analysis, agreements, drawn, paragraph))
    return out / "analysis.html"


def summary(analysis: Analysis, agreements: Sequence[Agreement]) -> dict[str, Any]:
    """Everything as plain values."""
    return {
        "settings": asdict(analysis.settings),
        "left_out": analysis.problems,
        "raters_left_out": sorted(analysis.dropped),
        "sentences": words.sentences(analysis),
        "changed_by_exclusions": words.changed(analysis),
        "with_exclusions": asdict(analysis.kept),
        "without_exclusions": asdict(analysis.everyone),
        "metrics_and_people": [asdict(row) for row in agreements],
    }


def screening_csv(screening: Screening) -> str:
    """Every verdict as a row; a cell that a spreadsheet would run as a formula is quoted."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([field.name for field in fields(Verdict)])
    writer.writerows([[_cell(value) for value in astuple(row)] for row in screening.verdicts])
    return file.getvalue()


def into_runs(analysis: Analysis, agreements: Sequence[Agreement], paths: Iterable[str]) -> None:
    """Puts the ratings of each run's own systems among its scores, in the place of earlier ones, for its report.

    The correlations of metrics with the ratings, which are of all runs together, go into each.
    """
    made, of_clips = rows.scores(analysis, agreements), rows.clip_scores(analysis)
    for path in paths:
        folder = RunFolder(Path(path).expanduser())
        with folder.lock():
            own = _labels(folder)
            shown = [row for row in made if row.system in {rows.ALL, *own} and row.versus in {"", *own}]
            folder.replace_scores(shown, is_people)
            others = [row for row in folder.clip_scores() if not is_people(row)]
            folder.write_clip_scores([*others, *(row for row in of_clips if row.system in own)])


def _labels(folder: RunFolder) -> set[str]:
    named: Mapping[str, Any] = folder.manifest().get("systems", {})
    return set(named) or {row.system for row in folder.scores() if not is_people(row)}


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
