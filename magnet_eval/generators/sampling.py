"""From logits to tokens: temperature, nucleus (top-p) and top-k truncation, and where the randomness comes from.

A ``Choose`` draws one index of each row of probabilities [B, N, card]. Two kinds, both seeded by their caller:

- ``per_clip``: each clip has its own generator and uses one uniform number per token (inverse CDF), so that what a
  clip gets does not depend on the clips beside it, nor on the device;
- ``reference``: one generator and torch.multinomial over the whole batch, which spends random numbers exactly as
  audiocraft does on the CPU.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

Choose = Callable[[Tensor], Tensor]
MIN_TEMPERATURE = 0.01  # annealing ends at 0, which no softmax can be divided by


class Truncation(Protocol):
    """What ``sample`` needs to know of a family's decoding settings."""

    top_p: float
    top_k: int
    greedy: bool


def reference(generator: torch.Generator) -> Choose:
    """One generator for the whole batch, as audiocraft draws."""

    def choose(probs: Tensor) -> Tensor:
        drawn = torch.multinomial(probs.flatten(0, -2), 1, generator=generator)
        return drawn.view(probs.shape[:-1])

    return choose


def per_clip(generators: Sequence[torch.Generator]) -> Choose:
    """One CPU generator for each clip of the batch."""

    def choose(probs: Tensor) -> Tensor:
        uniform = torch.stack([torch.rand(probs.shape[1], generator=g, dtype=torch.float64) for g in generators])
        mass = probs.double().cumsum(-1)
        wanted = uniform.to(probs.device)[..., None] * mass[..., -1:]  # rounding leaves the sum just beside 1
        return torch.searchsorted(mass, wanted, right=True)[..., 0].clamp_(max=probs.shape[-1] - 1)

    return choose


def chooser(kind: str, seeds: Sequence[int], device: torch.device | str = "cpu") -> Choose:
    """The ``Choose`` of a ``sampling`` setting; reference uses the first seed only."""
    if kind == "reference":
        return reference(torch.Generator(device).manual_seed(seeds[0]))
    return per_clip([torch.Generator().manual_seed(seed) for seed in seeds])


def sample(logits: Tensor, temperature: float, how: Truncation, choose: Choose) -> tuple[Tensor, Tensor]:
    """Tokens [B, N] for logits [B, N, card], and the probability of each.

    The probability is that of the softmax at ``temperature``: whole under top-p, cut and renormalised under top-k,
    as in audiocraft, whose confidence scores depend on it. top_p comes before top_k; 0 switches either off.
    """
    probs = torch.softmax(logits.float() / max(temperature, MIN_TEMPERATURE), dim=-1)
    if how.greedy:
        tokens = logits.argmax(-1)
    elif how.top_p > 0:
        tokens = _nucleus(probs, how.top_p, choose)
    elif how.top_k > 0:
        least = probs.topk(min(how.top_k, probs.shape[-1])).values[..., -1:]
        probs = probs * (probs >= least)
        probs = probs / probs.sum(-1, keepdim=True)
        tokens = choose(probs)
    else:
        tokens = choose(probs)
    return tokens, probs.gather(-1, tokens[..., None])[..., 0]


def _nucleus(probs: Tensor, top_p: float, choose: Choose) -> Tensor:
    """Tokens from the most probable ones that together reach ``top_p`` (Holtzman et al., 2020)."""
    ordered, index = probs.sort(-1, descending=True)
    ordered = ordered * (ordered.cumsum(-1) - ordered <= top_p)
    ordered = ordered / ordered.sum(-1, keepdim=True)
    return index.gather(-1, choose(ordered)[..., None])[..., 0]
