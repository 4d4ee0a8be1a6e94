"""musicnn (Pons and Serra, 2019, arXiv:1909.06654): a music tagger trained on MagnaTagATune, rebuilt in PyTorch.

The weights are those of the musicnn 0.1.0 package, converted by training/musicnn_weights.py and proven against the
original network under TensorFlow (see models/tiny/musicnn/README.md). Frames are its 200-d penultimate layer and,
behind it, the probabilities of its 50 tags.

Where this differs from the package: spectrograms stay in float32 (the package rounds them to half precision, where
10,000 m overflows on loud tones), and patches of 3 s start at most 1 s apart and reach both ends of the clip, where
the package lays them end to end and drops what is left over, which would waste 2 of 5 seconds.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from magnet_eval.embedders import hash_of, load_weights, weights
from magnet_eval.embedders.mel import log_mel, window_starts

SAMPLE_RATE, N_FFT, HOP, N_MELS = 16_000, 512, 256, 96
PATCH, PATCH_HOP = 187, 63  # spectrogram frames: 2.99 s and 1.01 s; a 5 s clip of 313 frames is three patches
TIMBRAL, TEMPORAL, MIDDLE, PENULTIMATE = 204, 51, 64, 200
BATCH = 16
TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
    "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
    "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man",
    "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello",
    "no voice", "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip


class FrontBlock(nn.Module):
    """Convolution over time and mel, ReLU, normalisation, and the maximum over mel."""

    def __init__(self, channels: int, kernel: tuple[int, int], pad: tuple[int, int]) -> None:
        """``kernel`` is frames by mel bands; ``pad`` is frames before and after."""
        super().__init__()
        self.pad = pad
        self.conv = nn.Conv2d(1, channels, kernel)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 1, T, mel] -> [B, channels, T]."""
        x = nn.functional.pad(x, (0, 0, *self.pad))
        return self.norm(self.conv(x).relu()).amax(-1)


class MiddleBlock(nn.Module):
    """Convolution over 7 frames of all features, ReLU, normalisation."""

    def __init__(self, features: int) -> None:
        """``features`` is the number of channels that come in."""
        super().__init__()
        self.conv = nn.Conv1d(features, MIDDLE, 7, padding=3)
        self.norm = nn.BatchNorm1d(MIDDLE, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, features, T] -> [B, 64, T]."""
        return self.norm(self.conv(x).relu())


class Musicnn(nn.Module):
    """The MTT_musicnn network: timbral and temporal filters, three dense middle layers, pooling, two dense layers."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=1e-3)
        timbral = [FrontBlock(TIMBRAL, (7, int(share * N_MELS)), (3, 3)) for share in (0.4, 0.7)]
        # an even kernel under TensorFlow's "same" padding has its extra frame at the end
        temporal = [FrontBlock(TEMPORAL, (size, 1), (size // 2 - 1, size // 2)) for size in (128, 64, 32)]
        self.front = nn.ModuleList([*timbral, *temporal])
        front = 2 * TIMBRAL + 3 * TEMPORAL
        self.middle = nn.ModuleList([MiddleBlock(front), MiddleBlock(MIDDLE), MiddleBlock(MIDDLE)])
        self.pool_norm = nn.BatchNorm1d(2 * (front + 3 * MIDDLE), eps=1e-3)
        self.dense = nn.Linear(2 * (front + 3 * MIDDLE), PENULTIMATE)
        self.dense_norm = nn.BatchNorm1d(PENULTIMATE, eps=1e-3)
        self.output = nn.Linear(PENULTIMATE, len(TAGS))

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-mel patches [B, T, 96] -> penultimate layer [B, 200] and tag probabilities [B, 50]."""
        x = self.norm(patches[:, None])
        front = torch.cat([block(x) for block in self.front], dim=1)  # [B, 561, T]
        first = self.middle[0](front)
        second = self.middle[1](first) + first
        third = self.middle[2](second) + second
        features = torch.cat([front, first, second, third], dim=1)
        pooled = torch.stack([features.amax(-1), features.mean(-1)], dim=-1).flatten(1)  # max, mean, max, mean, ...
        penultimate = self.dense_norm(self.dense(self.pool_norm(pooled)).relu())
        return penultimate, self.output(penultimate).sigmoid()


def patches(spectrogram: torch.Tensor) -> torch.Tensor:
    """Patches [n, 187, 96] that cover a log-mel [T, 96] evenly; a shorter one is repeated, as in musicnn's training."""
    if len(spectrogram) < PATCH:
        spectrogram = spectrogram.repeat(-(-PATCH // len(spectrogram)), 1)[:PATCH]
    return torch.stack([spectrogram[s : s + PATCH] for s in window_starts(len(spectrogram), PATCH, PATCH_HOP)])


class MusicnnEmbedder:
    """musicnn as an embedder: one frame per patch, 200 penultimate values and then 50 tag probabilities."""

    name = "musicnn"
    version = "1"
    sample_rate = SAMPLE_RATE

    def __init__(self, device: str = "cpu", path: Path | None = None) -> None:
        """Reads the weights, by default those of models/tiny. Raises UserError if they are missing or corrupt."""
        self.files = [path] if path else weights("tiny/musicnn", "model.safetensors")
        self.device = device
        self.model = Musicnn()
        load_weights(self.model, self.files[0])
        self.model.eval().to(device)

    def fingerprint(self) -> str:
        """Hash over code version and weights."""
        return hash_of(self.name, self.version, self.files)

    @torch.inference_mode()
    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] at 16 kHz -> float32 [patches, 250]; audio shorter than one analysis window is padded to it."""
        samples = torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)).to(self.device)
        samples = nn.functional.pad(samples, (0, max(0, N_FFT - len(samples))))
        parts = patches(log_mel(samples, N_MELS, N_FFT, HOP, SAMPLE_RATE).T).split(BATCH)
        return torch.cat([torch.cat(self.model(part), dim=1) for part in parts]).cpu().numpy()
