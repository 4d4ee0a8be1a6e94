"""The web server of a listening test: the packet's files, the listeners' answers, a page for whoever runs it.

GET  /, /packet.json, ...                    the files of the packet, from a list made at the start
GET  /api/study                              says that there is a server
POST /api/session                            begins or resumes -> {session, slot, order, answered}
PUT  /api/session/SESSION/page/PAGE          one page's answers, as often as it takes
POST /api/session/SESSION/finish             -> {completion_code}
GET  /admin?token=TOKEN                      progress; no system's name and no score
"""

import hmac
import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from magnet_eval.lookup import UserError
from magnet_eval.study.schema import Folders, Packet
from magnet_eval.study.server import admin
from magnet_eval.study.server.answers import Answers
from magnet_eval.study.server.limits import Allowance
from magnet_eval.study.server.submission import Refused
from magnet_eval.study.server.writer import Writer

MAX_BODY = 64 * 1024  # bytes; a page of 12 stimuli with the longest comment has 12 kB
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
PAGE_FILES = ("index.html", "app.css", "icon.svg", "packet.json", "assignments.csv")
Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class Site:
    """What the handlers work with."""

    folders: Folders
    packet: Packet
    answers: Answers
    token: str
    completion: str = ""  # a code for everybody, or the address to go back to; "": a code for each
    begins: Allowance = field(default_factory=lambda: Allowance(rate=5, burst=300))  # by address: a class behind one
    saves: Allowance = field(default_factory=lambda: Allowance(rate=5, burst=60))  # by session

    def __post_init__(self) -> None:
        """Starts the writer and lists the files, so that no request is ever a path."""
        self.writer = Writer(self.answers)
        self.files = files_of(self.folders.study, self.packet)

    def code(self, session: str) -> str:
        """What shows a platform that a session is finished."""
        return self.completion or self.answers.completion_code(session)


def files_of(folder: Path, packet: Packet) -> dict[str, Path]:
    """All that may be fetched, by path below /. Raises UserError if the page or a stimulus is not there."""
    stimuli = [f"{name}.wav" for page in packet.pages for name in (*page.stimuli, page.reference) if name]
    names = [*PAGE_FILES, *(f"strings/{language}.json" for language in packet.languages)]
    names += [path.name for path in sorted(folder.glob("*.js"))]
    names += [f"stimuli/{name}" for name in [*stimuli, *(one.file for one in packet.headphones)]]
    files = {name: (folder / name).resolve() for name in names}
    for name, path in files.items():
        if not (path.is_file() and path.is_relative_to(folder.resolve())):
            raise UserError(f"{folder} has no {name}; prepare the study again: magnet-eval study prepare.")
    return {**files, "": files["index.html"]}


def application(site: Site) -> ASGIApp:
    """The ASGI application."""
    routes = [
        Route("/api/study", _handler(site, study)),
        Route("/api/session", _handler(site, begin), methods=["POST"]),
        Route("/api/session/{session}/page/{page_id}", _handler(site, save), methods=["PUT"]),
        Route("/api/session/{session}/finish", _handler(site, finish), methods=["POST"]),
        Route("/admin", _handler(site, admin_page)),
        Route("/{name:path}", _handler(site, file)),
    ]
    failures = {Refused: _refused, HTTPException: _http, sqlite3.Error: _disk}
    return Hardened(Starlette(routes=routes, exception_handlers=failures))  # type: ignore[arg-type]


async def file(site: Site, request: Request) -> Response:
    """A file of the packet."""
    name = request.path_params["name"]
    if name not in site.files:
        raise HTTPException(404)
    # Not no-cache: all packets have the same dates, so that a new one of the same size would be taken for the old one.
    kept = "public, max-age=31536000, immutable" if name.startswith("stimuli/") else "no-store"
    return FileResponse(site.files[name], headers={"cache-control": kept})


async def study(site: Site, request: Request) -> Response:
    """That there is a server, and whose."""
    return JSONResponse({"study_id": site.packet.study_id, "rehearsal": site.folders.rehearsal})


async def begin(site: Site, request: Request) -> Response:
    """A new session, or where an old one stands."""
    _allow(site.begins, request.client.host if request.client else "")
    facts = await _body(request)
    if session := facts.get("session"):
        return JSONResponse(await site.writer.do(site.answers.resume, str(session)))
    return JSONResponse(await site.writer.do(site.answers.begin, facts, request.headers.get("user-agent", "")))


async def save(site: Site, request: Request) -> Response:
    """Stores one page."""
    session, page_id = request.path_params["session"], request.path_params["page_id"]
    _allow(site.saves, session)
    body, key = await _body(request), request.headers.get("idempotency-key", "")
    return JSONResponse(await site.writer.do(site.answers.save, session, page_id, body, key))


async def finish(site: Site, request: Request) -> Response:
    """Ends a session: the code that shows it to the platform, and the address to go back to."""
    session = request.path_params["session"]
    _allow(site.saves, session)
    await site.writer.do(site.answers.finish, session)
    if site.completion.startswith("https://"):
        return JSONResponse({"return_url": site.completion})
    return JSONResponse({"completion_code": site.code(session)})


async def admin_page(site: Site, request: Request) -> Response:
    """How far the study is."""
    if not hmac.compare_digest(request.query_params.get("token", "").encode(), site.token.encode()):
        raise HTTPException(403)
    sessions = await site.writer.do(site.answers.sessions)
    return HTMLResponse(
        admin.page(site.packet, site.answers.slots, sessions, site.code), headers={"cache-control": "no-store"}
    )


class Hardened:
    """Puts the security headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Around another application."""
        self.app = app
        self.headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.headers]
            await send(message)

        await self.app(scope, receive, sent)


def _handler(site: Site, function: Callable[[Site, Request], Awaitable[Response]]) -> Handler:
    async def handle(request: Request) -> Response:
        return await function(site, request)

    return handle


def _allow(allowance: Allowance, key: str) -> None:
    if wait := allowance.wait(key):
        raise HTTPException(429, "too many requests", headers={"retry-after": str(int(wait) + 1)})


async def _body(request: Request) -> dict[str, Any]:
    # Another site's form cannot send this type without asking first, and nobody answers it.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "send application/json")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_BODY:
            raise Refused(413, f"more than {MAX_BODY} bytes")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "this is no JSON") from error
    if not isinstance(body, dict):
        raise Refused(400, "this is no JSON object")
    return body


async def _refused(request: Request, error: Refused) -> Response:
    return JSONResponse({"error": str(error)}, error.status)


async def _http(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, headers=dict(error.headers or {}))


async def _disk(request: Request, error: sqlite3.Error) -> Response:
    return JSONResponse({"error": "the answers cannot be stored now"}, 503)
