"""The two folders that are the zoo, models/ and protocols/: where they are and what is in them.

The working directory's own folders come first, then those that ship with the package (in a checkout the
repository's, in an installed wheel the package's own copy). Weights lie in the models folders too, anywhere on disk,
or in the hub's cache, which is read and never filled: nothing here asks the network for anything.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from magnet_eval import places
from magnet_eval.lookup import UserError, unknown

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
OLD_NAMES = {"google-t5/": "", "FacebookAI/": ""}  # owner -> its prefix before the hub had owners; caches may have that


def root() -> Path:
    """The folder that holds the models/ and protocols/ that ship with the package."""
    package = Path(__file__).resolve().parent
    return package / "_zoo" if (package / "_zoo").is_dir() else package.parent


def folders(kind: str) -> list[Path]:
    """Existing places of ``kind`` (models or protocols), the user's own first."""
    shipped, own = root() / kind, Path.cwd() / kind
    return [shipped] if own.resolve() == shipped or not any(own.glob("*.yaml")) else [own, shipped]


def files(kind: str) -> dict[str, Path]:
    """Name to YAML file of everything of ``kind``; the user's own file wins over a shipped one of that name."""
    return {path.stem: path for folder in reversed(folders(kind)) for path in sorted(folder.glob("*.yaml"))}


def names(kind: str) -> list[str]:
    """Sorted names of everything of ``kind``."""
    return sorted(files(kind))


def read(kind: str, name: str) -> dict[str, Any]:
    """The content of one YAML file. Raises UserError if it is unknown or no mapping."""
    known = files(kind)
    if name not in known:
        hint = f"Put {name}.yaml into ./{kind}/ to add one."
        raise unknown(kind.removesuffix("s"), name, known, hint)
    try:
        content = yaml.safe_load(known[name].read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise UserError(f"{known[name]} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{known[name]} must be a mapping of names to values, got {content!r}.")
    return content


def find(value: str | Path) -> Path:
    """The place of a model's part: a path, a folder or file below ./models or the shipped models, or a hub id's cache.

    Where there is none, the place among the shipped models where it would be.
    """
    value = str(value)
    if value:
        places.check("a part of a model", value, url=False)
    path = Path(value).expanduser()
    homes = [path] if path.is_absolute() else [*(home / path for home in folders("models")), Path.cwd() / path]
    here = next((place for place in homes if place.exists()), None)
    return here or cached(value) or (path if path.is_absolute() else root() / "models" / path)


def cached(value: str) -> Path | None:
    """The newest snapshot of a hub id in the hub's cache; None if it is not there, or no hub id."""
    if not HUB_ID.fullmatch(value) or value.startswith("tiny/"):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    names = [value, *(new + value.removeprefix(old) for old, new in OLD_NAMES.items() if value.startswith(old))]
    for name in names:
        try:
            return Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            continue
    return None


def how_to_get(value: str, files: str = "") -> str:
    """What to type to have a part that is not here. ``files`` of a hub id are enough; "" is all of them."""
    if value.startswith("tiny/"):
        return f"Restore models/{value} from the repository, or train it: magnet-eval train"
    if HUB_ID.fullmatch(value):
        return f"Get it: hf download {value} {files}".strip()
    return f"Check the path {value}"
