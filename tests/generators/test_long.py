"""Clips longer than a segment: which windows are made, what they are given, and what they add up to."""

import numpy as np
import pytest
import torch

from magnet_eval import generators
from magnet_eval.config import Model
from magnet_eval.decoding import AutoregressiveDecoding, HybridDecoding, MaskedDecoding
from magnet_eval.generators import autoregressive, long, masked
from magnet_eval.generators.sampling import chooser
from magnet_eval.generators.tokens import Tokens
from magnet_eval.generators.transformer import LanguageModel, LMConfig
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt

STEPS = {"steps": [4, 2, 2, 2], "temperature": 1.0, "cfg_max": 3.0}
DECODING = {
    "masked": STEPS,
    "autoregressive": {"top_k": 20},
    "hybrid": {"prompt_seconds": 0.5, "masked": STEPS, "autoregressive": {"top_k": 20}},
}
MUSICGEN = LMConfig(dim=8, num_heads=2, num_layers=1, segment_seconds=30.0)


class Counting:
    """A one-window decoder whose tokens are the frames' own numbers; it notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []  # frames, of which given

    def __call__(self, frames: int, prompt: torch.Tensor | None) -> Tokens:
        given = torch.zeros(2, 4, 0, dtype=torch.long) if prompt is None else prompt
        start = int(given[0, 0, -1]) + 1 if given.shape[2] else 0
        new = torch.arange(start, start + frames - given.shape[2]).expand(2, 4, -1)
        self.asked.append((frames, given.shape[2]))
        return Tokens(
            torch.cat([given, new], 2), 10, 20, {"tokens": 0.5, "first": 1.0} if start == 0 else {"tokens": 1}
        )


def windows_of_audiocraft(seconds: float, segment: float, stride: float, rate: int) -> list[tuple[int, int]]:
    """(frames, given) of the calls that audiocraft's extended generation makes of its language model."""
    calls: list[tuple[int, int]] = []
    offset = given = 0
    while offset + given < int(seconds * rate):
        frames = int(min(seconds - offset / rate, segment) * rate)
        calls.append((frames, given))
        offset, given = offset + int(rate * stride), max(frames - int(rate * stride), 0)
    return calls


def test_windows_of_a_minute_of_musicgen():
    window = Counting()
    made = long.decode(window, 3000, MUSICGEN)
    assert window.asked == [(1500, 0), (1500, 600), (1200, 600)]
    assert torch.equal(made.codes, torch.arange(3000).expand(2, 4, -1))
    assert (made.iterations, made.network_evaluations) == (30, 60)
    assert made.seconds == {"tokens": 2.5, "first": 1.0}


@pytest.mark.parametrize(("segment", "stride"), [(30, 18), (10, 2), (30, 29), (10, 7.5)])
@pytest.mark.parametrize("beyond", [0.25, 0.5, 1, 2, 17.5, 18, 18.5, 36, 90.25])
def test_windows_are_those_of_audiocraft(segment, stride, beyond):
    window, seconds = Counting(), segment + beyond
    config = LMConfig(dim=8, num_heads=2, num_layers=1, segment_seconds=segment)
    frames = int(seconds * 50)
    made = long.decode(window, frames, config, stride)
    assert window.asked == windows_of_audiocraft(seconds, segment, stride, 50)
    assert torch.equal(made.codes[0, 0], torch.arange(frames))


def test_one_segment_is_one_call_as_asked():
    """Nothing is rounded: what the family makes of 500 frames is its own business."""
    for frames in (1, 499, 500):
        window = Counting()
        made = long.decode(window, frames, LMConfig(dim=8, num_heads=2, num_layers=1), unit=3)
        assert window.asked == [(frames, 0)]
        assert made.codes.shape[2] == frames


@pytest.mark.parametrize(
    ("frames", "stride", "asked"),
    [
        (1000, None, [(498, 0), (498, 198), (399, 198)]),
        (501, None, [(498, 0), (201, 198)]),
        (1000, 2.0, [(498, 0), *5 * [(498, 399)], (405, 399)]),
    ],
)
def test_whole_spans_are_given_and_made(frames, stride, asked):
    window = Counting()
    made = long.decode(window, frames, LMConfig(dim=8, num_heads=2, num_layers=1), stride, unit=3)
    assert window.asked == asked
    assert all(count % 3 == 0 for pair in window.asked for count in pair)
    assert made.codes.shape[2] == frames // 3 * 3


def test_stride_defaults_to_six_tenths_of_the_segment():
    strides = {30.0: 900, 10.0: 300, 5.0: 150, 0.06: 1, 0.02: 1}
    for seconds, expected in strides.items():
        assert long.stride_frames(LMConfig(dim=8, num_heads=2, num_layers=1, segment_seconds=seconds), None) == expected
    assert long.stride_frames(MUSICGEN, 18.0) == 900


@pytest.mark.parametrize("seconds", [10.0, 11.0, float("inf"), 9.99, 0.05])
def test_a_stride_must_leave_a_prompt_and_move_on(seconds):
    """Whole spans of 3 at 50 Hz: from one span to all but one of 498 frames. Said even where one window is enough."""
    config = LMConfig(dim=8, num_heads=2, num_layers=1)
    for frames in (100, 1000):
        with pytest.raises(UserError, match=r"between 0\.06 and 9\.9 for this model's segments of 10 s, got"):
            long.decode(Counting(), frames, config, seconds, unit=3)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("kind", [MaskedDecoding, AutoregressiveDecoding])
def test_a_stride_is_positive(kind, seconds):
    with pytest.raises(UserError, match="must be above 0"):
        kind(stride_seconds=seconds)


def test_the_stride_of_a_hybrid_is_that_of_its_masked_part():
    with pytest.raises(UserError, match=r"set decoding\.masked\.stride_seconds"):
        HybridDecoding(autoregressive=AutoregressiveDecoding(stride_seconds=2.0))


def run(zoo, family, seconds, seeds=(1, 2, 3), **changes):
    """Codes [B, K, T] that reach the codec, and the generation."""
    parts = {role: str(zoo / folder) for role, folder in (("checkpoint", "lm"), ("text", "text"), ("codec", "codec"))}
    settings = {"decoding": DECODING[family], **parts, **changes}
    generator = generators.build(Model(family=family, **settings), "cpu")
    seen, decode = [], generator.codec.waveforms
    generator.codec.waveforms = lambda codes, one_by_one: seen.append(codes) or decode(codes, one_by_one=one_by_one)
    texts = ("slow waltz", "fast drums and bass, 140 bpm", "jig")[: len(seeds)]
    made = generator.generate([Prompt(id=text, text=text, seconds=seconds) for text in texts], list(seeds))
    return seen[0], made


@pytest.mark.parametrize(
    ("family", "frames", "iterations"),
    [
        ("masked", 225, 3 * 10),  # 123, 198, 225 frames: the segment of 125 frames has 41 whole spans
        ("autoregressive", 226, (125 + 3) + (75 + 3) + (26 + 3)),
        ("hybrid", 225, (12 + 3 + 10) + 10 + 10),
    ],
)
def test_families_make_long_clips(zoo, family, frames, iterations):
    codes, made = run(zoo, family, 9.04)
    assert (made.frames_asked, made.frames_made, made.iterations) == (226, frames, iterations)
    assert made.network_evaluations > made.iterations
    assert codes.shape == (3, 4, frames) and codes.max() < 64
    assert [clip.shape for clip in made.audio] == [(1, frames * 640)] * 3
    short, _ = run(zoo, family, 5.0)
    assert torch.equal(codes[..., : short.shape[2]], short), "the first window is a clip of one segment"
    assert not torch.equal(codes[0], codes[1])


@pytest.mark.parametrize("family", ["masked", "autoregressive", "hybrid"])
def test_a_long_clip_is_the_same_whatever_its_batch(zoo, family):
    together, alone = run(zoo, family, 6.0)[1].audio, run(zoo, family, 6.0, seeds=(1,))[1].audio
    assert np.array_equal(together[0], alone[0])


def test_spans_that_overlap_reach_the_last_frame(zoo):
    """Windows of any length, down to a last one of a single frame."""
    codes, made = run(zoo, "masked", 5.04, decoding={**STEPS, "span_arrangement": "stride1", "stride_seconds": 4.0})
    assert made.frames_made == 126 and made.iterations == 20
    assert codes.max() < 64


def test_stride_of_the_settings_counts(zoo):
    short = run(zoo, "autoregressive", 7.0, decoding={"top_k": 20, "stride_seconds": 0.4})[1]
    assert short.iterations == (125 + 3) + 5 * (10 + 3)
    with pytest.raises(UserError, match=r"segments of 5 s, got 5"):
        run(zoo, "autoregressive", 7.0, decoding={"stride_seconds": 5.0})


def test_rescorer_judges_every_window(zoo):
    from magnet_eval.decoding import Rescoring

    plain, judged, unjudged = (
        run(zoo, "masked", 7.0, seeds=(1,), rescorer=weight and Rescoring(str(zoo / "other"), weight - 1))[1]
        for weight in (None, 2.0, 1.0)
    )
    assert judged.network_evaluations == plain.network_evaluations + 20
    assert np.array_equal(unjudged.audio[0], plain.audio[0])
    assert not np.array_equal(judged.audio[0][:, 78_720:], plain.audio[0][:, 78_720:])


@pytest.mark.parametrize(
    ("decode", "settings"),
    [
        (masked.decode, MaskedDecoding(**STEPS, sampling="reference")),
        (autoregressive.decode, AutoregressiveDecoding(sampling="reference")),
    ],
)
def test_random_numbers_go_on_from_window_to_window(decode, settings):
    """Under ``reference``, one generator serves the whole clip: the windows made by hand, one after the other."""
    torch.manual_seed(3)
    lm = LanguageModel(LMConfig(dim=32, num_heads=4, num_layers=2, card=64, segment_seconds=0.6)).eval()
    text = torch.randn(2, 5, 32)

    def window(frames, prompt):
        return decode(lm, text, settings, frames, choose, prompt=prompt)

    choose = chooser("reference", [7])
    made = long.decode(window, 45, lm.config, 0.36, unit=3)
    choose = chooser("reference", [7])
    first = window(30, None).codes
    second = window(27, first[..., 18:]).codes
    assert torch.equal(made.codes, torch.cat([first, second[..., 12:]], 2))
