"""What happens to a clip before a network hears it, as data: one ``Front`` for each published convention.

Every tool resamples, levels, quantises and pads in its own way, and each way moves the scores. A preset names one of
them; front.py does what its ``Front`` says.
"""

from dataclasses import dataclass

RESAMPLERS = ("soxr-hq", "julius", "torchaudio", "kaiser-64", "resampy-best")
CHANNELS = ("mean", "first")


@dataclass(frozen=True)
class Front:
    """The steps from a file's samples to a network's, in the order of the fields."""

    rate: int  # Hz that the network hears
    loudness: float | None = None  # LUFS that generated clips (never references) are brought to, then clamped to +-1
    channels: str = "mean"  # "first" takes channel 0
    remove_dc: bool = False  # subtract the mean
    peak_before: float | None = None  # dBFS that the peak is brought to before resampling ...
    resampler: str = "soxr-hq"
    peak_after: float | None = None  # ... or after it
    int16: bool = False  # rounded to 16 bit, as a WAV file does
    at_least: float = 0.0  # seconds; zeros are added behind
    at_most: float | None = None  # seconds; the rest is cut off
