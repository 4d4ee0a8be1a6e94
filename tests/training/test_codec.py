"""The codec's parts: latents that do not see the future, k-means, residual quantiser."""

import numpy as np
import pytest
import torch

from magnet_eval.training import codec


def test_an_onset_does_not_leak_into_the_frame_before():
    audio = torch.zeros(1, 10 * codec.HOP)
    quiet = codec.features(audio)
    audio[:, 5 * codec.HOP :] = torch.randn(5 * codec.HOP, generator=torch.Generator().manual_seed(0))
    loud = codec.features(audio)
    assert torch.equal(loud[:, :5], quiet[:, :5])
    assert (loud[:, 5] - quiet[:, 5]).abs().max() > 1


def test_mel_filters_cover_the_band():
    filters = codec.mel_filters(1024, 80)
    hertz = np.fft.rfftfreq(1024, 1 / codec.SAMPLE_RATE)
    inside = (hertz > 200) & (hertz < 7900)
    assert (filters.sum(1).numpy()[inside] > 0.1).all()
    assert filters.max() <= 1


def test_kmeans_finds_separate_clusters():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = centres.repeat(200, 1) + 0.1 * torch.randn(600, 2, generator=generator)
    found = codec.kmeans(points, 3, 20, generator)
    assert torch.cdist(centres, found).min(1).values.max() < 0.1


def test_more_codebooks_come_nearer():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3000, 8, generator=generator)
    books = torch.stack([torch.randn(16, 8, generator=generator) * scale for scale in (1.0, 0.5, 0.25, 0.1)])
    codes = codec.quantise(points[None], books)
    assert codes.shape == (1, 4, 3000)
    errors = [(points - codec.lookup(codes[:, :n], books[:n])[0]).square().mean() for n in range(1, 5)]
    assert all(later < earlier for earlier, later in zip(errors, errors[1:], strict=False))


def test_the_codec_quantises_as_the_latents_do():
    torch.manual_seed(0)
    model, books = codec.empty_codec(filters=4), torch.randn(4, 256, 64)
    codec.set_codebooks(model, books)
    codes = torch.randint(256, (2, 4, 5))
    assert torch.allclose(model.quantizer.decode(codes.transpose(0, 1)).transpose(1, 2), codec.lookup(codes, books))


def test_spectral_loss_is_zero_only_for_the_same():
    real = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    assert codec.spectral_loss(real, real) == 0
    assert codec.spectral_loss(0.5 * real, real) > 0.3


def test_a_bigram_knows_what_follows():
    cycle = torch.arange(400)[None, None].repeat(1, 4, 1) % 4  # 0 1 2 3 0 1 2 3 ...
    known = codec.bigram_cross_entropy(cycle, cycle[..., :40])
    assert max(known) < 0.02  # the next one is certain, but for the weight of a single guess
    coin = torch.randint(2, (8, 4, 4000), generator=torch.Generator().manual_seed(0))
    assert codec.bigram_cross_entropy(coin, coin) == pytest.approx([np.log(2)] * 4, abs=0.01)
