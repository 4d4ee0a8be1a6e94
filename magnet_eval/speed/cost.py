"""What a call has to compute and to move, stage by stage: arithmetic on the shapes that ``describe.shapes`` gives.

Counted is the work that the decoding needs, not what an implementation spends: matrix products, convolutions and
attention, 2 floating-point operations per multiply-add. Each of them reads its operands and writes its result once;
everything in between (norms, activations, sampling, embeddings) is taken as fused into them, and scores of attention
never leave the processor. So a dense mask over a local window, keys of a text computed anew in every step, heads and
frames that nobody looks at, or a cache read in full before it is filled are work on top, and lower the share of the
limit that is reached.

Conventions: B clips, T token frames, S text tokens (padded), d model width; "pairs" are (query, key) pairs of one clip
and one head; a "told" row attends to the text, an "untold" one (the unconditional half of guidance) does not.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SIZE = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes per number
Shapes = Mapping[str, Any]


@dataclass(frozen=True)
class Work:
    """Operations, and numbers moved between memory and processor."""

    flops: float = 0.0
    moved: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """One after the other."""
        return Work(self.flops + other.flops, self.moved + other.moved)

    def __mul__(self, times: float) -> "Work":
        """The same ``times`` over."""
        return Work(times * self.flops, times * self.moved)


@dataclass(frozen=True)
class Cost:
    """What one stage of one call needs."""

    flops: float  # floating-point operations
    bytes: float  # between memory and processor
    dtype: str  # of both


def matmul(rows: float, inner: float, outer: float) -> Work:
    """[rows, inner] times weights [inner, outer]."""
    return Work(2 * rows * inner * outer, rows * inner + inner * outer + rows * outer)


def attention(width: float, queries: float, pairs: float, keys: float) -> Work:
    """Of all heads, ``width`` numbers together: q k, and the weights times v."""
    return Work(4 * width * pairs, 2 * width * (queries + keys))


def convolution(batch: int, inner: int, outer: int, kernel: int, length: int, stride: int = 1) -> Work:
    """Over ``length`` samples; with a stride a transposed one, ``stride`` times as many come out."""
    moved = batch * length * (inner + stride * outer) + inner * outer * kernel
    return Work(2 * batch * length * inner * outer * kernel, moved)


def pairs_within(frames: int, context: int) -> int:
    """Pairs of frames at most ``context`` apart; all where it is negative."""
    if context < 0 or context >= frames:
        return frames * frames
    return frames * (2 * context + 1) - context * (context + 1)


def look(lm: Shapes, rows: int, positions: float, pairs: float, keys: float) -> Work:
    """Self-attention of one layer over ``rows`` of ``positions``, its output aside; pairs and keys are one row's."""
    d = lm["dim"]
    return matmul(rows * positions, d, 3 * d) + attention(d, rows * positions, rows * pairs, rows * keys)


def settle(lm: Shapes, told: int, untold: int, positions: float, text: float) -> Work:
    """The rest of one layer: output of self-attention, cross-attention, feed-forward."""
    d, inner = lm["dim"], lm["dim"] * lm["hidden_scale"]
    rows, heard = (told + untold) * positions, told * positions
    if is_folded(lm, told, positions, text):
        cross = matmul(heard, d, lm["num_heads"] * text) + matmul(heard, lm["num_heads"] * text, d)
    else:
        cross = matmul(heard, d, d) + attention(d, heard, heard * text, told * text) + matmul(heard, d, d)
    return matmul(rows, d, d) + cross + matmul(rows, d, inner) + matmul(rows, inner, d)


def is_folded(lm: Shapes, told: int, positions: float, text: float) -> bool:
    """Whether cross-attention needs less where a short text is multiplied into its matrices: one position of one clip.

    See generators/stepper.py; the folding itself, once per call, is left out.
    """
    return told == positions == 1 and text <= lm["dim"] / lm["num_heads"]


def layers(lm: Shapes, told: int, untold: int, positions: float, pairs: float, keys: float, text: float) -> Work:
    """One pass of all layers over ``told + untold`` rows of ``positions`` each."""
    one = look(lm, told + untold, positions, pairs, keys) + settle(lm, told, untold, positions, text)
    return one * lm["num_layers"]


def conditions(lm: Shapes, batch: int, text: float) -> Work:
    """The text projected to the model's width, and its keys and values of every layer: once per call."""
    d = lm["dim"]
    return matmul(batch * text, lm["text_dim"], d) + matmul(batch * text, d, 2 * d) * lm["num_layers"]


def whole_clip(lm: Shapes, told: int, untold: int, frames: int, pairs: int, hidden: int, text: float) -> Work:
    """One pass of MAGNeT, which asks for one codebook at ``hidden`` frames of each row.

    Until the first layer hears the text, untold rows are what the told ones are; behind the last layer's attention,
    frames that are not hidden are of no use.
    """
    rows, between = told + untold, lm["num_layers"] - 1
    looks = look(lm, told, frames, pairs, frames) + look(lm, rows, frames, pairs, frames) * between
    settled = settle(lm, told, untold, frames, text) * between + settle(lm, told, untold, hidden, text)
    return looks + settled + matmul(rows * hidden, lm["dim"], lm["card"])


def masked(shapes: Shapes, batch: int, frames: int, given: int, text: float) -> Iterator[tuple[str, Work]]:
    """Stages of one window of MAGNeT, the first ``given`` of its frames known: a pass per iteration, or two as one."""
    lm, rescorer, unit = shapes["lm"], shapes.get("rescorer"), shapes["unit"]
    yield "codebook 1", conditions(lm, batch, text)
    if rescorer:
        yield "rescorer", conditions(rescorer, batch, text)
    for codebook, steps in enumerate(shapes["steps"]):
        pairs = pairs_within(frames, lm["subcodes_context"] if codebook else -1)
        for share, guided in steps:
            units = np.float32(share) * np.float32(frames // unit - given // unit)  # as masked.schedule counts them
            hidden = max(max(int(units), 1) * unit, shapes["span"])
            work = whole_clip(lm, batch, batch if guided else 0, frames, pairs, hidden, text)
            yield f"codebook {codebook + 1}", work
        if rescorer:
            length = frames + rescorer["n_q"] - 1  # the delay pattern, without the last frame: nothing follows it
            one = layers(rescorer, batch, 0, length, length * (length + 1) / 2, length, text)
            head = matmul(batch * frames, rescorer["dim"], rescorer["card"])
            yield "rescorer", (one + head) * len(steps)


def autoregressive(
    lm: Shapes, batch: int, frames: int, given: int, text: float, *, guided: bool
) -> Iterator[tuple[str, Work]]:
    """Stages of one window of MusicGen, the first ``given`` of its frames known; every step asks for all codebooks."""
    untold = batch if guided else 0
    head = matmul(batch + untold, lm["dim"], lm["card"]) * lm["n_q"]
    first = given + 1  # the empty step 0 and what is given go through in one pass
    causal = first * (first + 1) / 2
    yield "prefill", conditions(lm, batch, text) + layers(lm, batch, untold, first, causal, first, text) + head
    steps = frames + lm["n_q"] - 1 - first
    if steps:
        keys = first + (steps + 1) / 2  # mean length of the cache
        yield "decode", (layers(lm, batch, untold, 1, keys, keys, text) + head) * steps


def tokens(shapes: Shapes, batch: int, frames: int, text: float) -> Iterator[tuple[str, Work]]:
    """Stages of the language models, window by window; a hybrid writes the beginning of the first step by step."""
    for number, (window, given) in enumerate(windows(shapes, frames)):
        if shapes["kind"] == "autoregressive":
            yield from autoregressive(shapes["lm"], batch, window, given, text, guided=shapes["ar_guided"])
            continue
        beginning = min(shapes.get("beginning", 0), window) if number == 0 else 0
        if beginning:
            prompter = shapes.get("prompter") or shapes["lm"]
            yield from autoregressive(prompter, batch, beginning, 0, text, guided=shapes["ar_guided"])
        if beginning < window:
            yield from masked(shapes, batch, window, given + beginning, text)


def windows(shapes: Shapes, frames: int) -> Iterator[tuple[int, int]]:
    """Frames of every window and how many of them are given, as generators/long.py walks them."""
    unit, segment, stride = shapes["unit"], shapes["segment"], shapes["stride"]
    total = frames // unit * unit
    made = min(segment, total)
    yield made, 0
    start = 0
    while made < total:
        start += stride
        length = min(segment, total - start)
        yield length, made - start
        made = start + length


def text_encoder(t5: Shapes, batch: int, text: float) -> Work:
    """T5's encoder over ``text`` tokens."""
    d, inner, rows = t5["dim"], t5["inner"], batch * text
    own = matmul(rows, d, inner) * 3 + attention(inner, rows, rows * text, rows) + matmul(rows, inner, d)
    into = matmul(rows, d, t5["hidden"]) * (2 if t5["gated"] else 1)
    return (own + into + matmul(rows, t5["hidden"], d)) * t5["layers"]


def codec_decoder(codec: Shapes, batch: int, frames: int) -> Work:
    """EnCodec's decoder (Défossez et al., 2022): convolution, LSTM, upsampling with residual blocks, convolution."""
    ratios = codec["upsampling_ratios"]
    width, length = codec["num_filters"] * 2 ** len(ratios), frames
    work = convolution(batch, codec["hidden_size"], width, codec["kernel_size"], length)
    work += matmul(batch * length, width, 4 * width) * 2 * codec["num_lstm_layers"]  # from below, and from before
    for ratio in ratios:
        work += convolution(batch, width, width // 2, 2 * ratio, length, ratio)
        width, length = width // 2, length * ratio
        inside = width // codec["compress"]
        block = convolution(batch, width, inside, codec["residual_kernel_size"], length)
        block += convolution(batch, inside, width, 1, length)
        if codec["use_conv_shortcut"]:
            block += convolution(batch, width, width, 1, length)
        work += block * codec["num_residual_layers"]
    return work + convolution(batch, width, codec["audio_channels"], codec["last_kernel_size"], length)


def of(shapes: Shapes, batch: int, seconds: float, text_tokens: float) -> dict[str, Cost]:
    """Cost of every stage of one call for ``batch`` clips of ``seconds``, whose texts are padded to ``text_tokens``."""
    asked = math.ceil(round(seconds * shapes["frame_rate"], 6))
    stages = {"text": text_encoder(shapes["text"], batch, text_tokens)}
    dtypes = {"text": shapes["text"]["dtype"], "codec": shapes["codec"]["dtype"]}
    for name, work in tokens(shapes, batch, asked, text_tokens):
        stages[name] = stages.get(name, Work()) + work
    stages["codec"] = codec_decoder(shapes["codec"], batch, asked // shapes["unit"] * shapes["unit"])
    costs = {}
    for name, work in stages.items():
        dtype = dtypes.get(name, shapes["lm"]["dtype"])
        costs[name] = Cost(work.flops, work.moved * SIZE[dtype], dtype)
    return costs
