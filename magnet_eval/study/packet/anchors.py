"""Clips that are worse on purpose: a real clip behind a low-pass at 3.5 or 7 kHz (ITU-R BS.1534-3), in time with it."""

from functools import lru_cache

import numpy as np

ANCHORS = {"anchor35": 3500, "anchor70": 7000}  # role -> Hz that still pass
LEAST_RATE = {"anchor35": 12000, "anchor70": 24000}  # Hz: below, what the low-pass takes away is not there anyway
TRANSITION = 400  # Hz from where everything passes to where nothing does
ATTENUATION = 62  # dB there; the mask asks for 25 dB after 500 Hz and 50 dB after 1 kHz


@lru_cache(maxsize=8)
def low_pass(cutoff: int, rate: int) -> np.ndarray:
    """Taps of a linear-phase Kaiser low-pass, an odd number: what it delays by is a whole number of samples."""
    from scipy.signal import firwin, kaiserord

    taps, beta = kaiserord(ATTENUATION, TRANSITION / (rate / 2))
    return firwin(taps | 1, cutoff + TRANSITION / 2, window=("kaiser", beta), fs=rate)


def anchor(audio: np.ndarray, rate: int, role: str) -> np.ndarray:
    """[C, T] behind the low-pass of an anchor, neither delayed nor longer: float32 [C, T]."""
    from scipy.signal import oaconvolve

    taps = low_pass(ANCHORS[role], rate)
    whole = oaconvolve(audio, taps[None], mode="full", axes=-1)
    delay = len(taps) // 2
    return whole[:, delay : delay + audio.shape[1]].astype(np.float32)
