"""What the families that run another package share: its names, its random numbers, its stages, its errors as one line.

Those packages draw from torch's global generator. With ``exact`` each prompt is therefore a call of its own, with its
own seed; without, a call is one batch under its first seed, which is how those packages are timed.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from magnet_eval.generators.checkpoints import HINT
from magnet_eval.generators.tokens import Stopwatch
from magnet_eval.lookup import UserError, nearest
from magnet_eval.records import Prompt

FEWEST = 20  # tokens that tell texts apart, where the text encoder does not say how many it has


def arguments(function: Callable[..., Any]) -> set[str]:
    """The names that a function of another package takes."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name for name, part in inspect.signature(function).parameters.items() if part.kind in kinds} - {"self"}


def check_settings(settings: Mapping[str, Any], allowed: Iterable[str], function: str) -> None:
    """Nothing if ``function`` takes every setting. Raises UserError with the nearest names otherwise."""
    names = sorted(allowed)
    for name in settings:
        if name not in names:
            near = nearest(name, names)
            guess = f" Did you mean {' or '.join(near)}?" if near else f" It takes {', '.join(names)}."
            raise UserError(f"decoding.{name} is nothing that {function} takes.{guess}")


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turns another package's complaint about its arguments into a UserError."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, TypeError, AssertionError, OSError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"{what}: {reason}") from error


def check_vocabulary(tokenizer: Any, size: int | None, place: Path) -> None:
    """Raises UserError if a tokenizer has less than half of its text encoder's ``size`` tokens.

    A tokenizer without its files may come out nearly empty, and without any error.
    """
    if len(tokenizer) < (size / 2 if size else FEWEST):
        wanted = f"{len(tokenizer)} of {size} tokens only" if size else f"{len(tokenizer)} tokens only"
        raise UserError(f"the tokenizer in {place} has {wanted}. {HINT}")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global generators of torch with ``seed``, put back afterwards."""
    cuda = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        torch.manual_seed(seed)
        yield


class Meter(Stopwatch):
    """Stages and network evaluations of calls into another package, by torch's hooks on its modules.

    A call begins with stage ``first``; each other stage begins with the first pass of its module.
    """

    def __init__(self, device: torch.device, first: str, stages: Mapping[str, torch.nn.Module | None]) -> None:
        """At zero."""
        super().__init__(device)
        self.first = first
        self.marks: list[tuple[str, float]] = []
        self.passes = self.rows = 0  # of the counted network; rows are passes times their batch
        for stage, module in stages.items():
            if module is not None:
                module.register_forward_pre_hook(lambda *_, stage=stage: self._begin(stage))

    def count(self, network: torch.nn.Module, rows: Callable[[Any], int]) -> None:
        """Counts the passes of ``network``; ``rows`` of an output is its batch size."""

        def after(module: torch.nn.Module, given: Any, output: Any) -> None:
            self.passes += 1
            self.rows += rows(output)

        network.register_forward_hook(after)

    def _begin(self, stage: str) -> None:
        if self.marks and stage not in dict(self.marks):
            self.marks.append((stage, self._now()))

    def reset(self) -> None:
        """Back to zero."""
        self.seconds, self.passes, self.rows = {}, 0, 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Adds the block's stages to ``seconds``."""
        self.marks = [(self.first, self._now())]
        yield
        self.marks.append(("", self._now()))
        for (stage, start), (_, end) in pairwise(self.marks):
            self.seconds[stage] = self.seconds.get(stage, 0.0) + end - start
        self.marks = []


def clips(
    make: Callable[[list[Prompt], list[int]], Sequence[Any]],
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    generator: Any,
) -> list[np.ndarray]:
    """What ``make`` gives for the prompts, as float32 [channels, samples] cut to the prompts' seconds.

    ``generator`` has exact, device, meter and sample_rate; see the module's head for what ``exact`` does.
    """
    size = 1 if generator.exact else len(prompts)
    made: list[Any] = []
    generator.meter.reset()
    for start in range(0, len(prompts), size):
        chosen = slice(start, start + size)
        with seeded(seeds[start], generator.device), generator.meter.call(), torch.inference_mode():
            made.extend(make(list(prompts[chosen]), list(seeds[chosen])))
    samples = round(prompts[0].seconds * generator.sample_rate)
    rows = (row.float().cpu().numpy() if isinstance(row, torch.Tensor) else row for row in made)
    return [np.atleast_2d(np.asarray(row, dtype=np.float32))[:, :samples] for row in rows]
