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


ZENODO = "https://zenodo.org/records/3987831/files"
PASST = "https://github.com/kkoutini/PaSST/releases/download"
CLASSIFIERS = (
    Source(
        "vggish",
        "vggish-10086976.pth",
        url="https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
        licence="Apache-2.0",
        sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
    ),
    Source(
        "cnn14-16k",
        "Cnn14_16k_mAP=0.438.pth",
        url=f"{ZENODO}/Cnn14_16k_mAP=0.438.pth",
        licence="CC-BY-4.0",
        sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
    ),
    Source(
        "cnn14-32k",
        "Cnn14_mAP=0.431.pth",
        url=f"{ZENODO}/Cnn14_mAP=0.431.pth",
        licence="CC-BY-4.0",
        sha256="0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
    ),
    Source(
        "passt-10s",
        "passt-s-f128-p16-s10-ap.476-swa.pt",
        url=f"{PASST}/v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt",
        licence="Apache-2.0",
        sha256="302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
    ),
    Source(
        "passt-20s",
        "passt-s-f128-20sec-p16-s10-ap.474-swa.pt",
        url=f"{PASST}/v0.0.5/passt-s-f128-20sec-p16-s10-ap.474-swa.pt",
        licence="Apache-2.0",
    ),
    Source(
        "passt-30s",
        "passt-s-f128-30sec-p16-s10-ap.473-swa.pt",
        url=f"{PASST}/v0.0.5/passt-s-f128-30sec-p16-s10-ap.473-swa.pt",
        licence="Apache-2.0",
    ),
    # A folder: config.json has the scales of the ratings, model.safetensors (a5a3c2412649...) the network.
    Source("audiobox", hub="facebook/audiobox-aesthetics", licence="CC-BY-4.0"),
)
SOURCES: dict[str, Source] = {source.name: source for source in CLASSIFIERS}


def weights_of(name: str) -> Path:
    """The place of a source's weights. Raises UserError, with the command that gets them, if they are not here."""
    source = SOURCES[check("weights", name, SOURCES)]
    place = source.find()
    if place is None:
        raise UserError(f"the weights {name} ({source.file or source.hub}) are not here. Get them: {source.get}")
    return place
