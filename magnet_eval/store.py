"""Run folders: what is on disk, how it is written so that a kill never harms it, and how work is recognised again.

    results/<protocol>-v<version>/manifest.json       how the run was made, and what failed and why
                                  prompts.jsonl       the prompts of the run, in order
                                  scores.jsonl        one Score a line
                                  clip_scores.jsonl   one ClipScore a line
                                  timings.jsonl       one Timing a line
                                  <system>/clips.jsonl and <system>/audio/<prompt id>.wav or .flac
                                  <system>/order/<prompt id>.npy  in which iteration masked decoding fixed each token
    results/cache/<key>.npz, <key>.json               embeddings and scores, by content

A key is a hash of content, never of names or paths. Whole files are replaced through a temporary name and a rename;
files that grow are appended line by line, and a line torn by a crash is left out when they are read again. What a
killed process leaves under a temporary name goes when the next one takes the lock.
"""

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from magnet_eval.lookup import UserError
from magnet_eval.records import Clip, ClipScore, Prompt, Record, Score, Timing, to_jsonl, to_lines

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Record)
OBJECTS = {"systems", "checks", "pruned", "embedders"}  # fields of a manifest whose values are objects by name
TEMPORARY = ".tmp"  # how the hidden names of unfinished files end, those of audio.write too


def content_key(*parts: Any) -> str:
    """Sha256 (hex) over the canonical JSON of ``parts``: equal content, equal key. Raises TypeError on other types."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def ids_hash(ids: Iterable[str]) -> str:
    """Short hash (16 hex digits) of a set of ids, whatever its order: two scores with one hash saw the same clips."""
    return content_key(sorted(ids))[:16]


def file_hash(path: Path) -> str:
    """Sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DiskError(UserError):
    """The disk refuses: unlike the mistake of one clip, this ends the run."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the failures of a disk (read-only, full, no folder) into one line for the user."""
    try:
        yield
    except OSError as error:
        advice = "make it writable, or choose another folder with results=FOLDER"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "free some space and run the same command again"
        reason = error.strerror or str(error)
        raise DiskError(f"cannot write {path}: {reason}. Finished work is kept; {advice}.") from error


def write_atomic(path: Path, content: str | bytes | Iterable[Record]) -> None:
    """Writes a whole file or nothing: temporary name in the same folder, fsync, rename. Raises DiskError."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}{TEMPORARY}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                for part in (content,) if isinstance(content, str | bytes) else to_lines(content):
                    file.write(part.encode() if isinstance(part, str) else part)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def append_lines(path: Path, records: Iterable[Record]) -> None:
    """Appends records to a JSON-lines file and syncs it; a torn last line is cut off first."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            cut_torn_line(file)
            file.write(to_jsonl(records).encode())
            file.flush()
            os.fsync(file.fileno())


def cut_torn_line(file: BinaryIO) -> None:
    """Ends a file of lines after its last newline. Reads from the end: the file may be long, and is met often."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 2**16)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        file.truncate(end)


def write_page(path: Path, content: str) -> None:
    """``write_atomic`` of a file in a folder that has no lock: what a killed writer of it left goes first."""
    sweep(path.parent.glob(f".*-{path.name}{TEMPORARY}"))
    write_atomic(path, content)


def sweep(paths: Iterable[Path]) -> None:
    """Removes files that were left under a temporary name."""
    for path in paths:
        with writing(path):
            path.unlink(missing_ok=True)


def lines_of(kind: type[R], path: Path) -> Iterator[R]:
    """Records of a JSON-lines file in order, without the lines that a crash or a hand has damaged (each is logged)."""
    with path.open("rb") if path.is_file() else io.BytesIO() as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield kind.from_json(line.decode())
                except (ValueError, TypeError, RecursionError) as error:
                    log.warning("%s, line %d is damaged and left out: %s", path, number, error)


def read_lines(kind: type[R], path: Path) -> list[R]:
    """``lines_of``, all at once."""
    return list(lines_of(kind, path))


class RunFolder:
    """The folder of one run of one protocol: ``results/<protocol>-v<version>``."""

    def __init__(self, path: Path | str) -> None:
        """Only names the folder; nothing is read or made."""
        self.path = Path(path)
        self.cache = self.path.parent / "cache"

    @classmethod
    def of(cls, results: Path | str, protocol: str, version: int) -> "RunFolder":
        """The run folder of a protocol inside the results folder."""
        return cls(Path(results) / f"{protocol}-v{version}")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process. Raises UserError if a living process holds it.

        The lock is the kernel's: it ends with its process, so that a killed run leaves none behind. The cache is shared
        by all runs; the one that finds it free of others tidies it up.
        """
        import fcntl

        path = self.path / ".lock"
        if path.is_symlink():
            raise DiskError(f"{path} is a link, and may be no file of this run's. Remove it and run again.")
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.cache.mkdir(exist_ok=True)
            file, cache = path.open("a+"), (self.cache / ".lock").open("a+")
        with file, cache:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise UserError(
                    f"{self.path} is in use by another run (process {holder}). "
                    "Wait for it, end it, or choose another folder with results=FOLDER."
                ) from error
            with writing(path):
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
            sweep(self.path.rglob(f".*{TEMPORARY}"))
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(cache, fcntl.LOCK_EX | fcntl.LOCK_NB)
                sweep(self.cache.glob(f".*{TEMPORARY}"))
            fcntl.flock(cache, fcntl.LOCK_SH)
            yield

    # manifest

    def manifest(self) -> dict[str, Any]:
        """The manifest; empty for a folder without one."""
        path = self.path / "manifest.json"
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError(f"it holds a {type(found).__name__} and no object")
            for name in OBJECTS & found.keys():
                if not isinstance(found[name], dict) or not all(isinstance(one, dict) for one in found[name].values()):
                    raise ValueError(f"its {name} are no objects by name")
            return found
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is damaged ({error}). Remove it and run again; clips are kept.") from error

    def update_manifest(self, **fields: Any) -> None:
        """Sets fields of the manifest and leaves the others."""
        text = json.dumps({**self.manifest(), **fields}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(self.path / "manifest.json", text)

    def add_history(self, stage: str, environment: dict[str, Any], **facts: Any) -> None:
        """Notes that a stage has done work, when, and on what hardware."""
        entry = {"at": now(), "stage": stage, "hardware": environment["hardware"], **facts}
        self.update_manifest(environment=environment, history=[*self.stages("history"), entry])

    def set_failures(self, stage: str, failures: Iterable[dict[str, str]]) -> None:
        """Replaces the failures of one stage: rows of system, prompt_id, reason."""
        others = [row for row in self.failures() if row["stage"] != stage]
        self.update_manifest(failures=[*others, *({"stage": stage, **row} for row in failures)])

    def failures(self) -> list[dict[str, str]]:
        """What failed and why: rows of stage, system, prompt_id ("" for a whole system), reason."""
        return self.stages("failures")

    def stages(self, field: str) -> list[dict[str, Any]]:
        """The rows of the field failures or history that name their stage, as all do that were written here."""
        rows = self.manifest().get(field)
        return [row for row in rows if isinstance(row, dict) and "stage" in row] if isinstance(rows, list) else []

    # prompts and clips

    def prompts(self) -> list[Prompt]:
        """The prompts of the run, in order."""
        return read_lines(Prompt, self.path / "prompts.jsonl")

    def write_prompts(self, prompts: Iterable[Prompt]) -> None:
        """Replaces the prompts of the run."""
        write_atomic(self.path / "prompts.jsonl", prompts)

    def audio(self, system: str, prompt_id: str, kind: str = "wav") -> Path:
        """Where a new clip's audio goes; a finished clip says itself where its audio is."""
        return self.path / system / "audio" / f"{prompt_id}.{kind}"

    def order(self, system: str, prompt_id: str) -> Path:
        """Where the iterations [K, T] are in which a clip's tokens were fixed, of a few clips."""
        return self.path / system / "order" / f"{prompt_id}.npy"

    def own(self, path: Path) -> Path:
        """A path below the folder, itself. Raises DiskError where a link on the way to it would lead elsewhere."""
        if path.parent.resolve() != self.path.resolve() / path.parent.relative_to(self.path):
            raise DiskError(
                f"{path.parent} is behind a link that leads elsewhere; nothing is written or removed there. "
                "Put a folder in its place, or choose another one with results=FOLDER."
            )
        return path

    def all_clips(self, system: str) -> dict[str, Clip]:
        """Every clip on record by prompt id, those of prompts that the run no longer has included."""
        clips = read_lines(Clip, self.path / system / "clips.jsonl")
        return {clip.prompt_id: clip for clip in clips if clip.system == system}

    def clips(self, system: str) -> list[Clip]:
        """The clips of the run's present prompts, in prompt order; a failed clip is an absent one."""
        clips = self.all_clips(system)
        return [clips[prompt.id] for prompt in self.prompts() if prompt.id in clips]

    def append_clips(self, system: str, clips: Iterable[Clip]) -> None:
        """Adds finished clips."""
        path = self.own(self.path / system / "clips.jsonl")
        if path.is_symlink():
            raise DiskError(f"{path} is a link, and is not added to. Put a file in its place.")
        append_lines(path, clips)

    def write_clips(self, system: str, clips: Iterable[Clip]) -> None:
        """Replaces the list of finished clips."""
        write_atomic(self.own(self.path / system / "clips.jsonl"), clips)

    # scores and timings

    def scores(self) -> list[Score]:
        """All score rows."""
        return read_lines(Score, self.path / "scores.jsonl")

    def replace_scores(self, rows: Iterable[Score], replaced: Callable[[Score], bool]) -> None:
        """Puts ``rows`` in the place of the rows that ``replaced`` names; the rows of other verbs stay, after them."""
        others = [row for row in self.scores() if not replaced(row)]
        write_atomic(self.path / "scores.jsonl", [*rows, *others])

    def clip_scores(self) -> list[ClipScore]:
        """All scores of single clips."""
        return read_lines(ClipScore, self.path / "clip_scores.jsonl")

    def each_clip_score(self) -> Iterator[ClipScore]:
        """All scores of single clips, one at a time: there may be very many."""
        return lines_of(ClipScore, self.path / "clip_scores.jsonl")

    def write_clip_scores(self, rows: Iterable[ClipScore]) -> None:
        """Replaces the scores of single clips."""
        write_atomic(self.path / "clip_scores.jsonl", rows)

    def timings(self) -> list[Timing]:
        """All raw timings."""
        return read_lines(Timing, self.path / "timings.jsonl")

    def write_timings(self, rows: Iterable[Timing]) -> None:
        """Replaces the raw timings."""
        write_atomic(self.path / "timings.jsonl", rows)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
