"""The ablation lab: trains the networks that a protocol's ``training`` asks for, on the shipped codec's tokens."""

import json
import logging
import math
from pathlib import Path

import torch
from safetensors.torch import load_file

from magnet_eval import zoo
from magnet_eval.config import Protocol
from magnet_eval.lookup import UserError
from magnet_eval.training import codec, dataset, language
from magnet_eval.training.corpus import Corpus
from magnet_eval.training.fitting import save
from magnet_eval.training.recipe import Kitchen

log = logging.getLogger(__name__)
FIGURES, SPLITS = "figures.json", ("train", "valid")


def train_variants(protocol: Protocol, work: Path, threads: int = 0) -> list[Path]:
    """Trains every network of the protocol that is not there; returns the figures' files, old and new.

    A network that was interrupted goes on from its state in ``work``. threads: of torch; 0 leaves its choice.
    Raises UserError if nothing is to be trained.
    """
    if protocol.training is None:
        raise UserError(
            f"protocol {protocol.name} trains nothing: it has no training block. Type: magnet-eval run "
            f"protocol={protocol.name}"
        )
    if threads:
        torch.set_num_threads(threads)
    plan, networks = protocol.training, list(protocol.training.networks())
    missing = [network for network in networks if not Path(network[0], FIGURES).is_file()]
    if missing:
        train, valid = corpora(work)
        for number, (folder, variant, family, seed) in enumerate(missing, 1):
            if Path(folder, FIGURES).is_file():  # another process has come first
                continue
            log.info("network %d of %d: %s", number, len(missing), Path(folder).name)
            chosen = language.TrainConfig(
                family, plan.width, variant.span_len, variant.subcodes_context, variant.no_text, plan.batch, plan.lr
            )
            _train(chosen, train, valid, Path(folder), work, seed, plan.steps)
    return [Path(folder, FIGURES) for folder, *_ in networks]


def _train(
    config: language.TrainConfig, train: Corpus, valid: Corpus, out: Path, work: Path, seed: int, steps: int
) -> None:
    state = work / "lab" / "states" / f"{out.name}.pt"
    values = language.train_language(config, train, valid, out, state, math.inf, seed=seed, max_steps=steps)
    (out / FIGURES).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    state.unlink()
    log.info("%s: %s", out.name, json.dumps(values["held_out"]))


def corpora(work: Path) -> tuple[Corpus, Corpus]:
    """Training and held-out tokens of the shipped codec with their captions; rendered and tokenised where missing."""
    kitchen = Kitchen(work, zoo.root() / "models" / "tiny", tokens="shipped-tokens")
    dataset.prepare(kitchen.data, kitchen.seed, kitchen.task)
    for split in SPLITS:
        path = kitchen.codes_file(split)
        if not path.is_file():
            latents, books = quantiser(kitchen.out / "codec")
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, codec.tokenise(kitchen.load(split)[0], latents, books))
            log.info("%s: tokenised", split)
    return kitchen.corpus(SPLITS[0]), kitchen.corpus(SPLITS[1])


def quantiser(folder: Path) -> tuple[codec.Latents, torch.Tensor]:
    """The shipped codec's way from audio to tokens: its latents and codebooks [4, 256, 64]."""
    fitted, weights = load_file(folder / codec.LATENTS), load_file(folder / "model.safetensors")
    books = [weights[f"quantizer.layers.{k}.codebook.embed"].float() for k in range(codec.CODEBOOKS)]
    return codec.Latents(fitted["mean"], fitted["basis"]), torch.stack(books)
