"""What music is heard by: chromagram, onset strength and tempogram, timbre; each with a reading that learns nothing.

All take audio [B, samples] of 5 s at 16 kHz, of whatever level: it is brought to one RMS first.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from magnet_eval.embedders.mel import log_mel

SAMPLE_RATE, SAMPLES, RMS = 16_000, 80_000, 0.1
ONSET_HOP, ONSET_BANDS = 160, ((0, 8), (8, 28), (28, 64))  # 10 ms; mel bands below 0.6 kHz, 2.2 kHz, and above
LAGS, FREQUENCIES = slice(10, 330, 2), slice(10, 420, 2)  # 0.1 to 3.3 s; 0.24 to 10.2 Hz
CHROMA_FFT, CHROMA_HOP, SEGMENTS = 4096, 800, 10
LOWEST, MIDDLE, HIGHEST = 33, 54, 93  # MIDI pitches: bass and chords are told apart
KRUMHANSL = {  # probe-tone ratings of the twelve tones from the keynote (Krumhansl and Kessler, 1982)
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


def levelled(audio: Tensor) -> Tensor:
    """Audio [B, samples] with the RMS ``RMS``; silence stays."""
    return audio * (RMS / audio.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-8))


@cache
def pitch_filters() -> Tensor:
    """Triangles of two semitones on the spectrum's bins, folded into pitch classes: [24, bins], bass then chords."""
    bins = np.fft.rfftfreq(CHROMA_FFT, 1 / SAMPLE_RATE)
    pitch = 69 + 12 * np.log2(np.maximum(bins, 1) / 440)
    folded = np.zeros((24, len(bins)))
    for note in range(LOWEST, HIGHEST):
        triangle = np.maximum(0, 1 - np.abs(pitch - note))
        folded[note % 12 + 12 * (note >= MIDDLE)] += triangle / max(triangle.sum(), 1e-9)
    return torch.from_numpy(folded.astype(np.float32))


def chromagram(audio: Tensor) -> Tensor:
    """How strong each pitch class is, C first, in bass and chords, in tenths of the clip: [B, 24, 10], from 0."""
    window = torch.hann_window(CHROMA_FFT, device=audio.device)
    spectrum = torch.stft(levelled(audio), CHROMA_FFT, CHROMA_HOP, window=window, return_complex=True).abs()
    classes = pitch_filters().to(audio.device) @ spectrum
    loudness = torch.log1p(classes / classes.mean((1, 2), keepdim=True).clamp_min(1e-8))
    return functional.adaptive_avg_pool1d(loudness, SEGMENTS)


def key_scores(chroma: Tensor) -> Tensor:
    """Correlation of a chromagram [B, 24, T] with each key's profile: [B, 24], C major to B major, then the minors.

    Krumhansl and Schmuckler's way (Krumhansl, 1990).
    """
    heard = chroma.mean(-1).unflatten(1, (2, 12)).sum(1)
    rolled = [np.roll(profile, tonic) for profile in KRUMHANSL.values() for tonic in range(12)]
    profiles = torch.tensor(np.array(rolled), dtype=heard.dtype, device=heard.device)
    centred = [x - x.mean(-1, keepdim=True) for x in (heard, profiles)]
    return functional.cosine_similarity(centred[0][:, None], centred[1][None], dim=-1)


def onset_strength(audio: Tensor) -> Tensor:
    """Spectral flux (Bello et al., 2005) every 10 ms, in three bands of pitch and over all: [B, 4, 500], from 0."""
    mel = log_mel(levelled(audio), 64, 512, ONSET_HOP, SAMPLE_RATE)
    flux = (mel[..., 1:] - mel[..., :-1]).clamp_min(0)
    bands = torch.stack([flux[:, low:high].mean(1) for low, high in ONSET_BANDS], dim=1)
    return torch.cat([bands, bands.mean(1, keepdim=True)], dim=1)


def autocorrelation(onsets: Tensor) -> Tensor:
    """Of onset strength [..., T], mean removed, by lag in steps of 10 ms: [..., T], 1 at lag 0, unbiased."""
    n = onsets.shape[-1]
    spectrum = torch.fft.rfft(onsets - onsets.mean(-1, keepdim=True), 2 * n)
    products = torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), 2 * n)[..., :n]
    products = products / (n - torch.arange(n, device=onsets.device))
    return products / products[..., :1].clamp_min(1e-8)


def tempogram(onsets: Tensor) -> Tensor:
    """Autocorrelation and Fourier magnitudes of onset strength [B, 4, 500] (Grosche and Müller, 2011): [B, 4, 365]."""
    lags = functional.max_pool1d(autocorrelation(onsets), 3, 1, 1)[..., LAGS]
    centred = onsets - onsets.mean(-1, keepdim=True)
    centred = centred / centred.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-8)
    waves = torch.fft.rfft(centred, 4096).abs()[..., FREQUENCIES] / onsets.shape[-1]
    return torch.cat([lags, waves], dim=-1)


def beat_scores(onsets: Tensor, tempi: Sequence[float]) -> Tensor:
    """How well a bar and half a bar of four beats at each tempo (beats per minute) fit onset strength: [B, tempi].

    A comb over the autocorrelation: the mean at two and at four beats.
    """
    peaks = functional.max_pool1d(autocorrelation(onsets[:, -1:]), 3, 1, 1)[:, 0]
    beats = [6000 / bpm for bpm in tempi]  # in steps of 10 ms
    return torch.stack([peaks[:, [round(2 * beat), round(4 * beat)]].mean(1) for beat in beats], dim=1)


def timbre(audio: Tensor) -> Tensor:
    """Mean, spread, maximum and movement of each of 64 log-mel bands: [B, 256]."""
    mel = log_mel(levelled(audio), 64, 1024, 320, SAMPLE_RATE)
    return torch.cat([mel.mean(-1), mel.std(-1), mel.amax(-1), mel.diff(dim=-1).abs().mean(-1)], dim=1)


def level(audio: Tensor) -> Tensor:
    """RMS in Bel re full scale: [B, 1], at least -10."""
    return audio.square().mean(-1, keepdim=True).clamp_min(1e-10).log10()
