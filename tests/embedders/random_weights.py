"""Weights and sounds that are the same wherever they are made: for these tests and for what writes their vectors."""

import math
import zlib

import numpy as np
import torch
from torch import nn


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 in -1..1 that follow from the name alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).random(shape, dtype=np.float32) * 2 - 1


def random_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A parameter that keeps activations near 1 and differs from what a new network has."""
    values = uniform(name, shape)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith(("running_var", "melW")):
        values = np.abs(values) + np.float32(0.1)
    elif len(shape) > 1:
        values *= np.float32(math.sqrt(3 / math.prod(shape[1:])))
    elif name.endswith("weight"):
        values = 1 + values / 4
    else:
        values /= 4
    return torch.from_numpy(values)


def random_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """A state for a network, which may be on the meta device."""
    return {name: random_tensor(name, tuple(value.shape)) for name, value in network.state_dict().items()}


def sound(seconds: float, rate: int) -> np.ndarray:
    """A decaying chord in noise, in steps of 16 bit, whose negative peak is the larger: float32 [T]."""
    time = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * f * time + f) for f in (220.0, 277.2, 1661.0)) * np.exp(-time)
    values = 0.1 * chord + 0.05 * uniform("sound", time.shape)
    values[len(values) // 3] = -0.6
    return (np.round(values * 32768) / 32768).astype(np.float32)
