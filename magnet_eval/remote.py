"""Run folders at a URL: worked on in a copy on this disk, under a lock here and one in the store (see mirror.py).

What has been made goes up after batches and at the end; the cache of embeddings stays here. A kill loses what was
made since the last batch that went up, and nothing else. The lock in the store says who holds it; each push looks
whether that is still this run, and beats, pushes and releases leave another run's lock and files alone.
"""

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.mirror import Mirror, alone, errors, home_of
from magnet_eval.places import check, is_url
from magnet_eval.records import Clip
from magnet_eval.store import DiskError, RunFolder, now

EVERY = 20.0  # seconds between two uploads at least: the list of clips goes up whole each time
BEAT = 60.0  # seconds between two signs of life of a lock's holder
STALE = timedelta(minutes=15)  # a lock without a sign of life for so long is a dead machine's
LOCK = ".lock"
BOOT = Path("/proc/sys/kernel/random/boot_id")
SPACES = ("pid", "time")  # the kernel's namespaces in which a process' id and start time mean something


def run_folder(place: Path | str) -> RunFolder:
    """The run folder at a path, or at a URL: then its copy here, as it is there now."""
    if not is_url(check("run", str(place))):
        return RunFolder(Path(place).expanduser())
    folder = RemoteRun(str(place))
    folder.refresh()
    return folder


class RemoteRun(RunFolder):
    """A run folder in a store. ``path`` is its copy here."""

    def __init__(self, url: str) -> None:
        """Reads nothing yet. Raises UserError on a URL of no known kind."""
        super().__init__(home_of(url))
        self.mirror = Mirror(url, self.path)
        self.pushed_at = time.monotonic()
        self.me = {**identity(), "id": os.urandom(8).hex()}
        self.looking = threading.Lock()  # a store may show half a lock while the beat writes it

    def refresh(self) -> None:
        """Makes the copy equal to the store, unless a run is at work in the copy: then it is read as it is."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(alone(self.path))
            try:
                stack.enter_context(super().lock())
            except DiskError:
                raise
            except UserError:
                return
            self.mirror.pull()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder, here and there. Raises UserError if another run has it.

        A lock there is a file with a sign of life each minute. Where the store cannot refuse to create a file twice,
        two runs that begin within the same moment may both get it, until the first push of one of them; clocks that
        are minutes apart harm it as well.
        """
        with contextlib.ExitStack() as stack:
            with alone(self.path):
                stack.enter_context(super().lock())
                stack.callback(self.release)
                self.claim()
                stack.enter_context(self.beating())
                self.mirror.pull()
            try:
                yield
            finally:
                self.push()

    @property
    def lock_file(self) -> str:
        """The lock in the store."""
        return f"{self.mirror.root}/{LOCK}"

    def claim(self) -> None:
        """Puts the lock there. Raises UserError if a living run has put one there."""
        fs = self.mirror.fs
        with errors(self.mirror.url):
            holder = self.holder()
            if holder and not is_over(holder):
                raise self.taken(holder)
            if holder:
                fs.rm_file(self.lock_file)
            if self.mirror.renames:
                fs.makedirs(self.mirror.root, exist_ok=True)
            try:
                fs.pipe_file(self.lock_file, self.life(), mode="create")
            except FileExistsError:
                raise self.taken(self.holder()) from None
            holder = self.holder()
            if not self.is_own(holder):
                raise self.taken(holder)

    def release(self) -> None:
        """Takes the lock away, if it is still this run's."""
        with errors(self.mirror.url):
            if self.is_own(self.holder()):
                self.mirror.fs.rm_file(self.lock_file)

    def taken(self, holder: dict[str, Any]) -> UserError:
        """The refusal."""
        return UserError(
            f"{self.mirror.url} is in use by another run ({who(holder)}). Wait for it, or choose another results=URL; "
            f"the lock of a machine that is gone ends after {STALE.seconds // 60} minutes."
        )

    def is_own(self, holder: dict[str, Any]) -> bool:
        """Whether a lock is this run's."""
        return bool(holder.get("id") == self.me["id"])

    def holder(self) -> dict[str, Any]:
        """Who has the lock; empty where nobody has. Of half a lock only its age is known."""
        fs = self.mirror.fs
        with self.looking:
            fs.invalidate_cache()
            try:
                found = json.loads(fs.cat_file(self.lock_file))
            except FileNotFoundError:
                return {}
            except ValueError:
                found = None
        if isinstance(found, dict):
            return found
        with contextlib.suppress(NotImplementedError, FileNotFoundError):
            return {"at": fs.modified(self.lock_file).isoformat(timespec="seconds")}
        return {"at": "unknown"}

    def life(self) -> bytes:
        """The content of the lock: who, and a sign of life."""
        return json.dumps({**self.me, "at": now()}).encode()

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Gives signs of life from a thread of its own."""
        stopped = threading.Event()
        thread = threading.Thread(target=self.beat, args=[stopped], daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def beat(self, stopped: threading.Event) -> None:
        """Renews the sign of life until ``stopped``, or until the lock is another's."""
        while not stopped.wait(BEAT):
            with contextlib.suppress(DiskError), errors(self.mirror.url):
                if not self.is_own(self.holder()):
                    return
                with self.looking:
                    self.mirror.fs.pipe_file(self.lock_file, self.life())

    def push(self) -> None:
        """Takes what has changed to the store. Raises DiskError, and sends nothing, if the lock is another's."""
        with errors(self.mirror.url):
            holder = self.holder()
        if not self.is_own(holder):
            raise DiskError(
                f"{self.mirror.url} was taken over by another run ({who(holder)}), as this one had given no sign of "
                "life for long. Nothing more is sent there; wait for that run, then the same command goes on."
            )
        self.mirror.push()
        self.pushed_at = time.monotonic()

    def append_clips(self, system: str, clips: Iterable[Clip]) -> None:
        """Adds finished clips, and takes them to the store unless it has just been there."""
        super().append_clips(system, clips)
        if time.monotonic() - self.pushed_at >= EVERY:
            self.push()


def who(holder: dict[str, Any]) -> str:
    """A lock's holder in words."""
    if not holder:
        return "its lock is gone"
    known = f"process {holder.get('process', 'unknown')} on {holder.get('host', 'unknown')}"
    return f"{known}, last sign of life {holder.get('at', 'unknown')}"


def identity() -> dict[str, Any]:
    """What tells this process from every other, of machines and containers of the same name too."""
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "boot": boot(),
        "spaces": [space(name) for name in SPACES],
        "started": started(os.getpid()),
    }


def boot() -> str:
    """The id of this start of the machine; "" where the kernel has none."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def space(name: str) -> str:
    """The kernel's namespace of one kind that this process is in."""
    try:
        return str(Path(f"/proc/self/ns/{name}").readlink())
    except OSError:
        return ""


def started(process: int) -> str:
    """When a process started, in the kernel's count; "" if that cannot be read, "over" of one that has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        return "over" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (OSError, IndexError, ValueError):
        return ""


def is_over(holder: dict[str, Any]) -> bool:
    """Whether a lock's holder is gone: as its process shows where that can be seen from here, else by its age."""
    alive = lives(holder)
    if alive is not None:
        return not alive
    try:
        return datetime.now(UTC) - datetime.fromisoformat(holder["at"]) > STALE
    except (KeyError, TypeError, ValueError):
        return False


def lives(holder: dict[str, Any]) -> bool | None:
    """Whether a lock's holder is alive; None where its process id may mean another process or none from here."""
    mine, process = identity(), holder.get("process")
    same = all(holder.get(name) == mine[name] for name in ("host", "boot", "spaces"))
    if not (same and mine["boot"] and isinstance(process, int) and 0 < process < 2**31):
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    begun = started(process)
    return holder.get("started") == begun if begun and holder.get("started") else None
