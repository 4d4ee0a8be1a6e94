"""STUDY.responses/answers.sqlite: sessions, pages and scores. What was acknowledged is neither lost nor doubled.

Conventions: times are ISO 8601 in UTC; a session's id is its listener's code, random and with no other meaning. No
address, no e-mail, nothing that the listener did not send on purpose.
"""

import contextlib
import re
import secrets
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.store import writing
from magnet_eval.study.schema import Assignment, Packet, sha256
from magnet_eval.study.server.submission import Refused, Submission, submission

ABANDONED = timedelta(hours=1)  # of silence, after which a slot is given to the next listener as well
CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a platform, such as PROLIFIC_PID; an e-mail does not fit
SESSION = re.compile(r"r_[a-z0-9]{8,32}")
TABLES = """
CREATE TABLE IF NOT EXISTS study (study_id TEXT PRIMARY KEY, key_sha256 TEXT NOT NULL, secret TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
  session TEXT PRIMARY KEY, code TEXT UNIQUE, slot INTEGER NOT NULL, language TEXT NOT NULL,
  consent_sha256 TEXT NOT NULL, headphones_correct INTEGER, headphones_total INTEGER, started TEXT NOT NULL,
  seen TEXT NOT NULL, finished TEXT, withdrawn TEXT, user_agent TEXT NOT NULL, sample_rate REAL
);
CREATE TABLE IF NOT EXISTS pages (
  session TEXT NOT NULL, page_id TEXT NOT NULL, page_no INTEGER NOT NULL, comment TEXT NOT NULL,
  t_client TEXT NOT NULL, t_server TEXT NOT NULL, idempotency_key TEXT NOT NULL, PRIMARY KEY (session, page_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scores (
  session TEXT NOT NULL, page_id TEXT NOT NULL, stimulus_id TEXT NOT NULL, score REAL, touched INTEGER NOT NULL,
  plays INTEGER NOT NULL, heard_s REAL NOT NULL, heard_all INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (session, stimulus_id)
) WITHOUT ROWID;
"""


class Answers:
    """The answers to one packet. Not for two threads at once; two processes may have one file open."""

    def __init__(self, path: Path, packet: Packet, assignments: list[Assignment]) -> None:
        """Opens or makes the file. Raises UserError if it holds the answers to another packet, or is no such file."""
        self.packet = packet
        self.pages = {page.page_id: page for page in packet.pages}
        self.slots: dict[int, list[Assignment]] = {}
        for row in assignments:
            self.slots.setdefault(row.slot, []).append(row)
        with writing(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.connection = _open(path, packet)

    def begin(self, facts: dict[str, Any], user_agent: str = "") -> dict[str, Any]:
        """A new session in the slot that needs one most, or the one that is there for the platform's ``code``.

        facts: language, and what there is of code, slot (a wish), headphones_correct, headphones_total, sample_rate.
        Raises Refused on values that are none.
        """
        code = _code(facts)
        if code is not None and (known := self._one("SELECT session FROM sessions WHERE code = ?", code)):
            return self.resume(known["session"])
        wish = facts.get("slot")
        slot = wish if isinstance(wish, int) and wish in self.slots else self.neediest_slot()
        session = f"r_{secrets.token_hex(8)}"
        self._create(session, slot, facts, user_agent)
        return self.resume(session)

    def neediest_slot(self) -> int:
        """The slot with the fewest listeners who finished or are at work; the first of several."""
        since = (datetime.now(UTC) - ABANDONED).isoformat(timespec="milliseconds")
        counts = self.connection.execute(
            "SELECT slot, COUNT(*) AS n FROM sessions WHERE withdrawn IS NULL AND (finished IS NOT NULL OR seen > ?) "
            "GROUP BY slot",
            [since],
        )
        taken = {row["slot"]: row["n"] for row in counts}
        return min(self.slots, key=lambda slot: (taken.get(slot, 0), slot))

    def resume(self, session: str) -> dict[str, Any]:
        """Where a session stands: its slot, order and answered pages. Raises Refused if it is not there any more."""
        row = self._session(session)
        order = [{"page_id": one.page_id, "stimuli": list(one.stimuli)} for one in self.slots[row["slot"]]]
        done = self.connection.execute("SELECT page_id, t_server FROM pages WHERE session = ?", [session])
        answered = {one["page_id"]: one["t_server"] for one in done}
        return {
            "session": session,
            "slot": row["slot"],
            "order": order,
            "answered": answered,
            "finished": row["finished"] is not None,
        }

    def save(self, session: str, page_id: str, body: Any, idempotency_key: str = "") -> dict[str, Any]:
        """Stores the answers of a page in place of earlier ones; the same key twice is stored once. Raises Refused."""
        row = self._session(session)
        if page_id not in {one.page_id for one in self.slots[row["slot"]]}:
            raise Refused(404, f"page {page_id[:20]!r} is not in slot {row['slot']}")
        page = self.pages[page_id]
        checked = submission(body, page, self.packet.dimension_of(page), self.packet.protocol)
        before = self._one("SELECT * FROM pages WHERE session = ? AND page_id = ?", session, page_id)
        if before and idempotency_key and before["idempotency_key"] == idempotency_key:
            return {"page_id": page_id, "t_server": before["t_server"], "repeated": True}
        if row["finished"]:
            raise Refused(409, "this session is finished")
        return self._store(session, checked, idempotency_key)

    def finish(self, session: str) -> None:
        """Marks the session as finished, once. Raises Refused if pages are missing."""
        row = self._session(session)
        missing = len(self.slots[row["slot"]]) - len(self.resume(session)["answered"])
        if missing:
            raise Refused(409, f"{missing} pages are not answered yet")
        self.connection.execute(
            "UPDATE sessions SET finished = COALESCE(finished, ?) WHERE session = ?", [_now(), session]
        )

    def completion_code(self, session: str) -> str:
        """The code that shows a platform that the session is finished; without the file nobody can make one."""
        row = self._one("SELECT secret FROM study")
        return sha256(f"{row['secret']} {session}")[:8].upper() if row else ""

    def session_of(self, code: str) -> str | None:
        """The session that is called so, or that a platform's code opened."""
        row = (
            self._one("SELECT session FROM sessions WHERE ? IN (session, code)", code) if CODE.fullmatch(code) else None
        )
        return row["session"] if row else None

    def withdraw(self, session: str) -> int:
        """Deletes all that a session gave; how many pages that were. What stays is that there was one who withdrew."""
        with self.transaction():
            n_pages = self.connection.execute("DELETE FROM pages WHERE session = ?", [session]).rowcount
            self.connection.execute("DELETE FROM scores WHERE session = ?", [session])
            self.connection.execute(
                "UPDATE sessions SET code = NULL, user_agent = '', sample_rate = NULL, headphones_correct = NULL, "
                "headphones_total = NULL, withdrawn = COALESCE(withdrawn, ?) WHERE session = ?",
                [_now(), session],
            )
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that no old page stays in the log
        return n_pages

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every score, with what belongs to it: the rows of answers.csv."""
        for row in self.connection.execute(
            "SELECT session, slot, page_id, stimulus_id, score, touched, plays, heard_s, heard_all, position, page_no, "
            "comment, t_client, t_server FROM scores JOIN pages USING (session, page_id) JOIN sessions USING (session) "
            "ORDER BY started, session, page_no, position"
        ):
            page = self.pages[row["page_id"]]
            score = "" if row["score"] is None else row["score"]
            yield {**row, "pass": page.pass_id, "dimension": self.packet.dimension_of(page).id, "score": score}

    def sessions(self) -> list[dict[str, Any]]:
        """Every session, oldest first: the rows of sessions.csv, with n_pages, code and seen beside its columns."""
        return [dict(row) for row in self.connection.execute(
            "SELECT *, (SELECT COUNT(*) FROM pages WHERE pages.session = sessions.session) AS n_pages "
            "FROM sessions ORDER BY started, session"
        )]  # fmt: skip

    def add(self, document: dict[str, Any]) -> str:
        """Takes in the file that the page gives where there is no server; its session. Raises Refused."""
        session, slot = document.get("session"), document.get("slot")
        if (document.get("study_id"), document.get("key_sha256")) != (self.packet.study_id, self.packet.key_sha256):
            raise Refused(422, "these are answers to another packet")
        if not (
            isinstance(session, str) and SESSION.fullmatch(session) and isinstance(slot, int) and slot in self.slots
        ):
            raise Refused(422, "session or slot is wrong")
        pages = document.get("pages")
        if not isinstance(pages, dict):
            raise Refused(422, "there are no pages")
        with self.transaction():
            if self._one("SELECT session FROM sessions WHERE session = ?", session) is None:
                self._create(session, slot, document, "")
            for page_id, body in pages.items():
                self.save(session, page_id, body, "file")
            if len(self.resume(session)["answered"]) == len(self.slots[slot]):
                self.finish(session)
        return session

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is done inside, on the disk when it ends, or nothing of it."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def _create(self, session: str, slot: int, facts: dict[str, Any], user_agent: str) -> None:
        language, code = facts.get("language"), _code(facts)
        if not isinstance(language, str) or language not in self.packet.consent:
            raise Refused(422, f"language must be one of {', '.join(self.packet.consent)}")
        consent, now = sha256(self.packet.consent[language]), _now()
        correct, total, rate = (
            _optional(facts, name) for name in ("headphones_correct", "headphones_total", "sample_rate")
        )
        self.connection.execute(
            "INSERT INTO sessions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [session, code, slot, language, consent, correct, total, now, now, None, None, user_agent[:200], rate],
        )

    def _store(self, session: str, checked: Submission, idempotency_key: str) -> dict[str, Any]:
        now, page_id = _now(), checked.page_id
        self.connection.execute(
            "INSERT OR REPLACE INTO pages VALUES (?,?,?,?,?,?,?)",
            [session, page_id, checked.page_no, checked.comment, checked.t_client, now, idempotency_key[:200]],
        )
        self.connection.executemany(
            "INSERT OR REPLACE INTO scores VALUES (?,?,?,?,?,?,?,?,?)",
            [
                [
                    session,
                    page_id,
                    one.stimulus_id,
                    one.score,
                    one.touched,
                    one.plays,
                    one.heard_s,
                    one.heard_all,
                    one.position,
                ]
                for one in checked.answers
            ],
        )
        self.connection.execute("UPDATE sessions SET seen = ? WHERE session = ?", [now, session])
        return {"page_id": page_id, "t_server": now, "repeated": False}

    def _session(self, session: str) -> dict[str, Any]:
        row = self._one("SELECT * FROM sessions WHERE session = ?", session) if SESSION.fullmatch(session) else None
        if row is None:
            raise Refused(404, "there is no such session")
        if row["withdrawn"]:
            raise Refused(410, "this session was withdrawn")
        return row

    def _one(self, query: str, *values: Any) -> dict[str, Any] | None:
        return self.connection.execute(query, values).fetchone()


def _open(path: Path, packet: Packet) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        connection.row_factory = lambda cursor, row: {
            name[0]: value for name, value in zip(cursor.description, row, strict=True)
        }
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;" + TABLES)
        connection.execute(
            "INSERT OR IGNORE INTO study SELECT ?, ?, ? WHERE NOT EXISTS (SELECT * FROM study)",
            [packet.study_id, packet.key_sha256, secrets.token_hex(16)],
        )
        row = connection.execute("SELECT study_id, key_sha256 FROM study").fetchone()
    except sqlite3.Error as error:
        raise UserError(f"cannot open {path}: {error}. Move it away if it is no file of answers.") from error
    if row != {"study_id": packet.study_id, "key_sha256": packet.key_sha256}:
        raise UserError(
            f"{path} holds answers to another packet. Move it away, or serve the packet that it belongs to."
        )
    path.chmod(0o600)
    return connection


def _code(facts: dict[str, Any]) -> str | None:
    code = facts.get("code")
    if code is not None and not (isinstance(code, str) and CODE.fullmatch(code)):
        raise Refused(422, "code must be 1 to 64 letters, digits, _ or -")
    return code


def _optional(facts: dict[str, Any], name: str) -> float | None:
    value = facts.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:
        raise Refused(422, f"{name} is no number")
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
