"""The verb ``doctor``: what is installed, what it runs on, and whether every model's files are there."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from magnet_eval import config
from magnet_eval.environment import environment
from magnet_eval.lookup import UserError
from magnet_eval.options import DoctorOptions
from magnet_eval.store import file_hash
from magnet_eval.table import table


def doctor(chosen: DoctorOptions) -> str:
    """A table, or with ``json`` one object. Missing files are a finding, not an error."""
    found = {**environment(), "torch": torch_facts(), "models": [files_of(name) for name in config.list_models()]}
    if chosen.json:
        return json.dumps(found, indent=1)
    hardware = found["hardware"]
    lines = [
        ["Python", found["python"]],
        *([name, version] for name, version in found["packages"].items()),
        ["CPU", f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']} GB"],
        ["GPU", ", ".join(hardware["gpus"]) or "none"],
        ["torch runs on", found["torch"]],
    ]
    files = [
        [model["model"], *(str(row[name]) for name in ("part", "found", "sha256", "path"))]
        for model in found["models"]
        for row in model["files"]
    ]
    broken = [f"{model['model']}: {model['error']}" for model in found["models"] if model["error"]]
    shown = table(["model", "part", "found", "sha256", "where"], files)
    return "\n".join([table(["what", "found"], lines), "", shown, *broken])


def torch_facts() -> str:
    """What torch can use; or why it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"cannot be imported: {error}"
    if torch.cuda.is_available():
        return f"CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}"
    return f"CPU, {torch.get_num_threads()} threads"


def files_of(name: str) -> dict[str, Any]:
    """A model's parts (checkpoint, text, ...): each file with its hash, or the place where it was looked for."""
    try:
        model = config.load_model(name)
    except UserError as error:
        return {"model": name, "error": str(error), "files": []}
    parts = {part: asdict(model)[part] for part in ("checkpoint", "text", "codec", "prompter", "folder")}
    if model.rescorer:
        parts["rescorer"] = model.rescorer.checkpoint
    return {
        "model": name,
        "error": "",
        "files": [row for part, value in parts.items() if value for row in part_files(part, model.find(value))],
    }


def part_files(part: str, place: Path) -> list[dict[str, Any]]:
    """The weight files of one part, with the first 12 hexadecimal digits of their sha256."""
    weights = sorted(place.glob("*.safetensors")) if place.is_dir() else [place] if place.is_file() else []
    if not weights:
        return [
            {"part": part, "found": "folder only" if place.is_dir() else "missing", "sha256": "", "path": str(place)}
        ]
    return [{"part": part, "found": "yes", "sha256": file_hash(path)[:12], "path": str(path)} for path in weights]
