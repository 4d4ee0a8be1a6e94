"""Training of the token language models: MAGNeT (masked), MusicGen (autoregressive) and their hybrid.

All three have the same network, data, tokens and optimiser; they differ only in the objective of a batch:

- masked (Ziv et al., 2024): one codebook of each row is masked in spans at a cosine rate, the codebooks before it
  are given, those after it are hidden; the loss is on the masked tokens;
- autoregressive (Copet et al., 2023): delay pattern, causal attention, the loss is on every next token;
- hybrid: one half of each batch is autoregressive, the other masked after a given prompt of random length.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoTokenizer, T5EncoderModel

from magnet_eval.generators.transformer import LanguageModel, LMConfig, causal_mask, local_mask
from magnet_eval.training.captions import paraphrase, plain
from magnet_eval.training.composer import Piece
from magnet_eval.training.text import tokenize

log = logging.getLogger(__name__)
STAGE_SHARES = (0.45, 0.25, 0.15, 0.15)  # rows of a masked batch by codebook: the first carries the music
NO_TEXT_SHARE = 0.15  # rows without text, for guidance


def tiny_config(family: str) -> LMConfig:
    """The one network that all tiny models share (4.8 M parameters)."""
    return LMConfig(
        dim=256, num_heads=4, num_layers=4, card=256, text_dim=128, causal=family == "autoregressive",
        span_len=3, subcodes_context=5, frame_rate=25.0, segment_seconds=5.0,
    )  # fmt: skip


@dataclass
class Corpus:
    """Tokens and captions of one split, with the frozen text encoder."""

    codes: Tensor  # int16 [n, 4, frames]
    pieces: Sequence[Piece]
    text_folder: Path
    rng: np.random.Generator

    def __post_init__(self) -> None:
        """Loads the text encoder."""
        self.tokenizer = AutoTokenizer.from_pretrained(self.text_folder)
        self.encoder = T5EncoderModel.from_pretrained(self.text_folder).float().eval()

    def captions(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """A random paraphrase of each row, or now and then the plain caption."""
        pieces = (self.pieces[row] for row in rows)
        return [plain(p) if self.rng.random() < 0.3 else paraphrase(p, self.rng)[0] for p in pieces]

    @torch.no_grad()
    def hidden(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Text encoder states [B, S, 128] and mask [B, S] of texts."""
        tokens = tokenize(self.tokenizer, texts)
        with torch.autocast("cpu", torch.bfloat16):
            states = self.encoder(**tokens).last_hidden_state
        return states.float(), tokens["attention_mask"].bool()

    def batch(self, size: int) -> "Batch":
        """A random batch; its last rows are without text."""
        rows = self.rng.integers(len(self.codes), size=size)
        hidden, mask = self.hidden(self.captions(rows))
        return Batch(self.codes[rows].long(), hidden, mask)


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

    def conditions(self, lm: LanguageModel, drop: float) -> tuple[Tensor, Tensor]:
        """Projected text of all rows but the last ``drop`` share, which go without."""
        keep = max(1, round(len(self.codes) * (1 - drop)))
        if drop == 1:
            return lm.project(self.hidden * 0, self.mask & False), self.mask & False
        return lm.project(self.hidden[:keep], self.mask[:keep]), self.mask[:keep]


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
        hidden = span_masks(rates, frames, span, generator)
        if prompts:  # frames before a random time are given
            start = torch.rand(rows, generator=generator) * 0.8 * frames
            hidden &= torch.arange(frames) >= start[:, None]
        targets = codes[:, k].clone()
        codes[:, k].masked_fill_(hidden, token)
        codes[:, k + 1 :] = token
        if prompts:
            given = (torch.arange(frames) < start[:, None])[:, None]
            codes[:, k + 1 :] = torch.where(given, part.codes[:, k + 1 :, :frames], codes[:, k + 1 :])
        text, text_mask = part.conditions(lm, drop)
        context = local_mask(frames, lm.config.subcodes_context) if k else None
        logits = lm(codes, text, text_mask, attention_mask=context, codebook=k)[:, 0]
        loss.add(k, logits[hidden], targets[hidden])


def delayed(codes: Tensor, token: int) -> Tensor:
    """Delay pattern [B, K, T + K] of codes [B, K, T]: codebook k moves k + 1 steps right, the rest is ``token``."""
    rows, books, frames = codes.shape
    out = codes.new_full((rows, books, frames + books), token)
    for k in range(books):
        out[:, k, k + 1 : k + 1 + frames] = codes[:, k]
    return out


def autoregressive_loss(lm: LanguageModel, batch: Batch, loss: Loss, *, drop: float = NO_TEXT_SHARE) -> None:
    """MusicGen's objective."""
    sequence = delayed(batch.codes, lm.config.mask_token)
    text, text_mask = batch.conditions(lm, drop)
    inputs = sequence[..., :-1]
    logits = lm(inputs, text, text_mask, attention_mask=causal_mask(inputs.shape[-1]))
    frames = batch.codes.shape[-1]
    for k in range(lm.config.n_q):
        loss.add(k, logits[:, k, k : k + frames].flatten(0, 1), batch.codes[:, k].flatten())


Objective = Callable[[LanguageModel, Batch, Loss, torch.Generator], None]


def _masked(lm: LanguageModel, batch: Batch, loss: Loss, generator: torch.Generator) -> None:
    masked_loss(lm, batch, loss, generator)


def _autoregressive(lm: LanguageModel, batch: Batch, loss: Loss, _: torch.Generator) -> None:
    autoregressive_loss(lm, batch, loss)


def _hybrid(lm: LanguageModel, batch: Batch, loss: Loss, generator: torch.Generator) -> None:
    first, second = batch.split((0.3, 0.7))
    autoregressive_loss(lm, first, loss)
    masked_loss(lm, second, loss, generator, prompts=True)


OBJECTIVES: dict[str, Objective] = {"masked": _masked, "autoregressive": _autoregressive, "hybrid": _hybrid}


def optimizers(lm: LanguageModel, lr: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the layers' matrices, AdamW for embeddings, heads and norms."""
    matrices = [p for name, p in lm.named_parameters() if p.dim() == 2 and name.startswith("transformer")]
    chosen = {id(p) for p in matrices}
    others = [p for p in lm.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.01),
    ]


@dataclass
class Progress:
    """Where a run of training stands; saved with its state so that it can go on."""

    step: int = 0
    seconds: float = 0.0

    def done(self, minutes: float, max_steps: int | None) -> float:
        """Share of the time, or of the steps if that is more."""
        return max(self.seconds / (60 * minutes), self.step / max_steps if max_steps else 0.0)


def learning_rate(done: float, step: int, peak: float) -> float:
    """Warm-up over 200 steps, flat, then linear to zero over the last 40 % of the time budget."""
    return peak * min(1.0, (step + 1) / 200) * min(1.0, (1 - done) / 0.4)


def train_language(
    family: str, train: Corpus, valid: Corpus, out: Path, state_folder: Path, minutes: float, *,
    batch: int = 64, lr: float = 2e-3, seed: int = 0, save_every: float = 120.0, max_steps: int | None = None,
) -> dict:  # fmt: skip
    """Trains one family for ``minutes`` of its own time, resuming where it stopped; writes ``out`` and returns figures.

    max_steps ends it earlier; then the seed alone fixes the weights.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    lm = LanguageModel(tiny_config(family))
    opts = optimizers(lm, lr)
    at = Progress()
    state = state_folder / f"{family}.pt"
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        lm.load_state_dict(saved["model"])
        for opt, opt_state in zip(opts, saved["optimizers"], strict=True):
            opt.load_state_dict(opt_state)
        at = Progress(saved["step"], saved["seconds"])
        log.info("%s: goes on at step %d", family, at.step)
    last = saved_at = time.perf_counter()
    running: list[float] = []
    while (done := at.done(minutes, max_steps)) < 1:
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = learning_rate(done, at.step, lr)
        loss = Loss()
        # the fused attention's backward pass is three times slower on the CPU than plain matrix products
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
            OBJECTIVES[family](lm, train.batch(batch), loss, generator)
        mean = loss.mean()
        mean.backward()
        nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        running.append(mean.item())
        now = time.perf_counter()
        at.step, at.seconds, last = at.step + 1, at.seconds + now - last, now
        if at.step % 100 == 0:
            by_book = " ".join(f"{value:.2f}" for value in loss.by_codebook())
            log.info(
                "%s: step %d, %.0f s, loss %.3f, by codebook %s",
                family, at.step, at.seconds, np.mean(running[-100:]), by_book,
            )  # fmt: skip
        if now - saved_at > save_every:
            _save_state(state, lm, opts, at)
            saved_at = now
    _save_state(state, lm, opts, at)
    save_language(lm, family, out)
    figures = {"steps": at.step, "seconds": round(at.seconds), "batch": batch, "held_out": validate(lm, family, valid)}
    log.info("%s: %s", family, json.dumps(figures))
    return figures


def _save_state(path: Path, lm: LanguageModel, opts: list[torch.optim.Optimizer], at: Progress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"model": lm.state_dict(), "optimizers": [opt.state_dict() for opt in opts], **asdict(at)}
    torch.save(content, path.with_suffix(".partial"))
    path.with_suffix(".partial").replace(path)


def save_language(lm: LanguageModel, family: str, out: Path) -> None:
    """config.json and model.safetensors in half precision."""
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in lm.state_dict().items()}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps({"family": family, **asdict(lm.config)}, indent=1) + "\n")


@torch.no_grad()
def validate(lm: LanguageModel, family: str, valid: Corpus, clips: int = 128) -> dict[str, list[float]]:
    """Held-out cross-entropy by codebook (nats) with the right, a shuffled and no caption."""
    codes = valid.codes[:clips].long()
    hidden, mask = valid.hidden([plain(piece) for piece in valid.pieces[:clips]])
    batches = {"right": Batch(codes, hidden, mask), "shuffled": Batch(codes, hidden.roll(1, 0), mask.roll(1, 0))}
    result = {}
    for name, batch in [*batches.items(), ("none", batches["right"])]:
        drop = 1.0 if name == "none" else 0.0
        if family != "masked":
            loss = Loss()
            with torch.autocast("cpu", torch.bfloat16):
                autoregressive_loss(lm, batch, loss, drop=drop)
            result[f"autoregressive, {name} caption"] = [round(v, 3) for v in loss.by_codebook()]
        if family != "autoregressive":
            for rate in (0.6, 1.0):
                loss = Loss()
                with torch.autocast("cpu", torch.bfloat16):
                    masked_loss(lm, batch, loss, torch.Generator().manual_seed(1), rate=rate, drop=drop)
                result[f"masked {rate:.0%}, {name} caption"] = [round(v, 3) for v in loss.by_codebook()]
    return result
