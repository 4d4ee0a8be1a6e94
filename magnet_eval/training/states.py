"""States of trainings that can go on: written whole, read with care, held by one process at a time."""

import errno
import fcntl
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from magnet_eval.lookup import UserError


def save(path: Path, content: Any) -> None:
    """Writes a state, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    torch.save(content, partial)
    partial.replace(path)


@contextmanager
def reading(path: Path, seed: int) -> Iterator[dict[str, Any]]:
    """The state in ``path``, to be loaded into networks inside the block.

    Raises UserError where it is damaged, does not fit them, or was begun with another seed.
    """
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        begun = saved.get("seed", seed)
        if begun == seed:
            yield saved
            return
    except (
        RuntimeError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        raise UserError(f"{path} is no state of this training, or damaged; to begin anew: rm {path}") from error
    raise UserError(
        f"{path} was begun with seed={begun}, got seed={seed}; type seed={begun} to go on, or another work="
    )


def existing(path: Path) -> Path:
    """``path`` itself. Raises FileNotFoundError if it is not there: the hub would be asked for a model of its name."""
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return path


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Whether this process is the one that may work on ``path`` inside the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Waits until no other process works on ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
