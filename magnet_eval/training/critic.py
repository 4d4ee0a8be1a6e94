"""A small adversary of the codec's decoder: it tells made from real spectrograms, and the decoder learns from it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOWS = (512, 1024)


class SpectrogramCritic(nn.Module):
    """Complex spectrograms at two resolutions, after EnCodec's discriminator (Défossez et al., 2022), much smaller."""

    def __init__(self, channels: int = 16) -> None:
        """``channels`` of each layer."""
        super().__init__()
        sizes = [2, channels, channels, channels]
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                [
                    *(nn.Conv2d(a, b, (3, 7), (1, 3), (1, 3)) for a, b in zip(sizes, sizes[1:], strict=False)),
                    nn.Conv2d(channels, 1, 3, padding=1),
                ]
            )
            for _ in WINDOWS
        )

    def forward(self, audio: Tensor) -> list[list[Tensor]]:
        """Every layer's output at each resolution, the verdict last, of audio [B, samples] in -1 to 1."""
        found = []
        for n_fft, stack in zip(WINDOWS, self.stacks, strict=True):
            window = torch.hann_window(n_fft, device=audio.device)
            spectrum = torch.stft(audio, n_fft, n_fft // 2, window=window, return_complex=True) / window.sum() * 2
            # The square root of the magnitude: partials 60 dB apart are within 30 dB of each other.
            scale = (spectrum.abs() + 1e-5).rsqrt()
            x = (torch.view_as_real(spectrum) * scale[..., None]).permute(0, 3, 2, 1)  # [B, 2, frames, bins]
            outputs = []
            for layer in stack:
                x = layer(x)
                outputs.append(x)
                x = F.leaky_relu(x, 0.2)
            found.append(outputs)
        return found


def critic_loss(real: list[list[Tensor]], made: list[list[Tensor]]) -> Tensor:
    """Least squares (Mao et al., 2017): 1 for what is real, 0 for what is made."""
    pairs = zip(real, made, strict=True)
    return sum(((1 - a[-1]).square().mean() + b[-1].square().mean() for a, b in pairs), torch.zeros(())) / len(WINDOWS)


def decoder_losses(real: list[list[Tensor]], made: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
    """What the decoder lowers: the critic's doubt, and the distance of its layers' features relative to the real."""
    doubt = sum(((1 - outputs[-1]).square().mean() for outputs in made), torch.zeros(()))
    distance, layers = torch.zeros(()), 0
    for a, b in zip(real, made, strict=True):
        for x, y in zip(a[:-1], b[:-1], strict=True):
            distance = distance + (x.detach() - y).abs().mean() / x.detach().abs().mean().clamp_min(1e-6)
            layers += 1
    return doubt / len(WINDOWS), distance / layers
