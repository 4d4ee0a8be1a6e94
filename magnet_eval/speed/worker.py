"""A process of its own for each system, so that neither memory nor caches nor a crash of one reach another.

The parent asks over a pipe, one question at a time; the question names a method of Subject. Processes are started
anew ("spawn"): CUDA cannot be used in a forked one.
"""

import contextlib
import logging
import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.speed.subject import Subject

log = logging.getLogger(__name__)
PATIENCE = 5.0  # seconds that a process has to end by itself
MEMORY = ("out of memory", "allocate memory")  # in what torch raises, which is no MemoryError


class Failed(Exception):
    """A system could not do what it was asked; the text is one line."""

    def __init__(self, reason: str, out_of_memory: bool = False) -> None:
        """out_of_memory: it might work where others use less."""
        super().__init__(reason)
        self.out_of_memory = out_of_memory


class Worker:
    """The parent's end of one process."""

    def __init__(self, label: str, folder: Path) -> None:
        """Starts the process; folder: for the files that it writes."""
        self.label = label
        self.loaded: Any = None  # subject.Loaded, once it is
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, folder), name=label, daemon=True)
        self.process.start()
        theirs.close()  # else its end would not be noticed

    def tell(self, what: str, *arguments: Any) -> None:
        """Sends a question; ``answer`` waits for what comes of it."""
        with contextlib.suppress(OSError):  # of a dead process, which ``answer`` finds out about
            self.pipe.send((what, arguments))

    def answer(self) -> Any:
        """The answer to the last question. Raises Failed with the reason, also where the process has died."""
        try:
            is_done, value, out_of_memory = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            raise Failed(died(self.process.exitcode)) from None
        if not is_done:
            raise Failed(value, out_of_memory)
        return value

    def ask(self, what: str, *arguments: Any) -> Any:
        """``tell`` and ``answer``."""
        self.tell(what, *arguments)
        return self.answer()

    def close(self) -> None:
        """Ends the process, in the middle of a call if need be."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(PATIENCE)


def died(code: int | None) -> str:
    """Why a process ended, by its exit code."""
    if code == -signal.SIGKILL:
        return "its process was killed, as the system does where memory runs out"
    how = f"by signal {signal.Signals(-code).name}" if code and code < 0 else f"with exit code {code}"
    return f"its process ended {how}"


def work(pipe: Connection, folder: Path) -> None:
    """The process: answers questions until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    with contextlib.suppress(OSError):  # where memory runs out, this process goes, not the parent with the results
        Path("/proc/self/oom_score_adj").write_text("1000")
    subject = Subject(folder)
    with contextlib.suppress(EOFError, OSError):
        while True:
            what, arguments = pipe.recv()
            pipe.send(outcome(subject, what, arguments))


def outcome(subject: Subject, what: str, arguments: tuple[Any, ...]) -> tuple[bool, Any, bool]:
    """Whether a question was answered, the answer or the reason in one line, and whether memory ran out."""
    try:
        return True, getattr(subject, what)(*arguments), False
    except Exception as error:  # whatever a model raises is its own row's loss
        log.debug("%s failed", what, exc_info=True)
        text = " ".join(str(error).split())
        if isinstance(error, MemoryError) or any(words in text.lower() for words in MEMORY):
            return False, f"out of memory: {text}" if "out of memory" not in text.lower() else text, True
        known = isinstance(error, UserError | RuntimeError) and text
        return False, text if known else f"{type(error).__name__}: {text}".removesuffix(": "), False
