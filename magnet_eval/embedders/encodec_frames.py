"""EnCodec's encoder (Défossez et al., 2022, arXiv:2210.13438) as an embedder: its frames before quantisation.

The tools agree on the layer and differ in what the 48 kHz model hears. The codec itself cuts a clip into seconds
(1 % of them overlapping, none here) and brings each to one loudness; fadtk cuts and does not level (segments, no
level), frechet-audio-distance does neither.
The 24 and 32 kHz models hear the whole clip as it is, whatever the options.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from magnet_eval import reference
from magnet_eval.embedders import hash_of
from magnet_eval.embedders.network import samples_of
from magnet_eval.embedders.sources import place_of
from magnet_eval.generators.checkpoints import load_transformers, pick_device, read_pickled
from magnet_eval.generators.layout_audiocraft import codec_name
from magnet_eval.generators.loading import load_codec
from magnet_eval.lookup import UserError

# What the two published files are by: how many channels their first layer hears.
CHANNELS = {"encoder.model.0.conv.conv.weight_v": 1, "encoder.model.0.conv.conv.weight": 2}
SETTINGS: dict[int, dict[str, Any]] = {  # channels -> of transformers' EncodecConfig, whose defaults are the first's
    1: {"sampling_rate": 24_000},
    2: {
        "sampling_rate": 48_000,
        "audio_channels": 2,
        "normalize": True,
        "chunk_length_s": 1.0,
        "overlap": 0.01,
        "norm_type": "time_group_norm",
        "use_causal_conv": False,
        "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
    },
}


def read(path: Path) -> tuple[int, dict[str, Tensor]]:
    """Channels and parameters of one of the package's files. Raises UserError if it is damaged or another model's."""
    state = read_pickled(path)
    state = state if isinstance(state, dict) else {}
    channels = next((n for name, n in CHANNELS.items() if name in state and state[name].shape[1] == n), 0)
    if not channels:
        raise UserError(f"{path} is none of the package encodec's two models, encodec_24khz and encodec_48khz.")
    return channels, state


def transformers_name(name: str) -> str:
    """Transformers' name of a parameter."""
    return codec_name(name).replace(".conv.norm.", ".norm.").replace(".convtr.norm.", ".norm.")


class EncodecEmbedder:
    """EnCodec through transformers: 75 (24 kHz), 150 (48 kHz) or 50 (32 kHz) frames of 128 values a second."""

    name = "encodec"
    version = "1"

    def __init__(
        self,
        device: str = "cpu",
        weights: str | Path = "encodec_24khz",
        segments: bool = True,
        level: bool = True,
    ) -> None:
        """weights: a file of the package encodec, or a folder or file that transformers or audiocraft wrote.

        segments, level: whether the clip is cut and brought to one loudness where the model does so. Raises UserError
        if the weights are missing, damaged or another model's.
        """
        place = place_of(weights)
        self.device, self.segments, self.level = pick_device(device), segments, level
        self.files = [place] if place.is_file() else sorted(file for file in place.iterdir() if file.is_file())
        self.encoder: Callable[[Tensor], Tensor]
        self.sample_rate: int
        self.channels: int
        self.segment: int  # samples, 0 for none
        self.levels: bool  # whether the codec does
        self.load(place)

    def load(self, place: Path) -> None:
        """Fills the fields above."""
        model = self.read_codec(place)
        self.encoder, settings = model.encoder, model.config
        self.sample_rate, self.channels = settings.sampling_rate, settings.audio_channels
        self.segment, self.levels = settings.chunk_length or 0, settings.normalize

    def read_codec(self, place: Path) -> Any:
        """Transformers' EncodecModel."""
        from transformers import EncodecModel

        if place.suffix != ".th":
            return load_codec(place, self.device)
        channels, state = read(place)
        state = {transformers_name(name): value for name, value in state.items()}
        fields = SETTINGS[channels]
        model = load_transformers(EncodecModel, place, self.device, fields=fields, weights=dict(state))
        extra = sorted(state.keys() - model.state_dict().keys())
        if extra:
            raise UserError(f"{place} is no published EnCodec: it has {extra[0]}, which the model has not.")
        return model

    def fingerprint(self) -> str:
        """Hash over code version, options and weights."""
        return hash_of(self.name, f"{self.version} {self.segments} {self.level}", self.files)

    @torch.inference_mode()
    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] or stereo [2, T] -> frames float32 [n, 128]; a model of two channels hears mono in both."""
        samples = samples_of(audio, 1, self.sample_rate, self.name).to(self.device)
        whole = samples.expand(1, self.channels, -1)
        parts = whole.split(self.segment if self.segment and self.segments else whole.shape[-1], dim=-1)
        return torch.cat([self.encoder(self.levelled(part))[0].T for part in parts]).cpu().numpy()

    def levelled(self, part: Tensor) -> Tensor:
        """[1, C, T] divided by the RMS of its mono sum, if the codec does so and it is wanted."""
        if not (self.levels and self.level):
            return part
        return part / (1e-8 + part.mean(1, keepdim=True).square().mean(-1, keepdim=True).sqrt())


class PackageEncodecEmbedder(EncodecEmbedder):
    """The same by the package encodec itself (extra ``reference``), for its own two files."""

    name = "encodec_package"

    def load(self, place: Path) -> None:
        """Raises UserError if the package or the weights are missing, or they do not fit."""
        kinds = reference.load("encodec").EncodecModel
        if place.is_dir():
            raise UserError(f"{place} is transformers' layout; the package reads its own .th. Set embedder: encodec.")
        channels, state = read(place)
        with warnings.catch_warnings(action="ignore"):  # of how it normalises weights
            model = (kinds.encodec_model_24khz if channels == 1 else kinds.encodec_model_48khz)(pretrained=False)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"{place} is no published EnCodec: {' '.join(str(error).split())[:300]}") from error
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.encoder, self.sample_rate, self.channels = model.encoder, model.sample_rate, model.channels
        self.segment, self.levels = model.segment_length or 0, model.normalize
