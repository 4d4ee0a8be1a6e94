"""A small listener for the attributes of the tiny zoo's music (see models/tiny/attributes/README.md).

Tempo is read from a tempogram, key and mode from a chromagram, style, lead and dynamics from timbre, each by a layer of
hidden units. It knows the composer's pieces, their codec and their few values alone: no tagger for other music.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from magnet_eval.embedders import hash_of, load_weights, music_features, weights
from magnet_eval.embedders.mel import window_starts
from magnet_eval.lookup import UserError
from magnet_eval.metrics.attributes import ATTRIBUTES, SIZES

FEATURES = {"style": "timbre", "lead": "timbre", "bpm": "tempogram", "key": "chroma", "mode": "chroma"}
FEATURES["dynamics"] = "level"
WIDTHS = {"timbre": 256, "tempogram": 4 * 365, "chroma": 24 * music_features.SEGMENTS, "level": 257}


@dataclass(frozen=True)
class ListenerConfig:
    """Size of the listener."""

    hidden: int = 128


def features(audio: Tensor) -> dict[str, Tensor]:
    """What the heads read of audio [B, 80,000] at 16 kHz: [B, width] each; only ``level`` depends on its level."""
    timbre = music_features.timbre(audio)
    return {
        "timbre": timbre,
        "tempogram": music_features.tempogram(music_features.onset_strength(audio)).flatten(1),
        "chroma": music_features.chromagram(audio).flatten(1),
        "level": torch.cat([timbre, music_features.level(audio)], dim=1),
    }


class Head(nn.Module):
    """One hidden layer over standardised features."""

    def __init__(self, width: int, hidden: int, values: int) -> None:
        """Untrained; ``mean`` and ``std`` are those of the training clips."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.layers = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden, values)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, width] -> logits [B, values]."""
        return self.layers((x - self.mean) / self.std)


class Listener(nn.Module):
    """A head for each attribute."""

    def __init__(self, config: ListenerConfig) -> None:
        """Untrained."""
        super().__init__()
        self.config = config
        self.heads = nn.ModuleDict(
            {name: Head(WIDTHS[FEATURES[name]], config.hidden, size) for name, size in SIZES.items()}
        )

    def forward(self, heard: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of ``features``: logits [B, values] of each attribute."""
        return {name: head(heard[FEATURES[name]]) for name, head in self.heads.items()}


class AttributesEmbedder:
    """The listener as an embedder: the probabilities of each attribute's values, side by side, per window of 5 s."""

    name = "attributes_tiny"
    version = "1"
    sample_rate = music_features.SAMPLE_RATE
    thread_safe = True

    def __init__(self, device: str = "cpu", folder: Path | None = None) -> None:
        """Reads the weights, by default those of models/tiny. Raises UserError if they are missing or corrupt."""
        names = ("config.json", "model.safetensors")
        self.files = [folder / name for name in names] if folder else weights("tiny/attributes", *names)
        self.device = device
        self.model = Listener(ListenerConfig(**json.loads(self.files[0].read_text(encoding="utf-8"))))
        load_weights(self.model, self.files[1])
        self.model.eval().to(device)

    def fingerprint(self) -> str:
        """Hash over code version, settings and weights."""
        return hash_of(self.name, self.version, self.files)

    @torch.inference_mode()
    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] -> probabilities float32 [windows, 24]; shorter audio is filled up with silence."""
        length = music_features.SAMPLES
        samples = torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))
        samples = nn.functional.pad(samples, (0, max(0, length - len(samples))))
        starts = window_starts(len(samples), length, length)
        windows = torch.stack([samples[start : start + length] for start in starts]).to(self.device)
        return torch.cat([x.softmax(1) for x in self.model(features(windows)).values()], dim=1).cpu().numpy()

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Tags as JSON -> float32 [n, 24]: 1 at each value named. Raises UserError on a value that it does not know."""
        rows = []
        for text in texts:
            tags, row = json.loads(text), []
            for name, values in ATTRIBUTES.items():
                if name in tags and tags[name] not in values:
                    raise UserError(f"{name} {tags[name]!r} is not among those that are heard: {', '.join(values)}.")
                row += [float(tags.get(name) == value) for value in values]
            rows.append(row)
        return np.array(rows, dtype=np.float32)
