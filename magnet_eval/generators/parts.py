"""The parts of a model (language model, text encoder, codec, ...): where each lies, which files count, what is missing.

A text encoder or codec that the YAML does not name is the one that the checkpoint says or holds. Of a published
checkpoint the configuration inside is trusted over the YAML.
"""

import functools
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
FOREIGN = {  # families whose folder is read by the package of that name -> what has to be in it
    "transformers": ("config.json",),
    "audiocraft": (layouts.LM_FILE, layouts.CODEC_FILE),
    "diffusers": ("model_index.json",),
}
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
    layout: str = ""  # of what a hub has, to get no more than that; "": another package may want any file

    @property
    def get(self) -> str:
        """What to type to have it; "" where files of one's own are at fault, and ``problem`` says how."""
        own = self.place.exists() and not self.wanted.startswith("tiny/") and self.place != zoo.cached(self.wanted)
        return "" if own else zoo.how_to_get(self.wanted, layouts.NEEDED.get(self.layout, ""))


def parts(model: "Model") -> list[Part]:
    """Every part that a model's audio depends on, present or not; none where its weights are random.

    Clips of ``files`` count one by one, elsewhere.
    """
    if model.weights:
        return []
    layout = "" if model.family in FOREIGN else "audiocraft"
    found = [part(role, value, model.family, layout) for role, value in named(model).items()]
    if model.family in (*FOREIGN, "files") or ":" in model.family:
        return found
    checkpoint = next((one for one in found if one.role == "checkpoint"), None)
    for role, value in (("text", text_of(model, checkpoint)), ("codec", codec_of(model, checkpoint))):
        beside = checkpoint and value == checkpoint.wanted
        found += [part(role, value, model.family, "audiocraft" if beside else "transformers")] if value else []
    return found


def named(model: "Model") -> dict[str, str]:
    """The names of a model's checkpoints by role."""
    rescorer = model.rescorer.checkpoint if model.rescorer else ""
    names = {"checkpoint": model.checkpoint, "prompter": model.prompter, "rescorer": rescorer}
    return {role: name for role, name in names.items() if name}


def place_of(model: "Model", role: str) -> Path:
    """The place of one part. Raises UserError if it is not here, not complete, or not named."""
    found = parts(model)
    one = next((one for one in found if one.role == role), None)
    if one is None:
        for other in found:  # an unusable checkpoint cannot say which text encoder it goes with
            usable(model, other)
        raise UserError(f"model {model.name or model.family} has no {role}; set {role}: in models/{model.name}.yaml.")
    return usable(model, one).place


def usable(model: "Model", one: Part) -> Part:
    """A part itself. Raises UserError if it cannot be used."""
    if one.problem:
        what = f"model {model.name or model.family}: {one.role} {one.wanted}: {one.problem}."
        raise UserError(f"{what} {one.get}." if one.get else what)
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
            _warn_once(f"{published} was trained with {said}, not {model.text}; the checkpoint is right")
        return model.text if model.text and not model.text.startswith(T5) else said
    if not model.text and layouts.model_type(checkpoint.place) in layouts.MUSICGEN:
        return checkpoint.wanted
    return model.text


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)


def codec_of(model: "Model", checkpoint: Part | None) -> str:
    """The codec's name: the YAML's, or the checkpoint's own; of a pointer what it points to."""
    named = model.codec or (checkpoint.wanted if checkpoint else "")
    published = layouts.codec_file(zoo.find(named)) if named else None
    if not published:
        return named
    from magnet_eval.generators.layout_audiocraft import pointer

    return pointer(published) or named


def part(role: str, wanted: str, family: str, layout: str) -> Part:
    """One part by name."""
    place = zoo.find(wanted)
    if not place.exists():
        return Part(role, wanted, place, problem=f"not here (looked for {place})", layout=layout)
    try:
        return Part(role, wanted, place, tuple(files_of(role, place, family)))
    except UserError as error:
        return Part(role, wanted, place, problem=str(error).rstrip("."), layout=layout)


def files_of(role: str, place: Path, family: str) -> Iterator[Path]:
    """The files of a part that count. Raises UserError where one is missing."""
    if family in FOREIGN:
        layouts.check_folder(place, *FOREIGN[family])
        if family == "transformers":
            layouts.weight_files(place)
    if family in FOREIGN or ":" in family:
        yield from _all(place)
        return
    if family == "unigram" and role == "checkpoint":
        yield _there(place / "counts.safetensors")
        return
    language_model = role not in ("text", "codec")
    published = layouts.lm_file(place) if language_model else layouts.codec_file(place) if role == "codec" else None
    if published:
        yield published
        return
    file = language_model and place.suffix == ".safetensors"
    folder = place.parent if file else place
    layouts.check_folder(folder, "config.json")
    yield folder / "config.json"
    yield from [place] if file else layouts.weight_files(folder)
    if role == "text":
        yield from sorted({path for pattern in TOKENIZER for path in folder.glob(pattern)})


def _all(place: Path) -> list[Path]:
    """A file itself; of a folder all but prose and what is hidden, such as the notes of hf download."""
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    named = {path: path.relative_to(place).parts for path in files}
    found = [path for path, names in named.items() if path.suffix != ".md" and not any(n[0] == "." for n in names)]
    if not found:
        raise UserError(f"{place} is empty")
    return found


def _there(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}")
    return path
