"""MusicGen's decoding (Copet et al., 2023): one step after the other in the delay pattern, with a key-value cache.

Codebook k runs k + 1 steps behind: step s of the sequence holds frame s - k - 1 of codebook k, step 0 is empty, and a
clip of T frames takes T + K - 1 steps.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from magnet_eval import config
from magnet_eval.decoding import AutoregressiveDecoding
from magnet_eval.generators import long
from magnet_eval.generators.sampling import Choose, chooser, sample
from magnet_eval.generators.streaming import StreamingTextToAudio
from magnet_eval.generators.system import Texts
from magnet_eval.generators.tokens import Steps, Stopwatch, Tokens, drained, guide
from magnet_eval.generators.transformer import Cache, LanguageModel, causal_mask
from magnet_eval.lookup import UserError


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
    unknown = -1
    codes = torch.full((len(text), lm.config.n_q, frames), unknown, device=text.device)
    if prompt is not None:
        codes[..., :given] = prompt
    sequence = delay(codes, lm.config.mask_token)
    net = _Network(lm, text, text_mask, settings, steps=sequence.shape[2])
    watch = Stopwatch(text.device)
    for step in range(given + 1, sequence.shape[2]):
        with watch.stage("prefill" if step == given + 1 else "decode"):
            logits = net.logits(sequence[..., net.length : step])
            tokens, _ = sample(logits, settings.temperature, settings, choose)
            here = sequence[..., step]
            here.copy_(torch.where(here == unknown, tokens, here))
        yield (done := max(step - lm.config.n_q + 1, 0)), partial(_beginning, sequence, done)
    made = sequence.shape[2] - given - 1
    return Tokens(undelay(sequence), made, made * (2 if net.guided else 1), watch.seconds)


def _beginning(sequence: Tensor, done: int) -> Tensor:
    """The first ``done`` frames [B, K, done] behind a delayed sequence."""
    return undelay(sequence)[..., :done]


class _Network:
    """The model under guidance; each call goes on where the last one ended."""

    def __init__(
        self, lm: LanguageModel, text: Tensor, text_mask: Tensor | None, settings: AutoregressiveDecoding, steps: int
    ) -> None:
        self.lm, self.text_mask, self.cfg = lm, text_mask, settings.cfg
        self.guided = settings.cfg != 1
        batch = len(text)
        if self.guided and settings.two_step_cfg:
            self.caches = [Cache(lm, text, batch=batch, steps=steps), Cache(lm, text[:0], batch=batch, steps=steps)]
        else:
            self.caches = [Cache(lm, text, batch=batch * (1 + self.guided), steps=steps)]
        self.text = text

    @property
    def length(self) -> int:
        """Steps seen so far."""
        return self.caches[0].length

    def logits(self, sequence: Tensor) -> Tensor:
        """[B, K, card] of the step after ``sequence`` [B, K, new steps]."""
        mask = causal_mask(sequence.shape[2], sequence.device) if sequence.shape[2] > 1 else None
        both = torch.cat([sequence, sequence]) if self.guided and len(self.caches) == 1 else sequence
        parts = [self.lm(both, self.text, self.text_mask, mask, cache=cache) for cache in self.caches]
        logits = torch.cat(parts)[:, :, -1].float()
        return guide(logits, self.cfg) if self.guided else logits


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
