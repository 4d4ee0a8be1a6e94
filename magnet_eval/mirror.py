"""Files of a store (s3://, file://, memory://, whatever fsspec knows) and their copy on this disk.

The store is the truth: ``pull`` makes the copy equal to it, ``push`` takes there what has changed since, a run's
manifest last, so that what a reader finds there is whole.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.places import check, is_url
from magnet_eval.store import TEMPORARY, DiskError, write_atomic, writing

INDEX = ".mirror.json"
PULLING = ".pulling"  # locked while a copy is brought up to date
RENAMING = ("file", "local", "sftp", "ssh", "hdfs", "smb", "ftp")  # others show a file whole or not at all anyway
VERSIONS = ("ETag", "etag", "mtime", "created", "LastModified", "last_modified")  # what tells a file from a later one


def here(place: str, wanted: Callable[[str], bool] | None = None) -> str:
    """A path itself; of a URL's file or folder the path of its copy here, brought up to date.

    Data have copies of their own, in which no run works. ``wanted`` chooses by name what of a folder is fetched.
    """
    if not is_url(check("path", place)):
        return place
    place = place.rstrip("/")
    home = home_of(place, "data")
    mirror = Mirror(place, home, wanted)
    with errors(place):
        is_file = mirror.fs.isfile(mirror.root)
    if is_file:
        mirror = Mirror(place.rpartition("/")[0], home.parent, home.name.__eq__)
    with alone(mirror.path):
        n_files = mirror.pull()
    if not n_files:
        raise UserError(f"there is nothing at {place}. Check the URL.")
    return str(home)


def here_with(place: str, names: Callable[[Path], Callable[[str], bool]]) -> str:
    """``here`` of a file that speaks of files beside it: ``names`` says of its copy which of them are fetched too."""
    path = here(place)
    if is_url(place) and Path(path).is_file():
        with alone(Path(path).parent):
            Mirror(place.rpartition("/")[0], Path(path).parent, names(Path(path))).pull()
    return path


def home_of(url: str, kind: str = "mirror") -> Path:
    """Where the copy of a URL is: a folder for what it lies in, and its own name."""
    parent, _, name = url.rstrip("/").rpartition("/")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = name if PurePosixPath(name).name == name and name != ".." else "root"
    return cache / "magnet_eval" / kind / hashlib.sha256(parent.encode()).hexdigest()[:16] / name


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other process of this machine brings a copy up to date, and keeps others waiting."""
    import fcntl

    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        file = (path / PULLING).open("a")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def errors(url: str) -> Iterator[None]:
    """Whatever a store complains of, as one line for the user: each kind of store has exceptions of its own."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        kind = url.partition("://")[0]
        extra = "'magnet-eval[s3]'" if kind in ("s3", "s3a") else str(error).rpartition(" ")[2]
        raise UserError(f"{kind}:// needs a package that is not here ({error}): pip install {extra}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DiskError(f"{url}: {reason}. Check the URL and your rights there; the same command goes on.") from error


class Mirror:
    """A folder of a store and its copy on this disk."""

    def __init__(self, url: str, path: Path, wanted: Callable[[str], bool] | None = None) -> None:
        """``wanted`` chooses files of the folder by name. Raises UserError on a URL of no known kind."""
        self.url, self.path, self.wanted = url.rstrip("/"), path, wanted or bool
        with errors(url):
            from fsspec.core import url_to_fs

            self.fs, root = url_to_fs(self.url)
        self.root = root.rstrip("/")

    def pull(self) -> int:
        """Makes the copy equal to the store; how many files there are. Raises DiskError if it cannot.

        What the store lacks is removed here, so nobody else may be at work in the copy.
        """
        index = self.index()
        with errors(self.url):
            there = self.listing()
            for name, version in there.items():
                path = self.path / name
                if index.get(name) != [version, *stamp(path)]:
                    self.download(name)
                    index[name] = [version, *stamp(path)]
            gone = {name for name in {*index, *self.files()} - set(there) if self.wanted(name)}
            for name in gone:
                (self.path / name).unlink(missing_ok=True)
        self.keep_index({name: entry for name, entry in index.items() if name not in gone})
        return len(there)

    def push(self) -> None:
        """Takes what has changed here to the store, and away there what is gone here. Raises DiskError."""
        index, files = self.index(), self.files()
        changed = [name for name in files if index.get(name, [""])[1:] != files[name]]
        with errors(self.url):
            for name in sorted(changed, key=lambda name: (name == "manifest.json", name.endswith(".jsonl"), name)):
                if name == "manifest.json":
                    self.remove(index, files)
                index[name] = [self.upload(name), *files[name]]
            self.remove(index, files)
        self.keep_index(index)

    def remove(self, index: dict[str, list[Any]], files: dict[str, list[int]]) -> None:
        """Removes from the store, and from ``index``, what is no longer here."""
        for name in set(index) - set(files):
            with contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(f"{self.root}/{name}")
            del index[name]

    def listing(self) -> dict[str, str]:
        """Name to version of every file in the store. Raises UserError on a name that leads out of the folder."""
        self.fs.invalidate_cache()
        found = {}
        for path, info in self.fs.find(self.root, detail=True).items():
            name = PurePosixPath(path.removeprefix(self.root).removeprefix("/"))
            if name.is_absolute() or ".." in name.parts or "\0" in path or not path.startswith(f"{self.root}/"):
                raise UserError(f"{self.url} holds {path[:80]!r}, which leads out of the folder. Remove it there.")
            if not name.name.startswith(".") and self.wanted(str(name)):
                found[str(name)] = version_of(info)
        return found

    def files(self) -> dict[str, list[int]]:
        """Name and stamp of every file of the copy, without hidden ones."""
        found = (path for path in sorted(self.path.rglob("*")) if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(self.path).as_posix(): stamp(path) for path in found}

    def download(self, name: str) -> None:
        """Brings one file here, whole or not at all."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}-{path.name}{TEMPORARY}")
        self.fs.get_file(f"{self.root}/{name}", str(temporary))
        temporary.replace(path)

    def upload(self, name: str) -> str:
        """Takes one file there, whole or not at all; its version there."""
        path, target = str(self.path / name), f"{self.root}/{name}"
        if self.renames:
            temporary = str(PurePosixPath(target).with_name(f".{PurePosixPath(target).name}{TEMPORARY}"))
            self.fs.makedirs(self.fs._parent(target), exist_ok=True)
            self.fs.put_file(path, temporary)
            self.fs.mv(temporary, target)
        else:
            self.fs.put_file(path, target)
        return version_of(self.fs.info(target))

    @property
    def renames(self) -> bool:
        """Whether the store has folders and renames."""
        kinds = self.fs.protocol if isinstance(self.fs.protocol, tuple | list) else (self.fs.protocol,)
        return bool(set(kinds) & set(RENAMING))

    def index(self) -> dict[str, list[Any]]:
        """What was equal here and there: name to version there and stamp here."""
        try:
            return dict(json.loads((self.path / INDEX).read_bytes()))
        except (OSError, ValueError, TypeError):
            return {}  # nothing yet, or damaged: then all is compared anew

    def keep_index(self, index: dict[str, list[Any]]) -> None:
        """Writes the index."""
        write_atomic(self.path / INDEX, json.dumps(index))


def stamp(path: Path) -> list[int]:
    """What tells a file on this disk from what it was: size, time and inode, as files are replaced or grow."""
    if not path.is_file():
        return []
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def version_of(info: dict[str, Any]) -> str:
    """What tells a file of the store from a later one."""
    return f"{info.get('size')} {next((info[name] for name in VERSIONS if info.get(name) is not None), '')}"
