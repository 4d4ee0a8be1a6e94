"""MusicGen's decoding (Copet et al., 2023): one step after the other in the delay pattern, with a key-value cache.

Codebook k runs k + 1 steps behind: step s of the sequence holds frame s - k - 1 of codebook k, step 0 is empty, and a
clip of T frames takes T + K - 1 steps.
"""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from magnet_eval import config
from magnet_eval.decoding import AutoregressiveDecoding
from magnet_eval.generators import long
from magnet_eval.generators.graphs import Graphs, kept
from magnet_eval.generators.sampling import Choose, chooser, sample
from magnet_eval.generators.stepper import Stepper
from magnet_eval.generators.streaming import StreamingTextToAudio
from magnet_eval.generators.system import Texts
from magnet_eval.generators.tokens import Steps, Stopwatch, Tokens, drained, guide
from magnet_eval.generators.transformer import LanguageModel, causal_mask
from magnet_eval.lookup import UserError

UNKNOWN = -1  # a token that is still to be made
TOGETHER = 64  # steps that share a recording, and whose noise is drawn at once


def delay(codes: Tensor, empty: int) -> Tensor:
    """The delay pattern [B, K, T + K] of codes [B, K, T]; what is outside the clip is ``empty``."""
    batch, n_q, frames = codes.shape
    sequence = codes.new_full((batch, n_q, frames + n_q), empty)
    for k in range(n_q):
        sequence[:, k, k + 1 : k + 1 + frames] = codes[:, k]
    return sequence


def undelay(sequence: Tensor) -> Tensor:
    """The codes [B, K, T, ...] behind a delayed sequence (or its logits) [B, K, T + K, ...]."""
    n_q, frames = sequence.shape[1], sequence.shape[2] - sequence.shape[1]
    return torch.stack([sequence[:, k, k + 1 : k + 1 + frames] for k in range(n_q)], dim=1)


@torch.inference_mode()
def decode(
    lm: LanguageModel,
    text: Tensor,
    settings: AutoregressiveDecoding,
    frames: int,
    choose: Choose,
    *,
    text_mask: Tensor | None = None,
    prompt: Tensor | None = None,
) -> Tokens:
    """Tokens [B, K, frames] for conditions ``text`` [B, S, d]; arguments as in masked.decode.

    Raises UserError if the prompt leaves nothing to generate.
    """
    return drained(steps(lm, text, settings, frames, choose, text_mask=text_mask, prompt=prompt))


@torch.inference_mode()
def steps(
    lm: LanguageModel,
    text: Tensor,
    settings: AutoregressiveDecoding,
    frames: int,
    choose: Choose,
    *,
    text_mask: Tensor | None = None,
    prompt: Tensor | None = None,
) -> Steps:
    """``decode``, step by step; a frame is finished with its last codebook."""
    given = 0 if prompt is None else prompt.shape[2]
    if given >= frames:
        raise UserError(f"{frames} frames with {given} given leave nothing to generate; ask for more.")
    if settings.temperature == 0:
        settings = dataclasses.replace(settings, temperature=1.0, greedy=True)
    codes = torch.full((len(text), lm.config.n_q, frames), UNKNOWN, device=text.device)
    if prompt is not None:
        codes[..., :given] = prompt
    sequence = delay(codes, lm.config.mask_token)
    watch, n_q, end = Stopwatch(text.device), lm.config.n_q, sequence.shape[2]
    made, shape = end - given - 1, (len(text), end, text.shape[1], guidance(settings))
    with kept(lm, _Loop, *shape) as loop:
        with watch.stage("prefill"):
            loop.begin(text, text_mask, sequence, given)
            loop.step(choose, settings, made)
        yield (done := max(given + 2 - n_q, 0)), partial(loop.beginning, done)
        with watch.stage("decode"):
            for step in range(given + 2, end):
                loop.step(choose, settings, end - step)
                yield (done := max(step - n_q + 1, 0)), partial(loop.beginning, done)
        codes = undelay(loop.sequence)
    evaluations = made * (1 if guidance(settings) == "none" else 2)
    return Tokens(codes, made, evaluations, watch.seconds, watch.event_seconds)


def guidance(settings: AutoregressiveDecoding) -> str:
    """How the unconditional half is computed: ``none``, ``together`` with the other, or ``apart``."""
    if settings.cfg == 1:
        return "none"
    return "apart" if settings.two_step_cfg else "together"


class _Loop:
    """The buffers of a decoding, and its step."""

    def __init__(self, lm: LanguageModel, batch: int, length: int, text_length: int, guidance: str) -> None:
        """For delayed sequences of ``length``."""
        self.lm, self.batch = lm, batch
        rows = {"none": [(batch, 0)], "together": [(batch, batch)], "apart": [(batch, 0), (0, batch)]}[guidance]
        self.steppers = [Stepper(lm, told, untold, length - 1, text_length) for told, untold in rows]
        self.sequence = torch.empty(batch, lm.config.n_q, length, dtype=torch.long, device=lm.device)
        self.at, self.turn = (torch.zeros(1, dtype=torch.long, device=lm.device) for _ in range(2))
        self.noises: dict[tuple[int, ...], Tensor] = {}  # one for each kind of it, for recordings know its place
        self.noise: Tensor | None = None
        self.position = self.turns = 0  # what the device has in ``at``, and the turns it has noise for
        self.graphs = Graphs(lm.device)

    def begin(self, text: Tensor, text_mask: Tensor | None, sequence: Tensor, given: int) -> None:
        """Takes text and sequence [B, K, length] of a decoding, the first ``given`` frames of which are known."""
        self.sequence.copy_(sequence)
        self.at.fill_(given)
        self.position, self.turns = given, 0
        for stepper in self.steppers:
            stepper.listen(text[: stepper.told], None if text_mask is None else text_mask[: stepper.told])
            if given:
                known = sequence[..., :given].repeat(stepper.rows // self.batch, 1, 1)
                mask = None if text_mask is None else text_mask[: stepper.told]
                causal = causal_mask(given, text.device)
                self.lm(known, text[: stepper.told], mask, causal, codebook=0, cache=stepper.cache)

    def _draw(self, choose: Choose, n: int) -> None:
        """Noise for the next ``n`` turns."""
        n_q, card = self.lm.config.n_q, self.lm.config.card
        noise = torch.stack([choose.draw(self.batch, n_q, card) for _ in range(n)])
        kind = noise.shape[1:]
        if kind not in self.noises:
            self.noises[kind] = noise.new_empty(TOGETHER, *kind, device=self.lm.device)
        self.noise = self.noises[kind]
        self.noise[:n].copy_(noise)
        self.turn.zero_()

    def step(self, choose: Choose, settings: AutoregressiveDecoding, left: int) -> None:
        """One step of those that are ``left``."""
        if not settings.greedy:
            if self.turns == 0:
                self.turns = min(TOGETHER, left)
                self._draw(choose, self.turns)
            self.turns -= 1
        self.position += 1
        length = self.position
        if self.lm.device.type == "cuda":  # one recording serves many steps
            length = min(math.ceil(length / TOGETHER) * TOGETHER, self.sequence.shape[2] - 1)
        key = length, dataclasses.astuple(settings), [stepper.cache.text_mask is None for stepper in self.steppers][0]
        self.graphs.run(key, lambda: self._step(choose, settings, length))

    def _step(self, choose: Choose, settings: AutoregressiveDecoding, length: int) -> Tensor:
        codes = self.sequence.index_select(2, self.at)[..., 0]
        logits = torch.cat([stepper.logits(codes, self.at, length) for stepper in self.steppers]).float()
        if len(logits) > self.batch:
            logits = guide(logits, settings.cfg)
        if settings.greedy or self.noise is None:
            tokens = logits.argmax(-1)
        else:
            noise = self.noise.index_select(0, self.turn)[0]
            tokens, _ = sample(logits, settings.temperature, settings, choose, noise)
            self.turn.add_(1)
        self.at.add_(1)
        here = self.sequence.index_select(2, self.at)
        return self.sequence.index_copy_(2, self.at, torch.where(here == UNKNOWN, tokens[..., None], here))

    def beginning(self, done: int) -> Tensor:
        """The first ``done`` frames [B, K, done] of what has been made."""
        return undelay(self.sequence)[..., :done]


class AutoregressiveGenerator(StreamingTextToAudio):
    """A MusicGen-style model of the zoo."""

    block = {"cpu": 8, "cuda": 8}

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError on missing or damaged weights."""
        super().__init__(model, device, dtype, exact)
        self.lm = self.load("checkpoint")

    def steps(self, texts: Texts, frames: int, seeds: Sequence[int]) -> Steps:
        """Tokens of one block, step by step."""
        settings: AutoregressiveDecoding = self.model.settings()
        text, text_mask = texts.of(self.lm)
        choose = chooser(self.sampling, seeds, self.device)

        def window(frames: int, prompt: Tensor | None) -> Steps:
            return steps(self.lm, text, settings, frames, choose, text_mask=text_mask, prompt=prompt)

        return long.steps(window, frames, self.lm.config, settings.stride_seconds)
