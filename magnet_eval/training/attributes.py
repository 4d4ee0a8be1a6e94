"""Trains the listener for attributes on renders and on what the codec makes of them, and says how well it hears."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from magnet_eval.embedders import music_features
from magnet_eval.embedders.attributes_tiny import FEATURES, Head, Listener, ListenerConfig, features
from magnet_eval.metrics.attributes import ATTRIBUTES
from magnet_eval.training.composer import KEYS, Piece
from magnet_eval.training.dataset import to_float

log = logging.getLogger(__name__)
CLIPS, CHUNK, BATCH, EPOCHS, LEARNING_RATE = 2000, 48, 64, 25, 2e-3
WHOLE_SPANS = 123  # frames of a clip in spans of three
NOISE = 0.5  # on standardised features: what is heard must not hang on a render's exact sound

Heard = dict[str, Tensor]  # of ``features``: [n, width] each


def chunks(audio: np.ndarray) -> Iterator[Tensor]:
    """Clips int16 [n, 80,000] as float32 [<= 48, 80,000]."""
    for start in range(0, len(audio), CHUNK):
        yield torch.from_numpy(to_float(np.asarray(audio[start : start + CHUNK])))


@torch.inference_mode()
def rebuilt(codec: Any, codes: Tensor) -> Iterator[Tensor]:
    """What transformers' codec makes of codes [n, K, T], in 16 bits as clips are kept: float32 [<= 48, 80,000].

    Fewer frames are filled up with silence, as the embedder does.
    """
    for part in codes.long().split(CHUNK):
        audio = torch.cat([codec.decode(few[None], [None]).audio_values[:, 0] for few in part.split(8)])
        audio = nn.functional.pad(audio, (0, music_features.SAMPLES - audio.shape[-1]))
        yield (audio.clamp(-1, 1) * 32767).to(torch.int16) / 32767


@torch.inference_mode()
def listen(clips: Iterable[Tensor]) -> Heard:
    """Features of clips that come in chunks, the unlearned readings ``comb`` and ``template`` (indices) among them."""
    parts = []
    for n_heard, chunk in enumerate(clips, 1):
        parts.append(features(chunk) | unlearned(chunk))
        log.info("attributes: heard %d chunks of clips", n_heard)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def unlearned(audio: Tensor) -> Heard:
    """Tempo by a comb over the autocorrelation of onset strength; key and mode by Krumhansl's profiles: indices [n]."""
    tempi = [float(value) for value in ATTRIBUTES["bpm"]]
    tonics = [KEYS[name] % 12 for name in ATTRIBUTES["key"]]
    scores = music_features.key_scores(music_features.chromagram(audio)).unflatten(1, (2, 12))[..., tonics]
    best = scores.flatten(1).argmax(1)
    comb = music_features.beat_scores(music_features.onset_strength(audio), tempi).argmax(1)
    return {"comb bpm": comb, "profile key": best % len(tonics), "profile mode": best // len(tonics)}


def targets(pieces: Sequence[Piece], name: str) -> Tensor:
    """Which of an attribute's values each piece has: [n]."""
    return torch.tensor([ATTRIBUTES[name].index(piece.tags()[name]) for piece in pieces])


def fit(head: Head, x: Tensor, target: Tensor) -> None:
    """Trains one head on features [n, width] and indices [n], with noise on the features."""
    head.mean.copy_(x.mean(0))
    head.std.copy_(x.std(0) + 1e-4)
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=0.05)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            noisy = x[rows] + NOISE * head.std * torch.randn(len(rows), x.shape[1])
            loss = nn.functional.cross_entropy(head(noisy), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def train(
    heard: Mapping[str, Heard], pieces: Sequence[Piece],
    held_out: Mapping[str, Heard], held_out_pieces: Sequence[Piece],
    folder: Path, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Fits every head, writes the model's folder with its card, and returns the card's figures.

    heard: features of the same ``pieces``, by the way that they sound; ``held_out``: likewise, of others.
    """
    torch.manual_seed(seed)
    model = Listener(ListenerConfig())
    for name, head in model.heads.items():
        x = torch.cat([one[FEATURES[name]] for one in heard.values()])
        fit(head, x, targets(pieces, name).repeat(len(heard)))
        log.info("attributes: trained to hear %s", name)
    model.half().float().eval()  # what is reported is what is saved
    figures: dict[str, Any] = {
        "clips": len(pieces),
        "epochs": EPOCHS,
        "seed": seed,
        "held_out_clips": len(held_out_pieces),
    }
    figures["accuracy"] = {way: accuracy(model, one, held_out_pieces) for way, one in held_out.items()}
    figures["commonest"] = {name: commonest(held_out_pieces, name) for name in ATTRIBUTES}
    figures["untested"] = [value for name in ATTRIBUTES for value in absent(held_out_pieces, name)]
    save(model, folder, figures)
    return figures


@torch.inference_mode()
def accuracy(model: Listener, heard: Heard, pieces: Sequence[Piece]) -> dict[str, float]:
    """Share of the clips in which each attribute is heard right, by the heads and by the unlearned readings."""
    found = {name: logits.argmax(1) for name, logits in model(heard).items()}
    found |= {name: indices for name, indices in heard.items() if " " in name}
    return {name: float((row == targets(pieces, name.split()[-1])).double().mean()) for name, row in found.items()}


def commonest(pieces: Sequence[Piece], name: str) -> float:
    """Share of the commonest value: what naming always the same one scores."""
    return targets(pieces, name).bincount().max().item() / len(pieces)


def absent(pieces: Sequence[Piece], name: str) -> list[str]:
    """An attribute's values that no piece has."""
    return sorted(set(ATTRIBUTES[name]) - {piece.tags()[name] for piece in pieces})


def save(model: Listener, folder: Path, figures: Mapping[str, Any]) -> None:
    """Writes config.json, model.safetensors in half precision, and the card."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    save_file({name: value.half() for name, value in model.state_dict().items()}, weights.with_suffix(".partial"))
    weights.with_suffix(".partial").replace(weights)
    (folder / "config.json").write_text(json.dumps(asdict(model.config), indent=2) + "\n", encoding="utf-8")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (folder / "README.md").write_text(card(figures, digest), encoding="utf-8")


def card(figures: Mapping[str, Any], digest: str) -> str:
    """The model card, as Markdown."""
    ways = figures["accuracy"]
    rows = [
        f"| {name} | {' | '.join(f'{ways[way][name]:.1%}' for way in ways)} "
        f"| {1 / len(ATTRIBUTES[name.split()[-1]]):.1%} | {figures['commonest'][name.split()[-1]]:.1%} |"
        for name in next(iter(ways.values()))
    ]
    heads = f"| heard | {' | '.join(ways)} | chance | always the commonest |"
    table = "\n".join([heads, "|---|" + "---:|" * (len(ways) + 2), *rows])
    untested = ", ".join(figures["untested"]) or "none"
    return f"""# Attributes of tiny music

Hears style, lead, tempo (bpm), key, mode and dynamics of the composer's pieces: tempo from a tempogram, key and mode
from a chromagram, style, lead and dynamics from timbre, the last with the level. It knows these pieces alone.

- **Made by** `magnet-eval train what=attributes`: {figures["epochs"]} epochs over {figures["clips"]} training clips, \
each as it was rendered and as the tiny codec's tokens sound, with noise on the features; seed {figures["seed"]}.
- **Whole spans**: MAGNeT makes {WHOLE_SPANS} of a clip's 125 frames, the rest is silence; what that costs is a column \
of its own.
- **Held out**: accuracy on {figures["held_out_clips"]} clips whose combinations of style, lead, tempo and mode are \
not in the training data. *comb* and *profile* learn nothing: the tempo of the composer's four that fits best by \
autocorrelation of onset strength, the key of its eight by Krumhansl and Kessler's profiles. Values without a held-out \
clip: {untested}.

{table}

- **Licence**: MIT. **sha256** of model.safetensors: `{digest}`
"""
