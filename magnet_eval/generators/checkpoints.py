"""Reading weights from local folders: every fault is one line that says what to do.

In here: our own layout, config.json (fields of LMConfig) + model.safetensors, and transformers' folders. audiocraft's
state_dict.bin and hub ids belong in ``load_language_model`` too, beside the local folder; the parameter names agree.
"""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from magnet_eval.generators.transformer import LanguageModel, LMConfig, config_from_dict
from magnet_eval.lookup import UserError

WEIGHTS = "model.safetensors"
HINT = "Copy the complete folder again, or train it with: magnet-eval train"


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


def check_folder(folder: Path, *files: str) -> None:
    """Raises UserError unless ``folder`` exists and holds ``files``."""
    if not folder.is_dir():
        raise UserError(f"no checkpoint folder {folder}. Check the path in the model's YAML. {HINT}")
    for name in files:
        if not (folder / name).is_file():
            found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            raise UserError(f"{folder} has no {name}, it holds {found}. {HINT}")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file. Raises UserError if it is missing, truncated or no safetensors at all."""
    check_folder(path.parent, path.name)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}; {path.stat().st_size} bytes). {HINT}") from error


def read_config(folder: Path) -> LMConfig:
    """The network's shape from config.json. Raises UserError if that is no JSON or lacks a field."""
    check_folder(folder, "config.json")
    path = folder / "config.json"
    try:
        return config_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not describe a language model: {error}. {HINT}") from error


def load_language_model(folder: Path, device: torch.device, dtype: torch.dtype) -> LanguageModel:
    """The language model of a local folder, ready to generate. Raises UserError on missing or wrong weights."""
    config = read_config(folder)
    weights = read_weights(folder / WEIGHTS)
    with torch.device("meta"):
        lm = LanguageModel(config)
    wanted = lm.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        got = tuple(weights[name].shape) if name in weights else "nothing"
        expected = tuple(wanted[name].shape) if name in wanted else "nothing"
        if got != expected:
            raise UserError(
                f"{folder / WEIGHTS}: tensor {name} is {got}, config.json asks for {expected}. "
                f"The two files are not of one model. {HINT}"
            )
    # Half-precision files are widened here: ``dtype`` alone decides what is computed in.
    lm.load_state_dict({name: value.to(device, dtype) for name, value in weights.items()}, assign=True)
    return lm.eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' loading reports and bars, which ``load_transformers`` turns into one error."""
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


def load_transformers(kind: Any, folder: Path, device: torch.device) -> Any:
    """A transformers model of class ``kind`` from a local folder, in float32. Raises UserError if it is incomplete.

    transformers itself fills missing tensors with random numbers and only logs it.
    """
    check_folder(folder, "config.json")
    try:
        with _quiet():
            model, report = kind.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder} cannot be read as {kind.__name__}: {reason}. {HINT}") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise UserError(f"{folder}: {len(missing)} tensors of {kind.__name__} are missing, e.g. {missing[0]}. {HINT}")
    return model.to(device).eval().requires_grad_(False)
