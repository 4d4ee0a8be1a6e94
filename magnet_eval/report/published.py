"""Measured numbers beside published ones made alike: protocol and model as they ship, preset with its own weights.

The published ones are in results/published/, each with its source; what is not there is not shown as published.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from magnet_eval import config, zoo
from magnet_eval.records import Score
from magnet_eval.report.data import Data, name_of, shown_label
from magnet_eval.report.numbers import interval_text, number, value_text
from magnet_eval.report.tables import Cell, Column, Table
from magnet_eval.typed import typed


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
    found = list(tables(name))
    return [row for table in found for row in _rows(data, table)] if found and not is_changed(data) else []


def is_changed(data: Data) -> bool:
    """Whether the run was of other prompts, lengths or real clips than its protocol as it ships.

    Where the files lie is each machine's own. A run that does not say what it was of counts as changed.
    """
    made = data.manifest["protocol"]
    ships = shipped(config.Protocol, "protocols", made["name"])

    def asked(protocol: Mapping[str, Any], block: str) -> dict[str, Any]:
        return {key: value for key, value in protocol.get(block, {}).items() if key not in ("path", "audio")}

    return made.get("version") != ships["version"] or any(
        asked(made, block) != asked(ships, block) for block in ("prompts", "reference")
    )


def table(rows: list[Beside]) -> Table:
    """The rows for formats without a table of their own."""
    names = ("metric", "measured", "published", "difference", "n", "source")
    columns = [Column(name.capitalize() if name != "n" else "Clips") for name in names]
    cells = [
        [Cell(str(getattr(row, name)), row.interval if name == "measured" else "") for name in names] for row in rows
    ]
    return Table(columns, [(row.system, shown) for row, shown in zip(rows, cells, strict=True)])


def shipped(kind: type[Any], folder: str, name: str) -> dict[str, Any]:
    """A protocol or model as it comes with the package, whatever a user's own of that name says."""
    path = zoo.root() / folder / f"{name}.yaml"
    return asdict(typed(kind, {**yaml.safe_load(path.read_text(encoding="utf-8")), "name": name}))


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
        name = name_of(row.metric)
        published = table["scores"].get(model.get("name"), {}).get(name)
        if published is None or row.preset != table["presets"][name] or _is_other(data, row):
            continue
        yield _row(row, published, table)


def _is_other(data: Data, row: Score) -> bool:
    """Whether the model is not the one that ships, with its settings, or the metric's network not the preset's."""
    protocol, model = data.manifest["protocol"], data.manifest.get("systems", {}).get(row.system, {})
    given = protocol.get("metrics", {}).get(name_of(row.metric), {}).get("weights")
    standing = row.params.get("weights")  # of the network's file, by its hash
    if standing == "other" or (given and standing != "published"):
        return True
    if any(system.get("label") == row.system and system.get("set") for system in protocol.get("systems", [])):
        return True
    ships = shipped(config.Model, "models", model["name"])
    return any(model.get(name) != ships[name] for name in ("family", "checkpoint", "preset", "decoding", "padding"))


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
