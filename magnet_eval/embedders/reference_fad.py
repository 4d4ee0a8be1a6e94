"""The package frechet-audio-distance 0.3.4 (extra ``reference``) by its own classes, on weights that are here.

Its faults are caught and named. It prints an exception and goes on with fewer clips, or gives -1 for a distance; its
PANNs joins all vectors into one, so that every distance is -1; with SciPy 1.18 every distance is. None of that comes
out of here as a number: each is one line, a UserError.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch

from magnet_eval import reference
from magnet_eval.embedders import clap_layout, encodec_frames, hash_of
from magnet_eval.embedders.clap import windows_of
from magnet_eval.embedders.network import ARRAYS, samples_of
from magnet_eval.embedders.sources import place_of, weights_of
from magnet_eval.generators.checkpoints import pick_device, read_pickled
from magnet_eval.lookup import UserError

PACKAGE = "frechet-audio-distance"


@dataclass(frozen=True)
class Kind:
    """One of the package's networks."""

    model_name: str
    sample_rate: int  # Hz
    where: str = "{}"  # its weights lie there in the folder of checkpoints
    options: dict[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()  # sources that lie in checkpoints/ too


def _clap(submodel: str) -> Kind:
    return Kind("clap", 48_000, options={"submodel_name": submodel})


KINDS = {  # name of the file or folder of weights -> network
    "harritaylor_torchvggish_master": Kind("vggish", 16_000, beside=("vggish", "vggish-pca")),
    "encodec_24khz-d7cc33bc.th": Kind("encodec", 24_000, "checkpoints/{}"),
    "encodec_48khz-7e698e3e.th": Kind("encodec", 48_000, "checkpoints/{}", {"channels": 2}),
    "630k-audioset-best.pt": _clap("630k-audioset"),
    "630k-best.pt": _clap("630k"),
    "music_audioset_epoch_15_esc_90.14.pt": _clap("music_audioset"),
    "music_speech_epoch_15_esc_89.25.pt": _clap("music_speech"),
    "music_speech_audioset_epoch_15_esc_89.98.pt": _clap("music_speech_audioset"),
}


class PackageFadEmbedder:
    """A network of frechet-audio-distance as an embedder, and the package's own score of two folders."""

    name = "fad_package"
    version = "1"

    def __init__(
        self, device: str = "cpu", weights: str | Path = "harritaylor_torchvggish_master", seed: int = 0
    ) -> None:
        """weights: which network, by the publisher's file. seed: of the 10 s that CLAP hears of a longer clip.

        Raises UserError if package or weights are missing or damaged, or the package cannot take them.
        """
        place = place_of(weights)
        kind = KINDS.get(place.name)
        if kind is None:
            other = "its PANNs gives -1 for all audio, set embedder: cnn14" if "Cnn14" in place.name else "not that"
            raise UserError(f"{PACKAGE} runs on {', '.join(KINDS)}; {place.name}: {other}.")
        beside = [weights_of(source) for source in kind.beside]
        check_safe(kind, place, beside)
        package = reference.load("frechet_audio_distance")
        self.kind, self.sample_rate, self.seed = kind, kind.sample_rate, seed
        self.files = [*([place] if place.is_file() else sorted(place.rglob("*.py"))), *beside]
        links = {kind.where.format(place.name): place} | {f"checkpoints/{path.name}": path for path in beside}
        with checkpoints(links) as folder, heard() as said:
            try:
                self.judge = package.FrechetAudioDistance(
                    ckpt_dir=str(folder), model_name=kind.model_name, sample_rate=kind.sample_rate, **kind.options
                )
            except (Exception, SystemExit) as error:  # its own, torch.hub's, or of the code in the folder
                raise UserError(f"{PACKAGE} cannot take {place}: {reason(error, said)}") from error
        self.judge.device = pick_device(device)  # the package takes CUDA wherever there is one
        self.judge.model.to(self.judge.device).eval()

    def fingerprint(self) -> str:
        """Hash over code version, options and weights."""
        seed = self.seed if self.kind.model_name == "clap" else ""
        return hash_of(self.name, f"{self.version} {self.kind.model_name} {seed}", self.files)

    @torch.no_grad()
    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Mono [T] or, for 48 kHz EnCodec, [2, T] -> float32 [n, d]. Raises UserError for what the package swallows."""
        samples = samples_of(audio, 1, self.sample_rate, self.name)
        if self.kind.model_name == "clap":  # at random, were it left to the package
            samples = windows_of(samples, "seeded", self.seed)[0]
        with heard() as said:
            try:
                frames = self.judge.get_embeddings([samples.numpy().T], self.sample_rate)
            except ValueError as error:
                raise UserError(f"{PACKAGE} has no embedding of this clip: {reason(error, said)}") from error
        if frames.ndim != 2:
            raise UserError(f"{PACKAGE} drops an axis of this clip: it has one window. Clips of 2 s and more are safe.")
        return frames.astype(np.float32)

    def score(self, background: Path, evaluated: Path) -> float:
        """The package's own distance of two folders of audio. Raises UserError where it says -1 or leaves a clip out.

        A CLAP hears of clips over 10 s what NumPy's global random numbers choose.
        """
        with heard() as said:
            score = self.judge.score(str(background), str(evaluated))
        if "exception" in said.getvalue() or "error" in said.getvalue() or not score >= -1e-3:
            raise UserError(f"{PACKAGE} has no distance of {evaluated} to {background}: {reason(None, said)}")
        return float(score)


def package_distance(background: np.ndarray, evaluated: np.ndarray) -> float:
    """The package's Fréchet distance of frames [n, d] and [m, d]. Raises UserError where the package has none."""
    package = reference.load("frechet_audio_distance")
    judge = package.FrechetAudioDistance.__new__(package.FrechetAudioDistance)  # the arithmetic needs no network
    if min(len(background), len(evaluated)) < 2:
        raise UserError(f"{PACKAGE} needs two frames of either set, got {len(background)} and {len(evaluated)}.")
    with heard() as said:
        try:
            statistics = [part for x in (background, evaluated) for part in judge.calculate_embd_statistics(x)]
            return float(judge.calculate_frechet_distance(*statistics))
        except (TypeError, ValueError) as error:
            raise UserError(f"{PACKAGE} has no distance of these frames: {reason(error, said)}") from error


def reason(error: BaseException | None, said: io.StringIO) -> str:
    """One line out of an exception, or out of what the package printed in its place."""
    text = " ".join(f"{error or ''} {said.getvalue()}".split())
    if "'disp'" in text:
        import scipy

        return f"it calls sqrtm as SciPy {scipy.__version__} refuses. Install scipy<1.18, or take preset native."
    if "expected 2, got 1" in text:
        return "it cannot compare frames of a single value."
    return text[:300] or "it gave no reason."


def check_safe(kind: Kind, place: Path, beside: list[Path]) -> None:
    """Reads the weights as tensors only. Raises UserError if they hold more: the package itself would run it."""
    if kind.model_name == "clap":
        clap_layout.read(place)
    elif kind.model_name == "encodec":
        encodec_frames.read(place)
    with torch.serialization.safe_globals(ARRAYS):
        for path in beside:
            read_pickled(path)


@contextlib.contextmanager
def heard() -> Iterator[io.StringIO]:
    """Catches what the package prints, which is the only trace of its exceptions."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        yield said


@contextlib.contextmanager
def checkpoints(links: dict[str, Path]) -> Iterator[Path]:
    """A folder in which the package finds ``links`` (name -> file or folder); meanwhile nothing is downloaded."""
    from torch import hub

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise URLError("nothing is downloaded here")

    before, urlopen = hub._hub_dir, hub.urlopen  # the package moves torch's cache for good
    with tempfile.TemporaryDirectory() as name:
        for link, target in links.items():
            path = Path(name) / link
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(target.resolve())
        hub.urlopen = refuse
        try:
            with reference.offline():
                yield Path(name)
        finally:
            hub._hub_dir, hub.urlopen = before, urlopen
