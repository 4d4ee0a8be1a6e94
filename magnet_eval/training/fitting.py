"""Fitting a network for a given time: AdamW and half a cosine, saved so that it can go on."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from magnet_eval.training.states import reading, save

log = logging.getLogger(__name__)
SAVE_EVERY, LOG_EVERY = 60.0, 200  # seconds, steps


def adamw(module: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimiser of the codec's networks and of their critic."""
    return torch.optim.AdamW(module.parameters(), lr=lr, betas=(0.8, 0.95))


def is_done(state: Path, minutes: float, seed: int) -> bool:
    """Whether ``fit`` would take no step."""
    if not state.is_file():
        return False
    with reading(state, seed) as saved:
        return saved["seconds"] >= 60 * minutes


def fit(
    module: nn.Module, loss_of: Callable[[np.random.Generator], torch.Tensor], state: Path, minutes: float, *,
    lr: float, seed: int, beside: Mapping[str, Any] | None = None,
) -> int:  # fmt: skip
    """Lowers ``loss_of`` for ``minutes`` of its own time, going on from the file ``state``; returns the steps.

    beside: what else learns (a critic and its optimiser), by name; it is saved and taken up with the module.
    """
    optimizer = adamw(module, lr)
    parts = {"module": module, "optimizer": optimizer, **(beside or {})}
    step, seconds, recent = 0, 0.0, []
    if state.is_file():
        with reading(state, seed) as saved:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            step, seconds = saved["step"], saved["seconds"]
    rng = np.random.default_rng([seed, step])

    def keep() -> None:
        counts = {"step": step, "seconds": seconds, "seed": seed}
        save(state, {name: part.state_dict() for name, part in parts.items()} | counts)

    last = saved_at = time.perf_counter()
    while (done := seconds / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        loss = loss_of(rng)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.item())
        step, now = step + 1, time.perf_counter()
        seconds, last = seconds + now - last, now
        if step % LOG_EVERY == 0:
            log.info("%s: step %d, %.0f %%, loss %.4f", state.stem, step, 100 * done, np.mean(recent[-LOG_EVERY:]))
        if now - saved_at > SAVE_EVERY:
            keep()
            saved_at = now
    keep()
    return step
