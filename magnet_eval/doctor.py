"""The verb ``doctor``: what is installed, what it runs on, and whether every model's files are there."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from magnet_eval import config
from magnet_eval.environment import environment
from magnet_eval.generators.layouts import content_of
from magnet_eval.generators.parts import parts as parts_of
from magnet_eval.lookup import UserError
from magnet_eval.options import DoctorOptions
from magnet_eval.table import table


def doctor(chosen: DoctorOptions) -> str:
    """Tables, or with ``json`` one object. Missing files are a finding, not an error."""
    found = {**environment(), "torch": torch_facts(), "models": [model_facts(name) for name in config.list_models()]}
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
    shown = [table(["what", "found"], lines), *part_tables(found["models"])]
    return "\n\n".join(
        [*shown, *(f"{model['model']}: {model['error']}" for model in found["models"] if model["error"])]
    )


def part_tables(models: list[dict[str, Any]]) -> Iterator[str]:
    """The parts that are here, with the hash of each one's largest file, and what to do about those that are not."""
    here, missing = [], defaultdict(list)
    for model in models:
        for part in model["parts"]:
            if part["problem"]:
                missing[part["get"], part["problem"]].append(f"{model['model']} ({part['part']})")
            else:
                largest = max(part["files"], key=lambda file: file["bytes"])
                here.append([model["model"], part["part"], largest["sha256"][:12], part["place"]])
    yield table(["model", "part", "sha256", "where"], here)
    if missing:
        yield table(
            ["missing", "what to do", "for"], [[what, do, ", ".join(who)] for (do, what), who in missing.items()]
        )


def torch_facts() -> str:
    """What torch can use; or why it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"cannot be imported: {error}"
    if torch.cuda.is_available():
        return f"CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}"
    return f"CPU, {torch.get_num_threads()} threads"


def model_facts(name: str) -> dict[str, Any]:
    """A model's parts (checkpoint, text, ...): each file with its hash, or what is missing and how to get it."""
    try:
        model = config.load_model(name)
        parts = parts_of(model)
    except UserError as error:
        return {"model": name, "error": str(error), "parts": []}
    return {
        "model": name,
        "error": "",
        "parts": [
            {
                "part": part.role,
                "wanted": part.wanted,
                "place": str(part.place),
                "files": [
                    {"file": path.name, "bytes": path.stat().st_size, "sha256": content_of(path)} for path in part.files
                ],
                "problem": part.problem,
                "get": part.get if part.problem else "",
            }
            for part in parts
        ],
    }
