"""How clips are made: one module per family of systems, and the table that names them.

In here: Generation (what a call gives), Generator (what a family is), build, fingerprint, weights, inputs. torch is
loaded with the family's module, not before.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from magnet_eval.lookup import UserError, load
from magnet_eval.records import Prompt

if TYPE_CHECKING:
    from magnet_eval.config import Model

GENERATORS = {
    "masked": "magnet_eval.generators.masked:MaskedGenerator",
    "autoregressive": "magnet_eval.generators.autoregressive:AutoregressiveGenerator",
    "hybrid": "magnet_eval.generators.hybrid:HybridGenerator",
    "codec": "magnet_eval.generators.codec:CodecGenerator",
    "unigram": "magnet_eval.generators.codec:UnigramGenerator",
    "files": "magnet_eval.generators.files:FilesGenerator",
}


@dataclass(frozen=True)
class Generation:
    """What one call of a generator gives."""

    audio: list[np.ndarray]  # one float32 [channels, samples] per prompt
    frames_asked: int  # token frames that the seconds amount to; 0 for audio made without tokens
    frames_made: int  # fewer where the span length does not divide the length
    iterations: int  # decoding steps of one clip
    network_evaluations: int  # forward passes of one clip; guidance counts both halves
    stage_seconds: dict[str, float]  # wall seconds of this call by stage, device idle on both sides


class Generator(Protocol):
    """A system that makes clips."""

    sample_rate: int  # Hz

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """One clip per prompt, all prompts of equal seconds; a clip depends on its own prompt and seed alone."""


def build(model: "Model", device: str = "auto", dtype: str = "float32", *, exact: bool = True) -> Generator:
    """The model's generator, weights loaded.

    exact: the same bits whatever the batch, at some cost where a call has fewer clips than a block (see system.py);
    False runs a call as one batch, for measurements of speed. Raises UserError on missing or damaged weights.
    """
    return load(GENERATORS, model.family, "family")(model, device, dtype, exact)


def fingerprint(model: "Model") -> str:
    """sha256 over the model's settings and the bytes of its files; names, places and prose do not count.

    Raises UserError if a folder that the model names does not exist.
    """
    if model.family == "files":
        from magnet_eval.generators.files import folder_of

        folder_of(model)
    settings = dataclasses.asdict(model)
    prose = ("name", "description", "licence", "tiny", "checkpoint", "text", "codec", "prompter", "folder")
    for key in prose:
        settings.pop(key)
    if settings["rescorer"]:
        settings["rescorer"].pop("checkpoint")
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, content in weights(model).items():
        digest.update(f"{name}:{content}\n".encode())
    return digest.hexdigest()


def weights(model: "Model") -> dict[str, str]:
    """sha256 of each file of the model's folders, by role/name. Raises UserError if a folder does not exist."""
    hashes = {}
    for role, folder in _folders(model):
        if not folder.is_dir():
            raise UserError(
                f"model {model.name}: no folder {folder} ({role}). Check {role}: in models/{model.name}.yaml."
            )
        for path in sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".md"):
            stat = path.stat()
            hashes[f"{role}/{path.name}"] = _file_hash(path, stat.st_size, stat.st_mtime_ns)
    return hashes


@functools.cache
def _file_hash(path: Path, size: int, time: int) -> str:
    """sha256 of a file; once per process, as systems share text encoder and codec."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folders(model: "Model") -> Iterator[tuple[str, Path]]:
    """The folders that a model's audio depends on, by role. Those of ``files`` count clip by clip; see ``inputs``."""
    rescorer = model.rescorer.checkpoint if model.rescorer else ""
    named = {"checkpoint": model.checkpoint, "text": model.text, "codec": model.codec, "prompter": model.prompter}
    for role, value in {**named, "rescorer": rescorer}.items():
        if value:
            yield role, model.find(value)


def inputs(model: "Model", prompt: Prompt) -> list[Path]:
    """The files, beside the model's own, that a prompt's clip is made from. Raises UserError if one is missing."""
    if model.family == "files":
        from magnet_eval.generators.files import file_of, folder_of

        return [file_of(folder_of(model), prompt)]
    if model.family == "codec":
        from magnet_eval.generators.files import reference_of

        return [reference_of(prompt)]
    return []
