"""Training of the token language models: MAGNeT (masked), MusicGen (autoregressive) and their hybrid.

All three have the same network, data, tokens and optimiser; they differ only in the objective of a batch.
"""

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from magnet_eval.generators.transformer import LanguageModel, LMConfig
from magnet_eval.training.captions import plain
from magnet_eval.training.corpus import Batch, Corpus
from magnet_eval.training.objectives import OBJECTIVES, Loss, autoregressive_loss, masked_loss

log = logging.getLogger(__name__)


def tiny_config(family: str) -> LMConfig:
    """The one network that all tiny models share (4.8 M parameters)."""
    return LMConfig(
        dim=256, num_heads=4, num_layers=4, card=256, text_dim=128, causal=family == "autoregressive",
        span_len=3, subcodes_context=5, frame_rate=25.0, segment_seconds=5.0,
    )  # fmt: skip


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
