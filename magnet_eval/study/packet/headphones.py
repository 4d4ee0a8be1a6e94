"""The headphone check: three noises, in one of which only headphones let a faint pitch be heard.

Huggins pitch, as a test of headphones by Milne et al. (2020): white noise, the same in both ears but for a narrow band
around 600 Hz that is inverted in one of them. From loudspeakers both ears hear the same in all three.
"""

import numpy as np

CENTRE, WIDTH = 600.0, 0.06  # Hz, and how far the band reaches to each side as a part of it
NOISE, GAP, FADE = 1.0, 0.5, 0.05  # s
LEVEL = 0.1  # RMS, full scale 1
TRIALS = 6


def trial(rng: np.random.Generator, rate: int, answer: int) -> np.ndarray:
    """Three noises with pauses between them, float32 [2, T]; the pitch is in number ``answer`` (1, 2 or 3)."""
    pause = np.zeros((2, round(GAP * rate)))
    noises = [noise(rng, rate, has_pitch=number == answer) for number in (1, 2, 3)]
    return np.concatenate([noises[0], pause, noises[1], pause, noises[2]], axis=1).astype(np.float32)


def noise(rng: np.random.Generator, rate: int, *, has_pitch: bool) -> np.ndarray:
    """White noise [2, T] with faded ends; with a pitch, its right channel's band is inverted."""
    n = round(NOISE * rate)
    left = rng.standard_normal(n)
    spectrum = np.fft.rfft(left)
    in_band = abs(np.fft.rfftfreq(n, 1 / rate) - CENTRE) <= WIDTH * CENTRE
    right = np.fft.irfft(np.where(in_band & has_pitch, -spectrum, spectrum), n)
    ramp = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (FADE * rate))
    return LEVEL * np.stack([left, right]) * np.sin(ramp * np.pi / 2) ** 2
