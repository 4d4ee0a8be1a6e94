"""Figures of the speed section: latency by stage, throughput and its crossover, speed-up, first audio, roofline."""

import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from magnet_eval import speed
from magnet_eval.records import Score
from magnet_eval.report.data import Data
from magnet_eval.report.figures import (
    GROUND,
    INK,
    LINE,
    MUTED,
    STYLE,
    WIDTH,
    Figure,
    bars,
    canvas,
    counts,
    direction,
    is_wide,
    logarithmic,
    name_points,
    point,
    reach,
    round_ticks,
    short,
    to_svg,
)  # fmt: skip
from magnet_eval.report.numbers import batch_text, seconds_text

# Stages share their system's colour; these are its strengths. Neighbours differ, the token loop is the most solid.
ALPHA = {"text": 0.25, "prefill": 0.5, "decode": 0.85, "tokens": 0.9, "rescorer": 0.4, "codec": 0.25, "write": 0.5}
CODEBOOK_ALPHA = (1.0, 0.7, 0.9, 0.6)
ORDER = ("text", "prefill", "decode", "tokens", "codebook", "rescorer")  # what a call does first


def stage_key(name: str) -> tuple[int, int]:
    """Sorts stages in the order in which a call goes through them."""
    kind, number = re.fullmatch(r"(.*?)\s*(\d*)", name).groups()  # type: ignore[union-attr]
    last = {"codec": 1, "write": 2}.get(kind, 0)
    return (ORDER.index(kind) if kind in ORDER else len(ORDER) + last, int(number or 0))


def alpha(name: str) -> float:
    """How solid a stage is drawn."""
    if name.startswith("codebook "):
        return CODEBOOK_ALPHA[(int(name.split()[-1]) - 1) % len(CODEBOOK_ALPHA)]
    return ALPHA.get(name, 0.6)


def stages(data: Data, batch: int) -> Figure | None:
    """Median latency by stage, stacked, with the whole call's interval; None where nothing was timed."""
    by_system = {label: row for label in data.systems if (row := data.latency(label, batch)) is not None}
    if not by_system:
        return None
    parts = [row for row in data.timed(speed.LATENCY, batch=batch, quantile=0.5) if row.params["stage"] != speed.TOTAL]
    parts.sort(key=lambda row: stage_key(row.params["stage"]))
    names = list(dict.fromkeys(row.params["stage"] for row in parts))
    longest = max(row.high or row.value for row in by_system.values())
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.95 + 0.16 * ((len(names) - 1) // 4) + 0.32 * len(by_system))
        for y, (label, total) in enumerate(by_system.items()):
            left = 0.0
            for row in (row for row in parts if row.system == label):
                look = {"color": data.systems[label].colour, "alpha": alpha(row.params["stage"]), "linewidth": 0}
                axes.barh(y, row.value, 0.62, left, **look)
                left += row.value
                axes.plot([left, left], [y - 0.31, y + 0.31], color=GROUND, linewidth=0.8, solid_capstyle="butt")
            axes.errorbar(total.value, y, xerr=reach(total), fmt="|", color=INK, elinewidth=1.2, markersize=11)
            end = max(left, total.high or total.value)  # medians of stages may add up to more than that of the call
            axes.annotate(seconds_text(total.value), (end, y), (7, -3), textcoords="offset points")
        for name in names:
            axes.barh(0, 0, color=MUTED, alpha=alpha(name), label=name)
        if names:
            look = {"frameon": False, "handlelength": 1, "labelcolor": MUTED, "columnspacing": 1.2}
            figure.legend(loc="outside lower left", ncols=4, **look)
        axes.set(
            yticks=range(len(by_system)),
            yticklabels=[short(label) for label in by_system],
            ylim=(len(by_system) - 0.4, -0.6),
        )
        axes.set(xlim=(0, longest * 1.25), xlabel="latency (s)")
        axes.grid(axis="x")
        svg = to_svg(figure, f"stages-{batch}")
    rows = list(by_system.values())
    caption = f"{direction('lower')} · median of {counts(rows)} calls · line: whole call{bars(rows)}"
    return Figure(svg, f"Latency by stage, batch {batch}", caption, round(WIDTH * 96))


def batch_axis(axes: Any, batches: Sequence[int]) -> None:
    """Makes the x axis one of batch sizes, with room for names on the right."""
    low, high = batches[0], batches[-1]
    axes.set_xscale("log", base=2)
    axes.set_xlim(low * 0.8, high * (high / low) ** 0.75)
    axes.set(xticks=batches, xticklabels=batches, xlabel="batch size")
    axes.xaxis.set_minor_formatter(lambda value, _: "")


def throughput(data: Data) -> Figure | None:
    """Clips per second over the batch size, with the crossovers; None unless two sizes were timed."""
    rows = data.timed(speed.THROUGHPUT)
    if len(data.batches) < 2 or not rows:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.0)
        batch_axis(axes, data.batches)
        is_log = is_wide([row.value for row in rows], 5)
        if is_log:
            logarithmic(axes, "y")
        curves, ends = {}, []
        for label, system in data.systems.items():
            own = sorted((row for row in rows if row.system == label), key=lambda row: row.params["batch"])
            if own:
                sizes, values = [row.params["batch"] for row in own], [row.value for row in own]
                axes.plot(sizes, values, color=system.colour, linewidth=1.6)
                for row, size in zip(own, sizes, strict=True):
                    point(axes, data, row, size, row.value, yerr=reach(row))
                curves[label] = np.log(sizes), np.log(values)
                ends.append((sizes[-1], values[-1], label))
        crossings = [row for row in data.timed(speed.CROSSOVER_BATCH) if row.params["versus"] in curves]
        for row in crossings:
            at = float(np.exp(np.interp(np.log(row.value), *curves[row.params["versus"]])))
            axes.plot(row.value, at, "o", markersize=13, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1)
        axes.set(ylabel=f"throughput ({rows[0].unit})")
        if is_log:
            round_ticks(axes, "y")
        else:
            axes.set_ylim(bottom=0)
        axes.grid()
        name_points(figure, axes, ends)
        svg = to_svg(figure, "throughput")
    caption = f"{direction('higher')} · median of {counts(rows)} calls{bars(rows)}"
    overtaken = "; ".join(f"{row.params['versus']} overtakes {row.system} at {batch_text(row)}" for row in crossings)
    caption += f" · rings: {overtaken}" if crossings else ""
    return Figure(svg, "Throughput by batch size", caption, round(WIDTH * 96))


def speedup(data: Data) -> Figure | None:
    """How many times the clips per second of an autoregressive decoder, over the batch size; None without two sizes."""
    rows = data.timed(speed.SPEEDUP_VS)
    batches = sorted({row.params["batch"] for row in rows})
    if len(batches) < 2:
        return None
    others = list(dict.fromkeys(row.params["versus"] for row in rows))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.0)
        batch_axis(axes, batches)
        logarithmic(axes, "y")
        ends = []
        for system, other in dict.fromkeys((row.system, row.params["versus"]) for row in rows):
            own = [row for row in rows if (row.system, row.params["versus"]) == (system, other)]
            own.sort(key=lambda row: row.params["batch"])
            sizes, values = [row.params["batch"] for row in own], [row.value for row in own]
            dashes = {"dashes": (3, 2)} if others.index(other) else {}
            axes.plot(sizes, values, color=data.systems[system].colour, linewidth=1.6, **dashes)
            for row, size in zip(own, sizes, strict=True):
                point(axes, data, row, size, row.value, yerr=reach(row))
            ends.append((sizes[-1], values[-1], system if len(others) == 1 else f"{system} : {other}"))
        axes.axhline(1, color=MUTED, linewidth=1)
        low, high = min(row.low or row.value for row in rows), max(row.high or row.value for row in rows)
        axes.set_ylim(min(low, 1) / 1.15, max(high, 1) * 1.15)
        round_ticks(axes, "y")
        axes.set(ylabel="times the clips/s")
        axes.grid()
        name_points(figure, axes, ends)
        svg = to_svg(figure, "speedup")
    over = others[0] if len(others) == 1 else "an autoregressive decoder"
    caption = f"Above 1: more clips per second than {over} at the same batch size · {counts(rows)} calls{bars(rows)}"
    return Figure(svg, f"Speed-up over {over}", caption, round(WIDTH * 96))


def first_audio(data: Data) -> Figure | None:
    """Seconds until something can be heard: the first piece where a system streams, the whole clip where it cannot."""
    first = {row.system: row for row in data.timed(speed.FIRST_AUDIO)}
    whole = {label: row for label in data.systems if (row := data.latency(label, 1)) is not None}
    labels = [label for label in data.systems if label in first or label in whole]
    if not first:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.75 + 0.3 * len(labels))
        for y, label in enumerate(labels):
            row = first.get(label) or whole[label]
            if label in first and label in whole:
                axes.plot([row.value, whole[label].value], [y, y], color=LINE, linewidth=1.2, zorder=1)
                axes.plot(whole[label].value, y, "|", color=MUTED, markersize=11)
            point(axes, data, row, row.value, y, xerr=reach(row))
            axes.annotate(seconds_text(row.value), (row.value, y), (0, 7), textcoords="offset points", ha="center")
        times = [row.value for row in (*first.values(), *whole.values())]
        if is_wide(times):
            logarithmic(axes, "x")
            axes.set_xlim(min(times) / 1.6, max(times) * 1.6)
            round_ticks(axes, "x")
        else:
            axes.set_xlim(0, max(times) * 1.1)
        axes.set(
            yticks=range(len(labels)),
            yticklabels=[short(label) for label in labels],
            ylim=(len(labels) - 0.5, -0.8),
            xlabel="seconds",
        )
        axes.grid(axis="x")
        svg = to_svg(figure, "first-audio")
    piece = next(iter(first.values()))
    silent = [label for label in labels if label not in first]
    caption = f"{direction('lower')} · one clip · median of {counts(list(first.values()))} calls{bars([piece])}"
    caption += " · tick: the whole clip at once" if whole else ""
    caption += f" · cannot stream, so the whole clip counts: {', '.join(silent)}" if silent else ""
    return Figure(svg, "Time to first audio", caption, round(WIDTH * 96))


def roofline(data: Data) -> Figure | None:
    """Speed of the token loop under the two ceilings, each system from the smallest to the largest batch size."""
    paths = {label: path for label in data.systems if (path := token_loop(data, label))}
    limits = {
        (row.params["flops_per_s"], row.params["bytes_per_s"])
        for row in data.timed(speed.ROOFLINE_SHARE) if "flops_per_s" in row.params and is_token_stage(row)
    }  # fmt: skip
    if not paths or len(limits) != 1:  # systems in several number formats have no common ceiling
        return None
    ((flops, rate),) = limits
    inside = [place for path in paths.values() for place in path]
    low, high = min(x for x, _ in inside) / 2, max(max(x for x, _ in inside), flops / rate) * 4
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.0)
        logarithmic(axes, "x")
        logarithmic(axes, "y")
        roof = [low, flops / rate, high]
        axes.plot(roof, [min(flops, rate * x) for x in roof], color=INK, linewidth=1.2)
        ends = []
        for label, path in paths.items():
            system = data.systems[label]
            look = {"color": system.colour, "marker": system.marker, "markeredgewidth": 0}
            axes.plot(*zip(*path, strict=True), linewidth=1.2, markersize=4.5, **look)
            axes.plot(*path[0], markersize=8, **look)
            ends.append((*path[-1], label))
        axes.set_xlim(low, high * 8)
        axes.set_ylim(min(y for _, y in inside) / 2, flops * 2)
        axes.set(xlabel="operations per byte moved", ylabel="operations per second")
        axes.yaxis.set_major_formatter(lambda value, _: flops_text(value))
        axes.grid()
        name_points(figure, axes, ends)
        svg = to_svg(figure, "roofline")
    sizes = f"large marker: batch {data.batches[0]}, then up to {data.batches[-1]}" if len(data.batches) > 1 else ""
    caption = (
        f"Nearer to the line is better · line: what this device reached in the same run, {flops_text(flops)}FLOP/s "
        f"(matrix product) and {rate / 1e9:.3g} GB/s (copy){' · ' if sizes else ''}{sizes}"
    )
    return Figure(svg, "The token loop and the limits of the device", caption, round(WIDTH * 96))


def is_token_stage(row: Score) -> bool:
    """Whether a row is of a stage of the language model."""
    return row.params["stage"] not in ("text", "codec", "write", speed.TOTAL)


def token_loop(data: Data, system: str) -> list[tuple[float, float]]:
    """(operations per byte, operations per second) of all token stages together, smallest batch first."""
    path = []
    for batch in data.batches:
        rows = [row for row in data.timed(speed.ROOFLINE_SHARE, batch=batch) if row.system == system]
        params = [
            {**row.params, "spent": row.params["limit_seconds"] / row.value} for row in rows if is_token_stage(row)
        ]
        if params:
            flops, moved, spent = (sum(one[name] for one in params) for name in ("flops", "bytes", "spent"))
            path.append((flops / moved, flops / spent))
    return path


def flops_text(value: float) -> str:
    """Operations per second with its prefix: 2.5 T."""
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "
