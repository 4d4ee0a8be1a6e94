"""The verb ``list``: what there is to choose from, as a table or as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magnet_eval import config, mirror, places
from magnet_eval.lookup import UserError
from magnet_eval.options import ListOptions
from magnet_eval.table import table

SHOWN = ("manifest.json", "prompts.jsonl", "scores.jsonl")  # the files of a run that its line in the list is made of


def listing(chosen: ListOptions) -> str:
    """A table of models, protocols, metrics or runs; with ``json`` a list of objects."""
    rows = LISTS[chosen.what](chosen)
    if chosen.json:
        return json.dumps(rows, indent=1, ensure_ascii=False)
    if not rows:
        return f"no {chosen.what}"
    return table(list(rows[0]), [[str(value) for value in row.values()] for row in rows])


def models(chosen: ListOptions) -> list[dict[str, Any]]:
    """Every model of the zoo; a file with a mistake in it says so in place of its description."""
    from magnet_eval.generators.parts import parts

    rows = []
    for name in config.list_models():
        try:
            model = config.load_model(name)
            missing = [part.role for part in parts(model) if part.problem]
        except UserError as error:
            empty = dict.fromkeys(("task", "size", "rate", "length", "licence", "here"), "")
            rows.append({"model": name, **empty, "description": f"broken: {error}"})
            continue
        rows.append(
            {
                "model": name,
                "task": model.task,
                "size": f"{model.parameters / 1e6:,.0f} M" if model.parameters else "",
                "rate": f"{model.sample_rate / 1000:g} kHz" if model.sample_rate else "",
                "length": f"{model.seconds:g} s" if model.seconds else "",
                "licence": model.licence,
                "here": f"no {' '.join(missing)}" if missing else "yes",
                "description": model.description,
            }
        )
    return rows


def protocols(chosen: ListOptions) -> list[dict[str, Any]]:
    """Every protocol."""
    rows = []
    for name in config.list_protocols():
        try:
            protocol = config.load_protocol(name)
        except UserError as error:
            rows.append({"protocol": name, "version": "", "systems": "", "title": f"broken: {error}"})
            continue
        facts: dict[str, Any] = {"version": protocol.version, "systems": len(protocol.systems), "title": protocol.title}
        rows.append({"protocol": name, **facts})
    return rows


def metrics(chosen: ListOptions) -> list[dict[str, Any]]:
    """Every metric with its presets, the first of which is taken where none is named."""
    from magnet_eval.metrics import METRICS, PRESETS

    return [
        {
            "metric": name,
            "label": metric.label,
            "better": metric.better,
            "embedder": metric.embedder,
            "presets": ", ".join(preset for other, preset in PRESETS if other == name),
            "paper": metric.paper,
        }
        for name, metric in METRICS.items()
    ]


def runs(chosen: ListOptions) -> list[dict[str, Any]]:
    """Every run folder below the results folder, those of sweeps included; of a store only what is shown is fetched."""
    from magnet_eval.report.runs import runs as found

    if places.is_url(chosen.results):
        copy = mirror.here(chosen.results, lambda name: name.rpartition("/")[2] in SHOWN)
        url = chosen.results.rstrip("/")
        return [{**row, "run": f"{url}/{Path(row['run']).relative_to(copy).as_posix()}"} for row in found(Path(copy))]
    if not Path(chosen.results).is_dir():
        raise UserError(
            f"there is no folder {chosen.results}; name another with results=FOLDER, or make a run first: "
            "magnet-eval run protocol=quickstart."
        )
    return found(Path(chosen.results))


LISTS: dict[str, Callable[[ListOptions], list[dict[str, Any]]]] = {
    "models": models,
    "protocols": protocols,
    "metrics": metrics,
    "runs": runs,
}
