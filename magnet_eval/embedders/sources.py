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
    """One file of weights, or a whole folder: of a hub repository, or a repository of code."""

    name: str  # what embedders call it
    file: str = ""  # file name; "" is a whole repository
    hub: str = ""  # owner/name on the hub
    url: str = ""  # of the publisher, where it is on no hub
    licence: str = ""  # as the publisher states it; "" where that was not confirmed
    sha256: str = ""  # of the published file, where confirmed
    needed: str = ""  # of a repository, where that is not all of it: names, separated by spaces

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
    Source("encodec_24khz", "encodec_24khz-d7cc33bc.th", url=f"{ENCODEC}/encodec_24khz-d7cc33bc.th"),
    Source("encodec_48khz", "encodec_48khz-7e698e3e.th", url=f"{ENCODEC}/encodec_48khz-7e698e3e.th"),
    Source("encodec_32khz", hub="facebook/encodec_32khz"),
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


def weights_of(name: str) -> Path:
    """The place of a source's weights. Raises UserError, with the command that gets them, if they are not here."""
    source = SOURCES[check("weights", name, SOURCES)]
    place = source.find()
    if place is None:
        raise UserError(f"the weights {name} ({source.file or source.hub}) are not here. Get them: {source.get}")
    return place
