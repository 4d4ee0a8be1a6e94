"""The training data on disk: rendered pieces of both splits as int16 arrays beside their attributes."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from magnet_eval.training.composer import draw, is_held_out
from magnet_eval.training.states import waiting
from magnet_eval.training.tasks import MUSIC, Task

log = logging.getLogger(__name__)
SPLITS = ("train", "valid", "test")
CHUNK = 1000
SEED = 0  # of the data, whatever the seed of a training: tokens on disk belong to these pieces


def split_pieces(task: Task = MUSIC) -> dict[str, list[Any]]:
    """Pieces of each split, always the same. Valid and test share no combination of attributes with train."""
    pieces = list(task.everything())
    rng = np.random.default_rng(SEED)
    held_out = draw([piece for piece in pieces if is_held_out(piece)], task.n_valid + task.n_test, rng)
    train = [piece for piece in pieces if not is_held_out(piece)]
    return {"train": draw(train, len(train), rng), "valid": held_out[: task.n_valid], "test": held_out[task.n_valid :]}


def prepare(folder: Path, task: Task = MUSIC) -> None:
    """Renders every split into ``folder`` (music: 2.1 GB, two minutes on two cores); finished splits are kept."""
    with waiting(folder / "rendering"):
        for split, pieces in split_pieces(task).items():
            if not (folder / f"{split}.npy").is_file():
                _render(folder, split, pieces, task)


def _render(folder: Path, split: str, pieces: list[Any], task: Task) -> None:
    path = folder / f"{split}.npy"
    partial = path.with_suffix(".partial")
    audio = np.lib.format.open_memmap(partial, mode="w+", dtype=np.int16, shape=(len(pieces), 80_000))
    for start in range(0, len(pieces), CHUNK):
        chunk = task.render(pieces[start : start + CHUNK])
        audio[start : start + CHUNK] = np.round(np.clip(chunk, -1, 1) * 32767)
        log.info("%s: rendered %d of %d pieces", split, start + len(chunk), len(pieces))
    audio.flush()
    lines = (json.dumps(asdict(piece)) + "\n" for piece in pieces)
    (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    partial.rename(path)


def load(folder: Path, split: str, task: Task = MUSIC) -> tuple[np.ndarray, list[Any]]:
    """Audio int16 [n, 80,000] (memory-mapped) and the pieces of one split."""
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return np.load(folder / f"{split}.npy", mmap_mode="r"), [task.piece(**json.loads(line)) for line in lines]


def to_float(audio: np.ndarray) -> np.ndarray:
    """int16 samples as float32 in -1 to 1."""
    return audio.astype(np.float32) / 32767
