"""Reading weight files: every fault is one line that says what to do. What is in them is the layouts' business.

In here: devices, safetensors (one file or shards), torch pickles (tensors and plain values only), transformers'
folders, and filling a network with what was read, at a memory peak of about the network itself.
"""

import contextlib
import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from magnet_eval.generators.layouts import HINT, check_folder, weight_files
from magnet_eval.lookup import UserError

POINTER = b"version https://git-lfs"  # what a clone without git-lfs has in place of a large file
WANTED = re.compile(r"GLOBAL ([\w.]+)")  # what a pickle asks for beyond tensors and plain values, in torch's complaint

FAULTS = (  # what transformers raises over the files of a folder
    OSError, ValueError, TypeError, RuntimeError, SafetensorError, StrictDataclassError, pickle.UnpicklingError,
)  # fmt: skip


def pick_device(name: str) -> torch.device:
    """The device of ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. Raises UserError if the machine has it not."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {name!r} is not there; this machine has cpu only. Say device=cpu.")
    device = torch.device(name)
    if device.index and device.index >= torch.cuda.device_count():
        raise UserError(f"device {name!r} is not there; the last one is cuda:{torch.cuda.device_count() - 1}.")
    return device


def pick_dtype(name: str) -> torch.dtype:
    """The torch dtype of a number format's name."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def read_weights(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names start with ``prefix``, without it.

    Raises UserError if the file is missing, truncated or no safetensors at all.
    """
    check_folder(path.parent, path.name)
    try:
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118, no mapping
            return {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def read_pickled(path: Path, *, mapped: bool = False) -> Any:
    """The content of a torch file that may hold tensors and plain values, and nothing that could run code.

    mapped: tensors stay on disk until they are used; for a look at the rest. Raises UserError on any other file.
    """
    check_folder(path.parent, path.name)
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickles that torch did not write
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, KeyError) as error:  # a KeyError is about bytes that are no pickle
        raise _refused(path, error) or _damaged(path, "no file of torch's") from error
    except (RuntimeError, EOFError, OSError, ValueError, AttributeError, TypeError) as error:
        raise _damaged(path, error) from error


def _refused(path: Path, error: Exception) -> UserError | None:
    """In place of torch's own words, which advise to load the file all the same; None if that is not what it says."""
    wanted = WANTED.search(str(error))
    return wanted and UserError(
        f"{path} is refused: it asks for {wanted[1]}, and loading that could run a stranger's code. "
        "Get the file from its publisher again, or convert it to safetensors where you trust it."
    )


def _damaged(path: Path, why: Exception | str) -> UserError:
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            return UserError(f"{path} is only git-lfs's note of a file. Run git lfs pull there, or: hf download.")
    reason = " ".join(str(why).split())[:200] or type(why).__name__
    return UserError(f"{path} is damaged or of another kind ({reason}; {path.stat().st_size} bytes). {HINT}")


def read_folder(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a folder in transformers' layout (whole or in shards) under ``prefix``, without it."""
    weights: dict[str, Tensor] = {}
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            weights |= read_weights(path, prefix)
        else:
            content = read_pickled(path)
            weights |= {name.removeprefix(prefix): value for name, value in content.items() if name.startswith(prefix)}
    return weights


def fill(network: nn.Module, weights: dict[str, Tensor], device: torch.device, dtype: torch.dtype, path: Path) -> None:
    """Puts ``weights`` (emptied on the way) into a network on the meta device. Raises UserError where they differ.

    One tensor at a time, so that no second copy of the model is ever in memory.
    """
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        value = weights.get(name)
        got = tuple(value.shape) if isinstance(value, Tensor) else "nothing" if value is None else "no tensor"
        expected = tuple(wanted[name].shape) if name in wanted else "nothing"
        if got != expected:
            raise UserError(
                f"{path}: tensor {name} is {got}, its configuration asks for {expected}. "
                f"The two are not of one model. {HINT}"
            )
    # Half-precision files are widened here: ``dtype`` alone decides what is computed in.
    filled = {name: weights.pop(name).to(device, dtype) for name in list(weights)}
    network.load_state_dict(filled, assign=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' loading reports, warnings and bars."""
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.CRITICAL)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()


def load_transformers(
    kind: Any,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    fields: dict[str, Any] | None = None,
    weights: dict[str, Tensor] | None = None,
) -> Any:
    """A transformers model of class ``kind`` from a local folder. Raises UserError if it is incomplete.

    fields (of its configuration), weights: of a model that comes out of another file, ``folder`` then only names it.
    transformers itself fills missing tensors with random numbers and only logs it.
    """
    try:
        with quiet():
            given = {} if fields is None else {"config": kind.config_class(**fields), "state_dict": weights}
            model, report = kind.from_pretrained(
                None if given else folder, local_files_only=True, output_loading_info=True, dtype=dtype, **given
            )
    except FAULTS as error:
        reason = " ".join(str(error).split())[:300]
        told = UserError(f"{folder} cannot be read as {kind.__name__}: {reason.rstrip('.')}. {HINT}")
        raise _refused(folder, error) or told from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise UserError(f"{folder}: {len(missing)} tensors of {kind.__name__} are missing, e.g. {missing[0]}. {HINT}")
    return model.to(device).eval().requires_grad_(False)
