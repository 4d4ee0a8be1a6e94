"""What the language models train on: tokens and captions, in random batches with the frozen text encoder's states."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, T5EncoderModel

from magnet_eval.generators.transformer import LanguageModel
from magnet_eval.training.states import existing
from magnet_eval.training.tasks import MUSIC, Task
from magnet_eval.training.text import tokenize


@dataclass
class Corpus:
    """Tokens and captions of one split, with the frozen text encoder."""

    codes: Tensor  # int16 [n, 4, frames]
    pieces: Sequence[Any]
    text_folder: Path
    rng: np.random.Generator
    device: str = "cpu"
    task: Task = MUSIC

    def __post_init__(self) -> None:
        """Loads the text encoder. Raises FileNotFoundError where there is none."""
        existing(self.text_folder / "config.json")
        self.tokenizer = AutoTokenizer.from_pretrained(self.text_folder)
        self.encoder = T5EncoderModel.from_pretrained(self.text_folder).float().eval().to(self.device)

    def captions(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """A random paraphrase of each row, or now and then the plain caption."""
        pieces, task = (self.pieces[row] for row in rows), self.task
        return [task.plain(p) if self.rng.random() < 0.3 else task.paraphrase(p, self.rng)[0] for p in pieces]

    @torch.no_grad()
    def hidden(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Text encoder states [B, S, 128] and mask [B, S] of texts."""
        tokens = {name: value.to(self.device) for name, value in tokenize(self.tokenizer, texts).items()}
        with torch.autocast(self.device, torch.bfloat16):
            states = self.encoder(**tokens).last_hidden_state
        return states.float(), tokens["attention_mask"].bool()

    def batch(self, size: int) -> "Batch":
        """A random batch."""
        rows = self.rng.integers(len(self.codes), size=size)
        hidden, mask = self.hidden(self.captions(rows))
        return Batch(self.codes[rows].long().to(self.device), hidden, mask)


@dataclass
class Batch:
    """Codes [B, 4, T], text states [B, S, 128] and text mask [B, S]."""

    codes: Tensor
    hidden: Tensor
    mask: Tensor

    def split(self, shares: Sequence[float]) -> Iterator["Batch"]:
        """Consecutive parts of about these shares, none empty."""
        ends = np.round(np.cumsum(shares) * len(self.codes)).astype(int)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            yield Batch(self.codes[start:end], self.hidden[start:end], self.mask[start:end])

    def conditions(self, lm: LanguageModel, drop: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Projected text and mask of all rows but the last ones, which go without: ``drop`` of the rows on average.

        How many is rounded at random, since ``drop`` of a small part may be less than one row.
        """
        rows = len(self.codes)
        keep = rows - int(rows * drop + torch.rand((), generator=generator, dtype=torch.double).item())
        if keep == 0:
            return lm.project(self.hidden * 0, self.mask & False), self.mask & False
        return lm.project(self.hidden[:keep], self.mask[:keep]), self.mask[:keep]
