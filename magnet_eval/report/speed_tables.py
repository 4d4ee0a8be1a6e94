"""Tables of the speed section: rates and resources by batch size, what streams and serves, shares of the limit."""

from dataclasses import replace

import pandas as pd

from magnet_eval import speed
from magnet_eval.records import Score
from magnet_eval.report.data import Data
from magnet_eval.report.numbers import batch_text, interval_text, number, value_text
from magnet_eval.report.speed_figures import stage_key
from magnet_eval.report.tables import Cell, Column, Table, pivot, table

RATES = (
    speed.LATENCY, speed.THROUGHPUT, speed.AUDIO_THROUGHPUT, speed.RTF, speed.SPEEDUP, speed.ROOFLINE_SHARE,
)  # fmt: skip
ELSEWHERE = (speed.SPEEDUP_VS, speed.CROSSOVER_BATCH, speed.FIRST_AUDIO, speed.SERVER_RATE)  # shown in another way


def timed(data: Data, batch: int | None) -> list[Table]:
    """Systems by speed metrics at one batch size, whole calls only: how fast, and with what work, memory and energy.

    ``batch`` None is what does not depend on it.
    """
    rows = [
        row for row in data.speed
        if row.params.get("batch") == batch and row.params.get("stage", speed.TOTAL) == speed.TOTAL
        and row.metric not in ELSEWHERE
    ]  # fmt: skip
    return [
        shown
        for group in (True, False)
        if (shown := of_rows(data, [row for row in rows if (row.metric in RATES) == group])).rows
    ]


def notes(data: Data) -> list[str]:
    """What the calls were too few or too uneven for, and where two clocks disagree."""
    whole = [row for row in data.timed(speed.LATENCY, quantile=0.5, stage=speed.TOTAL) + data.timed(speed.FIRST_AUDIO)]
    lines = []
    if small := [row for row in whole if row.params.get("n_too_small_for")]:
        quantiles = list(dict.fromkeys(name for row in small for name in row.params["n_too_small_for"]))
        counts = sorted({row.n for row in small})
        n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(f"n too small for {', '.join(quantiles)} with confidence 0.99: {n} calls (p90 takes 64, p99 662).")
    if uneven := [row for row in whole if row.params.get("settled") is False]:
        lines.append(
            f"{len(uneven)} of {len(whole)} series began before three warm-up calls agreed within 2 %: {named(uneven)}."
        )
    if apart := [row for row in data.timed(speed.LATENCY, quantile=0.5) if row.params.get("clocks_differ")]:
        lines.append(f"The host's and the device's clock differ by more than 2 %: {named(apart)}.")
    return lines


def named(rows: list[Score]) -> str:
    """Systems of rows with their batch sizes."""
    found: dict[str, dict[int, None]] = {}
    for row in rows:
        found.setdefault(row.system, {})[row.params["batch"]] = None
    return "; ".join(f"{label} (batch {', '.join(map(str, batches))})" for label, batches in found.items())


def of_rows(data: Data, rows: list[Score]) -> Table:
    """Systems by the metrics of ``rows``, all made in the same calls."""
    if not rows:
        return Table([])
    column = pd.Series([(row.metric, row.label) for row in rows], dtype=object)
    labels = [label for label in data.systems if any(row.system == label for row in rows)]
    shown = table(data, pivot(rows, labels, column))
    # The other columns come from the same calls as the first: their n, intervals and marks say nothing new.
    columns = [shown.columns[0], *(replace(column, n="", has_intervals=False) for column in shown.columns[1:])]
    cells = [(label, [row[0], *(replace(cell, mark="") for cell in row[1:])]) for label, row in shown.rows]
    return Table(columns, cells)


def serving(data: Data) -> Table:
    """The highest rate of random arrivals that each system serves in time; empty where none was tried."""
    rows = data.timed(speed.SERVER_RATE)
    if not rows:
        return Table([])
    shown = of_rows(data, rows)
    extra = [Column("p90 at that rate", "s"), Column("Bound", "s")]
    by_system = {row.system: row for row in rows}
    cells = [
        (label, [*row, *(Cell(number(by_system[label].params[name], 2)) for name in ("p90", "bound"))])
        for label, row in shown.rows
    ]
    return Table([*shown.columns, *extra], cells)


def paired(data: Data) -> Table:
    """Pairs of decoders by batch size: how many times the second's clips per second the first makes; the crossover."""
    rows = {(row.system, row.params["versus"], row.params["batch"]): row for row in data.timed(speed.SPEEDUP_VS)}
    crossings = {(row.system, row.params["versus"]): row for row in data.timed(speed.CROSSOVER_BATCH)}
    batches = sorted({batch for *_, batch in rows})
    pairs = list(dict.fromkeys(key[:2] for key in rows))

    def cell(row: Score | None) -> Cell:
        return Cell(value_text(row), interval_text(row)) if row else Cell()

    columns = [Column(f"Batch {batch}", "×", has_intervals=True) for batch in batches]
    shown = [
        (
            f"{a} over {b}",
            [
                *(cell(rows.get((a, b, batch))) for batch in batches),
                Cell(batch_text(crossings[a, b])) if (a, b) in crossings else Cell(),
            ],
        )
        for a, b in pairs
    ]
    return Table([*columns, Column("Crossover", "clips")] if shown else [], shown)


def shares(data: Data, batch: int) -> Table:
    """Stages by systems: the share of what the device allows, in per cent, and what bounds it."""
    rows = data.timed(speed.ROOFLINE_SHARE, batch=batch)
    if not rows:
        return Table([])
    labels = [label for label in data.systems if any(row.system == label for row in rows)]
    by_place = {(row.params["stage"], row.system): row for row in rows}
    stages = sorted({row.params["stage"] for row in rows} - {speed.TOTAL}, key=stage_key)

    def cell(stage: str, label: str) -> Cell:
        row = by_place.get((stage, label))
        if row is None:
            return Cell()
        return Cell(number(100 * row.value, 0 if row.value >= 0.095 else 1), note=row.params["bound"])

    columns = [Column(label, "%", has_intervals=True) for label in labels]
    shown = [(stage, [cell(stage, label) for label in labels]) for stage in stages]
    return Table(columns, [*shown, ("whole call", [cell(speed.TOTAL, label) for label in labels])])
