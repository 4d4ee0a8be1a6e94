"""Measured numbers beside published ones made alike: same protocol, model as it ships, preset with its own weights.

The published ones are in results/published/, each with its source; what is not there is not shown as published.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from magnet_eval import zoo
from magnet_eval.records import Score
from magnet_eval.report.data import Data, shown_label
from magnet_eval.report.numbers import interval_text, number, value_text


@dataclass(frozen=True)
class Beside:
    """One measured score and a published one of the same kind."""

    system: str
    metric: str  # as shown, with its preset
    measured: str
    interval: str
    published: str
    difference: str  # measured minus published
    n: str  # clips here, and there
    source: str


def beside(data: Data) -> list[Beside]:
    """Every measured score that a published one stands beside; none for a protocol of which nothing is published."""
    name = data.manifest.get("protocol", {}).get("name", "")
    return [row for table in tables(name) for row in _rows(data, table)]


def tables(protocol: str) -> Iterator[dict[str, Any]]:
    """The published tables of a protocol: source, presets, n, and scores by model and metric."""
    for path in sorted((zoo.root() / "results" / "published").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if content.get("protocol") == protocol:
            for table in content["tables"]:
                yield {"presets": content["presets"], "n": content["n"], **table}


def _rows(data: Data, table: dict[str, Any]) -> Iterator[Beside]:
    for row in data.quality:
        model = data.manifest.get("systems", {}).get(row.system, {})
        published = table["scores"].get(model.get("name"), {}).get(row.metric)
        if published is None or row.preset != table["presets"][row.metric] or _is_changed(data, row):
            continue
        yield _row(row, published, table)


def _is_changed(data: Data, row: Score) -> bool:
    """Whether the protocol changes the model's own settings for this system, or the weights behind the preset."""
    protocol = data.manifest.get("protocol", {})
    if protocol.get("metrics", {}).get(row.metric, {}).get("weights"):
        return True
    return any(system.get("label") == row.system and system.get("set") for system in protocol.get("systems", []))


def _row(row: Score, published: float, table: dict[str, Any]) -> Beside:
    digits = len(str(published).partition(".")[2])
    there = f"{table['n']:,} published" if table["n"] else "published: not said"
    return Beside(
        system=row.system,
        metric=f"{shown_label(row)} ({row.preset})",
        measured=value_text(row),
        interval=interval_text(row),
        published=str(published),
        difference=number(row.value - published, digits),
        n=f"{row.n:,} here, {there}",
        source=table["source"],
    )
