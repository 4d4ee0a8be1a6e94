"""The cards of the embedded models: what each is, how it was made, how well it does on held-out data."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magnet_eval.store import write_atomic

MUSIC_DATA = """\
- **Data**: pieces written by `magnet_eval/training/composer.py` and rendered by fluidsynth with the FluidR3 GM sound
  font (MIT, Frank Wen); 12,192 training clips of 5 s. Held-out clips share no combination of style, lead instrument,
  tempo and mode with them."""
SOUNDS_DATA = """\
- **Data**: sound effects composed and synthesised by `magnet_eval/training/sounds.py`: 3,344 training clips of 5 s with
  one sound or two in a row. Held-out clips share no combination of what follows what, at which pitch, with them."""
EQUAL = """\
magnet-tiny, musicgen-tiny and hybrid-magnet-tiny have the same network, data, tokens, optimiser, share of clips
without text and number of steps; they differ in what a step learns."""
LICENCE = "- **Licence**: MIT, as the code."

PINNED = re.compile(r"(?P<file>tiny/\S+\.safetensors): [0-9a-f]{64}")

# step of the recipe -> its folder, title and what it is
CARDS: dict[str, tuple[str, str, str]] = {
    "text": (
        "text", "Text encoder",
        "A T5-format encoder (2 layers, width 128) and a byte-level BPE tokenizer, trained to read the composer's\n"
        "attributes from paraphrased captions. The language models use it frozen.",
    ),
    "tokens": (
        "unigram", "Unigram counts",
        "How often each token of each codebook occurs in the training set: the control that every model must beat.",
    ),
    "codec": (
        "codec", "Codec",
        "EnCodec format: 16 kHz mono, 25 frames per second, 4 codebooks of 256 codes (0.8 kbps). The latent space is\n"
        "PCA of log-mel frames and residual k-means; decoder and encoder are SEANet networks fitted to it.",
    ),
    "magnet": (
        "magnet", "magnet-tiny", f"MAGNeT: a masked language model over the tiny codec's tokens.\n{EQUAL}",
    ),
    "musicgen": (
        "musicgen", "musicgen-tiny",
        f"MusicGen-style autoregressive language model with the delay pattern.\n{EQUAL}",
    ),
    "hybrid": (
        "hybrid", "hybrid-magnet-tiny",
        "Hybrid MAGNeT: one model trained on both objectives, autoregressive for the first seconds, then masked.\n"
        f"{EQUAL}",
    ),
    "reference": (
        "reference", "Reference set",
        "Held-out clips (FLAC, 16 kHz mono, 5 s) with captions that name every attribute: the embedded prompts and\n"
        "reference audio. No model has seen their combinations of attributes.",
    ),
    "audio-text": (
        "audio/text", "Text encoder for sounds",
        "A T5-format encoder (2 layers, width 128) and a byte-level BPE tokenizer, trained to read the attributes of\n"
        "sound effects from paraphrased captions. The language model uses it frozen.",
    ),
    "audio-tokens": (
        "audio/unigram", "Unigram counts of sounds",
        "How often each token of each codebook occurs in the training set: the control that every model must beat.",
    ),
    "audio-codec": (
        "audio/codec", "Codec for sounds",
        "EnCodec format: 16 kHz mono, 25 frames per second, 4 codebooks of 256 codes (0.8 kbps), made as the tiny\n"
        "codec for music is, with fewer filters.",
    ),
    "audio-magnet": (
        "audio/magnet", "audio-magnet-tiny",
        "MAGNeT for sound effects: a masked language model over its codec's tokens.",
    ),
    "audio-reference": (
        "audio/reference", "Reference set of sounds",
        "Held-out clips (FLAC, 16 kHz mono, 5 s) with captions that name every attribute but the start. No model has\n"
        "seen their combinations of sounds.",
    ),
}  # fmt: skip


def _figures(value: Any, indent: int = 0) -> str:
    """Nested figures as a Markdown list."""
    if isinstance(value, Mapping):
        pad = "  " * indent
        rows = []
        for name, item in value.items():
            nested = isinstance(item, Mapping)
            rows.append(
                f"{pad}- {str(name).replace('_', ' ')}:{chr(10) if nested else ' '}{_figures(item, indent + 1)}"
            )
        return "\n".join(rows)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def pin(models: Path) -> None:
    """Puts the sha256 of the weights below ``models`` into the YAML files there that name them."""
    for path in sorted(models.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        write_atomic(path, PINNED.sub(lambda line: _pinned(models, line), text))


def _pinned(models: Path, line: re.Match[str]) -> str:
    weights = models / line["file"]
    return f"{line['file']}: {_sha256(weights)}" if weights.is_file() else line[0]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(step: str, out: Path, figures: Mapping[str, Any]) -> None:
    """Writes ``out/<folder>/README.md`` for one step of the recipe."""
    folder, title, what = CARDS[step]
    weights = sorted((out / folder).glob("*.safetensors"))
    hashes = [f"- **sha256** of {path.name}: `{_sha256(path)}`" for path in weights]
    lines = [
        f"# {title}", "", what, "",
        f"- **Made by** `magnet-eval train what={step}`.",
        SOUNDS_DATA if step.startswith("audio-") else MUSIC_DATA, LICENCE, *hashes, "",
        "Figures (cross-entropies in nats per token, by codebook, on held-out clips):", "",
        _figures(figures),
    ]  # fmt: skip
    (out / folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
