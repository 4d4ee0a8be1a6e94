"""The tiny codec, in EnCodec's format: 16 kHz, 25 frames per second, 4 codebooks of 256 codes (0.8 kbps).

EnCodec (Défossez et al., 2022) learns encoder, quantiser and decoder together for days. Here the latent space is
fixed first, so that the tokens are easy to model and everything else trains in minutes:

1. latents: log-mel frames reduced by PCA, blind to phase, so that the same note gives the same tokens;
2. quantiser: residual k-means on the latents;
3. decoder: a SEANet decoder from quantised latents to audio, by multi-resolution spectral losses;
4. encoder: a SEANet encoder from audio to the latents, by regression.

The result is a plain transformers ``EncodecModel``.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import EncodecConfig, EncodecModel

from magnet_eval.training.dataset import to_float

log = logging.getLogger(__name__)
SAMPLE_RATE, HOP, SUBFRAMES, N_MELS, WINDOW = 16_000, 640, 4, 80, 640
LATENT, CODEBOOKS, CODES = 64, 4, 256
LATENTS = "latents.safetensors"  # beside the codec's weights
FLOOR = 1e-3  # of the mel amplitude: about -60 dB under a full-scale sine


def mel_filters(n_fft: int, n_mels: int, low: float = 30.0, high: float = 8000.0) -> torch.Tensor:
    """Triangular HTK mel filters, peak 1: [n_fft // 2 + 1, n_mels]."""
    bottom, top = 2595 * np.log10(1 + np.array([low, high]) / 700)
    edges = np.linspace(bottom, top, n_mels + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)[:, None]
    rise = (bins - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    fall = (hertz[2:] - bins) / (hertz[2:] - hertz[1:-1])
    return torch.from_numpy(np.clip(np.minimum(rise, fall), 0, None).astype(np.float32))


def features(audio: torch.Tensor) -> torch.Tensor:
    """Log-mel of audio [B, samples] by token frame: [B, samples // 640, 320].

    No window looks past the end of its token frame, so that an onset never leaks into the frame before.
    """
    window = torch.hann_window(WINDOW, device=audio.device)
    step = HOP // SUBFRAMES
    padded = nn.functional.pad(audio, (WINDOW - step, 0)).unfold(-1, WINDOW, step)
    spectrum = torch.fft.rfft(padded * window, n=1024).abs() / window.sum() * 2
    mel = torch.log((spectrum @ mel_filters(1024, N_MELS).to(audio.device)).clamp_min(FLOOR))
    frames = audio.shape[-1] // HOP
    return mel[:, : frames * SUBFRAMES].reshape(len(audio), frames, SUBFRAMES * N_MELS)


class Latents(nn.Module):
    """Audio to latents: standardised, PCA-reduced log-mel frames."""

    def __init__(self, mean: torch.Tensor, basis: torch.Tensor) -> None:
        """Mean [320] and basis [320, 64] of the features."""
        super().__init__()
        self.mean, self.basis = nn.Buffer(mean), nn.Buffer(basis)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Latents [B, frames, 64] of audio [B, samples]."""
        return (features(audio) - self.mean) @ self.basis


def fit_latents(audio: np.ndarray, clips: int = 1500) -> Latents:
    """PCA over the first clips, scaled so that the first component has unit variance."""
    frames = torch.cat([features(chunk).flatten(0, 1) for chunk in chunks(audio[:clips])])
    mean = frames.mean(0)
    covariance = torch.cov((frames - mean).double().T)
    values, vectors = torch.linalg.eigh(covariance)
    basis = vectors[:, -LATENT:].flip(1) / values[-1].sqrt()
    log.info("latents keep %.3f of the variance", (values[-LATENT:].sum() / values.sum()).item())
    return Latents(mean, basis.float())


def chunks(audio: np.ndarray, size: int = 250) -> Iterator[torch.Tensor]:
    """Clips [n, samples] int16 in parts of ``size``, float32."""
    for start in range(0, len(audio), size):
        yield torch.from_numpy(to_float(audio[start : start + size]))


def _nearest(points: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    half_norm = 0.5 * centres.square().sum(1)
    return torch.cat([(part @ centres.T - half_norm).argmax(1) for part in points.split(65_536)])


def kmeans(points: torch.Tensor, k: int, iterations: int, generator: torch.Generator) -> torch.Tensor:
    """Lloyd's k-means from random points; empty clusters restart at random points: [k, d]."""
    centres = points[torch.randperm(len(points), generator=generator)[:k]].clone()
    for _ in range(iterations):
        owner = _nearest(points, centres)
        count = torch.bincount(owner, minlength=k)
        total = torch.zeros_like(centres).index_add_(0, owner, points)
        centres = torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], centres)
        empty = (count == 0).nonzero().flatten()
        centres[empty] = points[torch.randint(len(points), (len(empty),), generator=generator)]
    return centres


def fit_codebooks(points: torch.Tensor, generator: torch.Generator, iterations: int = 40) -> torch.Tensor:
    """Residual k-means codebooks of latents [n, 64]: [4, 256, 64]."""
    books, residual = [], points
    for book in range(CODEBOOKS):
        centres = kmeans(residual, CODES, iterations, generator)
        owner = _nearest(residual, centres)
        residual = residual - centres[owner]
        share = torch.bincount(owner, minlength=CODES).double() / len(owner)
        perplexity = torch.exp(-(share * share.clamp_min(1e-12).log()).sum()).item()
        kept = 1 - (residual.square().sum() / points.square().sum()).item()
        log.info("codebook %d: perplexity %.0f of %d, %.3f of the energy explained", book, perplexity, CODES, kept)
        books.append(centres)
    return torch.stack(books)


def quantise(latents: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Codes of latents [B, frames, 64]: int16 [B, 4, frames]."""
    residual, codes = latents.flatten(0, 1), []
    for centres in books:
        owner = _nearest(residual, centres)
        residual = residual - centres[owner]
        codes.append(owner.reshape(latents.shape[:2]))
    return torch.stack(codes, 1).to(torch.int16)


def lookup(codes: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Quantised latents [B, frames, 64] of codes [B, n, frames], of the first n codebooks."""
    return sum(book[codes[:, k].long()] for k, book in enumerate(books[: codes.shape[1]]))


def empty_codec(filters: int = 24) -> EncodecModel:
    """A randomly initialised EnCodec of the tiny size.

    Most of its layers run at 25 to 100 Hz, where they are cheap; the last one turns 1 kHz into samples.
    """
    config = EncodecConfig(
        target_bandwidths=[0.8], sampling_rate=SAMPLE_RATE, audio_channels=1, normalize=False, num_filters=filters,
        hidden_size=LATENT, codebook_dim=LATENT, codebook_size=CODES, upsampling_ratios=[2, 2, 10, 16],
        num_lstm_layers=1, num_residual_layers=1, use_causal_conv=True, use_conv_shortcut=False, pad_mode="constant",
    )  # fmt: skip
    return EncodecModel(config)


def set_codebooks(codec: EncodecModel, books: torch.Tensor) -> None:
    """Puts fitted codebooks into the codec's quantiser."""
    for layer, centres in zip(codec.quantizer.layers, books, strict=True):
        layer.codebook.embed.data.copy_(centres)
        layer.codebook.inited.data.fill_(True)


def excerpts(
    audio: np.ndarray, rng: np.random.Generator, batch: int = 16, frames: int = 40
) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Random excerpts [batch, samples] of clips, float32, with their rows and first frames, rarely silent."""
    rows = rng.integers(len(audio), size=batch)
    starts = rng.integers(audio.shape[-1] // HOP - frames + 1, size=batch)
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        if not audio[row, start * HOP : (start + frames) * HOP].any():  # the end of a sound effect: its beginning then
            starts[i] = 0
    picked = [audio[r, s * HOP : (s + frames) * HOP] for r, s in zip(rows, starts, strict=True)]
    return torch.from_numpy(to_float(np.stack(picked))), rows, starts


def decoded(
    codec: EncodecModel, codes: torch.Tensor, books: torch.Tensor, rows: np.ndarray, starts: np.ndarray, frames: int,
    used: int = CODEBOOKS,
) -> torch.Tensor:  # fmt: skip
    """Audio [B, samples] of excerpts of the clips' codes, by their first ``used`` codebooks."""
    picked = torch.stack([codes[r, :used, s : s + frames] for r, s in zip(rows.tolist(), starts.tolist(), strict=True)])
    latents = lookup(picked, books).transpose(1, 2).to(codec.device)
    with torch.autocast(codec.device.type, torch.bfloat16):
        return codec.decoder(latents)[:, 0].float()


def spectral_loss(made: torch.Tensor, real: torch.Tensor, floor: float = FLOOR) -> torch.Tensor:
    """Multi-resolution spectral distance of audio [B, samples]: log-mel L1 plus spectral convergence, mean of 4.

    Mel amplitudes below ``floor`` count as equal.
    """
    total = torch.zeros((), device=made.device)
    for n_fft in (256, 512, 1024, 2048):
        window = torch.hann_window(n_fft, device=made.device)
        a, b = (
            torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True).abs() / window.sum() * 2
            for x in (made, real)
        )
        filters = mel_filters(n_fft, min(80, n_fft // 8)).to(made.device)
        logs = [torch.log((x.transpose(1, 2) @ filters).clamp_min(floor)) for x in (a, b)]
        total = total + (logs[0] - logs[1]).abs().mean() + 0.5 * (a - b).norm() / b.norm().clamp_min(1e-3)
    return total / 4


def tokenise(audio: np.ndarray, latents: Latents, books: torch.Tensor) -> torch.Tensor:
    """Codes of all clips [n, samples] int16: int16 [n, 4, frames]."""
    return torch.cat([quantise(latents(chunk), books) for chunk in chunks(audio)])


def bigram_cross_entropy(train: torch.Tensor, valid: torch.Tensor) -> list[float]:
    """Nats per held-out token [n, 4, frames] given the one before it, by codebook; an unseen pair backs off to one."""
    found = []
    for k in range(train.shape[1]):
        one = torch.bincount(train[:, k].flatten(), minlength=CODES).double().clamp_min(0.5)
        pairs = (train[:, k, :-1] * CODES + train[:, k, 1:]).flatten()
        two = torch.bincount(pairs, minlength=CODES**2).reshape(CODES, CODES).double()
        chance = (two + one / one.sum()) / (two.sum(1, keepdim=True) + 1)
        found.append(round(-chance[valid[:, k, :-1], valid[:, k, 1:]].log().mean().item(), 3))
    return found


def save_codec(codec: EncodecModel, latents: Latents, folder: Path) -> None:
    """Writes the codec in half precision, in transformers' format, and beside it the latents that its tokens are of."""
    state = {
        name: (value.half() if value.is_floating_point() else value).cpu() for name, value in codec.state_dict().items()
    }
    codec.save_pretrained(folder, state_dict=state)
    save_file({"mean": latents.mean, "basis": latents.basis.contiguous()}, folder / LATENTS)


@torch.no_grad()
def held_out_figures(codec: EncodecModel, audio: np.ndarray, codes: torch.Tensor, clips: int = 64) -> dict:
    """Spectral loss of decoded held-out tokens by how many codebooks are heard, codes in use, and the encoder's tokens.

    The encoder is to find the tokens that the latents have.
    """
    codec.cpu().eval()
    real = torch.from_numpy(to_float(audio[:clips]))
    used = codes[:clips].long()
    books = torch.stack([layer.codebook.embed for layer in codec.quantizer.layers]).float()
    losses = [
        spectral_loss(codec.decoder(lookup(used[:, :n], books).transpose(1, 2))[:, 0], real).item()
        for n in range(1, CODEBOOKS + 1)
    ]
    found = codec.encode(real[:, None]).audio_codes[0]
    in_use = sum(len(codes[:, k].unique()) for k in range(CODEBOOKS))
    return {
        "held_out_spectral_loss": round(losses[-1], 4),
        "held_out_spectral_loss_of_the_first_codebooks": [round(loss, 3) for loss in losses],
        "share_of_codes_used": round(in_use / (CODEBOOKS * CODES), 3),
        "encoder_token_agreement": [round(v, 3) for v in (found == used).double().mean((0, 2)).tolist()],
    }
