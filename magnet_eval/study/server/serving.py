"""Starting and stopping the server of a study: uvicorn, one process, no access log, nothing that stores an address."""

import logging
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from magnet_eval.lookup import UserError
from magnet_eval.study import schema
from magnet_eval.study.server.answers import Answers
from magnet_eval.study.server.app import Site, application

log = logging.getLogger(__name__)


def site_of(study: str, completion: str = "") -> Site:
    """The site of the packet in a folder, with its answers beside it. Raises UserError if the packet is none."""
    folders = schema.Folders.of(study)
    packet = schema.read_packet(folders)
    answers = Answers(folders.responses / "answers.sqlite", packet, schema.read_assignments(folders))
    return Site(folders, packet, answers, secrets.token_urlsafe(16), completion)


def serve(site: Site, host: str, port: int) -> str:
    """Serves until Ctrl-C or SIGTERM; a line on what was collected. Raises UserError if the port is taken."""
    listener = listen(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
    log.info("listeners: %s", address)
    log.info("progress:  %sadmin?token=%s", address, site.token)
    if host not in ("127.0.0.1", "::1", "localhost"):
        log.warning("anybody who reaches %s can take part; put a proxy with https in front of it", address)
    log.info(
        "answers:   %s; stop with Ctrl-C", site.answers.connection.execute("PRAGMA database_list").fetchone()["file"]
    )
    with stopped_by_signals(server := _uvicorn(site)):
        server.run(sockets=[listener])
    site.writer.close()
    sessions = site.answers.sessions()
    finished = sum(one["finished"] is not None for one in sessions)
    return f"{len(sessions)} sessions, {finished} finished. Next: magnet-eval study import study={site.folders}"


@contextmanager
def stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Ctrl-C and SIGTERM only end the server, so that what comes after it is done."""

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises what stopped it once more at its end, for whoever handled signals before: that would be the death
    # of the program.
    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def running(site: Site) -> Iterator[str]:
    """Serves in a thread, on a free port of this machine; the address."""
    listener = listen("127.0.0.1", 0)
    server = _uvicorn(site)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"  # connections wait in the socket until it is up
    finally:
        server.should_exit = True
        thread.join()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UserError if the address is taken or none of this machine's."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot listen on {host} port {port}: {reason}. Choose another with port=8001.") from error


def _uvicorn(site: Site) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            application(site),
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=5,
            limit_concurrency=2000,
        )
    )
