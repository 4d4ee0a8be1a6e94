"""The packages of the extra ``reference``, encodec, laion-clap and frechet-audio-distance, imported as they are.

All three import torchvision or torchaudio, whose published builds load beside one CUDA build of torch only, and use
almost nothing of them. Where those are absent, stand-ins take their places while a package is imported, and are gone
afterwards. Whatever a stand-in cannot do raises an error that names the missing package.
"""

import contextlib
import importlib
import importlib.machinery
import io
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from magnet_eval.lookup import UserError

PACKAGES = {  # module -> what pip calls it
    "encodec": "encodec",
    "laion_clap": "laion-clap",
    "frechet_audio_distance": "frechet-audio-distance",
}
# What their modules look up at import, never at work on the paths used here.
NAMES = {
    "torchaudio.transforms": ("Resample", "Spectrogram", "MelSpectrogram", "AmplitudeToDB"),
    "torchvision.transforms": (
        "CenterCrop", "Compose", "InterpolationMode", "Normalize", "RandomResizedCrop", "Resize", "ToTensor",
    ),
    "torchvision.datasets": (),
    "torchvision.ops.misc": ("FrozenBatchNorm2d",),
}  # fmt: skip


def load(name: str) -> ModuleType:
    """The package ``name`` of PACKAGES. Raises UserError, naming the extra, if it is not installed or cannot load."""
    if name in sys.modules:
        return sys.modules[name]
    try:
        with stand_ins(), offline(), contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{PACKAGES[name]} is not installed ({error.name} is missing). Say make reference, or where torchaudio "
            "loads: pip install 'magnet-eval[reference]'."
        ) from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{PACKAGES[name]} does not load: {reason}. Builds of torchvision and torchaudio that do not fit torch are "
            "worse than none: pip uninstall torchvision torchaudio."
        ) from error


@contextlib.contextmanager
def stand_ins() -> Iterator[list[str]]:
    """Lends what is absent of torchvision and torchaudio to imports within; gives the names lent."""
    from transformers import utils

    # Asked for first: transformers remembers the answer, and must not take a stand-in for the package.
    absent = {
        "torchvision": not utils.is_torchvision_available(),
        "torchaudio": not utils.is_torchaudio_available(),
    }
    lent = {path: module for path, module in _modules().items() if absent[path.partition(".")[0]]}
    sys.modules.update(lent)
    try:
        yield sorted(lent)
    finally:
        for path in lent:
            del sys.modules[path]


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """The hub's cache is read, the hub is not asked: laion-clap looks for three tokenizers when it is imported."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _modules() -> dict[str, ModuleType]:
    """Stand-in modules by path, each with its submodules as attributes."""
    modules: dict[str, ModuleType] = {}
    for path, names in NAMES.items():
        parts = path.split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            if name not in modules:
                modules[name] = ModuleType(name)
                modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
                modules[name].__path__ = []
                if depth > 1:
                    setattr(modules[".".join(parts[: depth - 1])], parts[depth - 1], modules[name])
        for name in names:
            setattr(modules[path], name, _absent(f"{path}.{name}"))
    return modules


def _absent(path: str) -> type:
    """A class that says what is missing as soon as one is made."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"{path} is needed here, and {path.partition('.')[0]} is not installed")

    return type(path.rpartition(".")[2], (), {"__init__": __init__, "BICUBIC": "bicubic"})
