"""A run folder as a page to read and to listen to: tables, sentences, figures, one HTML file.

Everything shown is a record of the run folder; the report knows no quality metric by name.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from magnet_eval.store import RunFolder


def build(run_folder: RunFolder | Path, out: Path) -> Path:
    """Writes the report of a run folder to ``out`` (see ``report.html``); the path of the page."""
    from magnet_eval.report.html import build as build_html

    return build_html(run_folder, out)


def document(run_folder: RunFolder | Path, report: Path | None = None) -> dict[str, Any]:
    """What a program wants to know at the end of a command: every score, what failed, and where things are."""
    from magnet_eval.report.data import load

    data = load(run_folder)
    protocol = data.manifest.get("protocol", {})
    return {
        "run": str(data.folder.path),
        "report": str(report) if report else None,
        "protocol": protocol.get("name"),
        "version": protocol.get("version"),
        "systems": list(data.systems),
        "n_prompts": len(data.prompts),
        "scores": [asdict(row) for row in (*data.scores, *data.agreements)],
        "failures": data.manifest.get("failures", []),
        "warnings": data.warnings,
    }


def short_table(run_folder: RunFolder | Path) -> str:
    """The main numbers of a run as plain text, for the end of a command (see ``report.tables``)."""
    from magnet_eval.report.data import load
    from magnet_eval.report.tables import plain_text

    return plain_text(load(run_folder, by_clip=False))
