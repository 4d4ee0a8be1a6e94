"""Training of the token language models: MAGNeT (masked), MusicGen (autoregressive) and their hybrid.

All three have the same network, data, tokens and optimiser; they differ only in the objective of a batch.
"""

import copy
import json
import logging
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from magnet_eval.ablation import HEADS
from magnet_eval.generators.transformer import LanguageModel, LMConfig
from magnet_eval.training.corpus import Batch, Corpus
from magnet_eval.training.objectives import NO_TEXT_SHARE, OBJECTIVES, Loss, autoregressive_loss, masked_loss
from magnet_eval.training.states import reading, save

log = logging.getLogger(__name__)
AVERAGED = 0.998  # of the moving average of the weights: about the last 500 steps


@dataclass(frozen=True)
class TrainConfig:
    """One way to train a language model; the defaults are how the embedded ones were trained."""

    family: str  # of OBJECTIVES
    width: int = 256
    span_len: int = 3  # frames masked together
    subcodes_context: int = 5  # frames that codebooks after the first may look to either side; -1: all
    no_text: float = NO_TEXT_SHARE  # share of rows without text (guidance dropout)
    batch: int = 64
    lr: float = 2e-3

    def network(self) -> LMConfig:
        """The one network that all tiny models share (4.8 M parameters; 1.3 M at width 128)."""
        return LMConfig(
            dim=self.width, num_heads=HEADS, num_layers=4, card=256, text_dim=128, frame_rate=25.0,
            segment_seconds=5.0, causal=self.family == "autoregressive", span_len=self.span_len,
            subcodes_context=self.subcodes_context,
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


def learning_rate(done: float, step: int, peak: float) -> float:
    """Warm-up over 200 steps, flat, then linear to zero over the last 40 % of the budget."""
    return peak * min(1.0, (step + 1) / 200) * min(1.0, (1 - done) / 0.4)


class Trainer:
    """One model in training: network, its moving average, optimisers, how far it is; saved so that it can go on."""

    def __init__(self, config: TrainConfig, state: Path, device: str, seed: int) -> None:
        """Goes on from the file ``state`` if there is one."""
        torch.manual_seed(seed)
        self.config, self.state, self.device, self.seed = config, state, device, seed
        self.lm = LanguageModel(config.network()).to(device)
        self.average = copy.deepcopy(self.lm).requires_grad_(False)
        self.optimizers = optimizers(self.lm, config.lr)
        self.step, self.seconds, self.sittings = 0, 0.0, 1
        if state.is_file():
            with reading(state, seed) as saved:
                self.lm.load_state_dict(saved["model"])
                self.average.load_state_dict(saved.get("average", saved["model"]))
                for optimizer, optimizer_state in zip(self.optimizers, saved["optimizers"], strict=True):
                    optimizer.load_state_dict(optimizer_state)
                self.step, self.seconds = saved["step"], saved["seconds"]
                self.sittings = saved.get("sittings", 1) + 1
            log.info("%s: goes on at step %d", state.stem, self.step)
        self.generator = torch.Generator().manual_seed(seed + self.step)

    def save(self) -> None:
        """Writes the state, whole or not at all."""
        networks = {"model": self.lm.state_dict(), "average": self.average.state_dict()}
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        counts = {"step": self.step, "seconds": self.seconds, "sittings": self.sittings, "seed": self.seed}
        save(self.state, {**networks, "optimizers": states, **counts})

    def learn(self, batch: Batch, done: float) -> Loss:
        """One step on a batch; ``done`` is the share of the budget that is spent."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(done, self.step, self.config.lr)
        loss = Loss()
        # on the CPU the fused attention's backward pass is three times slower than plain matrix products
        kernel = sdpa_kernel(SDPBackend.MATH) if self.device == "cpu" else nullcontext()
        with kernel, torch.autocast(self.device, torch.bfloat16):
            OBJECTIVES[self.config.family](self.lm, batch, loss, self.generator, self.config.no_text)
        loss.mean().backward()
        nn.utils.clip_grad_norm_(self.lm.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        decay = min(AVERAGED, self.step / (9 + self.step))  # a young average forgets its random start
        torch._foreach_lerp_(list(self.average.parameters()), [p.data for p in self.lm.parameters()], 1 - decay)
        return loss


def train_language(
    config: TrainConfig, train: Corpus, valid: Corpus, out: Path, state: Path, minutes: float, *,
    seed: int = 0, save_every: float = 30.0, max_steps: int | None = None,
) -> dict:  # fmt: skip
    """Trains for ``minutes`` of its own time, going on from the file ``state``; writes ``out`` and returns figures.

    The moving average of the weights is what is written. max_steps ends it earlier; then, unless it was interrupted,
    the seed alone fixes the weights.
    """
    trainer = Trainer(config, state, train.device, seed)
    train.rng = np.random.default_rng([seed, trainer.step])  # whoever goes on draws other batches
    last = saved_at = time.perf_counter()
    while (done := max(trainer.seconds / (60 * minutes), trainer.step / max_steps if max_steps else 0.0)) < 1:
        loss = trainer.learn(train.batch(config.batch), done)
        now = time.perf_counter()
        trainer.seconds, last = trainer.seconds + now - last, now
        if trainer.step % 100 == 0:
            books = " ".join(f"{value:.2f}" for value in loss.by_codebook())
            log.info("%s: step %d, %.0f s, loss by codebook %s", state.stem, trainer.step, trainer.seconds, books)
        if now - saved_at > save_every:
            trainer.save()
            saved_at = now
    trainer.save()
    save_language(trainer.average, config.family, out)
    figures = {"steps": trainer.step, "sittings": trainer.sittings, "seconds": round(trainer.seconds)}
    figures |= {"batch": config.batch, "parameters": sum(p.numel() for p in trainer.lm.parameters())}
    return figures | {"device": train.device, "held_out": validate(trainer.average, config.family, valid)}


def save_language(lm: LanguageModel, family: str, out: Path) -> None:
    """config.json and model.safetensors in half precision."""
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "model.partial"
    save_file({name: value.half().contiguous().cpu() for name, value in lm.state_dict().items()}, partial)
    partial.replace(out / "model.safetensors")
    (out / "config.json").write_text(json.dumps({"family": family, **asdict(lm.config)}, indent=1) + "\n")


@torch.no_grad()
def validate(lm: LanguageModel, family: str, valid: Corpus, clips: int = 128) -> dict[str, list[float]]:
    """Held-out cross-entropy by codebook (nats) with the right, a shuffled and no caption."""
    codes = valid.codes[:clips].long().to(valid.device)
    hidden, mask = valid.hidden([valid.task.plain(piece) for piece in valid.pieces[:clips]])
    batches = {"right": Batch(codes, hidden, mask), "shuffled": Batch(codes, hidden.roll(1, 0), mask.roll(1, 0))}
    result = {}
    for name, batch in [*batches.items(), ("none", batches["right"])]:
        drop = 1.0 if name == "none" else 0.0
        if family != "masked":
            loss = Loss()
            with torch.autocast(valid.device, torch.bfloat16):
                autoregressive_loss(lm, batch, loss, torch.Generator().manual_seed(1), drop=drop)
            result[f"autoregressive, {name} caption"] = [round(v, 3) for v in loss.by_codebook()]
        if family != "autoregressive":
            for rate in (0.6, 1.0):
                loss = Loss()
                with torch.autocast(valid.device, torch.bfloat16):
                    masked_loss(lm, batch, loss, torch.Generator().manual_seed(1), rate=rate, drop=drop)
                result[f"masked {rate:.0%}, {name} caption"] = [round(v, 3) for v in loss.by_codebook()]
    return result
