"""Training of the codec's networks: the decoder in three phases, then the encoder; each goes on where it stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import EncodecModel

from magnet_eval.training import codec as parts
from magnet_eval.training.critic import SpectrogramCritic, critic_loss, decoder_losses
from magnet_eval.training.fitting import adamw, fit, is_done

PHASES = ("rough", "fine", "polish")  # of the decoder, in this order
FRAMES = 40  # of an excerpt: 1.6 s
DROPPED = 0.25  # share of batches that the decoder hears through fewer codebooks (quantiser dropout)
DOUBT, FEATURES = 0.03, 0.1  # weights of the critic's verdict and of its features, beside the spectral loss


@dataclass
class CodecFit:
    """A codec in training on clips [n, samples] int16 and their codes; ``states`` is the folder of what it resumes."""

    codec: EncodecModel
    audio: np.ndarray
    codes: torch.Tensor
    books: torch.Tensor
    states: Path
    seed: int = 0

    def _decoder(self, name: str, loss_of: Callable, minutes: float, lr: float, **beside: object) -> int:
        if not is_done(self._state(name), minutes, self.seed):
            for later in PHASES[PHASES.index(name) + 1 :]:  # they went on from a decoder that now changes
                self._state(later).unlink(missing_ok=True)
        return fit(self.codec.decoder, loss_of, self._state(name), minutes, lr=lr, seed=self.seed, beside=beside)

    def _state(self, phase: str) -> Path:
        return self.states / f"codec-{phase}.pt"

    def _pair(self, rng: np.random.Generator, used: int = parts.CODEBOOKS) -> tuple[torch.Tensor, torch.Tensor]:
        real, rows, starts = parts.excerpts(self.audio, rng, frames=FRAMES)
        made = parts.decoded(self.codec, self.codes, self.books, rows, starts, FRAMES, used)
        return made, real.to(made.device)

    def rough(self, minutes: float) -> int:
        """Spectra down to -60 dB; steps taken."""
        return self._decoder("rough", lambda rng: parts.spectral_loss(*self._pair(rng)), minutes, 2e-3)

    def fine(self, minutes: float) -> int:
        """Quieter sounds too, down to -80 dB; steps taken."""
        floor = parts.FLOOR / 10
        return self._decoder("fine", lambda rng: parts.spectral_loss(*self._pair(rng), floor), minutes, 1e-3)

    def polish(self, minutes: float) -> int:
        """With quantiser dropout, and against a critic that learns beside the decoder; steps taken."""
        torch.manual_seed(self.seed)
        critic = SpectrogramCritic().to(self.codec.device)
        optimizer = adamw(critic, 3e-4)

        def loss_of(rng: np.random.Generator) -> torch.Tensor:
            used = int(rng.integers(1, parts.CODEBOOKS)) if rng.random() < DROPPED else parts.CODEBOOKS
            made, real = self._pair(rng, used)
            optimizer.zero_grad()
            critic_loss(critic(real), critic(made.detach())).backward()
            optimizer.step()
            doubt, distance = decoder_losses(critic(real), critic(made))
            return parts.spectral_loss(made, real) + DOUBT * doubt + FEATURES * distance

        return self._decoder("polish", loss_of, minutes, 1e-3, critic=critic, critic_optimizer=optimizer)

    def encoder(self, latents: parts.Latents, minutes: float) -> int:
        """Regression of the latents; steps taken."""

        def loss_of(rng: np.random.Generator) -> torch.Tensor:
            real, *_ = parts.excerpts(self.audio, rng, frames=FRAMES)
            with torch.no_grad():
                target = latents(real).to(self.codec.device)
            # In float32: some CPUs' bfloat16 convolutions are wrong at these strides (torch 2.13; the decoder's are
            # right).
            found = self.codec.encoder(real[:, None].to(self.codec.device)).transpose(1, 2)
            return (found - target).square().mean()

        return fit(self.codec.encoder, loss_of, self._state("encoder"), minutes, lr=1.5e-3, seed=self.seed)
