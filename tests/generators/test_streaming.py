"""Audio chunk by chunk: equal to the whole, as early as may be. The codec's part alone: test_codec_memory.py."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from magnet_eval import generators
from magnet_eval.config import load_model
from magnet_eval.generators import long, streaming, tokens
from magnet_eval.generators.transformer import LMConfig
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt

STREAMING = ["musicgen-tiny", "hybrid-magnet-tiny", "two-model-hybrid-tiny"]
PROMPT = Prompt("a", "slow piano waltz, hall", 2.0)


def build(name, exact=False):
    """A model of the zoo; the masked part of a hybrid with few steps."""
    model = load_model(name)
    decoding = {**model.decoding, "masked": {"steps": [2, 1, 1, 1]}} if model.family == "hybrid" else model.decoding
    return generators.build(dataclasses.replace(model, decoding=decoding), "cpu", exact=exact)


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize(("seconds", "exact"), [(1.23, True), (2.0, False), (5.6, False)])
def test_the_stream_is_the_clip(name, seconds, exact):
    """Also beyond one window (5 s), of lengths between frames, and of no whole number of chunks."""
    prompt = Prompt("a", PROMPT.text, seconds)
    generator = build(name, exact)
    (clip,) = generator.generate([prompt], [3]).audio
    chunks = list(generator.stream(prompt, 3, 0.28))
    assert all(chunk.dtype == np.float32 and chunk.shape == (1, 0.28 * 16000) for chunk in chunks[:-1])
    assert 0 < chunks[-1].shape[1] <= 0.28 * 16000
    joined = np.concatenate(chunks, axis=1)
    assert joined.shape == clip.shape
    assert np.abs(joined - clip).max() < 1e-4 and clip.std() > 1e-3


def test_the_first_chunk_comes_before_the_rest_is_made(monkeypatch):
    generator = build("musicgen-tiny")
    steps, made = generator.steps, []

    def counted(*given):
        for step in steps(*given):
            made.append(step)
            yield step

    monkeypatch.setattr(generator, "steps", counted)
    stream = generator.stream(PROMPT, 3, 0.2)
    next(stream)
    lookahead = streaming.Decoder(generator.codec.model).lookahead
    assert made[-1][0] == 5 + lookahead  # frames that are there at that time, of 50
    assert len(made) == 5 + lookahead + 3  # the delay pattern's three steps before the first whole frame


def test_a_hybrid_streams_its_beginning_and_then_the_rest():
    generator = build("hybrid-magnet-tiny")
    texts = generator.text.encode([PROMPT.text], one_by_one=False)
    running = generator.steps(generator.texts(*texts, [0], texts[1].shape[1]), 50, [3])
    counts = [done for done, _ in running]
    assert counts == sorted(counts) and counts[-1] == 24  # one second, in whole spans


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_chunks_have_a_length(seconds):
    generator = build("musicgen-tiny")
    with pytest.raises(UserError, match="chunk_seconds must be above 0"):
        next(generator.stream(PROMPT, 1, seconds))


def test_magnet_has_no_stream():
    assert not hasattr(build("magnet-tiny"), "stream")


def test_windows_count_from_the_start_of_the_clip():
    """Windows of 5 frames, of which 2 are told: what is finished grows, and its codes are the clip's."""
    config = LMConfig(8, 1, 1, frame_rate=1.0, segment_seconds=5.0)

    def window(frames, prompt):
        codes = torch.arange(frames).expand(1, 4, frames) + (0 if prompt is None else prompt[0, 0, 0])
        for done in range(1, frames + 1):
            yield done, lambda done=done: codes[..., :done]
        return tokens.Tokens(codes, 1, 1)

    running, seen = long.steps(window, 11, config, 3.0), []
    for done, read in running:
        assert read()[0, 0].tolist() == list(range(done))
        seen.append(done)
    assert seen == [1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 7, 8, 9, 10, 11]
    assert tokens.drained(long.steps(window, 11, config, 3.0)).codes[0, 2].tolist() == list(range(11))
