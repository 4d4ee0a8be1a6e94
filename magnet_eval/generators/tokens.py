"""What every family's ``decode`` returns, and the two things they all need: guidance and a stopwatch."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
    event_seconds: dict[str, float] = field(default_factory=dict)  # the same by the device's own clock; CUDA alone
    # [B, K, T]: the iteration of its codebook, from 1, in which masked decoding drew the token that stayed; 0 where it
    # was given. None where nothing was decoded masked, and for clips of several windows
    fixed_at: Tensor | None = None


Finished = tuple[int, Callable[[], Tensor]]  # how many frames will not change any more, and what gives their codes
Steps = Generator[Finished, None, Tokens]  # a decoding in progress, for those who want its beginning


def drained(steps: Steps) -> Tokens:
    """The end of a decoding."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class Stopwatch:
    """Adds up wall seconds by stage, with the device idle on both sides; a stage inside another is not counted twice.

    On CUDA ``event_seconds`` has the same stages by the device's own clock.
    """

    def __init__(self, device: torch.device) -> None:
        """At zero."""
        self.device = device
        self.seconds: dict[str, float] = {}
        self.event_seconds: dict[str, float] = {}
        self._inside = [(0.0, 0.0)]  # wall and event seconds of the stages inside each open one

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _event(self) -> torch.cuda.Event | None:
        if self.device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the block under ``name``."""
        start, first = self._now(), self._event()
        self._inside.append((0.0, 0.0))
        yield
        last = self._event()
        wall = self._now() - start
        device = first.elapsed_time(last) / 1e3 if first else 0.0
        inner, outer = self._inside.pop(), self._inside.pop()
        self._inside.append((outer[0] + wall, outer[1] + device))
        self.seconds[name] = self.seconds.get(name, 0.0) + wall - inner[0]
        if first:
            self.event_seconds[name] = self.event_seconds.get(name, 0.0) + device - inner[1]


def summed(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage of all parts together."""
    stages = dict.fromkeys(stage for part in parts for stage in part)
    return {stage: sum(part.get(stage, 0.0) for part in parts) for stage in stages}


def guide(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: logits [2B, ...], conditional half first, to [B, ...] (Ho and Salimans, 2022)."""
    conditional, unconditional = logits.chunk(2)
    return unconditional + (conditional - unconditional) * scale
