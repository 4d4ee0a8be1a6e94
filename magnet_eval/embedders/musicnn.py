"""musicnn (Pons and Serra, 2019, arXiv:1909.06654): a music tagger trained on MagnaTagATune, rebuilt in PyTorch.

The weights are those of the musicnn 0.1.0 package, converted by training/musicnn_weights.py and proven against the
original network under TensorFlow (see models/tiny/musicnn/README.md). Frames are its 200-d penultimate layer and,
behind it, the probabilities of its 50 tags.

Where this differs from the package: spectrograms stay in float32 (the package rounds them to half precision, where
10,000 m overflows on loud tones), and patches of 3 s start at most 1 s apart and reach both ends of the clip, where
the package lays them end to end and drops what is left over, which would waste 2 of 5 seconds.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from magnet_eval.embedders import hash_of, load_weights, weights
from magnet_eval.embedders.mel import log_mel, window_starts

SAMPLE_RATE, N_FFT, HOP, N_MELS = 16_000, 512, 256, 96
PATCH, PATCH_HOP = 187, 63  # spectrogram frames: 2.99 s and 1.01 s; a 5 s clip of 313 frames is three patches
TIMBRAL, TEMPORAL, MIDDLE, PENULTIMATE = 204, 51, 64, 200
BATCH = 16  # patches
ROWS = 24  # that timbral filters take at a time: what they give stays in a core's cache
GROUP = 11  # divides PATCH
TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
    "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
    "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man",
    "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello",
    "no voice", "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip


class FrontBlock(nn.Module):
    """Convolution over time and mel, ReLU, normalisation, and the maximum over mel.

    The maximum is taken first, as both that come behind keep the order of values or, in channels of negative scale,
    turn it round: there the filters are negated.
    """

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        """``kernel`` is frames by mel bands."""
        super().__init__()
        self.conv = nn.Conv2d(1, channels, kernel)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3)
        # an even kernel under TensorFlow's "same" padding has its extra frame at the end
        self.pad = ((kernel[0] - 1) // 2, kernel[0] // 2)

    @cached_property
    def signs(self) -> torch.Tensor:
        """1 or -1 for each channel."""
        return torch.where(self.norm.weight < 0, -1.0, 1.0)

    def finish(self, highest: torch.Tensor) -> torch.Tensor:
        """[..., channels] from the maxima of what the signed filters give."""
        values = (highest * self.signs + self.conv.bias).relu()
        return self.norm(values.view(-1, values.shape[-1], 1, 1)).view(values.shape)


class TimbralBlock(FrontBlock):
    """Filters of a few frames and many mel bands, by the Fourier transform over mel: a quarter of the products.

    A filter's values at the places +j and -j from the middle one are the sum and the difference of a part that is even
    in j and one that is odd, so that the larger of the two is the even part plus the odd one's magnitude.
    """

    @cached_property
    def filters(self) -> tuple[torch.Tensor, ...]:
        """Spectra, real and imaginary: [bins, 2 frames, channels] each; their way back, even and odd: [j, bins]."""
        n_frames, n_bands = self.conv.kernel_size
        middle = (N_MELS - n_bands) / 2
        kernel = (self.conv.weight[:, 0] * self.signs[:, None, None]).double()
        bins = torch.arange(N_MELS // 2 + 1, dtype=torch.float64, device=kernel.device)
        angle = 2 * torch.pi / N_MELS * bins
        spectrum = torch.fft.rfft(kernel, N_MELS).conj() * torch.polar(torch.ones_like(angle), angle * middle)
        spectrum = spectrum.permute(2, 1, 0)  # [bins, frames, channels]
        real = torch.stack([spectrum.real, -spectrum.imag], dim=2).flatten(1, 2)
        imaginary = torch.stack([spectrum.imag, spectrum.real], dim=2).flatten(1, 2)
        places = torch.arange(middle % 1, middle + 1, device=kernel.device)[:, None] * angle
        share = torch.where((bins == 0) | (bins == N_MELS // 2), 1.0, 2.0) / N_MELS
        return tuple(x.float().contiguous() for x in (real, imaginary, places.cos() * share, places.sin() * share))

    def forward(self, frames: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Frames [F, mel], the last one zeros, and the consecutive ones of each patch [B, T] -> [B, T, channels]."""
        reach, last, steps = self.pad[0], len(frames) - 1, torch.arange(index.shape[1], device=index.device)
        around = nn.functional.pad(index, self.pad, value=last).unfold(1, 2 * reach + 1, 1)  # [B, T, frames]
        # patches share their rows, which differ only by the middle frame and, near it, the end of the patch
        end = steps.clamp(max=reach) - steps.flip(0).clamp(max=reach)
        rows, which = torch.unique(index + end * (last + 1), return_inverse=True)
        parts = around.new_zeros(-(-len(rows) // ROWS) * ROWS, around.shape[2])
        parts[which] = around
        real, imaginary, even, odd = self.filters
        spectra, highest = torch.view_as_real(torch.fft.rfft(frames)), []  # [F, bins, 2]
        products = frames.new_empty(len(real), ROWS, real.shape[2])  # fresh memory for each would take as long as they
        values = frames.new_empty(len(even), products[0].numel())
        for part in parts.split(ROWS):
            x = spectra[part].permute(2, 0, 1, 3).flatten(2)  # [bins, rows, 2 frames]
            torch.mm(odd, torch.bmm(x, imaginary, out=products).flatten(1), out=values)
            values.abs_().addmm_(even, torch.bmm(x, real, out=products).flatten(1))
            highest.append(values.amax(0).unflatten(0, (ROWS, -1)))
        return self.finish(torch.cat(highest))[which]


class TemporalBlock(FrontBlock):
    """Filters of many frames and one mel band, for ``GROUP`` neighbouring frames in one matrix product."""

    @cached_property
    def filters(self) -> torch.Tensor:
        """[frames that a group hears, GROUP x channels]."""
        kernel = self.conv.weight[:, 0, :, 0] * self.signs[:, None]
        shifted = [nn.functional.pad(kernel, (i, GROUP - 1 - i)) for i in range(GROUP)]
        return torch.cat(shifted).T.contiguous()

    def forward(self, frames: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Frames [F, mel] and those of each patch [B, T] -> [B, T, channels]."""
        patches, highest = frames[index].transpose(1, 2), []  # [B, mel, T]
        values = frames.new_empty(patches[..., 0].numel(), self.filters.shape[1])
        for start in range(-self.pad[0], index.shape[1] - self.pad[0], GROUP):
            heard = patches[..., max(start, 0) : start + len(self.filters)]
            before = max(-start, 0)  # zeros beyond the ends of a patch cost nothing
            torch.mm(heard.flatten(0, 1), self.filters[before : before + heard.shape[2]], out=values)
            highest.append(values.unflatten(0, heard.shape[:2]).amax(1).unflatten(1, (GROUP, -1)))
        return self.finish(torch.cat(highest, dim=1))


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
        timbral = [TimbralBlock(TIMBRAL, (7, int(share * N_MELS))) for share in (0.4, 0.7)]
        temporal = [TemporalBlock(TEMPORAL, (size, 1)) for size in (128, 64, 32)]
        self.front = nn.ModuleList([*timbral, *temporal])
        front = 2 * TIMBRAL + 3 * TEMPORAL
        self.middle = nn.ModuleList([MiddleBlock(front), MiddleBlock(MIDDLE), MiddleBlock(MIDDLE)])
        self.pool_norm = nn.BatchNorm1d(2 * (front + 3 * MIDDLE), eps=1e-3)
        self.dense = nn.Linear(2 * (front + 3 * MIDDLE), PENULTIMATE)
        self.dense_norm = nn.BatchNorm1d(PENULTIMATE, eps=1e-3)
        self.output = nn.Linear(PENULTIMATE, len(TAGS))

    def forward(self, frames: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-mel frames [F, 96] and the frames of each patch [B, 187] -> penultimate layer [B, 200], tags [B, 50]."""
        x = nn.functional.pad(self.norm(frames[None, None])[0, 0], (0, 0, 0, 1))
        front = torch.cat([block(x, index).transpose(1, 2) for block in self.front], dim=1)  # [B, 561, 187]
        first = self.middle[0](front)
        second = self.middle[1](first) + first
        third = self.middle[2](second) + second
        layers = (front, first, second, third)
        pooled = [torch.cat([pool(x) for x in layers], dim=1) for pool in (lambda x: x.amax(-1), lambda x: x.mean(-1))]
        pooled = torch.stack(pooled, dim=-1).flatten(1)  # max, mean, max, mean, ...
        penultimate = self.dense_norm(self.dense(self.pool_norm(pooled)).relu())
        return penultimate, self.output(penultimate).sigmoid()


def patches(n_frames: int) -> torch.Tensor:
    """Which frames each patch is made of, [n, 187], evenly over the clip; a shorter one is repeated, as in training."""
    starts = torch.tensor(window_starts(n_frames, PATCH, PATCH_HOP))
    return (starts[:, None] + torch.arange(PATCH)) % n_frames


class MusicnnEmbedder:
    """musicnn as an embedder: one frame per patch, 200 penultimate values and then 50 tag probabilities."""

    name = "musicnn"
    version = "2"
    sample_rate = SAMPLE_RATE
    thread_safe = True

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
        frames = log_mel(samples, N_MELS, N_FFT, HOP, SAMPLE_RATE).T
        parts = patches(len(frames)).to(self.device).split(BATCH)
        return torch.cat([torch.cat(self.model(frames, part), dim=1) for part in parts]).cpu().numpy()
