"""VGGish (Hershey et al., 2017, arXiv:1609.09430) in PyTorch, with the parameter names of the port torchvggish.

Frames are its 128 values before the last ReLU, without the PCA and the quantisation of AudioSet's embeddings: what
all tools for the Fréchet audio distance (Kilgour et al., 2019, arXiv:1812.08466) compare. They differ in the windows:

- torchvggish and all that build on it lay windows of 96 spectrogram frames end to end;
- Google's own tool takes 1 s of audio every 0.5 s, of whose 98 frames it uses the first 96, and divides the whole clip
  by its largest positive sample. Analysing each second on its own, as it does, is analysing the clip at once: a window
  starts on a spectrogram frame and no frame is padded.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from magnet_eval.embedders import hash_of
from magnet_eval.embedders.mel import htk_filters
from magnet_eval.embedders.network import fill, in_batches, read_state, samples_of
from magnet_eval.embedders.sources import place_of

SAMPLE_RATE, STEP, HOP, N_FFT, N_MELS = 16_000, 400, 160, 512, 64  # 25 ms every 10 ms
PATCH = 96  # spectrogram frames
PATCH_SAMPLES = (PATCH - 1) * HOP + STEP  # 0.975 s: the shortest clip with one window
LOWEST, HIGHEST, OFFSET = 125.0, 7500.0, 0.01
CHANNELS, HIDDEN, OUTPUTS = ((64,), (128,), (256, 256), (512, 512)), 4096, 128
QUIETEST = 0.1 / 32768  # of a peak that is still brought to full scale: 0.1 in units of 16-bit samples
BATCH = 32


@cache
def _front() -> tuple[Tensor, Tensor]:
    """Periodic Hann window [400] and mel filters [257, 64]."""
    return torch.hann_window(STEP), htk_filters(N_MELS, N_FFT, SAMPLE_RATE, LOWEST, HIGHEST).T.contiguous()


def log_mel(audio: Tensor) -> Tensor:
    """ln(m + 0.01) of the mel magnitude spectrogram m of [..., T] audio: [..., 1 + (T - 400) // 160, 64]."""
    window, filters = _front()
    spectrum = torch.fft.rfft(audio.unfold(-1, STEP, HOP) * window, n=N_FFT).abs()
    return torch.log(spectrum @ filters + OFFSET)


class VGGish(nn.Module):
    """Six convolutions in four groups, each followed by pooling, and three dense layers."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for group in CHANNELS:
            for channels in group:
                layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
                width = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        area = (PATCH // 2 ** len(CHANNELS)) * (N_MELS // 2 ** len(CHANNELS))
        self.embeddings = nn.Sequential(
            nn.Linear(area * width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Log-mel patches [B, 96, 64] -> [B, 128]."""
        maps = self.features(patches[:, None])
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))  # channels last, as in TensorFlow


class VGGishEmbedder:
    """VGGish as an embedder: one frame of 128 values per window."""

    name = "vggish"
    version = "1"
    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        device: str = "cpu",
        weights: str | Path = "vggish",
        window: int = PATCH_SAMPLES,
        hop: int = PATCH * HOP,
        positive_peak: bool = False,
    ) -> None:
        """window, hop: samples; what remains at the end is dropped. positive_peak: bring the largest sample to 1.

        Raises UserError if the weights are missing, damaged or another network's.
        """
        path = place_of(weights)
        self.files = [path]
        self.device, self.window, self.hop, self.positive_peak = device, window, hop, positive_peak
        with torch.device("meta"):
            network = VGGish()
        self.model = fill(network, read_state(path), path, device)

    def fingerprint(self) -> str:
        """Hash over code version, options and weights."""
        return hash_of(self.name, f"{self.version} {self.window} {self.hop} {self.positive_peak}", self.files)

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] at 16 kHz -> float32 [windows, 128]. Raises UserError if it is shorter than a window."""
        samples = samples_of(audio, self.window, SAMPLE_RATE, self.name)
        if self.positive_peak:
            samples = samples / samples.max().clamp(min=QUIETEST)
        patches = log_mel(samples.unfold(0, self.window, self.hop)[:, :PATCH_SAMPLES])
        return in_batches(self.model, BATCH, patches.to(self.device))
