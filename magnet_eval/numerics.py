"""The numerics of published scores as data: each preset names one tool's way of hearing clips and comparing them.

Every tool levels, resamples, quantises and pads clips in its own way, and each way moves the scores. ``FRONTS`` has a
clip's way to each network, done by front.py; ``OPTIONS`` what the embedder does with it; ``DIVERGENCES`` and
``HALF`` what is computed from the frames. All divide a covariance by n - 1. Read in the tools' own sources:

- ``native``: this suite's own. No change of level, the best resampler, no 16 bit, windows laid end to end.
- ``audiocraft-tf``: audiocraft 1.4.0a2 (metrics, solvers/musicgen.py), which wrote the scores of MusicGen, AudioGen and
  MAGNeT, and google-research's frechet_audio_distance, which it calls. It refuses pairs of different lengths; here each
  clip is heard whole, and a KL leaves out segments that only one of a pair has. It keeps moments as float32, which
  moves a distance by 1e-6 of it or less, and is not followed.
- ``audiocraft-tf-sound``: the same for AudioGen and AudioMAGNeT, whose audio and AudioCaps are kept at 16 kHz; only the
  KL hears that, which takes 32 kHz. FAD and CLAP score are those of ``audiocraft-tf``.
- ``audioldm_eval-cnn14``: audioldm_eval of 2024-09 with backbone "cnn14" at 16 kHz (datasets/load_mel.py, eval.py).
- ``sam-v1``: stable-audio-metrics of 2024-03, as in its examples.
- ``av-bench``: av-benchmark of 2025 with --audio_length=10; its own default are 8 s, for video.
- ``fadtk-1.1``: fadtk 1.1.0, which keeps frames in half precision; kadtk is a branch of it and hears as it does. Not
  followed: each clip's mean in half precision too (1e-4 of a distance, or less), and NaN for every set that has a clip
  of one frame; here such a clip counts as any other.
- ``frechet-audio-distance-0.3``: frechet-audio-distance 0.3.4 on resampy 0.4, whose filter is not that of 0.2 and 0.3.
  Of stereo files at another rate than 48 kHz its EnCodec hears noise, as channels are resampled in place of time; here
  they are resampled as meant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

PRESETS = (
    "native", "audiocraft-tf", "audiocraft-tf-sound", "audioldm_eval-cnn14", "sam-v1", "av-bench", "fadtk-1.1",
    "frechet-audio-distance-0.3",
)  # fmt: skip
NETWORKS = ("vggish", "cnn14", "passt", "clap", "encodec", "encodec_32khz", "encodec_48khz", "openl3")
RESAMPLERS = ("soxr-hq", "julius", "torchaudio", "torchaudio-functional", "kaiser-64", "resampy-best")
CHANNELS = ("mean", "first", "stereo")
INT16 = ("nearest", "truncated")


@dataclass(frozen=True)
class Front:
    """The steps from a file's samples to a network's, in the order of the fields."""

    rate: int  # Hz that the network hears
    via: int | None = None  # Hz that clips come down (or up) to first, being those of the tool's models and data sets
    loudness: float | None = None  # LUFS that generated clips (never references) are brought to, then clamped to +-1
    channels: str = "mean"  # "first" takes channel 0; "stereo" the first two, or a single one twice
    remove_dc: bool = False  # subtract the mean
    peak_before: float | None = None  # dBFS that the peak is brought to before resampling ...
    resampler: str = "soxr-hq"
    peak_after: float | None = None  # ... or after it
    # Steps through 16 bits: "nearest" of 2^15, as ffmpeg and SoX write files; "truncated" toward zero to 32,767ths, as
    # laion_clap does. fadtk does both, and a sample that comes from a file then loses one step.
    int16: tuple[str, ...] = ()
    at_most: float | None = None  # seconds; the rest is cut off
    at_least: float = 0.0  # seconds; zeros are added behind


@dataclass(frozen=True)
class Divergence:
    """How a pair's KL is computed from a classifier's logits (metrics/divergence.py)."""

    direction: str  # KL(reference || generated), or the reverse
    epsilon: float  # added to the second distribution
    pooling: str  # of a clip's windows: "segments" (each is a pair of its own) or "logits" (their mean)


_AUDIOCRAFT = Front(32_000, loudness=-14.0, resampler="julius")
_ALDM = Front(16_000, channels="first", remove_dc=True, resampler="torchaudio-functional", at_least=2.0)
_AV = Front(16_000, remove_dc=True, resampler="torchaudio", at_most=10.0)
_FADTK = Front(16_000, resampler="kaiser-64", int16=("nearest",))
_FAD = Front(16_000, resampler="resampy-best")

FRONTS: dict[tuple[str, str], Front] = {
    ("native", "vggish"): Front(16_000),
    ("native", "cnn14"): Front(32_000),
    ("native", "passt"): Front(32_000),
    ("native", "clap"): Front(48_000),
    ("native", "encodec"): Front(24_000),
    ("native", "encodec_32khz"): Front(32_000),
    ("native", "encodec_48khz"): Front(48_000, channels="stereo"),
    # audiocraft writes both sides at -1 dBFS, though a comment in it says that references are left as they are.
    ("audiocraft-tf", "vggish"): replace(_AUDIOCRAFT, rate=16_000, peak_after=-1.0, int16=("nearest",)),
    ("audiocraft-tf", "passt"): _AUDIOCRAFT,
    ("audiocraft-tf", "clap"): replace(_AUDIOCRAFT, rate=48_000),
    ("audiocraft-tf-sound", "passt"): replace(_AUDIOCRAFT, via=16_000),
    ("audioldm_eval-cnn14", "vggish"): _ALDM,
    ("audioldm_eval-cnn14", "cnn14"): _ALDM,
    # Only OpenL3's peak is set before resampling, over both channels; the package goes from 44.1 to 48 kHz itself.
    ("sam-v1", "openl3"): Front(44_100, channels="stereo", peak_before=-1.0),
    ("sam-v1", "passt"): Front(32_000, peak_after=-1.0),
    ("sam-v1", "clap"): Front(48_000, peak_after=-1.0, int16=("truncated",)),
    ("av-bench", "vggish"): _AV,
    ("av-bench", "cnn14"): _AV,
    ("av-bench", "passt"): replace(_AV, rate=32_000, at_least=10.0),
    ("av-bench", "clap"): replace(_AV, rate=48_000),
    ("fadtk-1.1", "vggish"): replace(_FADTK, at_least=1.0),
    ("fadtk-1.1", "clap"): replace(_FADTK, rate=48_000, int16=("nearest", "truncated")),
    ("fadtk-1.1", "encodec"): replace(_FADTK, rate=24_000, at_most=180.0),
    ("fadtk-1.1", "encodec_48khz"): replace(_FADTK, rate=48_000, at_most=180.0),  # mono, in both channels
    ("frechet-audio-distance-0.3", "vggish"): _FAD,
    ("frechet-audio-distance-0.3", "cnn14"): _FAD,
    ("frechet-audio-distance-0.3", "clap"): replace(_FAD, rate=48_000),
    ("frechet-audio-distance-0.3", "encodec"): replace(_FAD, rate=24_000),
    ("frechet-audio-distance-0.3", "encodec_48khz"): replace(_FAD, rate=48_000, channels="stereo"),
}

_END_TO_END = {"weights": "vggish", "window": 15_600, "hop": 15_360}  # 96 frames of 10 ms; torchvggish's
_HALF_SECONDS = {"weights": "vggish", "window": 16_000, "hop": 8_000, "positive_peak": True}  # Google's
_MUSIC, _SPEECH = "music_audioset_epoch_15_esc_90.14", "music_speech_audioset_epoch_15_esc_89.98"

EMBEDDERS = {"encodec_32khz": "encodec", "encodec_48khz": "encodec"}  # those of the other networks have their names

# Of a network's embedder. Networks that no embedder has (openl3) are not here.
OPTIONS: dict[tuple[str, str], Mapping[str, Any]] = {
    ("native", "vggish"): _END_TO_END,
    ("native", "cnn14"): {"weights": "cnn14-32k"},
    ("native", "passt"): {"weights": "passt-10s", "windows": "segments"},
    ("native", "clap"): {"weights": _MUSIC, "crop": "windows", "padding": "pad"},
    ("native", "encodec"): {"weights": "encodec_24khz"},
    ("native", "encodec_32khz"): {"weights": "encodec_32khz"},
    ("native", "encodec_48khz"): {"weights": "encodec_48khz"},
    ("audiocraft-tf", "vggish"): _HALF_SECONDS,
    ("audiocraft-tf", "passt"): {"weights": "passt-20s", "windows": "segments"},
    ("audiocraft-tf-sound", "passt"): {"weights": "passt-10s", "windows": "segments"},  # config/solver/audiogen
    ("audiocraft-tf", "clap"): {"weights": _MUSIC, "crop": "seeded"},  # laion_clap cuts clips over 10 s at random
    ("audioldm_eval-cnn14", "vggish"): _END_TO_END,
    ("audioldm_eval-cnn14", "cnn14"): {"weights": "cnn14-16k"},
    ("sam-v1", "passt"): {"weights": "passt-10s", "windows": "overlapping"},  # 10 s every 5 s
    ("sam-v1", "clap"): {"weights": "630k-audioset-fusion-best", "crop": "windows"},  # itself: three random chunks
    ("av-bench", "vggish"): _END_TO_END,
    ("av-bench", "cnn14"): {"weights": "cnn14-16k"},
    ("av-bench", "passt"): {"weights": "passt-10s", "windows": "segments"},
    ("av-bench", "clap"): {"weights": _SPEECH, "crop": "first"},
    ("fadtk-1.1", "vggish"): _END_TO_END,
    ("fadtk-1.1", "clap"): {"weights": _MUSIC, "crop": "seconds", "padding": "pad"},
    ("fadtk-1.1", "encodec"): {"weights": "encodec_24khz", "level": False},
    ("fadtk-1.1", "encodec_48khz"): {"weights": "encodec_48khz", "level": False},
    ("frechet-audio-distance-0.3", "vggish"): _END_TO_END,
    ("frechet-audio-distance-0.3", "cnn14"): {"weights": "cnn14-16k"},
    ("frechet-audio-distance-0.3", "clap"): {"weights": "630k-audioset-best", "crop": "seeded"},
    ("frechet-audio-distance-0.3", "encodec"): {"weights": "encodec_24khz", "segments": False, "level": False},
    ("frechet-audio-distance-0.3", "encodec_48khz"): {"weights": "encodec_48khz", "segments": False, "level": False},
}

_AUDIOCRAFT_KL = Divergence("reference_generated", epsilon=1e-6, pooling="segments")
DIVERGENCES: dict[str, Divergence] = {
    "native": Divergence("reference_generated", epsilon=0.0, pooling="logits"),
    "audiocraft-tf": _AUDIOCRAFT_KL,
    "audiocraft-tf-sound": _AUDIOCRAFT_KL,
    "audioldm_eval-cnn14": Divergence("reference_generated", epsilon=1e-6, pooling="logits"),
    "sam-v1": Divergence("generated_reference", epsilon=1e-6, pooling="logits"),
    "av-bench": Divergence("reference_generated", epsilon=0.0, pooling="logits"),
}
HALF = ("fadtk-1.1", "kadtk-1.1")  # presets of the tools that keep frames in half precision
