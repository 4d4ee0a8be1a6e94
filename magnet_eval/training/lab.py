"""The ablation lab: trains the networks that a protocol's ``training`` asks for, on the shipped codec's tokens."""

import hashlib
import json
import logging
import math
from pathlib import Path

import torch
from safetensors.torch import load_file

from magnet_eval import zoo
from magnet_eval.config import Protocol
from magnet_eval.lookup import UserError
from magnet_eval.store import write_atomic
from magnet_eval.training import codec, dataset, language
from magnet_eval.training.corpus import Corpus
from magnet_eval.training.recipe import Kitchen
from magnet_eval.training.states import held, save, waiting

log = logging.getLogger(__name__)
FIGURES, SPLITS = "figures.json", ("train", "valid")


def models() -> Path:
    """The embedded models, whose codec and text encoder the lab's networks go with."""
    return zoo.root() / "models" / "tiny"


def train_variants(protocol: Protocol, work: Path, threads: int = 0) -> list[Path]:
    """Trains every network of the protocol that is not there; returns the figures' files, old and new.

    A network that was interrupted goes on from its state in ``work``; one that another process is at is left to it, and
    one that learned the tokens or texts of other embedded models is trained anew. threads: of torch; 0 leaves its
    choice. Raises UserError if nothing is to be trained.
    """
    if protocol.training is None:
        raise UserError(
            f"protocol {protocol.name} trains nothing: it has no training block. Type: magnet-eval run "
            f"protocol={protocol.name}"
        )
    if threads:
        torch.set_num_threads(threads)
    plan, networks, origin = protocol.training, list(protocol.training.networks()), fingerprint(models())
    missing = [network for network in networks if not is_trained(Path(network[0]), origin)]
    if missing:
        train, valid = corpora(work)
        for number, (folder, variant, family, seed) in enumerate(missing, 1):
            state = work / "lab" / "states" / f"{Path(folder).name}-{origin}.pt"
            with held(state) as free:
                if not free or is_trained(Path(folder), origin):
                    continue
                log.info("network %d of %d: %s", number, len(missing), Path(folder).name)
                config = language.TrainConfig(
                    family, plan.width, variant.span_len, variant.subcodes_context, variant.no_text, plan.batch, plan.lr
                )
                values = language.train_language(
                    config, train, valid, Path(folder), state, math.inf, seed=seed, max_steps=plan.steps
                )
                write_atomic(Path(folder, FIGURES), json.dumps(values | {"made_for": origin}, indent=1) + "\n")
                state.unlink()
                log.info("%s: %s", Path(folder).name, json.dumps(values["held_out"]))
    found = [Path(folder, FIGURES) for folder, *_ in networks if is_trained(Path(folder), origin)]
    if len(found) < len(networks):
        log.info("%d networks are left to other processes", len(networks) - len(found))
    return found


def is_trained(folder: Path, origin: str) -> bool:
    """Whether the folder holds a finished network for the embedded codec and text encoder of this fingerprint."""
    try:
        return json.loads((folder / FIGURES).read_bytes()).get("made_for") == origin
    except (OSError, ValueError, AttributeError):
        return False


def fingerprint(folder: Path) -> str:
    """What the lab's tokens and texts depend on: latents, codebooks, text encoder; not the codec's decoder."""
    latents, books = quantiser(folder / "codec")
    digest = hashlib.sha256((folder / "text" / "model.safetensors").read_bytes())
    for part in (latents.mean, latents.basis, books):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def corpora(work: Path) -> tuple[Corpus, Corpus]:
    """Training and held-out tokens of the shipped codec with their captions; rendered and tokenised where missing."""
    kitchen = Kitchen(work, models(), tokens=f"lab/tokens-{fingerprint(models())}")
    dataset.prepare(kitchen.data, kitchen.task)
    latents, books = quantiser(kitchen.out / "codec")
    for split in SPLITS:
        path = kitchen.codes_file(split)
        with waiting(path):
            if not path.is_file():
                save(path, codec.tokenise(kitchen.load(split)[0], latents, books))
                log.info("%s: tokenised", split)
    return kitchen.corpus(SPLITS[0]), kitchen.corpus(SPLITS[1])


def quantiser(folder: Path) -> tuple[codec.Latents, torch.Tensor]:
    """The shipped codec's way from audio to tokens: its latents and codebooks [4, 256, 64]."""
    fitted, weights = load_file(folder / codec.LATENTS), load_file(folder / "model.safetensors")
    books = [weights[f"quantizer.layers.{k}.codebook.embed"].float() for k in range(codec.CODEBOOKS)]
    return codec.Latents(fitted["mean"], fitted["basis"]), torch.stack(books)
