"""Where texts and reference audio come from.

Order: a source lists everything it has; ``n`` keeps the first n in the order of the sha256 of the ids (a fixed draw,
and a smaller one is part of every larger one); what is kept is sorted by id. Texts typed by hand keep their order.
In here: SOURCES, DATASETS, read_prompts, read_reference, prompts_from_texts.
"""

import hashlib
import inspect
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from magnet_eval import config, mirror
from magnet_eval.lookup import UserError, load
from magnet_eval.prompts.beside import beside
from magnet_eval.prompts.idlists import keep
from magnet_eval.records import Prompt

SOURCES = {  # name -> function(path: str | None, seconds: float, what it knows of CHOICES and ids) -> list[Prompt]
    "tiny": "magnet_eval.prompts.tiny:read",
    "tiny-sounds": "magnet_eval.prompts.tiny:read_sounds",
    "folder": "magnet_eval.prompts.folder:read_folder",
    "jsonl": "magnet_eval.prompts.folder:read_captions",
    "musiccaps": "magnet_eval.prompts.musiccaps:read",
    "audiocaps": "magnet_eval.prompts.audiocaps:read",
}
CHOICES = ("audio", "split", "captions")
DATASETS = {  # name -> what is known of a published data set
    "musiccaps": "magnet_eval.prompts.musiccaps:DATASET",
    "audiocaps": "magnet_eval.prompts.audiocaps:DATASET",
}


def read_prompts(settings: config.Prompts) -> list[Prompt]:
    """The prompts that a protocol asks for. Raises UserError on none, duplicate ids, unsafe ids, bad texts."""
    return checked(draw(find(settings, settings.seconds), settings.n), settings.source)


def read_reference(settings: config.Reference) -> list[Prompt]:
    """The real clips (``reference`` is set, the text may be empty) that generated ones are compared with.

    An audio file counts once, however many captions it has.
    """
    by_audio = {prompt.reference: prompt for prompt in reversed(find(settings, 0.0)) if prompt.reference}
    if not by_audio:
        raise UserError(
            f"the reference source {settings.source!r} ({settings.path or 'embedded'}) has no audio. "
            "Prepare a data set with its audio (magnet-eval data prepare), or give protocol.reference.path=FOLDER."
        )
    check_ids(by_audio.values())
    return draw(by_audio.values(), settings.n)


def find(settings: config.Reference, seconds: float) -> list[Prompt]:
    """Everything of the source that the settings choose. Raises UserError on a choice that the source does not know."""
    read = load(SOURCES, settings.source, "prompt source")
    places = {name: getattr(settings, name) for name in ("path", "audio", "ids")}
    fetch = {"path": lambda place: mirror.here_with(place, beside)}
    here: dict[str, Any] = {name: fetch.get(name, mirror.here)(place) for name, place in places.items() if place}
    settings = replace(settings, **here)
    known = inspect.signature(read).parameters
    given = {name: getattr(settings, name) for name in CHOICES if getattr(settings, name) is not None}
    if settings.ids and "ids" in known:  # clips may go by other names than their prompts
        given["ids"] = settings.ids
    for name, value in given.items():
        if name not in known:
            raise UserError(f"source {settings.source!r} has no {name}, got {value!r}; leave it out.")
    found = read(settings.path, seconds, **given)
    for prompt in found:
        check_encodable(prompt)
    return found if "ids" in given or not settings.ids else keep(found, settings.ids, lambda prompt: (prompt.id,))


def prompts_from_texts(texts: Sequence[str], seconds: float) -> list[Prompt]:
    """Prompts of texts typed by hand, in their order; the id is made of the text. Raises UserError as read_prompts."""
    prompts = []
    for text in texts:
        words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
        mark = hashlib.sha256(text.encode()).hexdigest()[:6]
        prompts.append(Prompt(id=f"{words}-{mark}".strip("-"), text=text, seconds=seconds))
    return checked(prompts, "list")


def draw(prompts: Iterable[Prompt], n: int | None) -> list[Prompt]:
    """The first ``n`` prompts (None: all) by the sha256 of their ids, then sorted by id."""
    by_hash = sorted(prompts, key=lambda prompt: hashlib.sha256(prompt.id.encode()).digest())
    return sorted(by_hash[:n], key=lambda prompt: prompt.id)


def checked(prompts: list[Prompt], source: str) -> list[Prompt]:
    """``prompts`` themselves, stripped of outer blanks. Raises UserError where they cannot be generated from."""
    if not prompts:
        raise UserError(f"the prompt list ({source}) is empty; give at least one, e.g. '[slow waltz for strings]'.")
    check_ids(prompts)
    for prompt in prompts:
        try:
            config.check_text(prompt.text)
        except UserError as error:
            raise UserError(f"prompt {prompt.id!r}: {error}") from error
    return [replace(prompt, text=prompt.text.strip()) for prompt in prompts]


def check_encodable(prompt: Prompt) -> None:
    """Raises UserError on half of a surrogate pair, which JSON can spell and no file can hold."""
    try:
        f"{prompt.id}{prompt.text}{prompt.tags}".encode()
    except UnicodeEncodeError as error:
        raise UserError(f"prompt {prompt.id!r} holds {error.object[error.start]!r}, which is no character.") from error


def check_ids(prompts: Iterable[Prompt]) -> None:
    """Raises UserError on an id that occurs twice or cannot name a file."""
    counts = Counter(prompt.id for prompt in prompts)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise UserError(f"prompt id {twice[0]!r} occurs {counts[twice[0]]} times; every prompt needs its own.")
    for name in counts:
        unsafe = set(name) & set('/\\:*?"<>|') or not name.isprintable() or name != name.strip(" .")
        if not name or unsafe or name != Path(name).name or len(name.encode()) > 200:
            raise UserError(f"prompt id {name[:60]!r} cannot name a file; use letters, digits, spaces and - _ . only.")
