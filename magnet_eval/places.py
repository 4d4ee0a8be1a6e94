"""Where things are read from and go to: folders and files of this disk, or URLs where a store will do."""

import dataclasses
import re
from typing import Any

from magnet_eval.lookup import UserError

PLACES = {  # options that name a place -> whether a URL will do
    "results": True,
    "run": True,
    "runs": True,
    "csv": True,
    "reports": False,
    "out": False,
    "audio": False,
    "work": False,
    "study": False,
    "answers": False,
    "questions": False,
    "pilot": False,
}
ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")  # what a path makes of a URL, or a slip of the finger
ON_DISK = ("file", "local")


def is_url(place: str) -> bool:
    """Whether a place is a URL, not a path."""
    return "://" in place


def check(name: str, place: str, url: bool = True) -> str:
    """``place`` itself. Raises UserError on an empty one, half a URL, and a URL where none will do."""
    kinds = "a path or a URL such as s3://bucket/folder" if url else "a path on this disk"
    if not place.strip():
        raise UserError(f"{name} is empty; give {kinds}, e.g. {name}={'results' if name == 'results' else 'PATH'}.")
    slip = ONE_SLASH.match(place)
    if slip:
        meant = f"{slip[1]}:{'///' if slip[1] in ON_DISK else '//'}{place[slip.end() :]}"
        more = f"a URL is {name}={meant}" if url else f"allowed is {kinds}"
        raise UserError(f"{name}={place} is half a URL: {more}; a folder of that name is {name}=./{place}.")
    if not is_url(place):
        return place
    if not url:
        raise UserError(f"{name}={place} is a URL; allowed is {kinds}. Copy it there, or give another {name}=PATH.")
    kind, _, rest = place.partition("://")
    if not rest.strip("/"):
        example = f"{kind}://{'/home/me' if kind in ON_DISK else 'bucket'}/results"
        raise UserError(f"{name}={place} names no folder in the store; add one, e.g. {name}={example}.")
    if kind in ON_DISK and not rest.startswith("/"):
        raise UserError(f"{name}={place} is no whole path; {kind}:// has three slashes, {name}={kind}:///{rest}.")
    return place


def check_options(verb: str, chosen: Any) -> None:
    """``check`` of every option of a verb that names a place. A study's are all on a disk."""
    for field in dataclasses.fields(chosen):
        value = getattr(chosen, field.name)
        if field.name in PLACES and value is not None:
            for place in [value] if isinstance(value, str) else value:
                check(field.name, place, PLACES[field.name] and not verb.startswith("study"))


def join(folder: str, name: str) -> str:
    """The place ``name`` in a folder of results, here or in a store."""
    return f"{check('results', folder).rstrip('/')}/{name}"
