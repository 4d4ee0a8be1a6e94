"""Answers to ratings, by the key: those that count, and what became of the others.

Nothing is dropped in silence: a row that is no answer is refused, counted by its reason and kept in refused.csv; an
untouched slider is a missing answer, never a number. What is written to STUDY.responses, in place of an earlier import:

    ratings.jsonl   one Rating a line: what study analyse reads
    sessions.csv    one listener a line
    answers.csv     every answer in the plain long form
    refused.csv     rows that are no answers, and why
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from magnet_eval.lookup import UserError
from magnet_eval.records import Rating, to_jsonl
from magnet_eval.store import read_lines, write_atomic
from magnet_eval.study import schema
from magnet_eval.study.exchange.responses import COLUMNS, SESSION_COLUMNS, Row, checked, read
from magnet_eval.study.exchange.tabular import to_csv
from magnet_eval.study.exchange.withdrawal import withdrawn
from magnet_eval.study.options import ImportOptions
from magnet_eval.study.schema import Folders, Key, Packet, Page

PRACTICE = "of the practice page, which does not count"
UNTOUCHED = "never touched: a missing answer"
TWICE = "answered again later: the later answer counts"
WITHDRAWN = "of a listener who withdrew"
HALF = "half of a pair, or both preferred"


@dataclass
class Imported:
    """What became of the answers."""

    ratings: list[Rating] = field(default_factory=list)
    sessions: list[Row] = field(default_factory=list)
    answers: list[Row] = field(default_factory=list)  # as they came
    refused: list[Row] = field(default_factory=list)  # with why, file and line
    left_out: Counter[str] = field(default_factory=Counter)  # answers that are no ratings, by why
    replaced: list[Rating] = field(default_factory=list)  # of an earlier import


def take_in(chosen: ImportOptions) -> tuple[Imported, Folders]:
    """Reads answers and writes ratings. Raises UserError where a file is none, or the key is not the packet's.

    Also where nothing counts: ratings of an earlier import are not replaced by none.
    """
    folders = Folders.of(chosen.study)
    packet = schema.read_packet(folders)
    key = schema.read_key(folders, packet)
    done = Imported(replaced=read_lines(Rating, folders.responses / "ratings.jsonl"))
    rows: list[Row] = []
    gone = withdrawn(folders)
    for file in files_of(chosen, folders):
        found, sessions, refused = read(file, folders, packet, key)
        rows += [row for row in found if row.get("session") not in gone]
        done.left_out[WITHDRAWN] += sum(row.get("session") in gone for row in found)
        done.refused += refused
        done.sessions += [row for row in sessions if row["session"] not in gone]
    sort_out(rows, done, packet, key)
    everyone = {row["session"]: {"session": row["session"]} for row in done.answers}
    done.sessions = list((everyone | {str(row["session"]): row for row in done.sessions}).values())
    if done.replaced and not done.ratings:
        why = f"; the first of {len(done.refused)} refused rows: {done.refused[0]['why']}" if done.refused else ""
        raise UserError(
            f"none of these answers counts{why}. The {len(done.replaced)} ratings of an earlier import stay; "
            f"remove {folders.responses / 'ratings.jsonl'} if they should not."
        )
    write(done, folders)
    return done, folders


def files_of(chosen: ImportOptions, folders: Folders) -> list[Path]:
    """The files asked for, or those in STUDY.responses. Raises UserError if there are none."""
    if chosen.answers:
        return [Path(name).expanduser() for name in chosen.answers]
    found = [*sorted(folders.responses.glob("*.json")), *folders.responses.glob("answers.sqlite")]
    if not found:
        raise UserError(
            f"there are no answers in {folders.responses}. Collect some (magnet-eval study serve study="
            f"{folders}), or name files of them with answers=FILE."
        )
    return found


def sort_out(rows: Sequence[Row], done: Imported, packet: Packet, key: Key) -> None:
    """Ratings of the rows that count; the others are refused, or left out for a reason that is counted."""
    pages = {page.page_id: page for page in packet.pages}
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        try:
            answer = checked(row, packet, pages, key)
        except ValueError as error:
            done.refused.append({**row, "why": str(error)})
            continue
        done.answers.append(answer)
        what = answer["session"], answer["stimulus_id"]
        done.left_out[TWICE] += what in last
        last[what] = answer
    counted = [answer for answer in last.values() if not pages[answer["page_id"]].training]
    touched = [answer for answer in counted if answer["touched"]]
    whole = whole_pairs(touched) if packet.protocol == "ab" else touched
    done.ratings = [rating(answer, packet, pages, key) for answer in whole]
    done.left_out[PRACTICE] = len(last) - len(counted)
    done.left_out[UNTOUCHED] = len(counted) - len(touched)
    done.left_out[HALF] = len(touched) - len(whole)
    done.left_out = +done.left_out


def whole_pairs(answers: Sequence[Row]) -> list[Row]:
    """The answers of pairs of which one is preferred and the other not, or which tie."""
    scores: dict[tuple[str, str], list[float]] = {}
    for answer in answers:
        scores.setdefault((answer["session"], answer["page_id"]), []).append(answer["score"])
    return [
        answer for answer in answers if sorted(scores[answer["session"], answer["page_id"]]) in ([0, 100], [50, 50])
    ]


def rating(answer: Row, packet: Packet, pages: Mapping[str, Page], key: Key) -> Rating:
    """What a checked answer says, with what the key knows of its stimulus."""
    entry, page = key.stimuli[answer["stimulus_id"]], pages[answer["page_id"]]
    others = [key.stimuli[name].system for name in page.stimuli if name != answer["stimulus_id"]]
    own = {name: answer[name] for name in ("dimension", "page_id", "page_no", "position", "plays", "heard_all")}
    return Rating(
        study=packet.study_id,
        rater=answer["session"],
        system=entry.system,
        prompt_id=entry.prompt_id,
        role=entry.role,
        value=answer["score"],
        stimulus_id=answer["stimulus_id"],
        versus=others[0] if packet.protocol == "ab" else "",
        repeat_of=entry.repeat_of or "",
        **own,
    )


def write(done: Imported, folders: Folders) -> None:
    """Writes what is in STUDY.responses, each file whole or not at all; the ratings last."""
    extra = sorted({name for row in done.refused for name in row} - {"why", "file", "line"})
    tables = {
        "answers.csv": to_csv(COLUMNS, done.answers),
        "sessions.csv": to_csv(SESSION_COLUMNS, done.sessions),
        "refused.csv": to_csv(["file", "line", "why", *extra], done.refused),
    }
    folders.responses.mkdir(mode=0o700, exist_ok=True)
    for name, text in tables.items():
        write_atomic(folders.responses / name, text)
    write_atomic(folders.responses / "ratings.jsonl", to_jsonl(done.ratings))
