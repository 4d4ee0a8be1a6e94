"""Which layout a folder or file of weights is in, and which files of it count. Nothing here reads a tensor.

Three layouts: our own (config.json with the fields of LMConfig, model.safetensors), audiocraft's and transformers'.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError

WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"
LM_FILE, CODEC_FILE = "state_dict.bin", "compression_state_dict.bin"  # audiocraft's
MUSICGEN = ("musicgen", "musicgen_melody")  # transformers' model types
SUFFIXES = (".bin", ".pt", ".th")
NEEDED = {  # of a hub repository, which may hold several layouts
    "audiocraft": f"{LM_FILE} {CODEC_FILE}",
    "transformers": "--include '*.json' --include model.safetensors --include spiece.model",
}
HINT = "Copy the complete folder again; magnet-eval doctor says what is missing and how to get it."


def check_folder(folder: Path, *files: str) -> None:
    """Raises UserError unless ``folder`` exists and holds ``files``."""
    if not folder.is_dir():
        raise UserError(f"no checkpoint folder {folder}. Check the path in the model's YAML. {HINT}")
    for name in files:
        if not (folder / name).is_file():
            found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            raise UserError(f"{folder} has no {name}, it holds {found[:200]}. {HINT}")


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file. Raises UserError if it is missing or none."""
    check_folder(path.parent, path.name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is no JSON: {error}. {HINT}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold one JSON object, got {type(content).__name__}. {HINT}")
    return content


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder in transformers' layout; safetensors before pickles. Raises UserError if none."""
    for name in (WEIGHTS, PICKLED):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted({str(shard) for shard in read_json(index).get("weight_map", {}).values()})
            stray = next((shard for shard in shards if Path(shard).name != shard), None)
            if stray:
                raise UserError(f"{index} names the file {stray[:80]!r}, which is not in its own folder. {HINT}")
            check_folder(folder, *shards)
            return [folder / shard for shard in shards]
    check_folder(folder, WEIGHTS)
    raise AssertionError("unreachable")


def lm_file(place: Path) -> Path | None:
    """The language model's file, where ``place`` is one or a folder with one; else None."""
    if place.is_file() and place.suffix in SUFFIXES:
        return place
    return place / LM_FILE if (place / LM_FILE).is_file() else None


def codec_file(place: Path) -> Path | None:
    """The codec's file, where ``place`` is one, or a folder (or the language model's file) beside one; else None."""
    if place.is_file() and place.name != LM_FILE:
        return place if place.suffix in SUFFIXES else None
    beside = (place.parent if place.is_file() else place) / CODEC_FILE
    return beside if beside.is_file() else None


def model_type(place: Path) -> str:
    """What a folder's config.json says it is, e.g. musicgen, encodec or t5; "" where it says nothing."""
    return str(read_json(place / "config.json").get("model_type", "")) if (place / "config.json").is_file() else ""


def content_of(path: Path) -> str:
    """Sha256 (hex) of a file's bytes; once per process, as systems share text encoder and codec."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _hash(path: Path, size: int, time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
