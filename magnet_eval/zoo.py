"""The two folders that are the zoo, models/ and protocols/: where they are and what is in them.

The working directory's own folders come first, then those that ship with the package (in a checkout the
repository's, in an installed wheel the package's own copy). Weights lie in the models folders too.
"""

from pathlib import Path
from typing import Any

import yaml

from magnet_eval.lookup import UserError, unknown


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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{known[name]} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{known[name]} must be a mapping of names to values, got {content!r}.")
    return content
