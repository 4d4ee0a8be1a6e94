"""Trains CLAP-tiny, the small text-audio contrastive model, and reports retrieval on held-out clips in its card."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from magnet_eval import stats
from magnet_eval.embedders.clap_tiny import ClapConfig, ClapTiny, tokenize
from magnet_eval.training.states import reading
from magnet_eval.training.states import save as save_state

log = logging.getLogger(__name__)
SAVE_EVERY = 60.0  # seconds
BATCH, LEARNING_RATE, WARM_UP, CHUNK = 256, 1.5e-3, 0.05, 64
MAX_SCALE = math.log(100)

Captioned = tuple[np.ndarray, Sequence[Sequence[str]]]  # audio [n, samples], float or int16; captions of each clip


def log_mels(model: ClapTiny, audio: np.ndarray) -> torch.Tensor:
    """Log-mels of clips [n, samples] (float in -1 to 1, or int16): float16 [n, n_mels, frames]."""
    scale = 32767.0 if audio.dtype == np.int16 else 1.0
    chunks = []
    for start in range(0, len(audio), CHUNK):
        samples = torch.from_numpy(audio[start : start + CHUNK].astype(np.float32) / scale)
        chunks.append(model.log_mel(samples).half())
    return torch.cat(chunks)


def augment(mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Level, noise floor and masks: so that the score follows the music and not the render's exact sound."""
    n, n_mels, n_frames = mel.shape
    level = torch.from_numpy(rng.normal(0, 0.15, (n, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(rng.exponential(0.15, (n, 1, 1)).astype(np.float32))
    mel = (mel + level).clamp_min(0) + noise * torch.rand(mel.shape)
    for i in range(n):
        row, column = rng.integers(n_mels - 8), rng.integers(n_frames - n_frames // 8)
        mel[i, row : row + rng.integers(1, 9)] = 0
        mel[i, :, column : column + rng.integers(1, n_frames // 8)] = 0
    return mel


def contrastive_loss(audio: torch.Tensor, text: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy of unit vectors [B, dim] that belong together row by row."""
    logits = audio @ text.T * log_scale.clamp(max=MAX_SCALE).exp()
    target = torch.arange(len(audio), device=audio.device)
    return (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2


def train(
    audio: np.ndarray,
    captions: Sequence[Sequence[str]],
    tokenizer: Any,
    out_folder: Path,
    minutes: float,
    seed: int = 0,
    *,
    held_out: Captioned,
    state: Path,
    max_steps: int | None = None,
) -> dict[str, Any]:
    """Trains for ``minutes`` of its own time, going on from the file ``state``; ``max_steps`` may end it earlier.

    Then, unless it was interrupted, the seed fixes the weights. Writes config.json, model.safetensors (half precision)
    and the card, README.md; returns the card's figures. ``held_out`` must share no combination of attributes with the
    training clips: retrieval is reported on it.
    """
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    mels = log_mels(ClapTiny(ClapConfig(vocabulary=len(tokenizer))), audio)
    sample = mels[:: max(1, len(mels) // 500)].float()
    config = ClapConfig(vocabulary=len(tokenizer), mean=sample.mean().item(), std=sample.std().item())
    model = ClapTiny(config).to(device)
    log.info("clap: %d clips, %d parameters on %s", len(mels), sum(p.numel() for p in model.parameters()), device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    step, seconds = 0, 0.0
    if state.is_file():
        with reading(state, seed) as saved:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            step, seconds = saved["step"], saved["seconds"]
    rng = np.random.default_rng([seed, step])
    last = saved_at = time.perf_counter()
    while (done := max(seconds / (60 * minutes), step / max_steps if max_steps else 0.0)) < 1:
        for group in optimizer.param_groups:  # warm-up, then half a cosine
            group["lr"] = LEARNING_RATE * min(done / WARM_UP + 0.01, 0.5 * (1 + math.cos(math.pi * done)))
        loss = _loss(model, mels, captions, tokenizer, rng)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, now = step + 1, time.perf_counter()
        seconds, last = seconds + now - last, now
        if step % 50 == 0:
            log.info("clap: step %d, loss %.3f, %.0f s", step, loss.item(), seconds)
        if now - saved_at > SAVE_EVERY or step == max_steps or seconds > 60 * minutes:
            states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save_state(state, {**states, "step": step, "seconds": seconds, "seed": seed})
            saved_at = now
    model.cpu().half().float().eval()  # what is reported is what is saved
    figures = {"steps": step, "minutes": round(seconds / 60, 1), "clips": len(mels), "seed": seed}
    figures |= evaluate(model, tokenizer, *held_out, rng=rng)
    save(model, out_folder, figures)
    log.info("clap: %s", figures)
    return figures


def _loss(
    model: ClapTiny, mels: torch.Tensor, captions: Sequence[Sequence[str]], tokenizer: Any, rng: np.random.Generator
) -> torch.Tensor:
    """Of a random batch of augmented clips, each with one of its captions."""
    device = model.log_scale.device
    chosen = rng.choice(len(mels), min(BATCH, len(mels)), replace=False)
    texts = [captions[i][int(rng.integers(len(captions[i])))] for i in map(int, chosen)]
    ids, mask = tokenize(tokenizer, texts, model.config.max_tokens)
    mel = augment(mels[chosen].float(), rng).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        embedded = model.audio(mel), model.text(ids.to(device), mask.to(device))
    return contrastive_loss(*embedded, model.log_scale)


@torch.inference_mode()
def evaluate(
    model: ClapTiny, tokenizer: Any, audio: np.ndarray, captions: Sequence[Sequence[str]], rng: np.random.Generator
) -> dict[str, Any]:
    """Retrieval of each clip's first caption among all, and right against shuffled captions (paired sign flips)."""
    ids, mask = tokenize(tokenizer, [texts[0] for texts in captions], model.config.max_tokens)
    text = model.text(ids, mask).numpy()
    mels = log_mels(model, audio)
    sound = np.concatenate([model.audio(mels[i : i + CHUNK].float()).numpy() for i in range(0, len(mels), CHUNK)])
    cosine = sound @ text.T  # [clips, captions]
    right = np.diag(cosine)
    rank = (cosine > right[:, None]).sum(axis=1)  # captions that fit the clip better than its own
    shuffled = cosine[np.arange(len(cosine)), np.roll(np.arange(len(cosine)), 1)]
    return {
        "held_out_clips": len(cosine),
        "recall_at_1": float((rank < 1).mean()),
        "recall_at_10": float((rank < 10).mean()),
        "cosine_right": float(right.mean()),
        "cosine_shuffled": float(shuffled.mean()),
        "p_right_above_shuffled": stats.sign_flip_test(right - shuffled, rng),
    }


def save(model: ClapTiny, folder: Path, figures: dict[str, Any]) -> None:
    """Writes config.json, model.safetensors in half precision, and the card."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    save_file(tensors, weights.with_suffix(".partial"))
    weights.with_suffix(".partial").replace(weights)
    (folder / "config.json").write_text(json.dumps(asdict(model.config), indent=2) + "\n", encoding="utf-8")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (folder / "README.md").write_text(card(figures, digest), encoding="utf-8")


def card(figures: dict[str, Any], digest: str) -> str:
    """The model card, as Markdown."""
    n = figures["held_out_clips"]
    return f"""# CLAP-tiny

A small text-audio contrastive model for the offline benchmark: it scores how well a clip fits its caption.
It knows only the composer's rendered music, so its scores compare with no published CLAP score.

- **Made by** `magnet_eval/training/clap.py`: {figures["steps"]} steps of {BATCH} clips in {figures["minutes"]} \
minutes on {figures["clips"]} captioned clips, seed {figures["seed"]}.
- **Held out** ({n} clips whose attribute combinations are not in the training data): the clip's own caption \
comes first among {n} for {figures["recall_at_1"]:.1%} of the clips (chance {1 / n:.1%}), among the first ten for \
{figures["recall_at_10"]:.1%}. A caption that names just the same attributes counts as its own.
- **Right against shuffled captions**: mean cosine {figures["cosine_right"]:.3f} against \
{figures["cosine_shuffled"]:.3f}, p = {figures["p_right_above_shuffled"]:.2g} (paired sign flips).
- **Tokenizer**: that of the tiny text encoder, `models/tiny/text`.
- **Licence**: MIT. **sha256** of model.safetensors: `{digest}`
"""
