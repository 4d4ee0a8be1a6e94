"""PaSST (Koutini et al., 2021, arXiv:2110.05069): a vision transformer over log-mel, trained on AudioSet.

The parameter names are those of the published files. There is one for 10, 20 and 30 s, told apart by its time
positions. A frame is the mean of the two leading tokens (768 values) and then the 527 logits before any softmax.

Clips longer than the network hears are cut as the tools do: audiocraft takes segments end to end, each an item of its
own, and drops one of 0.15 s or less, which has no patch; stable-audio-metrics takes half-overlapping windows, pads the
last one with zeros and averages. Random numbers play no part here; hear21passt draws two at each call, and drops them.
"""

from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from magnet_eval.embedders import hash_of
from magnet_eval.embedders.mel import htk_filters
from magnet_eval.embedders.network import fill, in_batches, read_state, samples_of
from magnet_eval.embedders.sources import place_of
from magnet_eval.lookup import UserError, check

SAMPLE_RATE, STEP, HOP, N_FFT, N_MELS = 32_000, 800, 320, 1024, 128
PREEMPHASIS, HIGHEST, OFFSET = 0.97, 15_000.0, 1e-5
PATCH, STRIDE = 16, 10  # mel bands and spectrogram frames
DIM, DEPTH, HEADS, CLASSES = 768, 12, 12, 527
SECONDS = {99: 10, 200: 20, 300: 30}  # time positions of a network -> the longest audio it hears
TIMES = "time_new_pos_embed"
SHORTEST = 4_800  # samples: as much or less has no patch
PADDED = 0.15  # of a window: stable-audio-metrics leaves shorter audio as it is
WINDOWS = ("segments", "overlapping")
BATCH = 8


@cache
def _front() -> tuple[Tensor, Tensor]:
    """Symmetric Hann window [800] and mel filters [128, 513]."""
    return torch.hann_window(STEP, periodic=False), htk_filters(N_MELS, N_FFT, SAMPLE_RATE, 0.0, HIGHEST)


def log_mel(audio: Tensor) -> Tensor:
    """(ln(m + 1e-5) + 4.5) / 5 of the mel power spectrogram m of [B, T], after pre-emphasis: [B, 128, frames]."""
    window, filters = (part.to(audio.device) for part in _front())
    raised = audio[:, 1:] - PREEMPHASIS * audio[:, :-1]
    spectrum = torch.stft(raised, N_FFT, HOP, STEP, window, center=True, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return (torch.log(filters @ power + OFFSET) + 4.5) / 5


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.proj = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        """[B, tokens, dim] -> the same."""
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)  # [B, heads, tokens, width] each
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two dense layers, four times as wide inside."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        self.fc1 = nn.Linear(DIM, 4 * DIM)
        self.fc2 = nn.Linear(4 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        """[B, tokens, dim] -> the same."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and dense layers, each normalised before and added."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        self.norm1 = nn.LayerNorm(DIM, eps=1e-6)
        self.attn = Attention()
        self.norm2 = nn.LayerNorm(DIM, eps=1e-6)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        """[B, tokens, dim] -> the same."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PaSST(nn.Module):
    """Overlapping patches with positions in time and frequency, two tokens before them, blocks, and one head."""

    def __init__(self, times: int) -> None:
        """Untrained. times: positions in time."""
        super().__init__()
        rows = N_MELS // STRIDE
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(1, DIM, PATCH, stride=STRIDE)
        self.cls_token = nn.Parameter(torch.empty(1, 1, DIM))
        self.dist_token = nn.Parameter(torch.empty(1, 1, DIM))
        self.new_pos_embed = nn.Parameter(torch.empty(1, 2, DIM))
        self.freq_new_pos_embed = nn.Parameter(torch.empty(1, DIM, rows, 1))
        self.time_new_pos_embed = nn.Parameter(torch.empty(1, DIM, 1, times))
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(DIM, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(DIM), nn.Linear(DIM, CLASSES))
        self.head_dist = nn.Linear(DIM, CLASSES)  # in the files; not used after training

    def forward(self, audio: Tensor) -> Tensor:
        """[B, T], at most the seconds of the network -> embedding and logits [B, 768 + 527]."""
        x = self.patch_embed.proj(log_mel(audio)[:, None])  # [B, dim, rows, times]
        x = x + self.time_new_pos_embed[..., : x.shape[-1]] + self.freq_new_pos_embed
        tokens = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        x = torch.cat([tokens.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        embedding = self.norm(self.blocks(x)[:, :2]).mean(1)
        return torch.cat([embedding, self.head(embedding)], dim=1)


def segments(samples: Tensor, longest: int) -> list[Tensor]:
    """Parts of [T] end to end, the last one shorter, unless that is too short to be heard."""
    return [part for part in samples.split(longest) if len(part) > SHORTEST]


def overlapping(samples: Tensor, longest: int) -> list[Tensor]:
    """Windows of [T], each half a window after the last, as long as more than half of one is left; zeros behind."""
    step = longest // 2
    parts = [samples[start : start + longest] for start in range(0, max(step, len(samples) - step), step)]
    return [
        nn.functional.pad(part, (0, longest - len(part))) if len(part) > PADDED * longest else part for part in parts
    ]


class PasstEmbedder:
    """PaSST as an embedder: 768 values and then 527 logits, per segment or averaged over overlapping windows."""

    name = "passt"
    version = "1"
    sample_rate = SAMPLE_RATE

    def __init__(self, device: str = "cpu", weights: str | Path = "passt-10s", windows: str = "segments") -> None:
        """windows: segments (audiocraft), or overlapping (stable-audio-metrics).

        Raises UserError if the weights are missing, damaged or another network's.
        """
        path = place_of(weights)
        self.files = [path]
        self.device, self.windows = device, check("windows", windows, WINDOWS)
        state = read_state(path, "model")
        times = state[TIMES].shape[-1] if TIMES in state else 0
        if times not in SECONDS:
            found = tuple(state[TIMES].shape) if times else "absent"
            raise UserError(
                f"{path} is no PaSST for 10, 20 or 30 s: {TIMES} is {found}, "
                f"its last size must be one of {', '.join(map(str, SECONDS))}. Name the file that its publisher gives."
            )
        self.longest = SECONDS[times] * SAMPLE_RATE
        with torch.device("meta"):
            network = PaSST(times)
        self.model = fill(network, state, path, device)

    def fingerprint(self) -> str:
        """Hash over code version, options and weights."""
        return hash_of(self.name, f"{self.version} {self.windows}", self.files)

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] at 32 kHz -> float32 [segments or 1, 1295]. Raises UserError for 0.15 s or less."""
        samples = samples_of(audio, SHORTEST + 1, SAMPLE_RATE, self.name).to(self.device)
        parts = (segments if self.windows == "segments" else overlapping)(samples, self.longest)
        frames = [in_batches(self.model, BATCH, torch.stack(list(alike))) for _, alike in groupby(parts, len)]
        found = np.concatenate(frames)
        return found if self.windows == "segments" else found.mean(0, keepdims=True)
