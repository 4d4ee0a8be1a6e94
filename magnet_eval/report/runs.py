"""Which runs there are: what ``list runs`` shows, and index.html in the results folder, which links their reports."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from magnet_eval.lookup import UserError
from magnet_eval.records import is_people
from magnet_eval.speed import METRICS
from magnet_eval.store import RunFolder, write_page

INDEX = "index.html"


def runs(results: Path) -> list[dict[str, Any]]:
    """Every run folder below ``results``, those of sweeps included: when, what, how much, on what."""
    return [facts(RunFolder(path.parent)) for path in sorted(results.rglob("manifest.json"))]


def facts(folder: RunFolder) -> dict[str, Any]:
    """One run in a line; a manifest that cannot be read says so in place of its protocol."""
    empty = dict.fromkeys(("date", "protocol", "systems", "prompts", "scores", "hardware"), "")
    try:
        manifest = folder.manifest()
    except UserError as error:
        return {"run": str(folder.path), **empty, "protocol": str(error)}
    protocol, history = manifest.get("protocol") or {}, manifest.get("history") or [{}]
    hardware = manifest.get("environment", {}).get("hardware", {})
    scores = [row for row in folder.scores() if not row.versus and not is_people(row) and row.metric not in METRICS]
    return {
        "run": str(folder.path),
        "date": str(history[-1].get("at", ""))[:16].replace("T", " "),
        "protocol": f"{protocol.get('name', '')} v{protocol.get('version', '')}" if protocol else "",
        "systems": len(manifest.get("systems") or {row.system for row in scores}),
        "prompts": manifest.get("n_prompts", len(folder.prompts())),
        "scores": len(scores),
        "hardware": ", ".join([*hardware.get("gpus", []), str(hardware.get("cpu", ""))]).strip(", "),
    }


def write_index(results: Path, reports: Path) -> Path:
    """Writes the page of all runs below ``results``, each with a link to its report in ``reports`` if it has one."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    rows = []
    for row in runs(results):
        name = Path(row["run"]).relative_to(results)
        report = (reports / name).with_name(f"{name.name}.html")
        link = quote(os.path.relpath(report, results)) if report.is_file() else ""
        rows.append({**row, "name": name.as_posix(), "link": link})
    templates = Path(__file__).parent / "templates"
    environment = Environment(loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined)
    style = (templates / "style.css").read_text(encoding="utf-8")
    write_page(results / INDEX, environment.get_template("index.html.j2").render(rows=rows, style=style))
    return results / INDEX
