"""Attribute accuracy: whether what a caption names (style, lead, tempo, key, mode, dynamics) is heard in the clip.

An embedding holds a block of columns for each attribute: of a clip how likely each value is, of a prompt's tags a 1 at
the value named, or zeros where none is.
"""

from collections.abc import Iterable
from functools import partial

import numpy as np

from magnet_eval.metrics.record import Metric

ATTRIBUTES: dict[str, tuple[str, ...]] = {  # those of the composer of the tiny zoo, as they stand in a prompt's tags
    "style": ("rock", "techno", "waltz", "ambient", "ballad", "march"),
    "lead": ("piano", "guitar", "strings", "flute", "trumpet", "synthesizer"),
    "bpm": ("150", "125", "94", "75"),
    "key": ("C", "D", "F", "A"),
    "mode": ("major", "minor"),
    "dynamics": ("soft", "loud"),
}
SIZES = {name: len(values) for name, values in ATTRIBUTES.items()}


def columns(name: str) -> slice:
    """Where an attribute stands in an embedding."""
    start = sum(SIZES[other] for other in list(SIZES)[: list(SIZES).index(name)])
    return slice(start, start + SIZES[name])


def chance(attributes: Iterable[str]) -> float:
    """What guessing gets of these attributes: the mean of one in the number of values of each."""
    return float(np.mean([1 / SIZES[name] for name in attributes]))


def attribute_accuracy(heard: np.ndarray, named: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Share of the attributes named whose likeliest value is the one named: [n, d] twice -> [n] in 0..1.

    ``sizes`` are the columns of each attribute, d in all. Raises ValueError where a row names none.
    """
    edges = np.cumsum(sizes)[:-1]
    blocks = list(zip(np.split(heard, edges, axis=1), np.split(named, edges, axis=1), strict=True))
    is_named = np.stack([wanted.any(axis=1) for _, wanted in blocks], axis=1)
    is_right = np.stack([found.argmax(axis=1) == wanted.argmax(axis=1) for found, wanted in blocks], axis=1)
    if not is_named.any(axis=1).all():
        raise ValueError("a prompt names no attribute; there is nothing to hear")
    return (is_named & is_right).sum(axis=1) / is_named.sum(axis=1)


def record(name: str, label: str, what: str, attributes: tuple[str, ...]) -> Metric:
    """The metric of these attributes, which lie side by side."""
    return Metric(
        name=name,
        label=label,
        fn=partial(attribute_accuracy, sizes=tuple(SIZES[attribute] for attribute in attributes)),
        embedder="attributes_tiny",
        columns=slice(columns(attributes[0]).start, columns(attributes[-1]).stop),
        needs="tags",
        tags=attributes,
        better="higher",
        preset="attributes-tiny-v1",
        paper="accuracy of attributes, by a small network of this project (models/tiny/attributes)",
        description=f"Share of clips in which {what} is the one that the caption names."
        if len(attributes) == 1
        else f"Share of {what} that the caption names and the clip is heard to have.",
        best=1.0,
        tiny=True,
    )


TAGGED = (
    record("attributes_tiny", "Attribute accuracy", "style, lead, tempo, key, mode and dynamics", tuple(ATTRIBUTES)),
    record("style_tiny", "Style accuracy", "the style", ("style",)),
    record("lead_tiny", "Lead accuracy", "the lead instrument", ("lead",)),
    record("tempo_tiny", "Tempo accuracy", "the tempo", ("bpm",)),
    record("key_tiny", "Key accuracy", "the keynote", ("key",)),
    record("mode_tiny", "Mode accuracy", "the mode", ("mode",)),
    record("dynamics_tiny", "Dynamics accuracy", "the dynamics", ("dynamics",)),
)
