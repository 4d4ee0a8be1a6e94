"""``python -m magnet_eval``, to which the FAULT of the environment happens.

    kill:N:SECONDS   SIGKILL, that many seconds after the N-th change of a file below the working folder has begun
    full:N           the N-th change and all after it fail with ENOSPC
    back:SECONDS     the clock goes back by so much at every look
    count            nothing; FAULT_LOG gets the path of every change, one a line

A change is what Python announces to audit hooks: a file opened for writing, a rename, a removal, a new folder.
"""

import errno
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

CHANGES = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.truncate": 0}  # event -> which argument is the path
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
HOME = str(Path.cwd())


def changed(event: str, arguments: tuple) -> str:
    """The path below the working folder that an event changes; "" if it does not."""
    if event == "open":
        path, writes = arguments[0], isinstance(arguments[2], int) and arguments[2] & WRITING
    else:
        path, writes = arguments[CHANGES[event]], True
    if not writes or not isinstance(path, str | bytes | os.PathLike):
        return ""
    place = str(Path(os.fsdecode(path)).absolute())
    return place if place.startswith(HOME + os.sep) and not place.endswith(".pyc") else ""


def watch(at: int, happen, log: str) -> None:
    """Calls ``happen(n, path)`` at every change from the ``at``-th."""
    seen = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event == "open" or event in CHANGES:
            path = changed(event, arguments)
            if path:
                seen += 1
                if log:
                    os.write(handle, f"{path}\n".encode())
                if seen >= at:
                    happen(seen, path)

    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else -1
    sys.addaudithook(hook)


def main() -> None:
    kind, *numbers = os.environ.get("FAULT", "count").split(":")
    log = os.environ.get("FAULT_LOG", "")
    if kind == "kill":
        at, seconds = int(numbers[0]), float(numbers[1])

        def kill(n: int, path: str) -> None:
            if n == at:
                threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

        watch(at, kill, log)
    elif kind == "full":

        def full(n: int, path: str) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        watch(int(numbers[0]), full, log)
    elif kind == "back":
        start, looks = time.time(), [0]

        def backwards() -> float:
            looks[0] += 1
            return start - looks[0] * float(numbers[0])

        time.time = backwards
    elif log:
        watch(1, lambda n, path: None, log)
    sys.argv[0] = "magnet-eval"
    runpy.run_module("magnet_eval", run_name="__main__")


if __name__ == "__main__":
    main()
