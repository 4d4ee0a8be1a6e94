"""Log-mel spectrograms and even windows over time: the front end that the embedders share.

The mel scale and its area-normalised filters are Slaney's (Auditory Toolbox, 1998), which librosa too takes by default;
published networks that were trained on another scale have HTK's.
"""

import math
from functools import cache

import numpy as np
import torch

LINEAR_STEP, BREAK, LOG_STEP = 200 / 3, 1000.0, math.log(6.4) / 27  # Hz per mel below 1 kHz; logarithmic above


def _to_mel(hertz: float) -> float:
    return hertz / LINEAR_STEP if hertz < BREAK else BREAK / LINEAR_STEP + math.log(hertz / BREAK) / LOG_STEP


def _to_hertz(mels: np.ndarray) -> np.ndarray:
    corner = BREAK / LINEAR_STEP
    return np.where(mels < corner, mels * LINEAR_STEP, BREAK * np.exp(LOG_STEP * (np.maximum(mels, corner) - corner)))


@cache
def mel_filters(n_mels: int, n_fft: int, rate: int) -> torch.Tensor:
    """Triangular filters from 0 Hz to half the rate, each of area 1 (in Hz): float32 [n_mels, n_fft // 2 + 1]."""
    edges = _to_hertz(np.linspace(0.0, _to_mel(rate / 2), n_mels + 2))[:, None]
    bins = np.fft.rfftfreq(n_fft, 1 / rate)[None, :]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rise, fall)) * 2.0 / (edges[2:] - edges[:-2])
    return torch.from_numpy(triangles.astype(np.float32))


@cache
def htk_filters(n_mels: int, n_fft: int, rate: int, low: float, high: float) -> torch.Tensor:
    """Filters that are triangles of height 1 on HTK's mel scale (Kaldi's too), from ``low`` to ``high`` Hz.

    float32 [n_mels, n_fft // 2 + 1].
    """

    def to_mel(hertz: float | np.ndarray) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(to_mel(low), to_mel(high), n_mels + 2)[:, None]
    bins = to_mel(np.fft.rfftfreq(n_fft, 1 / rate))[None, :]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.from_numpy(np.maximum(0.0, np.minimum(rise, fall)).astype(np.float32))


def log_mel(audio: torch.Tensor, n_mels: int, n_fft: int, hop: int, rate: int) -> torch.Tensor:
    """log10(1 + 10,000 m) of the mel power spectrogram m of [..., T] audio: [..., n_mels, 1 + T // hop].

    Periodic Hann window; frames are centred, with the ends reflected, so at least n_fft // 2 + 1 samples are needed.
    """
    batch = audio.reshape(-1, audio.shape[-1])
    window = torch.hann_window(n_fft, device=audio.device)
    spectrum = torch.stft(batch, n_fft, hop, window=window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()  # a third of the time of abs().square()
    mel = mel_filters(n_mels, n_fft, rate).to(audio.device) @ power
    return torch.log10(1 + 10_000 * mel).reshape(*audio.shape[:-1], n_mels, -1)


def window_starts(length: int, window: int, hop: int) -> list[int]:
    """Starts of windows that cover 0..length evenly, at most ``hop`` apart; [0] if the length is at most one window.

    Even spacing, rather than a dropped tail, gives clips of nearly the same length the same number of windows.
    """
    room = max(length - window, 0)
    return np.linspace(0, room, 1 + math.ceil(room / hop)).round().astype(int).tolist()
