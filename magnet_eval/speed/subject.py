"""A system inside the process that runs it: what a worker can be asked, and how a call is timed.

The device is idle on both sides of the clock. A call ends where its clips are files, as in a run: copying to the host
and writing are its last stage.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from magnet_eval.lookup import load
from magnet_eval.model import Model
from magnet_eval.records import Prompt
from magnet_eval.speed import TOTAL, ceilings, describe, machine, memory, server
from magnet_eval.speed.ceilings import Ceilings
from magnet_eval.speed.nvml import Gpu, summary

Clock = Callable[[], float]


@dataclass(frozen=True)
class Loaded:
    """What is known of a system once it is loaded."""

    device: str
    dtype: str
    seconds: float  # to load, imports left out
    weights: str = ""  # "random" where no file was read
    streams: bool = False  # whether it can give its audio piece by piece
    shapes: dict[str, Any] = field(default_factory=dict)  # see describe.shapes
    flags: dict[str, Any] = field(default_factory=dict)  # see machine.flags
    has_energy: bool = False

    def windows_of(self, seconds: float) -> float | None:
        """Seconds of the windows that a clip of ``seconds`` is made in; None where it is made at once."""
        if "segment" not in self.shapes:
            return None
        unit, segment, rate = (self.shapes[name] for name in ("unit", "segment", "frame_rate"))
        made = math.ceil(round(seconds * rate, 6)) // unit * unit  # whole spans only
        return segment / rate if made > segment else None


@dataclass(frozen=True)
class Call:
    """One timed call."""

    seconds: dict[str, float]  # by stage; "total" is the whole call
    iterations: int = 0  # decoding steps
    network_evaluations: int = 0  # of one clip
    peak_mb: dict[str, float] = field(default_factory=dict)  # see memory.peaks
    events: dict[str, float] = field(default_factory=dict)  # seconds by stage, by the device's own clock


class Subject:
    """The system of this process."""

    def __init__(self, folder: Path, zoo: Any = None, clock: Clock = time.perf_counter) -> None:
        """folder: where clips are written. zoo: has ``build``; magnet_eval.generators unless given."""
        self.folder, self.zoo, self.clock = folder, zoo, clock
        self.gpu: Gpu | None = None
        self.seen: list[dict[str, Any]] = []  # what the GPU was like at the end of calls

    def prepare(self, family: str) -> None:
        """Imports what the family stands on, whose seconds are no model's."""
        if self.zoo is None:
            from magnet_eval import generators

            load(generators.GENERATORS, family, "family")
            if family in generators.GENERATORS:  # transformers imports its classes at their first use only
                from transformers import AutoTokenizer, EncodecModel, T5EncoderModel  # noqa: F401
            self.zoo = generators

    def load(self, model: Model, device: str, dtype: str, texts: Sequence[str]) -> Loaded:
        """Loads the system. Raises UserError where it cannot be loaded."""
        start = self.clock()
        self.generator = self.zoo.build(model, device=device, dtype=dtype, exact=False)  # one call, one batch
        self.device = str(getattr(self.generator, "device", "cpu"))
        self.synchronise()
        seconds = self.clock() - start
        self.gpu = Gpu.of(self.device)
        return Loaded(
            self.device, dtype, seconds, model.weights, hasattr(self.generator, "stream"),
            describe.shapes(self.generator, texts), machine.flags(self.device), self.gpu is not None,
        )  # fmt: skip

    def synchronise(self) -> None:
        """Waits until the device has nothing left to do."""
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)

    def write(self, clips: Sequence[Any]) -> None:
        """Writes clips as wave files, over those of the last call, and does not wait for the disk."""
        import soundfile

        for i, clip in enumerate(clips):
            soundfile.write(self.folder / f"{i}.wav", np.clip(clip.T, -1, 1), self.generator.sample_rate, "PCM_16")

    def call(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Call:
        """Clips of the prompts, timed."""
        memory.reset(self.device)
        self.synchronise()
        start = self.clock()
        made = self.generator.generate(prompts, seeds)
        self.synchronise()
        generated = self.clock()
        self.write(made.audio)
        end = self.clock()
        if self.gpu:
            self.seen.append(self.gpu.sample())
        stages = {**made.stage_seconds, "write": made.stage_seconds.get("write", 0.0) + end - generated}
        return Call(
            {TOTAL: end - start, **stages}, made.iterations, made.network_evaluations,
            memory.peaks(self.device, self.gpu), dict(getattr(made, "event_seconds", {})),
        )  # fmt: skip

    def first_audio(self, prompt: Prompt, seed: int, chunk_seconds: float) -> Call:
        """A clip piece by piece: seconds to its first piece, and to its last."""
        memory.reset(self.device)
        self.synchronise()
        start, arrived = self.clock(), []
        for _ in self.generator.stream(prompt, seed, chunk_seconds):  # pieces are on the host
            arrived.append(self.clock() - start)
        return Call({"first audio": arrived[0], "stream": arrived[-1]}, peak_mb=memory.peaks(self.device, self.gpu))

    def serve(
        self, arrivals: Sequence[float], sizes: Sequence[int], prompts: Sequence[Prompt], bound: float
    ) -> list[float]:
        """Latencies of requests that arrive at the given times; see server.serve."""

        def answer(first: int, n: int) -> None:
            chosen = [prompts[(first + i) % len(prompts)] for i in range(n)]
            self.write(self.generator.generate(chosen, list(range(first, first + n))).audio)

        if self.device.startswith("cuda"):  # what a shape takes to set up is no request's
            for size in sizes:
                answer(0, size)
        start = self.clock()
        return server.serve(arrivals, sizes, answer, lambda: self.clock() - start, time.sleep, bound)

    def energy(self, prompts: Sequence[Prompt], seeds: Sequence[int], window: float) -> tuple[float, float, int]:
        """Joules, seconds and calls of at least ``window`` seconds of calls one after the other, the first left out."""
        assert self.gpu is not None  # asked of systems with ``has_energy`` only
        self.release()
        self.write(self.generator.generate(prompts, seeds).audio)
        self.synchronise()
        start, before, n = self.clock(), self.gpu.joules(), 0
        while self.clock() - start < window:
            self.write(self.generator.generate(prompts, seeds).audio)
            n += 1
        self.synchronise()
        return self.gpu.joules() - before, self.clock() - start, n

    def idle_watts(self, window: float) -> float:
        """Power of the GPU while nothing is asked of it, over ``window`` seconds."""
        assert self.gpu is not None
        before, start = self.gpu.joules(), self.clock()
        time.sleep(window)
        return (self.gpu.joules() - before) / (self.clock() - start)

    def ceilings(self, device: str, dtypes: Sequence[str]) -> dict[str, Ceilings]:
        """The device's limits in each number format; see ceilings.measure."""
        return {dtype: ceilings.measure(device, dtype) for dtype in dtypes}

    def state(self) -> dict[str, Any]:
        """See machine.state; and what the GPU was like during the calls so far."""
        return machine.state(self.gpu) | ({"during_calls": summary(self.seen)} if self.seen else {})

    def release(self) -> None:
        """Gives back the memory that is not needed between calls: a new batch size begins, or another system is out."""
        if hasattr(self.generator, "release"):
            self.generator.release()
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()
