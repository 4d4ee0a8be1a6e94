"""One thread that does all work on the answers, many requests to a transaction.

A disk can flush a few hundred times a second; a flush that is shared costs each listener next to nothing. A request is
acknowledged only after the flush of its transaction, so whatever was acknowledged is on the disk.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from magnet_eval.study.server.answers import Answers

MOST = 256  # requests in a transaction
Job = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]


class Writer:
    """Runs functions on the Answers, in order of arrival."""

    def __init__(self, answers: Answers) -> None:
        """Starts the thread."""
        self.answers = answers
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self.thread.start()

    async def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns or raises, once that is on the disk. Raises sqlite3.Error if the disk refuses."""
        future = asyncio.get_running_loop().create_future()
        self.jobs.put((future, function, arguments))
        return await future

    def close(self) -> None:
        """Ends the thread after what is waiting."""
        self.jobs.put(None)
        self.thread.join()

    def _run(self) -> None:
        while True:
            batch = [self.jobs.get()]
            while len(batch) < MOST and not self.jobs.empty():
                batch.append(self.jobs.get())
            work = [job for job in batch if job is not None]
            if work:
                self._transact(work)
            if len(work) < len(batch):
                return

    def _transact(self, work: list[Job]) -> None:
        try:
            with self.answers.transaction():
                outcomes = [self._one(function, arguments) for _, function, arguments in work]
        except sqlite3.Error as error:  # no room, no disk: nothing of it was stored
            outcomes = [error] * len(work)
        futures = [future for future, _, _ in work]
        futures[0].get_loop().call_soon_threadsafe(_tell, futures, outcomes)

    def _one(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        execute = self.answers.connection.execute
        execute("SAVEPOINT one")
        try:
            outcome = function(*arguments)
        except sqlite3.Error:
            raise
        except Exception as error:  # one request's: the others go on
            execute("ROLLBACK TO one")
            outcome = error
        execute("RELEASE one")
        return outcome


def _tell(futures: list[asyncio.Future[Any]], outcomes: list[Any]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():  # its listener went away
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
