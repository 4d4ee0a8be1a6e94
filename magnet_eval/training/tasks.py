"""What the recipe can be cooked with: the tiny zoo's music, or sound effects."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from magnet_eval.training import captions, composer, render, sound_captions, sounds


@dataclass(frozen=True)
class Task:
    """A composer with its captions, and the sizes of the networks that learn from it."""

    folder: str  # below the work folder and the zoo
    piece: Callable[..., Any]  # of the attributes' names and values
    everything: Callable[[], Iterator[Any]]
    render: Callable[[Sequence[Any]], np.ndarray]  # float32 [n, 80,000]
    plain: Callable[[Any], str]
    paraphrase: Callable[[Any, np.random.Generator], tuple[str, dict[str, bool]]]
    attributes: Mapping[str, Collection[Any]]  # what the text encoder learns to read, with its values
    text_steps: int
    code_clips: int  # that the codebooks are fitted to
    filters: int  # of the codec's last layer
    width: int  # of the language models
    batch: int  # clips of each of their steps
    n_valid: int
    n_test: int


MUSIC = Task(
    folder="",
    piece=composer.Piece,
    everything=composer.all_pieces,
    render=render.render,
    plain=captions.plain,
    paraphrase=captions.paraphrase,
    attributes={
        "style": composer.STYLES,
        "lead": composer.LEADS,
        "bpm": composer.TEMPI,
        "mode": composer.SCALES,
        "key": composer.KEYS,
        "dynamics": composer.DYNAMICS,
    },
    text_steps=2500,
    code_clips=2400,
    filters=24,
    width=256,
    batch=64,
    n_valid=300,
    n_test=200,
)
SOUNDS = Task(
    folder="audio",
    piece=sounds.Sound,
    everything=sounds.all_sounds,
    render=sounds.render,
    plain=sound_captions.plain,
    paraphrase=sound_captions.paraphrase,
    attributes={
        "kind": sounds.KINDS,
        "pitch": sounds.PITCHES,
        "length": sounds.LENGTHS,
        "then_kind": (sounds.NONE, *sounds.KINDS),
        "then_pitch": sounds.PITCHES,
        "then_length": sounds.LENGTHS,
        "loudness": sounds.LOUDNESS,
    },
    text_steps=700,
    code_clips=400,
    filters=16,
    width=128,
    batch=16,
    n_valid=150,
    n_test=60,
)
