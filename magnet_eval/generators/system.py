"""From prompts to audio around a token decoder: text, blocks of clips, codec, and the time each takes.

Why blocks: the last bits of a matrix product depend on how many rows it has (measured on a CPU), and a
sampled token sooner or later depends on the last bits. With ``exact`` the network therefore always runs on blocks of
the same size, the last one filled up with copies, and a clip's audio depends on its own seed only (on one machine with
one number of threads). Without it, a call is one batch: what a speed measurement wants.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from magnet_eval import config
from magnet_eval.generators import Generation, checkpoints, graphs, loading, parts, random
from magnet_eval.generators.codec import Codec, to_host
from magnet_eval.generators.text import TextEncoder
from magnet_eval.generators.tokens import Stopwatch, Tokens, summed
from magnet_eval.generators.transformer import LanguageModel
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt

TEXT_PAD = 32  # texts are padded to multiples of this, so that most share a block


@dataclass(frozen=True)
class Texts:
    """Text encoder states of one block."""

    hidden: Tensor  # [B, S, width]
    mask: Tensor  # bool [B, S]
    isolated: bool  # False: padding keeps its attention mass, as in audiocraft

    def of(self, lm: LanguageModel) -> tuple[Tensor, Tensor | None]:
        """The conditions [B, S, d] of one model, and the mask it is to attend with."""
        dtype = lm.out_norm.weight.dtype
        return lm.project(self.hidden.to(dtype), self.mask), self.mask if self.isolated else None


def blocks(lengths: Sequence[int], size: int) -> Iterator[tuple[list[int], int]]:
    """Indices of clips that run together, and their common padded text length: full blocks of ``size``.

    The last block of each length repeats its last clip until it is full.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths):
        groups[math.ceil(length / TEXT_PAD) * TEXT_PAD].append(index)
    for padded, members in groups.items():
        for start in range(0, len(members), size):
            block = members[start : start + size]
            yield block + block[-1:] * (size - len(block)), padded


def to_array(iterations: Tensor) -> np.ndarray:
    """Numbers of iterations as uint16 on the host."""
    return iterations.cpu().numpy().astype(np.uint16)


class TextToAudio(ABC):
    """What the token families share; each gives its own ``decode`` and block size."""

    block: dict[str, int]  # clips per network call, by kind of device

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Loads text encoder and codec. Raises UserError on missing or damaged weights."""
        self.model = model
        self.device = checkpoints.pick_device(device)
        self.dtype = checkpoints.pick_dtype(dtype)
        self.sampling = self.setting_of_sampling()
        self.isolated = model.padding == "isolated"
        self.exact = exact and self.sampling == "per_clip" and self.isolated
        if model.weights:
            self.text, self.codec = random.text_encoder(model, self.device), random.codec(model, self.device)
        else:
            self.text = TextEncoder.read(parts.place_of(model, "text"), self.device)
            self.codec = Codec.read(parts.place_of(model, "codec"), self.device)
        self.sample_rate = self.codec.sample_rate

    def setting_of_sampling(self) -> str:
        """``per_clip`` or ``reference``, from the family's decoding settings."""
        return self.model.settings().sampling

    def load(self, role: str) -> LanguageModel:
        """The language model of one role (checkpoint, prompter, rescorer); it fits the text encoder and the codec."""
        family = "masked" if self.model.prompter else self.model.family
        if role != "checkpoint":
            family = "autoregressive"
        place, lm = self._language_model(role, family)
        for what, got, expected in (
            ("text_dim", lm.config.text_dim, self.text.model.config.d_model),
            ("card", lm.config.card, self.codec.card),
            ("frame_rate", lm.config.frame_rate, self.codec.frame_rate),
        ):
            if got != expected:
                raise UserError(
                    f"{place} has {what} {got:g}, but its text encoder and codec go with {expected:g}. "
                    "Set text: and codec: of the model to the folders that it was trained with."
                )
        if lm.config.n_q > self.codec.n_q:
            raise UserError(
                f"{place} makes {lm.config.n_q} codebooks, its codec has {self.codec.n_q}. "
                "Set codec: of the model to the folder that it was trained with."
            )
        by_length = family != "autoregressive" and self.model.preset
        if by_length and lm.config.segment_seconds != self.model.seconds:
            raise UserError(
                f"{place} was trained on clips of {lm.config.segment_seconds:g} s, models/{self.model.name}.yaml says "
                f"{self.model.seconds:g}, and preset {self.model.preset} depends on it: set seconds to the former."
            )
        return lm

    def _language_model(self, role: str, family: str) -> tuple[str | Path, LanguageModel]:
        """The language model of one role, and where it is from."""
        if self.model.weights:
            name = parts.named(self.model)[role]
            return name, random.language_model(name, family, self.device, self.dtype)
        place = parts.place_of(self.model, role)
        return place, loading.load_language_model(
            place, self.device, self.dtype,
            family=family, frame_rate=self.codec.frame_rate, seconds=self.model.seconds,
        )  # fmt: skip

    @abstractmethod
    def decode(self, texts: Texts, frames: int, seeds: Sequence[int]) -> Tokens:
        """Tokens of one block."""

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """One clip per prompt, all of equal length; see generators.Generator."""
        frames = self.codec.frames(prompts[0].seconds)
        watch = Stopwatch(self.device)
        with watch.stage("text"):
            hidden, mask = self.text.encode([prompt.text for prompt in prompts], one_by_one=self.exact)
        made: list[tuple[Tokens, int]] = [None] * len(prompts)  # type: ignore[list-item]  # a block's tokens, a row
        parts = []
        for block, padded in self.blocks(mask):
            texts = self.texts(hidden, mask, block, padded)
            tokens = self.decode(texts, frames, [seeds[i] for i in block])
            parts.append(tokens)
            for row, index in enumerate(block):
                made[index] = tokens, row
        watch.seconds |= summed([part.seconds for part in parts])
        watch.event_seconds |= summed([part.event_seconds for part in parts])
        with watch.stage("codec"):
            waveforms = self.codec.waveforms(
                torch.stack([part.codes[row] for part, row in made]), one_by_one=self.exact
            )
        samples = round(prompts[0].seconds * self.sample_rate)
        with watch.stage("write"):  # whoever writes files adds the time of that
            audio = to_host(waveforms[..., :samples])
        return Generation(
            audio=audio,
            frames_asked=frames,
            frames_made=parts[0].codes.shape[2],
            iterations=parts[0].iterations,
            network_evaluations=parts[0].network_evaluations,
            stage_seconds=watch.seconds,
            event_seconds=watch.event_seconds,
            fixed_at=[to_array(part.fixed_at[row]) for part, row in made if part.fixed_at is not None],
        )

    def texts(self, hidden: Tensor, mask: Tensor, block: list[int], padded: int) -> Texts:
        """The texts of one block, out of all prompts' states [B, S, width] and mask [B, S]."""
        room = padded - mask.shape[1]  # negative where the block's texts are shorter than the longest of all
        return Texts(F.pad(hidden[block], (0, 0, 0, room)), F.pad(mask[block], (0, room)), self.isolated)

    def blocks(self, mask: Tensor) -> Iterator[tuple[list[int], int]]:
        """See ``blocks``; everything at once where bits may depend on the batch."""
        if self.exact:
            return blocks(mask.sum(1).tolist(), self.block[self.device.type])
        length = mask.shape[1]
        if self.isolated and self.device.type == "cuda":  # graphs are recorded anew for every length of text
            length = math.ceil(length / TEXT_PAD) * TEXT_PAD
        return iter([(list(range(len(mask))), length)])

    def release(self) -> None:
        """Lets go of buffers that are kept between calls; the next call of a shape sets up anew."""
        for part in vars(self).values():
            if isinstance(part, LanguageModel):
                graphs.let_go(part)
