"""Audiobox Aesthetics (Tjandra et al., 2025, arXiv:2502.05139): four ratings of a clip, about 1 to 10, no reference.

CE content enjoyment, CU content usefulness, PC production complexity, PQ production quality. The parameter names are
those of the published file. As its package does, 10 s windows end to end are rated, the last one with zeros behind and
as much weight as it has audio; here in float32, so that a rating does not depend on what else is in the batch.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from magnet_eval.embedders import hash_of
from magnet_eval.embedders.network import fill, in_batches, read_state, samples_of
from magnet_eval.embedders.sources import place_of
from magnet_eval.embedders.wavlm import DEPTH, DIM, WavLM
from magnet_eval.generators.layouts import WEIGHTS, read_json
from magnet_eval.lookup import UserError

AXES = ("CE", "CU", "PC", "PQ")
SAMPLE_RATE, WINDOW, HIDDEN_LAYERS, BATCH = 16_000, 160_000, 4, 4


def head() -> nn.Sequential:
    """From a clip's unit vector to one rating, untrained."""
    hidden = [part for _ in range(HIDDEN_LAYERS) for part in (nn.Linear(DIM, DIM), nn.LayerNorm(DIM), nn.GELU())]
    return nn.Sequential(*hidden, nn.Linear(DIM, 1))


class Audiobox(nn.Module):
    """WavLM, and for each axis its weights of WavLM's layers and its head."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        self.wavlm_model = WavLM()
        self.proj_layer = nn.ModuleDict({axis: head() for axis in AXES})
        self.layer_weights = nn.ParameterDict({axis: nn.Parameter(torch.empty(DEPTH + 1)) for axis in AXES})

    def forward(self, windows: Tensor, lengths: Tensor) -> Tensor:
        """[B, T] with zeros behind ``lengths`` [B] samples -> ratings that are still to be scaled [B, 4]."""
        layers = self.wavlm_model(windows, lengths)
        ratings = []
        for axis in AXES:
            vector = torch.einsum("bld,l->bd", layers, self.layer_weights[axis].softmax(0))
            ratings.append(self.proj_layer[axis](nn.functional.normalize(vector, dim=-1)))
        return torch.cat(ratings, dim=1)


class AudioboxEmbedder:
    """Audiobox Aesthetics as an embedder: one frame per clip, its ratings CE, CU, PC and PQ."""

    name = "audiobox"
    version = "1"
    sample_rate = SAMPLE_RATE

    def __init__(self, device: str = "cpu", weights: str | Path = "audiobox") -> None:
        """weights: folder with config.json, which has the scales of the ratings, and model.safetensors.

        Raises UserError if one is missing, damaged or another network's.
        """
        folder = place_of(weights)
        self.files = [folder / "config.json", folder / WEIGHTS]
        self.device = device
        config = read_json(self.files[0])
        try:
            scales = [config["target_transform"][axis] for axis in AXES]
            self.mean, self.std = (np.array([float(scale[part]) for scale in scales]) for part in ("mean", "std"))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{self.files[0]} has no target_transform with mean and std of {', '.join(AXES)}. "
                "Get the publisher's folder again."
            ) from error
        with torch.device("meta"):
            network = Audiobox()
        self.model = fill(network, read_state(self.files[1]), self.files[1], device)

    def fingerprint(self) -> str:
        """Hash over code version, scales and weights."""
        return hash_of(self.name, self.version, self.files)

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] at 16 kHz -> float32 [1, 4]. Raises UserError if it is empty."""
        parts = samples_of(audio, 1, SAMPLE_RATE, self.name).to(self.device).split(WINDOW)
        windows = torch.stack([nn.functional.pad(part, (0, WINDOW - len(part))) for part in parts])
        lengths = torch.tensor([len(part) for part in parts], device=windows.device)
        ratings = in_batches(self.model, BATCH, windows, lengths) * self.std + self.mean
        return np.average(ratings, axis=0, weights=lengths.cpu().numpy())[None].astype(np.float32)
