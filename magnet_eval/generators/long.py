"""Clips longer than the model's segment, window by window (Copet et al., 2023).

The first window is a whole segment; every further one starts a stride later, is given what is already there of it as
its prompt, and makes the rest; the last is as long as the clip needs. The windows are those of audiocraft, counted in
whole frames: its own seconds lose the clip's last frame to rounding now and then (30.4 s), these do not.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from magnet_eval.generators.tokens import Steps, Tokens, drained, summed
from magnet_eval.generators.transformer import LMConfig
from magnet_eval.lookup import UserError

Window = Callable[[int, Tensor | None], Tokens]  # (frames, prompt [B, K, P]) -> tokens [B, K, frames], prompt included
SteppedWindow = Callable[[int, Tensor | None], Steps]  # the same, step by step


def stride_frames(config: LMConfig, stride_seconds: float | None, unit: int = 1) -> int:
    """Frames from one window's start to the next one's, in whole units; None is 0.6 of the segment.

    That is MusicGen's 18 s of 30 s. Raises UserError where the stride is no shorter than the segment, or than a unit.
    """
    if stride_seconds is None:
        return max(segment_frames(config) * 3 // 5 // unit * unit, unit)
    segment = segment_frames(config, unit)
    stride = int(min(stride_seconds, config.segment_seconds) * config.frame_rate) // unit * unit
    if not 0 < stride < segment:
        raise UserError(
            f"decoding.stride_seconds must be between {unit / config.frame_rate:g} and "
            f"{(segment - unit) / config.frame_rate:g} for this model's segments of {config.segment_seconds:g} s, "
            f"got {stride_seconds:g}."
        )
    return stride


def segment_frames(config: LMConfig, unit: int = 1) -> int:
    """Frames of a segment, in whole units."""
    return int(config.segment_seconds * config.frame_rate) // unit * unit


def decode(window: Window, frames: int, config: LMConfig, stride_seconds: float | None = None, unit: int = 1) -> Tokens:
    """Tokens [B, K, frames] from the one-window decoder ``window``, which alone is called where one segment is enough.

    unit: frames that ``window`` makes together (the span of MAGNeT's whole spans); the result and all prompts are
    whole units. The counts and seconds of the windows are added up. Raises UserError on a stride that does not fit.
    """

    def at_once(frames: int, prompt: Tensor | None) -> Steps:
        return window(frames, prompt)
        yield  # never reached, but what makes this a generator

    return drained(steps(at_once, frames, config, stride_seconds, unit))


def steps(
    window: SteppedWindow, frames: int, config: LMConfig, stride_seconds: float | None = None, unit: int = 1
) -> Steps:
    """``decode``, step by step."""
    segment, stride = segment_frames(config, unit), stride_frames(config, stride_seconds, unit)
    total = frames // unit * unit
    if total <= segment:
        return (yield from window(frames, None))
    parts = [(yield from window(segment, None))]
    codes, start = parts[0].codes, 0
    while codes.shape[2] < total:
        start += stride
        prompt = codes[..., start:]
        parts.append((yield from _after(codes[..., :start], window(min(segment, total - start), prompt))))
        codes = torch.cat([codes, parts[-1].codes[..., prompt.shape[2] :]], dim=2)
    return Tokens(
        codes,
        sum(part.iterations for part in parts),
        sum(part.network_evaluations for part in parts),
        summed([part.seconds for part in parts]),
        summed([part.event_seconds for part in parts]),
    )


def _after(codes: Tensor, steps: Steps) -> Steps:
    """The steps of a window that starts behind ``codes`` [B, K, start], counted from the clip's own start."""
    while True:
        try:
            done, read = next(steps)
        except StopIteration as end:
            return end.value
        yield codes.shape[2] + done, partial(_joined, codes, read)


def _joined(codes: Tensor, read: Callable[[], Tensor]) -> Tensor:
    return torch.cat([codes, read()], dim=2)
