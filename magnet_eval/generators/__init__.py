"""How clips are made: one module per family of systems, and the table that names them.

In here: Generation (what a call gives), Generator (what a family is), build, fingerprint, weights, depends_on_batch,
inputs. torch is loaded with the family's module, not before.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from magnet_eval.generators import layouts, parts
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
    "transformers": "magnet_eval.generators.huggingface:TransformersGenerator",
    "audiocraft": "magnet_eval.generators.audiocraft:AudiocraftGenerator",
    "diffusers": "magnet_eval.generators.diffusion:DiffusersGenerator",
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
    event_seconds: dict[str, float] = field(default_factory=dict)  # the same by the device's own clock; CUDA alone
    fixed_at: list[np.ndarray] = field(default_factory=list)  # uint16 [K, T] per prompt, see tokens.py; or none at all


class Generator(Protocol):
    """A system that makes clips."""

    sample_rate: int  # Hz

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """One clip per prompt, all prompts of equal seconds; a clip depends on its own prompt and seed alone."""


def build(
    model: "Model", device: str = "auto", dtype: str = "float32", *, exact: bool = True, weights: str | None = None
) -> Generator:
    """The model's generator, weights loaded.

    exact: the same bits whatever the batch, at some cost where a call has fewer clips than a block (see system.py);
    False runs a call as one batch, for measurements of speed. weights: "random" builds the model at its true size
    without a file, as its own field of that name does; see random.py. Raises UserError on missing or damaged weights.
    """
    if weights:
        model = dataclasses.replace(model, weights=weights)
    for one in parts.parts(model):  # all of them before any is read: the checkpoint's own fault comes first
        parts.usable(model, one)
    check_weights(model)
    return load(GENERATORS, model.family, "family")(model, device, dtype, exact)


def check_weights(model: "Model") -> None:
    """Raises UserError where a file of the model has another sha256 than its YAML says; parts it does not name pass."""
    for one in parts.parts(model) if model.sha256 else ():
        for path in parts.usable(model, one).files:
            wanted = model.sha256.get(f"{one.wanted}/{path.name}")
            if wanted and layouts.content_of(path) != wanted:
                raise UserError(
                    f"{path} has sha256 {layouts.content_of(path)}, model {model.name or model.family} says {wanted}: "
                    "damaged, or not the published file. Get it again, or mend sha256: in the model's YAML."
                )


# What names, describes or lists a model, and what ``settings`` and ``parts`` say better.
# ``task`` and ``seconds`` stay: audiocraft's class and the windows of long clips can follow from them.
PROSE = ("name", "sha256", "description", "licence", "tiny", "parameters", "sample_rate", "weights",
         "checkpoint", "text", "codec", "prompter", "folder", "preset", "decoding")  # fmt: skip


def fingerprint(model: "Model") -> str:
    """sha256 over the model's settings and the bytes of its files; names, places and prose do not count.

    Raises UserError if a part of the model is missing.
    """
    if model.family == "files":
        from magnet_eval.generators.files import folder_of

        folder_of(model)
    chosen = {name: value for name, value in dataclasses.asdict(model).items() if name not in PROSE}
    if chosen["rescorer"]:
        chosen["rescorer"].pop("checkpoint")
    chosen["settings"] = model.settings_in_full()
    if model.family in parts.FOREIGN:  # another package makes the clip: another version of it, another clip
        with contextlib.suppress(PackageNotFoundError):
            chosen["package"] = version(model.family)
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
    for name, content in weights(model).items():
        digest.update(f"{name}:{content}\n".encode())
    return digest.hexdigest()


def weights(model: "Model") -> dict[str, str]:
    """sha256 of each file of the model's parts, by role/name; "random" in place of it for parts that have no file.

    Raises UserError if a part is missing.
    """
    if model.weights:
        return {f"{role}/{name}": model.weights for role, name in parts.named(model).items()}
    hashes = {}
    for one in parts.parts(model):
        base = one.place if one.place.is_dir() else one.place.parent
        for path in parts.usable(model, one).files:
            name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name
            hashes[f"{one.role}/{name}"] = layouts.content_of(path)
    return hashes


def depends_on_batch(model: "Model") -> bool:
    """Whether a clip depends on the others of its call: on their seeds, or on the lengths of their texts."""
    settings = model.settings()
    sampling = getattr(getattr(settings, "masked", settings), "sampling", "per_clip")
    return model.padding == "reference" or sampling == "reference"


def inputs(model: "Model", prompt: Prompt) -> list[Path]:
    """The files, beside the model's own, that a prompt's clip is made from. Raises UserError if one is missing."""
    if model.family == "files":
        from magnet_eval.generators.files import file_of, folder_of

        return [file_of(folder_of(model), prompt)]
    if model.family == "codec":
        from magnet_eval.generators.files import reference_of

        return [reference_of(prompt)]
    return []
