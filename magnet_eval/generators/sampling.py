"""From logits to tokens: temperature, nucleus (top-p) and top-k truncation, and where the randomness comes from.

A ``Choose`` draws one index of each row of probabilities [B, N, card], in two steps: ``draw`` the noise of N tokens per
clip, and ``pick`` by it. So whoever needs the tokens of a few rows alone still spends the noise of all. Two kinds, both
seeded by their caller:

- ``PerClip``: each clip has its own generator and uses one uniform number per token (inverse CDF), so that what a
  clip gets does not depend on the clips beside it, nor on the device;
- ``Reference``: one generator for the whole batch and one exponential number per token and entry, which is what
  torch.multinomial does inside, and so spends random numbers exactly as audiocraft does on the CPU.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

MIN_TEMPERATURE = 0.01  # annealing ends at 0, which no softmax can be divided by


class Choose(Protocol):
    """Draws indices at random."""

    def draw(self, batch: int, n: int, card: int) -> Tensor:
        """The noise of ``n`` tokens of each of ``batch`` clips: [B, n], or [B, n, card]."""

    def pick(self, probs: Tensor, noise: Tensor) -> Tensor:
        """Indices [B, N] of probabilities [B, N, card] by their noise, on the same device."""


class Truncation(Protocol):
    """What ``sample`` needs to know of a family's decoding settings."""

    top_p: float
    top_k: int
    greedy: bool


class Reference:
    """One generator for the whole batch, as audiocraft draws."""

    def __init__(self, generator: torch.Generator) -> None:
        """``generator`` is the device's."""
        self.generator = generator

    def draw(self, batch: int, n: int, card: int) -> Tensor:
        """[B, n, card], on the generator's device."""
        noise = torch.empty(batch * n, card, device=self.generator.device)
        return noise.exponential_(generator=self.generator).view(batch, n, card)

    def pick(self, probs: Tensor, noise: Tensor) -> Tensor:
        """The race of exponentials, whose first is entry i with probability ``probs[i]``."""
        return (probs / noise).argmax(-1)


class PerClip:
    """One CPU generator for each clip of the batch."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        """One for each clip."""
        self.generators = generators

    def draw(self, batch: int, n: int, card: int) -> Tensor:
        """[B, n], on the CPU."""
        return torch.stack([torch.rand(n, generator=g, dtype=torch.float64) for g in self.generators])

    def pick(self, probs: Tensor, noise: Tensor) -> Tensor:
        """Inverse CDF."""
        mass = probs.cumsum(-1, dtype=torch.float64)
        wanted = noise[..., None] * mass[..., -1:]  # rounding leaves the sum just beside 1
        return torch.searchsorted(mass, wanted, right=True)[..., 0].clamp_(max=probs.shape[-1] - 1)


def chooser(kind: str, seeds: Sequence[int], device: torch.device | str = "cpu") -> Choose:
    """The ``Choose`` of a ``sampling`` setting; reference uses the first seed only."""
    if kind == "reference":
        return Reference(torch.Generator(device).manual_seed(seeds[0]))
    return PerClip([torch.Generator().manual_seed(seed) for seed in seeds])


def draw(choose: Choose, batch: int, n: int, card: int, device: torch.device) -> Tensor:
    """The noise of ``n`` tokens of each clip on a device, without waiting for it."""
    noise = choose.draw(batch, n, card)
    if noise.device == device or device.type == "cpu":
        return noise
    return noise.pin_memory().to(device, non_blocking=True)


def take(noise: Tensor, places: Tensor) -> Tensor:
    """The noise of N of the tokens, at places [B, N]."""
    return noise[torch.arange(len(noise), device=noise.device)[:, None], places]


def sample(
    logits: Tensor, temperature: float, how: Truncation, choose: Choose, noise: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Tokens [B, N] for logits [B, N, card], and the probability of each. ``noise`` of the N tokens; None if greedy.

    The probability is that of the softmax at ``temperature``: whole under top-p, cut and renormalised under top-k,
    as in audiocraft, whose confidence scores depend on it. top_p comes before top_k; 0 switches either off.
    """
    probs = torch.softmax(logits.float() / max(temperature, MIN_TEMPERATURE), dim=-1)
    if how.greedy or noise is None:
        tokens = logits.argmax(-1)
    elif how.top_p > 0:
        tokens = _nucleus(probs, how.top_p, choose, noise)
    elif how.top_k > 0:
        least = probs.topk(min(how.top_k, probs.shape[-1])).values[..., -1:]
        probs = probs * (probs >= least)
        probs = probs / probs.sum(-1, keepdim=True)
        tokens = choose.pick(probs, noise)
    else:
        tokens = choose.pick(probs, noise)
    return tokens, probs.gather(-1, tokens[..., None])[..., 0]


def _nucleus(probs: Tensor, top_p: float, choose: Choose, noise: Tensor) -> Tensor:
    """Tokens from the most probable ones that together reach ``top_p`` (Holtzman et al., 2020)."""
    ordered = _descending(probs)
    kept = ordered * (ordered.cumsum(-1) - ordered <= top_p)
    rank = choose.pick(kept / kept.sum(-1, keepdim=True), noise)[..., None]
    value = ordered.gather(-1, rank)
    # which entry has that rank: among equal ones they are ranked by index
    ties_before = rank - (ordered > value).sum(-1, keepdim=True)
    return torch.searchsorted((probs == value).cumsum(-1), ties_before + 1)[..., 0]


def _descending(probs: Tensor) -> Tensor:
    """Each row sorted. On the CPU by NumPy, which sorts values alone, ten times as fast as torch with their indices."""
    if probs.device.type == "cpu":
        return torch.from_numpy(np.sort(probs.numpy(), axis=-1)).flip(-1)
    return probs.sort(dim=-1, descending=True).values
