"""The parts of a model (language model, text encoder, codec, ...): where each lies, which files count, what is missing.

A text encoder or codec that the YAML does not name is the one that the checkpoint says or holds. Of a published
checkpoint the configuration inside is trusted over the YAML.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from magnet_eval import zoo
from magnet_eval.generators import layouts
from magnet_eval.lookup import UserError

if TYPE_CHECKING:
    from magnet_eval.model import Model

log = logging.getLogger(__name__)
FOREIGN = ("transformers", "audiocraft", "diffusers")  # families whose folder is read by the package of that name
T5 = "google-t5/"
TOKENIZER = ("tokenizer*.json", "spiece.model", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt")


@dataclass(frozen=True)
class Part:
    """One part of a model."""

    role: str  # checkpoint, text, codec, prompter or rescorer
    wanted: str  # as the YAML or the checkpoint names it
    place: Path  # a folder or file; where it would be, if it is not here
    files: tuple[Path, ...] = ()  # what the model's audio depends on
    problem: str = ""  # why it cannot be used; "" if it can
    foreign: bool = False  # read by another package, which may want any file of it

    @property
    def get(self) -> str:
        """What to type to have it."""
        files = layouts.NEEDED["transformers" if self.role == "text" else "audiocraft"]
        return zoo.how_to_get(self.wanted, "" if self.foreign else files)


def parts(model: "Model") -> list[Part]:
    """Every part that a model's audio depends on, present or not. Clips of ``files`` count one by one, elsewhere."""
    named = {"checkpoint": model.checkpoint, "prompter": model.prompter}
    named["rescorer"] = model.rescorer.checkpoint if model.rescorer else ""
    found = [part(role, value, model.family) for role, value in named.items() if value]
    if model.family in (*FOREIGN, "files") or ":" in model.family:
        return found
    checkpoint = next((one for one in found if one.role == "checkpoint"), None)
    text = text_of(model, checkpoint)
    codec = model.codec or (checkpoint.wanted if checkpoint else "")
    found += [part(role, value, model.family) for role, value in (("text", text), ("codec", codec)) if value]
    return found


def place_of(model: "Model", role: str) -> Path:
    """The place of one part. Raises UserError if it is not here, not complete, or not named."""
    one = next((one for one in parts(model) if one.role == role), None)
    if one is None:
        raise UserError(f"model {model.name or model.family} has no {role}; set {role}: in models/{model.name}.yaml.")
    return usable(model, one).place


def usable(model: "Model", one: Part) -> Part:
    """A part itself. Raises UserError if it cannot be used."""
    if one.problem:
        raise UserError(f"model {model.name or model.family}: {one.role} {one.wanted}: {one.problem}. {one.get}.")
    return one


def text_of(model: "Model", checkpoint: Part | None) -> str:
    """The text encoder's name: the checkpoint's own word where it has one, unless the YAML names a place on disk."""
    if checkpoint is None or checkpoint.problem:
        return model.text
    published = layouts.lm_file(checkpoint.place)
    if published:
        from magnet_eval.generators.layout_audiocraft import text_encoder_name

        said = text_encoder_name(published)
        if model.text and model.text != said and model.text.startswith(T5):
            log.warning("%s was trained with %s, not %s; the checkpoint is right", published, said, model.text)
        return model.text if model.text and not model.text.startswith(T5) else said
    if not model.text and layouts.model_type(checkpoint.place) == "musicgen":
        return checkpoint.wanted
    return model.text


def part(role: str, wanted: str, family: str) -> Part:
    """One part by name."""
    place = zoo.find(wanted)
    if not place.exists():
        return Part(role, wanted, place, problem=f"not here (looked for {place})", foreign=family in FOREIGN)
    try:
        return Part(role, wanted, place, tuple(files_of(role, place, family)))
    except UserError as error:
        return Part(role, wanted, place, problem=str(error).rstrip("."))


def files_of(role: str, place: Path, family: str) -> Iterator[Path]:
    """The files of a part that count. Raises UserError where one is missing."""
    if family in FOREIGN:
        yield from sorted(path for path in place.rglob("*") if path.is_file() and path.suffix != ".md")
        return
    if family == "unigram" and role == "checkpoint":
        yield _there(place / "counts.safetensors")
        return
    published = published_files(role, place)
    if published:
        yield from published
        return
    folder = place.parent if place.suffix == ".safetensors" else place
    layouts.check_folder(folder, "config.json")
    yield folder / "config.json"
    yield from layouts.weight_files(folder)
    if role == "text":
        yield from sorted({path for pattern in TOKENIZER for path in folder.glob(pattern)})


def published_files(role: str, place: Path) -> list[Path]:
    """The files of a part in audiocraft's layout; none if it is in another one."""
    if role == "text":
        return []
    if role != "codec":
        file = layouts.lm_file(place)
        return [file] if file else []
    file = layouts.codec_file(place)
    if not file:
        return []
    from magnet_eval.generators import layout_audiocraft
    from magnet_eval.generators.loading import pointed_to

    elsewhere = layout_audiocraft.pointer(file)
    return [file, *files_of("codec", pointed_to(elsewhere, file), "")] if elsewhere else [file]


def _there(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}")
    return path
