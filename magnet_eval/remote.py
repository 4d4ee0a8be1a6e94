"""Run folders at a URL: worked on in a copy on this disk, under a lock in the store (see mirror.py).

What has been made goes up after batches and at the end; the cache of embeddings stays here. A kill loses what was
made since the last batch that went up, and nothing else.
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
from magnet_eval.mirror import Mirror, errors, home_of, is_url
from magnet_eval.records import Clip
from magnet_eval.store import DiskError, RunFolder, now

EVERY = 20.0  # seconds between two uploads at least: the list of clips goes up whole each time
BEAT = 60.0  # seconds between two signs of life of a lock's holder
STALE = timedelta(minutes=15)  # a lock without a sign of life for so long is a dead machine's
LOCK = ".lock"


def run_folder(place: Path | str) -> RunFolder:
    """The run folder at a path, or at a URL: then its copy here, as it is there now."""
    if not is_url(str(place)):
        return RunFolder(Path(place).expanduser())
    folder = RemoteRun(str(place))
    folder.pull()
    return folder


class RemoteRun(RunFolder):
    """A run folder in a store. ``path`` is its copy here."""

    def __init__(self, url: str) -> None:
        """Reads nothing yet. Raises UserError on a URL of no known kind."""
        super().__init__(home_of(url))
        self.mirror = Mirror(url, self.path)
        self.pushed_at = time.monotonic()
        self.own = json.dumps({"host": platform.node(), "process": os.getpid(), "id": os.urandom(8).hex()})

    def pull(self) -> None:
        """Makes the copy equal to the store."""
        self.mirror.pull()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder, here and there. Raises UserError if another run has it.

        A lock there is a file with a sign of life each minute. Where the store cannot refuse to create a file twice,
        two runs that begin within the same moment may both get it; clocks that are minutes apart harm it as well.
        """
        with super().lock():
            self.claim()
            stopped = threading.Event()
            beat = threading.Thread(target=self.beat, args=[stopped], daemon=True)
            beat.start()
            try:
                self.pull()
                try:
                    yield
                finally:
                    self.mirror.push()
            finally:
                stopped.set()
                beat.join()
                with errors(self.mirror.url):
                    self.mirror.fs.rm_file(self.lock_file)

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
            if self.holder().get("id") != json.loads(self.own)["id"]:
                raise self.taken(self.holder())

    def taken(self, holder: dict[str, Any]) -> UserError:
        """The refusal."""
        who = f"process {holder.get('process')} on {holder.get('host')}, last sign of life {holder.get('at')}"
        return UserError(
            f"{self.mirror.url} is in use by another run ({who}). Wait for it, or choose another results=URL; "
            f"the lock of a machine that is gone ends after {STALE.seconds // 60} minutes."
        )

    def holder(self) -> dict[str, Any]:
        """Who has the lock; empty where nobody has."""
        self.mirror.fs.invalidate_cache()
        try:
            found = json.loads(self.mirror.fs.cat_file(self.lock_file))
        except FileNotFoundError:
            return {}
        except ValueError:
            return {"process": "unknown"}
        return found if isinstance(found, dict) else {"process": "unknown"}

    def life(self) -> bytes:
        """The content of the lock: who, and a sign of life."""
        return json.dumps({**json.loads(self.own), "at": now()}).encode()

    def beat(self, stopped: threading.Event) -> None:
        """Renews the sign of life until ``stopped``."""
        while not stopped.wait(BEAT):
            with contextlib.suppress(DiskError), errors(self.mirror.url):
                self.mirror.fs.pipe_file(self.lock_file, self.life())

    def append_clips(self, system: str, clips: Iterable[Clip]) -> None:
        """Adds finished clips, and takes them to the store unless it has just been there."""
        super().append_clips(system, clips)
        if time.monotonic() - self.pushed_at >= EVERY:
            self.mirror.push()
            self.pushed_at = time.monotonic()


def is_over(holder: dict[str, Any]) -> bool:
    """Whether a lock's holder is known to be gone: a dead process of this machine, or long without a sign of life."""
    if holder.get("host") == platform.node() and isinstance(holder.get("process"), int):
        return not Path(f"/proc/{holder['process']}").exists() if Path("/proc/self").exists() else False
    try:
        return datetime.now(UTC) - datetime.fromisoformat(holder["at"]) > STALE
    except (KeyError, TypeError, ValueError):
        return False
