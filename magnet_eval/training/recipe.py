"""The recipe of the embedded zoo: data, text encoder, tokens, codec, language models, judge, reference set.

Each step reads what earlier steps left in the work folder, writes its part of the zoo, and is skipped where its card
is there already (delete the card to redo it).
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from magnet_eval import zoo
from magnet_eval.lookup import UserError, check
from magnet_eval.store import write_atomic
from magnet_eval.training import dataset
from magnet_eval.training.cards import CARDS, pin, write_card
from magnet_eval.training.states import existing, held, save
from magnet_eval.training.tasks import MUSIC, SOUNDS, Task

if TYPE_CHECKING:
    from magnet_eval.training.corpus import Corpus

log = logging.getLogger(__name__)


@dataclass
class Kitchen:
    """Where a recipe works: ``work`` for data and states (some GB), ``out`` for the zoo's folders."""

    work: Path
    out: Path
    seed: int = 0
    max_steps: int | None = None  # of each language model and of the judge; None: as many as the minutes allow
    task: Task = MUSIC
    tokens: str = "tokens"  # folder below ``work``

    @property
    def data(self) -> Path:
        """Rendered pieces."""
        return self.work / "data"

    def pieces(self) -> dict[str, list]:
        """Pieces of each split."""
        return dataset.split_pieces(self.task)

    def load(self, split: str) -> tuple[np.ndarray, list]:
        """Audio int16 [n, 80,000] and the pieces of one split."""
        return dataset.load(self.data, split, self.task)

    def codes_file(self, split: str) -> Path:
        """Where the tokens of one split are."""
        return self.work / self.tokens / f"{split}.pt"

    def codes(self, split: str) -> torch.Tensor:
        """Tokens of one split: int16 [n, 4, 125]."""
        return torch.load(self.codes_file(split), weights_only=True)

    def corpus(self, split: str) -> "Corpus":
        """Tokens and captions of one split."""
        from magnet_eval.training.corpus import Corpus

        rng = np.random.default_rng(self.seed)
        return Corpus(self.codes(split), self.pieces()[split], self.out / "text", rng, device(), self.task)


def device() -> str:
    """A GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def data(kitchen: Kitchen, minutes: float) -> dict:
    """Renders all pieces."""
    dataset.prepare(kitchen.data, kitchen.task)
    return {"pieces": {split: len(pieces) for split, pieces in kitchen.pieces().items()}}


def text(kitchen: Kitchen, minutes: float) -> dict:
    """Tokenizer and text encoder."""
    from magnet_eval.training.text import train_text

    pieces = kitchen.pieces()
    return train_text(pieces["train"], pieces["valid"], kitchen.out / "text", seed=kitchen.seed, task=kitchen.task)


def tokens(kitchen: Kitchen, minutes: float) -> dict:
    """Latents, codebooks and the tokens of every clip."""
    from magnet_eval.training import codec

    audio, _ = kitchen.load("train")
    few = audio[: kitchen.task.code_clips]
    latents = codec.fit_latents(few)
    sample = torch.cat([latents(chunk).flatten(0, 1) for chunk in codec.chunks(few)])
    books = codec.fit_codebooks(sample, torch.Generator().manual_seed(kitchen.seed))
    quantiser = {"mean": latents.mean, "basis": latents.basis, "books": books}
    save(kitchen.work / "tokens" / "quantiser.pt", quantiser)
    for split in dataset.SPLITS:
        save(kitchen.codes_file(split), codec.tokenise(kitchen.load(split)[0], latents, books))
    return unigram(kitchen)


def unigram(kitchen: Kitchen) -> dict:
    """Counts of every token in the training set, and what one token says of the next: what each model must beat."""
    from safetensors.torch import save_file

    from magnet_eval.training.codec import bigram_cross_entropy

    codes = kitchen.codes("train").long()
    counts = torch.stack([torch.bincount(codes[:, k].flatten(), minlength=256) for k in range(codes.shape[1])])
    (kitchen.out / "unigram").mkdir(parents=True, exist_ok=True)
    save_file({"counts": counts}, kitchen.out / "unigram" / "counts.safetensors")
    share = counts.double() / counts.sum(1, keepdim=True)
    entropy = -(share * share.clamp_min(1e-12).log()).sum(1)
    return {
        "unigram_cross_entropy": [round(value, 3) for value in entropy.tolist()],
        "held_out_bigram_cross_entropy": bigram_cross_entropy(codes, kitchen.codes("valid").long()),
    }


CODEC_SHARES = {"rough": 0.35, "fine": 0.15, "polish": 0.25, "encoder": 0.25}  # of the codec's time


def codec(kitchen: Kitchen, minutes: float) -> dict:
    """Decoder in three phases, then the encoder."""
    from magnet_eval.training import codec as parts
    from magnet_eval.training.codec_fitting import CodecFit

    audio, _ = kitchen.load("train")
    saved = torch.load(kitchen.work / "tokens" / "quantiser.pt", weights_only=True)
    latents, books = parts.Latents(saved["mean"], saved["basis"]), saved["books"]
    torch.manual_seed(kitchen.seed)
    model = parts.empty_codec(kitchen.task.filters).to(device())  # type: ignore[arg-type]
    parts.set_codebooks(model, books)
    fitting = CodecFit(model, audio, kitchen.codes("train"), books, kitchen.work / "states", kitchen.seed)
    times = {name: share * minutes for name, share in CODEC_SHARES.items()}
    steps = {
        "decoder_rough_steps": fitting.rough(times["rough"]),
        "decoder_fine_steps": fitting.fine(times["fine"]),
        "decoder_polish_steps": fitting.polish(times["polish"]),
        "encoder_steps": fitting.encoder(latents, times["encoder"]),
    }
    parts.save_codec(model, latents, kitchen.out / "codec")
    held_out, _ = kitchen.load("valid")
    return steps | parts.held_out_figures(model, held_out, kitchen.codes("valid"))


def _language(family: str) -> Callable[[Kitchen, float], dict]:
    names = {"masked": "magnet", "autoregressive": "musicgen", "hybrid": "hybrid"}

    def step(kitchen: Kitchen, minutes: float) -> dict:
        from magnet_eval.training.language import TrainConfig, train_language

        variant = TrainConfig(family, kitchen.task.width, batch=kitchen.task.batch)
        state = kitchen.work / "states" / f"{family}.pt"
        parts = kitchen.corpus("train"), kitchen.corpus("valid")
        out, steps = kitchen.out / names[family], kitchen.max_steps
        return train_language(variant, *parts, out, state, minutes, seed=kitchen.seed, max_steps=steps)

    return step


def clap(kitchen: Kitchen, minutes: float) -> dict:
    """The text-audio judge, on audio and captions alone (it never sees the codec or the text encoder)."""
    from transformers import AutoTokenizer

    from magnet_eval.training.clap import train as train_clap

    rng, task = np.random.default_rng(kitchen.seed), kitchen.task
    audio, pieces = kitchen.load("train")
    held_out, held_out_pieces = kitchen.load("valid")
    captions = [[task.plain(piece), *(task.paraphrase(piece, rng)[0] for _ in range(5))] for piece in pieces]
    tokenizer = AutoTokenizer.from_pretrained(kitchen.out / "text")
    held_out_captions = [[task.plain(piece)] for piece in held_out_pieces]
    return train_clap(
        audio, captions, tokenizer, kitchen.out / "clap", minutes, kitchen.seed,
        held_out=(held_out, held_out_captions), state=kitchen.work / "states" / "clap.pt", max_steps=kitchen.max_steps,
    )  # fmt: skip


def attributes(kitchen: Kitchen, minutes: float) -> dict:
    """What hears the composer's attributes, in renders and in what the codec makes of their tokens."""
    from transformers import EncodecModel

    from magnet_eval.training import attributes as parts

    codec = EncodecModel.from_pretrained(existing(kitchen.out / "codec")).float().eval()
    heard = {}
    for split, n in (("train", parts.CLIPS), ("valid", None)):
        sounds = parts.chunks(kitchen.load(split)[0][:n]), parts.rebuilt(codec, kitchen.codes(split)[:n])
        heard[split] = dict(zip(("as rendered", "as decoded"), map(parts.listen, sounds), strict=True))
    cut = parts.rebuilt(codec, kitchen.codes("valid")[..., : parts.WHOLE_SPANS])
    heard["valid"]["in whole spans"] = parts.listen(cut)
    pieces, held_out = kitchen.load("train")[1][: parts.CLIPS], kitchen.load("valid")[1]
    return parts.train(heard["train"], pieces, heard["valid"], held_out, kitchen.out / "attributes", kitchen.seed)


def reference(kitchen: Kitchen, minutes: float) -> dict:
    """The test clips as FLAC with their plain captions: the embedded reference set."""
    import soundfile

    audio, pieces = kitchen.load("test")
    folder = kitchen.out / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (clip, piece) in enumerate(zip(audio, pieces, strict=True)):
        name = f"held-out-{index:03d}"
        soundfile.write(folder / f"{name}.flac", clip, 16_000, subtype="PCM_16")
        rows.append({"id": name, "text": kitchen.task.plain(piece), "file": f"{name}.flac", "tags": piece.tags()})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "captions.jsonl").write_text(lines, encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.glob("*.flac"))
    return {"clips": len(rows), "megabytes": round(size / 1e6, 1)}


STEPS: dict[str, Callable[[Kitchen, float], dict]] = {
    "data": data,
    "text": text,
    "tokens": tokens,
    "codec": codec,
    "magnet": _language("masked"),
    "musicgen": _language("autoregressive"),
    "hybrid": _language("hybrid"),
    "clap": clap,
    "attributes": attributes,
    "reference": reference,
}
SOUND_STEPS = ("data", "text", "tokens", "codec", "magnet", "reference")
TASKS = {name: (MUSIC, name) for name in STEPS} | {f"audio-{name}": (SOUNDS, name) for name in SOUND_STEPS}


def train(
    what: str, work: Path, out: Path, minutes: float = 60.0, seed: int = 0, threads: int = 0, steps: int = 0
) -> list[Path]:
    """Runs one step of the recipe, or ``all`` in order; returns the cards written.

    minutes: time budget of each model. steps: ends a language model's or the judge's training earlier; 0: does not.
    threads: of torch; 0 leaves its choice.
    Raises UserError if a step's input is missing.
    """
    for folder in (work, out):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file; work= and out= are folders")
    if threads:
        torch.set_num_threads(threads)
    names = list(TASKS) if what == "all" else [check("training step", what, [*TASKS, "all"])]
    cards = []
    for name in names:
        task, step = TASKS[name]
        kitchen = Kitchen(work / task.folder, out / task.folder, seed, steps or None, task)
        card = kitchen.work / "figures" / f"{step}.json"
        if card.is_file() and what == "all":
            log.info("%s: done already (%s)", name, card)
            continue
        figures = _cooked(name, kitchen, minutes)
        write_atomic(card, json.dumps(figures, indent=1) + "\n")
        log.info("%s: %s", name, json.dumps(figures))
        if name in CARDS:
            write_card(name, out, figures)
        if out.resolve() == zoo.root() / "models" / "tiny":
            pin(out.parent)
        cards.append(card)
    return cards


def _cooked(name: str, kitchen: Kitchen, minutes: float) -> dict:
    """The figures of one step, by one process at a time."""
    step, start = TASKS[name][1], time.perf_counter()
    with held(kitchen.work / "states" / step) as free:
        if not free:
            raise UserError(f"another process is at step {name} in {kitchen.work}; wait for it, or give another work=")
        try:
            figures = STEPS[step](kitchen, minutes)
        except FileNotFoundError as error:
            raise UserError(f"training step {name} needs {error.filename}; type: magnet-eval train what=all") from error
    return figures | {"wall_seconds": round(time.perf_counter() - start)}
