"""What every family's ``decode`` returns, and the two things they all need: guidance and a stopwatch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Generated codec tokens and what they cost."""

    codes: Tensor  # long [B, K, T]
    iterations: int  # decoding steps
    network_evaluations: int  # forward passes per clip: guidance counts both halves, a rescorer counts too
    seconds: dict[str, float] = field(default_factory=dict)  # wall seconds by stage


class Stopwatch:
    """Adds up wall seconds by stage, with the device idle on both sides."""

    def __init__(self, device: torch.device) -> None:
        """At zero."""
        self.device = device
        self.seconds: dict[str, float] = {}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the block under ``name``."""
        start = self._now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start


def guide(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: logits [2B, ...], conditional half first, to [B, ...] (Ho and Salimans, 2022)."""
    conditional, unconditional = logits.chunk(2)
    return unconditional + (conditional - unconditional) * scale
