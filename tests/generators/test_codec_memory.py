"""Decoding of long clips in chunks: equal to the whole, and no tensor of the upsampling layers grows with the clip."""

import math

import pytest
import torch

from magnet_eval.generators import chunked, streaming
from magnet_eval.generators.codec import Codec
from magnet_eval.lookup import UserError

SHAPES = {
    "32 kHz": {"use_causal_conv": False, "upsampling_ratios": [8, 5, 4, 4]},
    "causal": {"use_causal_conv": True, "upsampling_ratios": [8, 5, 4, 2]},
    "cut on both sides": {"use_causal_conv": True, "trim_right_ratio": 0.5, "upsampling_ratios": [8, 5]},
    "zeros outside": {"use_causal_conv": True, "pad_mode": "constant", "upsampling_ratios": [2, 7]},
    "wide": {"use_causal_conv": False, "num_residual_layers": 3, "last_kernel_size": 9, "upsampling_ratios": [3, 2]},
    "wide and causal": {"use_causal_conv": True, "num_residual_layers": 3, "upsampling_ratios": [3, 2]},
}


def encodec(**changes):
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(5)
    config = EncodecConfig(
        **{
            "sampling_rate": 16000, "num_filters": 2, "hidden_size": 16, "codebook_size": 64, "codebook_dim": 16,
            "num_lstm_layers": 1, "normalize": False, "chunk_length_s": None, "target_bandwidths": [100.0], **changes,
        }
    )  # fmt: skip
    model = EncodecModel(config).eval().requires_grad_(False)
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    return model


def whole(model, codes):
    return model.decode(codes[None], [None])[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("beyond", [1, 2, 500, 501])
def test_chunks_are_equal_to_the_whole(shape, beyond):
    """Lengths just behind a border, where the last chunk is a frame and its context, and just before the next."""
    model = encodec(**SHAPES[shape])
    codes = torch.randint(0, 64, (2, 4, chunked.CHUNK + beyond))
    expected = whole(model, codes)
    got = chunked.decode(model, codes)
    assert got.shape == expected.shape == (2, 1, codes.shape[2] * math.prod(model.config.upsampling_ratios))
    assert (got - expected).abs().max() < 1e-6
    assert expected.std() > 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_context_is_what_the_layers_reach(shape):
    """A change in frame 30 moves samples of the frames that have it in their context: all of these and no others."""
    model = encodec(**SHAPES[shape]).double()  # the far end of a context moves little
    states = torch.randn(1, model.decoder.layers[1].lstm.hidden_size, 61, dtype=torch.float64)
    changed = states.clone()
    changed[..., 30] += 10 * torch.randn(states.shape[1])
    for layer in list(model.decoder.layers)[2:]:
        states, changed = layer(states), layer(changed)
    moved = (states != changed).any(1)[0].nonzero().flatten() // math.prod(model.config.upsampling_ratios)
    left, right = chunked.context(model.config)
    assert (moved[0].item(), moved[-1].item()) == (30 - right, 30 + left)


def test_context_of_the_published_codecs():
    assert chunked.context(encodec(**SHAPES["32 kHz"]).config) == (1, 1)
    assert chunked.context(encodec(**SHAPES["causal"]).config) == (2, 0)


@pytest.mark.parametrize(
    "changes", [{"norm_type": "time_group_norm"}, {"chunk_length_s": 1.0, "overlap": 0.01}, {"normalize": True}]
)
def test_codecs_that_look_at_the_whole_clip_are_left_whole(changes):
    model = encodec(use_causal_conv=False, upsampling_ratios=[3, 2], **changes)
    codes = torch.randint(0, 64, (1, 4, 700))
    assert torch.equal(chunked.decode(model, codes), whole(model, codes))


def test_one_chunk_is_the_whole_to_the_bit():
    model = encodec(**SHAPES["32 kHz"])
    codes = torch.randint(0, 64, (1, 4, chunked.CHUNK))
    assert torch.equal(chunked.decode(model, codes), whole(model, codes))


@pytest.mark.parametrize("shape", ["32 kHz", "causal"])
def test_tensors_do_not_grow_with_the_clip(shape):
    """The largest tensor that any layer after the LSTM makes: one chunk and its context, whatever the clip."""
    model = encodec(**SHAPES[shape])
    sizes: list[int] = []
    for layer in list(model.decoder.layers)[2:]:
        for module in layer.modules():
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.numel()))
    largest = []
    for frames in (1100, 2200):
        sizes.clear()
        chunked.decode(model, torch.randint(0, 64, (1, 4, frames)))
        largest.append(max(sizes))
    assert largest[0] == largest[1]
    sizes.clear()
    whole(model, torch.randint(0, 64, (1, 4, 2200)))
    assert max(sizes) > 4 * largest[1]


@pytest.mark.slow
def test_the_codec_decodes_long_clips_in_chunks(zoo):
    """Row by row to the last bit, and no two chunks mixed up."""
    codec = Codec.read(zoo / "codec", torch.device("cpu"))
    codes = torch.randint(0, 64, (3, 4, 1234))
    apart = codec.decode(codes, one_by_one=True)
    assert [clip.shape for clip in apart] == [(1, 1234 * 640)] * 3
    alone = codec.decode(codes[1:2], one_by_one=True)[0]
    assert (apart[1] == alone).all()
    together = codec.decode(codes, one_by_one=False)
    expected = whole(codec.model, codes).numpy()
    for one, row, clip in zip(apart, together, expected, strict=True):
        assert abs(one - clip).max() < 1e-6 and abs(row - clip).max() < 1e-6


# Frames that arrive one after the other


def in_pieces(model, codes, size):
    """The clip, with no frame given before it is asked for, and how many frames were there for each piece."""
    decoder, pieces, given = streaming.Decoder(model), [], []
    for frames in range(1, codes.shape[2]):
        while decoder.ready(frames, decoder.n_decoded + size):
            pieces.append(decoder(codes[..., :frames], decoder.n_decoded + size))
            given.append(frames)
    while decoder.n_decoded < codes.shape[2]:
        pieces.append(decoder(codes, min(decoder.n_decoded + size, codes.shape[2])))
    return torch.cat(pieces, dim=-1), given


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize(("frames", "size"), [(1, 1), (5, 2), (12, 1), (41, 40)])
def test_pieces_are_the_whole(shape, mode, frames, size):
    model = encodec(**{**SHAPES[shape], "pad_mode": mode})
    codes = torch.randint(0, 64, (1, 4, frames))
    expected = whole(model, codes)
    pieces, _ = in_pieces(model, codes, size)
    assert pieces.shape == expected.shape
    assert (pieces - expected).abs().max() < 1e-6
    assert expected.std() > 1e-3


@pytest.mark.parametrize(("shape", "lookahead"), [("32 kHz", 4), ("causal", 0)])
def test_lookahead_of_the_published_codecs(shape, lookahead):
    """The frames after its own that a chunk waits for; and fewer would not do: the next one still moves it."""
    model = encodec(**SHAPES[shape])
    assert streaming.Decoder(model).lookahead == lookahead
    codes = torch.randint(0, 64, (1, 4, 60))
    _, given = in_pieces(model, codes, 10)
    assert given[:4] == [10 + lookahead, 20 + lookahead, 30 + lookahead, 40 + lookahead]
    other = codes.clone()
    other[..., 30 + lookahead - 1] = (codes[..., 30 + lookahead - 1] + 7) % 64
    hop = math.prod(model.config.upsampling_ratios)
    assert (whole(model, codes) - whole(model, other)).abs()[..., : 30 * hop].max() > 1e-7


def test_what_is_remembered_does_not_grow():
    decoder = streaming.Decoder(encodec(**SHAPES["32 kHz"]))
    codes = torch.randint(0, 64, (1, 4, 300))
    sizes = set()
    for end in range(20, 300, 20):
        decoder(codes, end)
        sizes.add(decoder.states.shape[2])
    assert sizes == {2}


def test_a_codec_that_needs_the_whole_clip_is_refused():
    with pytest.raises(UserError, match="looks at the whole clip"):
        streaming.Decoder(encodec(use_causal_conv=False, norm_type="time_group_norm"))
