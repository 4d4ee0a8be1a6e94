"""What each family of language models learns from a batch.

- masked (Ziv et al., 2024): one codebook of each row is masked in spans at a cosine rate, the codebooks before it
  are given, those after it are hidden; the loss is on the masked tokens;
- autoregressive (Copet et al., 2023): delay pattern, causal attention, the loss is on every next token;
- hybrid: a part of each batch is autoregressive, the other masked after a given prompt of random length.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from magnet_eval.generators.autoregressive import delay
from magnet_eval.generators.transformer import LanguageModel, causal_mask, local_mask
from magnet_eval.training.corpus import Batch

STAGE_SHARES = (0.45, 0.25, 0.15, 0.15)  # rows of a masked batch by codebook: the first carries the music
HYBRID_SHARES = (0.3, 0.7)  # autoregressive and masked rows of a hybrid batch
NO_TEXT_SHARE = 0.15  # rows without text, for guidance


@dataclass
class Loss:
    """Cross-entropy sums and token counts by codebook."""

    total: list[Tensor] = field(default_factory=lambda: [torch.zeros(()) for _ in range(4)])
    count: list[int] = field(default_factory=lambda: [0] * 4)

    def add(self, codebook: int, logits: Tensor, targets: Tensor) -> None:
        """Adds logits [n, card] against targets [n]."""
        self.total[codebook] = self.total[codebook] + F.cross_entropy(logits.float(), targets, reduction="sum")
        self.count[codebook] += len(targets)

    def mean(self) -> Tensor:
        """Mean over all tokens."""
        return sum(self.total, torch.zeros(())) / max(1, sum(self.count))

    def by_codebook(self) -> list[float]:
        """Mean of each codebook, nats."""
        return [(t / max(1, c)).item() for t, c in zip(self.total, self.count, strict=True)]


def span_masks(rates: Tensor, frames: int, span: int, generator: torch.Generator) -> Tensor:
    """Random masks [B, frames] of whole spans, ``rates`` [B] of them, at least one."""
    spans = frames // span
    order = torch.rand(len(rates), spans, generator=generator).argsort(1).argsort(1)
    wanted = (rates * spans).round().clamp(1, spans)[:, None]
    return (order < wanted).repeat_interleave(span, 1)


def masked_loss(
    lm: LanguageModel, batch: Batch, loss: Loss, generator: torch.Generator, *,
    rate: float | None = None, prompts: bool = False, drop: float = NO_TEXT_SHARE,
) -> None:  # fmt: skip
    """MAGNeT's objective. rate: a fixed masking rate (for validation) in place of the random cosine one."""
    span, token = lm.config.span_len, lm.config.mask_token
    frames = batch.codes.shape[-1] // span * span
    for k, part in enumerate(batch.split(STAGE_SHARES)):
        rows = len(part.codes)
        codes = part.codes[..., :frames].clone()
        uniform = torch.rand(rows, generator=generator)
        rates = torch.cos(uniform * math.pi / 2) if rate is None else torch.full((rows,), rate)
        hidden = span_masks(rates, frames, span, generator).to(codes.device)
        if prompts:  # frames before a random time are given
            start = torch.rand(rows, generator=generator) * 0.8 * frames
            given = (torch.arange(frames) < start[:, None]).to(codes.device)
            hidden &= ~given
        targets = codes[:, k].clone()
        codes[:, k].masked_fill_(hidden, token)
        codes[:, k + 1 :] = token
        if prompts:
            codes[:, k + 1 :] = torch.where(given[:, None], part.codes[:, k + 1 :, :frames], codes[:, k + 1 :])
        text, text_mask = part.conditions(lm, drop, generator)
        context = local_mask(frames, lm.config.subcodes_context, codes.device) if k else None
        logits = lm(codes, text, text_mask, attention_mask=context, codebook=k)[:, 0]
        loss.add(k, logits[hidden], targets[hidden])


def autoregressive_loss(
    lm: LanguageModel, batch: Batch, loss: Loss, generator: torch.Generator, *, drop: float = NO_TEXT_SHARE
) -> None:
    """MusicGen's objective."""
    sequence = delay(batch.codes, lm.config.mask_token)
    text, text_mask = batch.conditions(lm, drop, generator)
    inputs = sequence[..., :-1]
    logits = lm(inputs, text, text_mask, attention_mask=causal_mask(inputs.shape[-1], inputs.device))
    frames = batch.codes.shape[-1]
    for k in range(lm.config.n_q):
        loss.add(k, logits[:, k, k : k + frames].flatten(0, 1), batch.codes[:, k].flatten())


Objective = Callable[[LanguageModel, Batch, Loss, torch.Generator, float], None]  # the last: share without text


def _masked(lm: LanguageModel, batch: Batch, loss: Loss, generator: torch.Generator, drop: float) -> None:
    masked_loss(lm, batch, loss, generator, drop=drop)


def _autoregressive(lm: LanguageModel, batch: Batch, loss: Loss, generator: torch.Generator, drop: float) -> None:
    autoregressive_loss(lm, batch, loss, generator, drop=drop)


def _hybrid(lm: LanguageModel, batch: Batch, loss: Loss, generator: torch.Generator, drop: float) -> None:
    first, second = batch.split(HYBRID_SHARES)
    autoregressive_loss(lm, first, loss, generator, drop=drop)
    masked_loss(lm, second, loss, generator, prompts=True, drop=drop)


OBJECTIVES: dict[str, Objective] = {"masked": _masked, "autoregressive": _autoregressive, "hybrid": _hybrid}
