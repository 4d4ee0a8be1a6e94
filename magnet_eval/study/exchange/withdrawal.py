"""Taking back what a listener gave, wherever in STUDY.responses it is: on the server, in files, in what import made.

withdrawn.txt    sessions, one a line, of which no import takes anything: there may be files of them elsewhere
"""

import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.records import Rating, to_jsonl
from magnet_eval.store import read_lines, write_atomic, writing
from magnet_eval.study.exchange.responses import SESSION
from magnet_eval.study.exchange.tabular import read_csv, to_csv
from magnet_eval.study.schema import Folders, read_assignments, read_packet
from magnet_eval.study.server.answers import Answers

TABLES = ("answers.csv", "sessions.csv", "refused.csv")


def withdraw(folders: Folders, code: str) -> int:
    """Deletes all of a listener, by the session's id or the platform's code; how many pages that were.

    Raises UserError on a code that is nowhere.
    """
    files = list(_files(folders, code))
    found = {session for _, session, _ in files}
    n_pages = sum(n for *_, n in files)
    database = folders.responses / "answers.sqlite"
    answers = Answers(database, read_packet(folders), read_assignments(folders)) if database.is_file() else None
    if answers and (session := answers.session_of(code)):
        found.add(session)
        n_pages += answers.withdraw(session)
    ratings = folders.responses / "ratings.jsonl"
    pages = {(row.rater, row.page_id) for row in read_lines(Rating, ratings) if row.rater == code}
    if not found and not pages:
        raise UserError(f"no session has the code {code!r}. Codes look like r_0123456789abcdef; check its letters.")
    found |= {rater for rater, _ in pages}
    with writing(folders.responses):
        for path, *_ in files:
            path.unlink()
    forget(folders, found, {path.name for path, *_ in files})
    write_atomic(folders.responses / "withdrawn.txt", "".join(f"{one}\n" for one in sorted(found | withdrawn(folders))))
    return n_pages or len(pages)


def withdrawn(folders: Folders) -> set[str]:
    """The sessions of which no import takes anything."""
    path = folders.responses / "withdrawn.txt"
    return set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()


def forget(folders: Folders, sessions: Set[str], files: Set[str]) -> None:
    """Takes sessions, and rows of files, out of what an import made."""
    ratings = folders.responses / "ratings.jsonl"
    if ratings.is_file():
        write_atomic(ratings, to_jsonl(row for row in read_lines(Rating, ratings) if row.rater not in sessions))
    for name in TABLES:
        if (path := folders.responses / name).is_file():
            columns, rows = read_csv(path)
            kept = [
                row for _, row in rows if row and row.get("session") not in sessions and row.get("file") not in files
            ]
            write_atomic(path, to_csv(columns, kept))


def _files(folders: Folders, code: str) -> Iterator[tuple[Path, str, int]]:
    """The page's files that are the listener's: path, session, number of pages."""
    for path in sorted(folders.responses.glob("*.json")):
        try:
            document: Any = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # import tells that it is none
        if not isinstance(document, dict) or code not in (document.get("session"), document.get("code")):
            continue
        session, pages = str(document.get("session")), document.get("pages")
        if SESSION.fullmatch(session):
            yield path, session, len(pages) if isinstance(pages, dict) else 0
