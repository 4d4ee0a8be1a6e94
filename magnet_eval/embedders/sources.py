"""Where the weights of the published embedders come from, and where they are looked for. Nothing is ever downloaded.

A file is looked for in ``models/embedders/`` (the working directory's, then the package's), in the hub's cache, and in
torch's. magnet-eval doctor shows each with its hash, or the command that gets it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from magnet_eval import zoo
from magnet_eval.generators.layouts import content_of
from magnet_eval.lookup import UserError, check, nearest

SHORTEST_HASH = 8  # digits of a sha256 that say which file is meant


@dataclass(frozen=True)
class Source:
    """One file of weights, or a whole folder: of a hub repository, or a repository of code."""

    name: str  # what embedders call it
    file: str = ""  # file name; "" is a whole repository
    hub: str = ""  # owner/name on the hub
    url: str = ""  # of the publisher, where it is on no hub
    licence: str = ""  # as the publisher states it; "" where that was not confirmed
    sha256: str = ""  # of the published file, where confirmed
    needed: str = ""  # of a repository, where that is not all of it: names, separated by spaces
    rate: int | None = None  # Hz that the network hears, where an embedder has networks of several rates

    @property
    def get(self) -> str:
        """The command that gets it."""
        if self.hub:
            return f"hf download {self.hub} {self.file or self.needed}".strip()
        if not self.file:
            return f"git clone {self.url} models/embedders/{self.name}"
        return f"curl -L --create-dirs -o models/embedders/{self.file} {self.url}"

    def places(self) -> list[Path]:
        """Where it is looked for, in order."""
        homes = dict.fromkeys([Path.cwd() / "models", *zoo.folders("models")])  # the first is where ``get`` puts it
        own = [home / "embedders" / (self.file or self.name) for home in homes]
        torch_home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
        cached = zoo.cached(self.hub) if self.hub else None
        return [
            *own,
            *([cached / self.file if self.file else cached] if cached else []),
            torch_home / "hub" / (f"checkpoints/{self.file}" if self.file else self.name),
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
        rate=16_000,
        licence="CC-BY-4.0",
        sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
    ),
    Source(
        "cnn14-32k",
        "Cnn14_mAP=0.431.pth",
        url=f"{ZENODO}/Cnn14_mAP=0.431.pth",
        rate=32_000,
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
LAION = (  # each says what it was trained on
    "music_audioset_epoch_15_esc_90.14", "music_speech_audioset_epoch_15_esc_89.98", "music_speech_epoch_15_esc_89.25",
    "630k-audioset-best", "630k-best", "630k-audioset-fusion-best", "630k-fusion-best",
)  # fmt: skip
CONVERTED = (
    "clap-htsat-unfused", "clap-htsat-fused", "larger_clap_general", "larger_clap_music",
    "larger_clap_music_and_speech",
)  # fmt: skip
ENCODEC = "https://dl.fbaipublicfiles.com/encodec/v0"
CLAP = (
    *(Source(name, f"{name}.pt", hub="lukewys/laion_clap", licence="CC0-1.0") for name in LAION),
    *(Source(name, hub=f"laion/{name}", licence="Apache-2.0") for name in CONVERTED),
    # Only the tokenizer: CLAP's files hold the text tower.
    Source("roberta-base", hub="FacebookAI/roberta-base", needed="config.json tokenizer.json tokenizer_config.json"),
)
CODECS = (
    Source("encodec_24khz", "encodec_24khz-d7cc33bc.th", url=f"{ENCODEC}/encodec_24khz-d7cc33bc.th", rate=24_000),
    Source("encodec_48khz", "encodec_48khz-7e698e3e.th", url=f"{ENCODEC}/encodec_48khz-7e698e3e.th", rate=48_000),
    Source("encodec_32khz", hub="facebook/encodec_32khz", rate=32_000),
)
TORCHVGGISH = "https://github.com/harritaylor/torchvggish"
PACKAGE = (  # what frechet-audio-distance needs for VGGish, beside its weights
    Source("harritaylor_torchvggish_master", url=TORCHVGGISH, licence="Apache-2.0"),
    Source(
        "vggish-pca",
        "vggish_pca_params-970ea276.pth",
        url=f"{TORCHVGGISH}/releases/download/v0.1/vggish_pca_params-970ea276.pth",
        licence="Apache-2.0",
    ),
)
SOURCES: dict[str, Source] = {source.name: source for source in (*CLASSIFIERS, *CLAP, *CODECS, *PACKAGE)}


def place_of(weights: str | Path) -> Path:
    """The file or folder of a source's name, a path or a hub id. Raises UserError if it is not here."""
    if str(weights) in SOURCES:
        return weights_of(str(weights))
    if Path(weights).exists():
        return Path(weights)
    if isinstance(weights, Path) or not zoo.HUB_ID.fullmatch(weights):
        near = nearest(str(weights), SOURCES) or sorted(SOURCES)[:3]
        raise UserError(
            f"there are no weights {weights}. Give a path, a hub id or a name, e.g. {', '.join(near)}; "
            "all: magnet-eval doctor."
        )
    found = zoo.cached(weights)
    if found is None:
        raise UserError(f"the weights {weights} are not here. {zoo.how_to_get(weights)}")
    return found


def weights_of(name: str) -> Path:
    """The place of a source's weights. Raises UserError, with the command that gets them, if they are not here."""
    source = SOURCES[check("weights", name, SOURCES)]
    place = source.find()
    if place is None:
        raise UserError(f"the weights {name} ({source.file or source.hub}) are not here. Get them: {source.get}")
    return place


def standing(name: str, hashes: Mapping[str, str]) -> str:
    """Whether an embedder's files are the published weights ``name``: published, other, or unconfirmed.

    ``hashes`` has file name -> sha256. Unconfirmed is what no published hash is known of; "" no weights by a name.
    """
    source = SOURCES.get(name)
    if source is None:
        return ""
    if not source.sha256:
        return "unconfirmed"
    return "published" if source.sha256 in hashes.values() else "other"


def mismatch(weights: str | Path, sha256: str | None) -> str:
    """How the file of weights differs from the hash (or its first digits) that it must have; "" if it does not."""
    if not sha256:
        return ""
    place = place_of(weights)
    if not place.is_file():
        return f"sha256 is of one file, {place} is a folder; leave sha256 out."
    got = content_of(place)
    same = len(sha256) >= SHORTEST_HASH and got.startswith(sha256.lower())
    return "" if same else f"{place} has sha256 {got}, the protocol asks for {sha256}. Get that file, or mend sha256."
