"""The verb ``doctor``: what is installed, what it runs on, and whether every model's files are there."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from magnet_eval import config
from magnet_eval.embedders.sources import SOURCES, Source
from magnet_eval.environment import environment
from magnet_eval.generators.layouts import content_of
from magnet_eval.generators.parts import parts as parts_of
from magnet_eval.lookup import UserError
from magnet_eval.options import DoctorOptions
from magnet_eval.table import table


def doctor(chosen: DoctorOptions) -> str:
    """Tables, or with ``json`` one object. Missing files are a finding, not an error."""
    found = {
        **environment(),
        "torch": torch_facts(),
        "models": [model_facts(name) for name in config.list_models()],
        "embedders": [embedder_facts(source) for source in SOURCES.values()],
    }
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
    shown = [table(["what", "found"], lines), *part_tables(found["models"]), *embedder_tables(found["embedders"])]
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


def embedder_facts(source: Source) -> dict[str, Any]:
    """One file of published weights: where it is, with its hash, or where it was looked for and how to get it."""
    place = source.find()
    return {
        "weights": source.name,
        "licence": source.licence,
        "place": str(place or ""),
        "sha256": content_of(place) if place and place.is_file() else "",
        "expected": source.sha256,
        "looked": [str(path) for path in source.places()],
        "get": "" if place else source.get,
    }


def embedder_tables(embedders: list[dict[str, Any]]) -> Iterator[str]:
    """The weights of the published metrics: those that are here, and how to get the others."""
    here = [
        [row["weights"], row["sha256"][:12], row["place"],
         "another file than published" if row["expected"] and row["sha256"] != row["expected"] else ""]
        for row in embedders if row["place"]
    ]  # fmt: skip
    missing = [[row["weights"], row["licence"] or "not stated", row["get"]] for row in embedders if not row["place"]]
    if here:
        yield table(["embedder weights", "sha256", "where", ""], here)
    if missing:
        yield table(["embedder weights", "licence", "not here: what to do"], missing)


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
