"""CLAP-tiny: a small text-audio contrastive model, trained on rendered music (see models/tiny/clap/README.md).

Two towers, one for log-mel audio and one for text tokens, meet on a unit sphere (after Radford et al., 2021, and
Elizalde et al., 2023). It shares nothing with the published CLAP models, and its scores compare with none of theirs.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from magnet_eval.embedders import hash_of, load_weights, weights
from magnet_eval.embedders.mel import log_mel, window_starts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClapConfig:
    """Sizes of the two towers, and the level statistics of the log-mels that they were trained on."""

    vocabulary: int
    max_tokens: int = 48
    dim: int = 128
    channels: tuple[int, ...] = (32, 64, 128, 256, 256)
    text_layers: int = 2
    text_heads: int = 4
    sample_rate: int = 16_000
    window: int = 80_000  # samples: the length it was trained on
    n_mels: int = 64
    n_fft: int = 1024
    hop: int = 320
    mean: float = 0.0
    std: float = 1.0


class AudioTower(nn.Module):
    """Strided 3 x 3 convolutions over log-mel, pooled over time by mean and maximum."""

    def __init__(self, config: ClapConfig) -> None:
        """Untrained, in the sizes of ``config``."""
        super().__init__()
        self.mean, self.std = config.mean, config.std
        widths = (1, *config.channels)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.GELU())
                for a, b in zip(widths[:-1], widths[1:], strict=True)
            )
        )
        rows = -(-config.n_mels // 2 ** len(config.channels))
        self.project = nn.Linear(2 * rows * widths[-1], config.dim)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """[B, n_mels, frames] -> unit vectors [B, dim]."""
        maps = self.blocks(((mel - self.mean) / self.std)[:, None])  # [B, channels, rows, time]
        flat = maps.flatten(1, 2)
        pooled = torch.cat([flat.mean(-1), flat.amax(-1)], dim=-1)
        return nn.functional.normalize(self.project(pooled).float(), dim=-1)


class TextTower(nn.Module):
    """A small transformer over tokens, pooled by the mean."""

    def __init__(self, config: ClapConfig) -> None:
        """Untrained, in the sizes of ``config``."""
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.dim)
        self.positions = nn.Parameter(torch.randn(config.max_tokens, config.dim) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.text_heads, 4 * config.dim, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.text_layers)
        )
        self.project = nn.Linear(config.dim, config.dim)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask [B, S] -> unit vectors [B, dim]."""
        hidden = self.tokens(ids) + self.positions[: ids.shape[1]]
        for layer in self.layers:
            hidden = layer(hidden, src_key_padding_mask=mask == 0)
        weight = mask[..., None].to(hidden.dtype)
        pooled = (hidden * weight).sum(1) / weight.sum(1)
        return nn.functional.normalize(self.project(pooled).float(), dim=-1)


class ClapTiny(nn.Module):
    """The two towers and the learned scale of their cosine."""

    def __init__(self, config: ClapConfig) -> None:
        """Untrained, in the sizes of ``config``."""
        super().__init__()
        self.config = config
        self.audio = AudioTower(config)
        self.text = TextTower(config)
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def log_mel(self, audio: torch.Tensor) -> torch.Tensor:
        """[B, samples] -> the log-mel that the audio tower takes, [B, n_mels, frames]."""
        config = self.config
        return log_mel(audio, config.n_mels, config.n_fft, config.hop, config.sample_rate)


def tokenize(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [B, S] of texts, cut at ``max_tokens``."""
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


class ClapTinyEmbedder:
    """CLAP-tiny as an embedder: one unit vector per window of 5 s; shorter clips are taken whole."""

    name = "clap_tiny"
    version = "2"
    thread_safe = True

    def __init__(self, device: str = "cpu", folder: Path | None = None, text_folder: Path | None = None) -> None:
        """Reads model and tokenizer, by default of models/tiny. Raises UserError if they are missing or corrupt."""
        from transformers import AutoTokenizer

        names = ("config.json", "model.safetensors")
        self.files = [folder / name for name in names] if folder else weights("tiny/clap", *names)
        text_folder = text_folder or weights("tiny/text", "tokenizer.json")[0].parent
        fields = json.loads(self.files[0].read_text(encoding="utf-8"))
        config = ClapConfig(**{**fields, "channels": tuple(fields["channels"])})
        self.sample_rate = config.sample_rate
        self.device = device
        self.model = ClapTiny(config)
        load_weights(self.model, self.files[1])
        self.model.eval().to(device)
        self.tokenizer = AutoTokenizer.from_pretrained(text_folder, local_files_only=True)
        self.files.append(text_folder / "tokenizer.json")

    def fingerprint(self) -> str:
        """Hash over code version, settings, weights and tokenizer."""
        return hash_of(self.name, self.version, self.files)

    @torch.inference_mode()
    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] -> unit vectors float32 [windows, dim]; audio under a tenth of a second is padded to that."""
        config = self.model.config
        samples = torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))
        samples = nn.functional.pad(samples, (0, max(0, config.sample_rate // 10 - len(samples))))
        starts = window_starts(len(samples), config.window, config.window)
        windows = torch.stack([samples[start : start + config.window] for start in starts]).to(self.device)
        return self.model.audio(self.model.log_mel(windows)).cpu().numpy()

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> unit vectors float32 [n, dim]."""
        longest = self.model.config.max_tokens
        n_cut = sum(len(ids) > longest for ids in self.tokenizer(list(texts), verbose=False)["input_ids"])
        if n_cut:
            log.warning(
                "clap_tiny reads the first %d tokens of a text; %d of %d are longer", longest, n_cut, len(texts)
            )
        ids, mask = tokenize(self.tokenizer, texts, longest)
        return self.model.text(ids.to(self.device), mask.to(self.device)).cpu().numpy()
