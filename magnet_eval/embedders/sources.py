"""Where the weights of the published embedders come from, and where they are looked for. Nothing is ever downloaded.

A file is looked for in ``models/embedders/`` (the working directory's, then the package's), in the hub's cache, and in
torch's. magnet-eval doctor shows each with its hash, or the command that gets it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from magnet_eval import zoo
from magnet_eval.lookup import UserError, check


@dataclass(frozen=True)
class Source:
    """One file (or a whole folder of a hub repository) of weights."""

    name: str  # what embedders call it
    file: str = ""  # file name; "" is a whole repository
    hub: str = ""  # owner/name on the hub
    url: str = ""  # of the publisher, where it is on no hub
    licence: str = ""  # as the publisher states it; "" where that was not confirmed
    sha256: str = ""  # of the published file, where confirmed

    @property
    def get(self) -> str:
        """The command that gets it."""
        if self.hub:
            return f"hf download {self.hub} {self.file}".strip()
        return f"curl -L --create-dirs -o models/embedders/{self.file} {self.url}"

    def places(self) -> list[Path]:
        """Where it is looked for, in order."""
        own = [home / "embedders" / (self.file or self.name) for home in zoo.folders("models")]
        torch_home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
        cached = zoo.cached(self.hub) if self.hub else None
        return [
            *own,
            *([cached / self.file if self.file else cached] if cached else []),
            *([torch_home / "hub" / "checkpoints" / self.file] if self.file else []),
        ]

    def find(self) -> Path | None:
        """Where it is; None if it is nowhere."""
        return next((place for place in self.places() if place.exists()), None)


SOURCES: dict[str, Source] = {}  # by name


def weights_of(name: str) -> Path:
    """The place of a source's weights. Raises UserError, with the command that gets them, if they are not here."""
    source = SOURCES[check("weights", name, SOURCES)]
    place = source.find()
    if place is None:
        raise UserError(f"the weights {name} ({source.file or source.hub}) are not here. Get them: {source.get}")
    return place
