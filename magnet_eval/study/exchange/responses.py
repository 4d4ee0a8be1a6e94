"""Files of answers to rows of one form, and the check that a row is an answer to the packet.

A file is told by its name and its header: answers.sqlite of the server, JSON of the page without a server, webMUSHRA's
mushra.csv, or any CSV table that has at least session, stimulus_id and score.
"""

import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.study.exchange.tabular import read_csv
from magnet_eval.study.schema import Folders, Key, Packet, Page, read_assignments
from magnet_eval.study.server.answers import Answers
from magnet_eval.study.server.submission import Refused

COLUMNS = [
    "session", "slot", "pass", "page_id", "stimulus_id", "dimension", "score", "touched", "plays", "heard_s",
    "heard_all", "position", "page_no", "comment", "t_client", "t_server",
]  # fmt: skip
SESSION_COLUMNS = [
    "session", "slot", "language", "consent_sha256", "headphones_correct", "headphones_total", "started", "finished",
    "withdrawn", "user_agent", "sample_rate",
]  # fmt: skip
NEEDED = {"session", "stimulus_id", "score"}
WEBMUSHRA = {"session_test_id", "session_uuid", "trial_id", "rating_stimulus", "rating_score"}
SESSION = re.compile(r"[\w.-]{1,64}")
TIMES = ("started", "finished")  # of the page's clock
TRUE, FALSE = ("1", "true", "yes", "1.0"), ("0", "false", "no", "0.0")
MOST = 1e9  # that a count or a time may say
Row = dict[str, Any]
Read = tuple[list[Row], list[Row], list[Row]]  # answers, sessions, refused rows with why


def read(path: Path, folders: Folders, packet: Packet, key: Key) -> Read:
    """The rows of one file. Raises UserError if it is no file of answers, or one of another packet."""
    if not path.is_file():
        raise UserError(f"no file {path}. Name a file of answers with answers=FILE.")
    if path.suffix == ".json":
        return _page_file(path, folders, packet)
    if path.read_bytes()[:16] == b"SQLite format 3\0":
        return _server_file(path, folders, packet)
    columns, lines = read_csv(path)
    short = "columns are missing or too many, or a quote is not closed: a line cut short?"
    refused = [{"file": path.name, "line": number, "why": short} for number, row in lines if row is None]
    whole = [{**row, "file": path.name, "line": number} for number, row in lines if row is not None]
    if set(columns) >= WEBMUSHRA:
        answers, others = _webmushra(whole, packet, key)
        return answers, [], refused + others
    if not set(columns) >= NEEDED:
        raise UserError(
            f"{path} is no table of answers: it lacks the columns {', '.join(sorted(NEEDED - set(columns)))}. "
            "Give answers.sqlite, the page's *.json, webMUSHRA's mushra.csv, or a CSV as study export to=csv makes."
        )
    beside = path.with_name("sessions.csv")
    sessions = [row for _, row in read_csv(beside)[1] if row and "session" in row] if beside.is_file() else []
    return whole, sessions, refused


def checked(row: Row, packet: Packet, pages: Mapping[str, Page], key: Key) -> Row:
    """The columns of a row, each of its type; score "" where nothing was touched. Raises ValueError: why it is none.

    pages: the packet's, by id.
    """
    name = str(row.get("stimulus_id", ""))
    entry = key.stimuli.get(name)
    if entry is None:
        raise ValueError(f"unknown stimulus id {name[:40]!r}")
    page = pages[entry.page_id]
    if name == page.reference:
        raise ValueError("the open reference is not rated")
    if row.get("page_id") not in (None, "", page.page_id):
        raise ValueError(f"stimulus {name} is not on page {str(row['page_id'])[:40]!r}")
    if not SESSION.fullmatch(str(row.get("session", ""))):
        raise ValueError("session is no code of 1 to 64 letters, digits, _ - and .")
    dimension = packet.dimension_of(page)
    low, high = (0.0, 100.0) if packet.protocol == "ab" else dimension.scale
    touched = _flag(row, "touched", default=str(row.get("score") or "").strip() != "" or row.get("score") == 0)
    score = _number(row, "score", low, high) if touched else ""
    return {
        "session": str(row["session"]),
        "slot": row.get("slot", ""),
        "pass": page.pass_id,
        "page_id": page.page_id,
        "stimulus_id": name,
        "dimension": dimension.id,
        "score": score,
        "touched": touched,
        "plays": int(_number(row, "plays", 0, MOST, default=0)),
        "heard_s": _number(row, "heard_s", 0, MOST, default=0),
        "heard_all": _flag(row, "heard_all", default=True),
        "position": int(_number(row, "position", 0, MOST, default=0)),
        "page_no": int(_number(row, "page_no", 0, MOST, default=0)),
        "comment": str(row.get("comment") or ""),
        "t_client": str(row.get("t_client") or ""),
        "t_server": str(row.get("t_server") or ""),
    }


def _server_file(path: Path, folders: Folders, packet: Packet) -> Read:
    answers = Answers(path, packet, read_assignments(folders))
    return [{**row, "file": path.name} for row in answers.rows()], answers.sessions(), []


def _page_file(path: Path, folders: Folders, packet: Packet) -> Read:
    """Checks the file as the server would, each page for itself."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        pages, facts = dict(document["pages"]), {name: str(document.get(name) or "")[:40] for name in TIMES}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no file of the page's answers: {error}. Ask the listener for it again.") from error
    refused = []
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(Path(folder) / "answers.sqlite", packet, read_assignments(folders))
        for name, body in pages.items():
            try:
                answers.add({**document, "pages": {name: body}})
            except (Refused, TypeError) as error:
                refused.append({"file": path.name, "page_id": name, "why": str(error)})
        rows = [{**row, "file": path.name} for row in answers.rows()]
        return rows, [{**row, **facts} for row in answers.sessions()], refused


def _webmushra(rows: Sequence[Row], packet: Packet, key: Key) -> tuple[list[Row], list[Row]]:
    """mushra.csv: its conditions are our ids, but for the hidden reference, which it adds under a name of its own."""
    hidden = {
        page.page_id: name for page in packet.pages for name in page.stimuli if key.stimuli[name].system == "reference"
    }
    answers: list[Row] = []
    refused: list[Row] = []
    pages: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["session_test_id"] != packet.study_id:
            refused.append({**row, "why": "of another test than this study"})
            continue
        stimulus, page = row["rating_stimulus"], row["trial_id"]
        answer = {
            "session": row["session_uuid"],
            "page_id": page,
            "stimulus_id": hidden.get(page, stimulus) if stimulus == "reference" else stimulus,
            "score": row["rating_score"],
            "comment": row.get("rating_comment", ""),
            "file": row["file"],
            "line": row["line"],
        }
        answers.append(answer)
        pages.setdefault((answer["session"], page), []).append(answer)
    order: dict[str, int] = {}
    for (session, _), of_page in pages.items():
        # A slider that nobody moved is stored as 100: a page that is nothing but 100 was passed over.
        passed_over = all(answer["score"].strip() == "100" for answer in of_page)
        for answer in of_page:
            answer["page_no"] = order.get(session, 0)
            answer["touched"] = not passed_over
        order[session] = order.get(session, 0) + 1
    return answers, refused


def _flag(row: Row, name: str, default: bool) -> bool:
    text = str(row.get(name, "")).strip().lower()
    if text in ("", "none"):
        return default
    if text not in (*TRUE, *FALSE):
        raise ValueError(f"{name} is neither 1 nor 0: {text[:40]!r}")
    return text in TRUE


def _number(row: Row, name: str, low: float, high: float, default: float | None = None) -> float:
    text = str(row.get(name, "")).strip().replace(",", ".")
    if text in ("", "None") and default is not None:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{name} is no number: {text[:40]!r}") from error
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} is not from {low:g} to {high:g}: {text[:40]!r}")
    return value
