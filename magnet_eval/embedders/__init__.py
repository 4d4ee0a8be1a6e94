"""Embedders: networks that turn audio into frames of numbers, which the metrics then compare.

To add one: a file in this folder and a line in EMBEDDERS. An embedder is a class that is built with a device and has
what ``Embedder`` lists; one for text metrics also has ``embed_text(texts) -> [n, d]``. Several clips at a time are
embedded by a small one that says ``thread_safe = True``, and by one with ``batch``, how many it takes at once, and
``embed_batch(clips of one length) -> list of frames``.
"""

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from magnet_eval import lookup, zoo
from magnet_eval.generators.layouts import content_of
from magnet_eval.records import Embeddings

if TYPE_CHECKING:
    import torch

EMBEDDERS = {
    "musicnn": "magnet_eval.embedders.musicnn:MusicnnEmbedder",
    "clap_tiny": "magnet_eval.embedders.clap_tiny:ClapTinyEmbedder",
    "attributes_tiny": "magnet_eval.embedders.attributes_tiny:AttributesEmbedder",
    "clap": "magnet_eval.embedders.clap:ClapEmbedder",
    "clap_laion": "magnet_eval.embedders.clap_laion:LaionClapEmbedder",
    "encodec": "magnet_eval.embedders.encodec_frames:EncodecEmbedder",
    "encodec_package": "magnet_eval.embedders.encodec_frames:PackageEncodecEmbedder",
    "fad_package": "magnet_eval.embedders.reference_fad:PackageFadEmbedder",
    "vggish": "magnet_eval.embedders.vggish:VGGishEmbedder",
    "cnn14": "magnet_eval.embedders.cnn14:Cnn14Embedder",
    "passt": "magnet_eval.embedders.passt:PasstEmbedder",
    "audiobox": "magnet_eval.embedders.audiobox:AudioboxEmbedder",
}
# The source of what the embedder's weights do not hold, unless they are a folder.
TOKENIZERS = {"clap": "roberta-base", "clap_laion": "roberta-base"}
PACKAGES = {  # embedder -> the package that it runs on, as it is
    "clap_laion": "laion_clap",
    "encodec_package": "encodec",
    "fad_package": "frechet_audio_distance",
}


class Embedder(Protocol):
    """What every embedder offers."""

    name: str
    version: str  # of its code: raised whenever its numbers change
    sample_rate: int  # Hz
    files: Sequence[Path]  # all that ``fingerprint`` reads: while they are unchanged, so is it

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] at ``sample_rate`` -> frames float32 [n, d], at least one; or [2, T], behind a stereo front."""
        ...

    def fingerprint(self) -> str:
        """Hash over code version, parameters and weights: the embedder's part of a cache key."""
        ...


def build(name: str, device: str = "cpu", **options: Any) -> Embedder:
    """The embedder of a name, or of the user's own pkg.module:object, on ``device`` (auto, cpu, cuda, cuda:N).

    Raises UserError if its weights are missing, or the device.
    """
    if device != "cpu":
        import torch

        from magnet_eval.generators.checkpoints import pick_device

        device = str(pick_device(device))
        torch.backends.cudnn.allow_tf32 = False  # else convolutions keep 10 bits, and embeddings are another network's
    return lookup.load(EMBEDDERS, name, "embedder")(device=device, **options)


def missing(name: str, options: Mapping[str, Any]) -> str:
    """Which weights of an embedder with these options are not here, and the command that gets them; "" if all are."""
    from magnet_eval.embedders import sources

    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
        return f"embedder {name} needs a package of the extra reference, {PACKAGES[name]}. Say: make reference"
    chosen = str(options.get("weights") or "")
    if not chosen:
        return ""
    try:
        place = sources.place_of(chosen)
        if name in TOKENIZERS and not place.is_dir():
            sources.weights_of(TOKENIZERS[name])
    except lookup.UserError as error:
        return str(error)
    return ""


def gather(name: str, clips: Iterable[tuple[str, np.ndarray]]) -> Embeddings:
    """One Embeddings record of clip ids and their frames [n_i, d], in order. Raises ValueError for no clips."""
    ids, frames = zip(*clips, strict=True)
    owner = np.repeat(np.arange(len(ids)), [len(f) for f in frames])
    return Embeddings(name, tuple(ids), np.concatenate(frames), owner)


def weights(folder: str, *names: str) -> list[Path]:
    """Paths of the files ``names`` in a folder of models/, e.g. tiny/musicnn. Raises UserError if one is missing."""
    places = [home / folder for home in zoo.folders("models")]
    place = next((place for place in places if all((place / name).is_file() for name in names)), None)
    if place is None:
        raise lookup.UserError(
            f"no {' and '.join(names)} in {' or '.join(map(str, places))}. "
            "Restore them from the repository, or train them with magnet-eval train."
        )
    return [place / name for name in names]


def load_weights(model: "torch.nn.Module", path: Path) -> None:
    """Fills a network from a safetensors file. Raises UserError, naming it, if it is corrupt or of another network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise lookup.UserError(
            f"{path} does not hold the weights of {type(model).__name__}: {reason}. Restore it from the repository."
        ) from error


def hash_of(name: str, version: str, files: Sequence[Path]) -> str:
    """Sha256 over an embedder's name, code version and the bytes of its files."""
    digest = hashlib.sha256(f"{name} {version}".encode())
    for file in files:
        digest.update(bytes.fromhex(content_of(file)))
    return digest.hexdigest()
