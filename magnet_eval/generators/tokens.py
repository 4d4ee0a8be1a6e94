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

    On CUDA ``event_seconds`` has the same stages by the device's own clock. A stage inside another has that clock
    alone, so that a loop over it never waits: its event seconds stand for its wall seconds.
    """

    def __init__(self, device: torch.device) -> None:
        """At zero."""
        self.device = device
        self.seconds: dict[str, float] = {}
        self.event_seconds: dict[str, float] = {}
        self._open: list[_Stage] = []

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
        waits = self.device.type != "cuda" or not self._open
        start, first = self._now() if waits else 0.0, self._event()
        mine = _Stage(name)
        self._open.append(mine)
        yield
        self._open.pop()
        last = self._event()
        mine.wall = self._now() - start if waits else 0.0
        if first and last:
            mine.events = first, last
        if self._open:
            self._open[-1].inside.append(mine)
        else:
            self._count(mine)

    def _count(self, stage: "_Stage") -> tuple[float, float]:
        """Adds up a stage and those inside it, whose events the device has passed; its wall and event seconds."""
        device = stage.events[0].elapsed_time(stage.events[1]) / 1e3 if stage.events else 0.0
        wall = stage.wall or device
        inner = [self._count(one) for one in stage.inside]
        self.seconds[stage.name] = self.seconds.get(stage.name, 0.0) + wall - sum(part for part, _ in inner)
        if stage.events:
            own = device - sum(part for _, part in inner)
            self.event_seconds[stage.name] = self.event_seconds.get(stage.name, 0.0) + own
        return wall, device


@dataclass
class _Stage:
    """A stage that is timed, and those inside it."""

    name: str
    wall: float = 0.0  # seconds; 0 where only events were recorded
    events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
    inside: list["_Stage"] = field(default_factory=list)


def summed(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage of all parts together."""
    stages = dict.fromkeys(stage for part in parts for stage in part)
    return {stage: sum(part.get(stage, 0.0) for part in parts) for stage in stages}


def guide(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: logits [2B, ...], conditional half first, to [B, ...] (Ho and Salimans, 2022)."""
    conditional, unconditional = logits.chunk(2)
    return unconditional + (conditional - unconditional) * scale
