"""How masked decoding fills a clip: which tokens each iteration fixes, from the first of codebook 1 to the last of all.

A token that a later iteration hides and draws again counts where it was drawn for the last time (Ziv et al., 2024, show
the same picture of their spans).
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import PolyCollection

from magnet_eval.report.data import Data
from magnet_eval.report.figures import LINE, MUTED, STYLE, Figure, canvas, to_svg

WIDTH = 4.8  # inches
ROW = 0.052  # inches of an iteration


def orders(data: Data) -> tuple[str, dict[str, np.ndarray]]:
    """Caption of a prompt and the iterations [K, T] of its clips by system: of the prompt that most systems have."""
    best: dict[str, np.ndarray] = {}
    text = ""
    folders = {label: data.folder.path / label / "order" for label, clips in data.clips.items() if clips}
    folders = {label: folder for label, folder in folders.items() if folder.is_dir()}
    for prompt in data.prompts if folders else ():
        if ".." in Path(prompt.id).parts or Path(prompt.id).is_absolute():
            continue  # a run from elsewhere may read no file outside its folder
        files = {label: data.folder.order(label, prompt.id) for label in folders}
        found = {label: order for label, path in files.items() if (order := read(path)) is not None}
        if len(found) > len(best):
            best, text = found, prompt.text
    return text, best


def read(path: Any) -> np.ndarray | None:
    """Iterations [K, T]; None where there is no such file, or another's."""
    try:
        order = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return order if order.ndim == 2 and order.size and order.dtype.kind == "u" else None


def figures(data: Data) -> list[Figure]:
    """One drawing for each system that decodes masked; none where a run has no record of it."""
    text, found = orders(data)
    return [draw(data, label, order, text) for label, order in found.items()]


def draw(data: Data, label: str, order: np.ndarray, text: str) -> Figure:
    """Time to the right, iterations downwards, codebook after codebook; a box is what one iteration fixed."""
    seconds = next((clip.n_samples / clip.sample_rate for clip in data.clips[label]), order.shape[1] / 50)
    frame = seconds / order.shape[1]
    n_steps = [int(row.max()) for row in order]
    first = np.cumsum([0, *n_steps])
    boxes = [
        box(start * frame, end * frame, first[k] + iteration - 1)
        for k, row in enumerate(order)
        for start, end, iteration in runs(row)
        if iteration
    ]
    given = order.shape[1] - np.count_nonzero(order[0])  # frames at the start, which a hybrid made before
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.8 + ROW * first[-1], WIDTH)
        if given:
            axes.axvspan(0, given * frame, color=LINE, linewidth=0)
        axes.add_collection(PolyCollection(boxes, facecolors=data.systems[label].colour, linewidths=0))
        for edge in first[1:-1]:
            axes.axhline(edge, color=LINE, linewidth=0.8)
        axes.set(xlim=(0, order.shape[1] * frame), ylim=(first[-1], 0), xlabel="time in the clip (s)")
        axes.set_yticks((first[:-1] + first[1:]) / 2, [f"codebook {k + 1}" for k in range(len(order))])
        for k, n in enumerate(n_steps):
            axes.annotate(
                f"{n}", (1, (first[k] + first[k + 1]) / 2), (4, 0), ("axes fraction", "data"), "offset points",
                va="center", color=MUTED,
            )  # fmt: skip
        svg = to_svg(figure, f"order-{label}")
    caption = (
        f"“\u2068{text}\u2069”. Downwards: iterations of each codebook, their number to the right. "
        "A box: tokens that stayed."
    )
    if given:
        caption += f" Grey: {given * frame:.2g} s that were there before, made token by token."
    return Figure(svg, f"{label}: what was fixed when", caption, round(WIDTH * 96))


def runs(row: np.ndarray) -> list[tuple[int, int, int]]:
    """Stretches (start, end, value) of equal neighbours."""
    edges = [0, *(np.flatnonzero(np.diff(row.astype(int))) + 1), len(row)]
    return [(int(a), int(b), int(row[a])) for a, b in zip(edges, edges[1:], strict=False)]


def box(start: float, end: float, top: float) -> list[tuple[float, float]]:
    """The corners of a box of one iteration's height."""
    return [(start, top), (end, top), (end, top + 1), (start, top + 1)]
