"""Cnn14 of PANNs (Kong et al., 2020, arXiv:1912.10211): a tagger trained on AudioSet, with its own parameter names.

Which of the published networks (8, 16 or 32 kHz) it is, is read off the file: its analysis filters are among the
parameters, as long as the window, and 10 ms of audio are one hop. So are its mel filters, whose upper edge packages do
not agree on: the file's are what it was trained with.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from magnet_eval.embedders import hash_of
from magnet_eval.embedders.network import batch_on, fill, in_batches, read_state, samples_of
from magnet_eval.embedders.sources import place_of
from magnet_eval.lookup import UserError

RATES = {256: 8_000, 512: 16_000, 1024: 32_000}  # window in samples -> Hz
FILTERS = "spectrogram_extractor.stft.conv_real.weight"
N_MELS, WIDTHS, EMBEDDING, CLASSES = 64, (64, 128, 256, 512, 1024, 2048), 2048, 527
POOLINGS = len(WIDTHS) - 1  # each halves the frames; the last block's does not
QUIETEST = 1e-10  # of a mel power that is not raised


class Stft(nn.Module):
    """The two convolutions that are a short-time Fourier transform, window included."""

    def __init__(self, n_fft: int) -> None:
        """The filters come with the weights."""
        super().__init__()
        self.hop = n_fft * 5 // 16
        self.conv_real = nn.Conv1d(1, n_fft // 2 + 1, n_fft, stride=self.hop, bias=False)
        self.conv_imag = nn.Conv1d(1, n_fft // 2 + 1, n_fft, stride=self.hop, bias=False)

    def forward(self, audio: Tensor) -> Tensor:
        """[B, T] -> power [B, 1 + T // hop, bins]; frames are centred, the ends reflected."""
        half = self.conv_real.kernel_size[0] // 2
        padded = nn.functional.pad(audio[:, None], (half, half), mode="reflect")
        return (self.conv_real(padded).square() + self.conv_imag(padded).square()).transpose(1, 2)


class ConvBlock(nn.Module):
    """Two normalised convolutions, and averages over 2 x 2 or not."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Channels that come in, and that go out."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, frames, mel] -> [B, outputs, frames, mel]."""
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()


class Cnn14(nn.Module):
    """Log-mel spectrogram, six convolution blocks, pooling over mel and time, two dense layers."""

    def __init__(self, n_fft: int) -> None:
        """Untrained. n_fft: window, in samples."""
        super().__init__()
        self.spectrogram_extractor = nn.Module()
        self.spectrogram_extractor.stft = Stft(n_fft)
        self.logmel_extractor = nn.Module()
        self.logmel_extractor.melW = nn.Parameter(torch.empty(n_fft // 2 + 1, N_MELS))
        self.bn0 = nn.BatchNorm2d(N_MELS)
        for n, (inputs, outputs) in enumerate(zip((1, *WIDTHS[:-1]), WIDTHS, strict=True), 1):
            self.add_module(f"conv_block{n}", ConvBlock(inputs, outputs))
        self.fc1 = nn.Linear(WIDTHS[-1], EMBEDDING)
        self.fc_audioset = nn.Linear(EMBEDDING, CLASSES)

    def forward(self, audio: Tensor) -> Tensor:
        """[B, T] -> the embedding and, behind it, the logits of the classes: [B, 2048 + 527]."""
        mel = self.spectrogram_extractor.stft(audio) @ self.logmel_extractor.melW  # [B, frames, mel]
        x = 10 * mel.clamp(min=QUIETEST).log10()
        x = self.bn0(x.transpose(1, 2)[..., None]).permute(0, 3, 2, 1)  # one scale for each mel band
        for n in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"conv_block{n}")(x)
            if n <= POOLINGS:
                x = nn.functional.avg_pool2d(x, 2)
        x = x.mean(3)  # [B, channels, frames]
        embedding = self.fc1(x.amax(2) + x.mean(2)).relu()
        return torch.cat([embedding, self.fc_audioset(embedding)], dim=1)


class Cnn14Embedder:
    """Cnn14 as an embedder: one frame per clip, the 2048 values of its embedding and then 527 logits.

    The logits are those before the sigmoid, of which audioldm_eval takes a softmax.
    """

    name = "cnn14"
    version = "1"

    def __init__(self, device: str = "cpu", weights: str | Path = "cnn14-16k") -> None:
        """Raises UserError if the weights are missing, damaged or another network's."""
        path = place_of(weights)
        self.files = [path]
        self.device, self.batch = device, batch_on(device)
        state = read_state(path, "model")
        n_fft = state[FILTERS].shape[-1] if FILTERS in state else 0
        if n_fft not in RATES:
            raise UserError(
                f"{path} is no Cnn14 of PANNs: {FILTERS} is {tuple(state[FILTERS].shape) if n_fft else 'absent'}, "
                f"its last size must be one of {', '.join(map(str, RATES))}. Name the file that its publisher gives."
            )
        self.sample_rate = RATES[n_fft]
        with torch.device("meta"):
            network = Cnn14(n_fft)
        self.model = fill(network, state, path, device)
        self.shortest = (2**POOLINGS - 1) * network.spectrogram_extractor.stft.hop

    def fingerprint(self) -> str:
        """Hash over code version and weights."""
        return hash_of(self.name, self.version, self.files)

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] -> float32 [1, 2575]. Raises UserError if it is shorter than the 32 frames that pooling needs."""
        return self.embed_batch([audio])[0]

    def embed_batch(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same of several clips of one length."""
        samples = [samples_of(audio, self.shortest, self.sample_rate, self.name) for audio in clips]
        return list(in_batches(self.model, self.batch, torch.stack(samples).to(self.device))[:, None])
