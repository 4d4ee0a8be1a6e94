"""What the published networks share: a publisher's file, a network filled with it, and inference in batches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from magnet_eval.generators.checkpoints import pick_device, read_pickled, read_weights
from magnet_eval.lookup import UserError

# An old optimiser or sampler state beside the weights may hold NumPy arrays, which run no code when they are read.
ARRAYS = [
    *((np.empty(0).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("i4", "i8", "f4", "f8", "?")},
]


def read_state(path: Path, key: str = "") -> dict[str, Tensor]:
    """The parameters in a publisher's file; in a pickle they may be the entry ``key``. Raises UserError if damaged."""
    if path.suffix == ".safetensors":
        return read_weights(path)
    with torch.serialization.safe_globals(ARRAYS):
        content = read_pickled(path)
    state = content.get(key, content) if isinstance(content, dict) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no parameters of a network. Get the publisher's file again.")
    return state


def fill(network: nn.Module, state: dict[str, Tensor], path: Path, device: str) -> nn.Module:
    """The network, built on the meta device, with ``state`` in float32, for inference. Raises UserError if it misfits.

    path: of the file, for the message, which names the first tensors that are not as the network has them.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in state.items()}
    wrong = [name for name in sorted(wanted | got) if wanted.get(name) != got.get(name)]
    if wrong:
        shown = "; ".join(
            f"{name} is {got.get(name, 'absent')}, not {wanted.get(name, 'absent')}" for name in wrong[:3]
        )
        raise UserError(
            f"{path} does not hold the weights of {type(network).__name__}: {shown}"
            f"{f'; and {len(wrong) - 3} more' if len(wrong) > 3 else ''}. Name the file that its publisher gives."
        )
    widened = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    network.load_state_dict(widened, assign=True)
    return network.eval().requires_grad_(False).to(pick_device(device))


@torch.inference_mode()
def in_batches(network: Callable[..., Tensor], size: int, *inputs: Tensor) -> np.ndarray:
    """Outputs float32 [n, d] of inputs [n, ...], ``size`` at a time. Raises UserError if one is not finite."""
    parts = zip(*(given.split(size) for given in inputs), strict=True)
    frames = torch.cat([network(*part) for part in parts]).float().cpu().numpy()
    if not np.isfinite(frames).all():
        name = type(network).__name__
        raise UserError(
            f"{name} gives values that are not finite: its weights are damaged, or the audio is not finite."
        )
    return frames


def batch_on(device: str) -> int:
    """How many clips go into a network at a time: on a CPU one, where more gain nothing and each keeps its bits."""
    return 16 if str(device).startswith("cuda") else 1


def samples_of(audio: np.ndarray, shortest: int, rate: int, name: str) -> Tensor:
    """Mono audio as float32 [T]. Raises UserError if it has fewer than ``shortest`` samples."""
    if len(audio) < shortest:
        raise UserError(
            f"{name} needs at least {shortest / rate:.3f} s of audio, this clip has {len(audio) / rate:.3f} s. "
            "Leave it out, or take a preset that pads short clips."
        )
    return torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))
