"""Audio in and out: read, write, resample, mono, fit length, loudness.

Conventions: float32 in [-1, 1], channels first [C, T] (or mono [T]); rates in Hz; lengths in samples.
"""

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from magnet_eval.lookup import UserError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
FORMATS = ("wav", "flac")  # that clips are kept in: 16 bits, the same samples in both


def read(path: Path | str) -> tuple[np.ndarray, int]:
    """The audio of a wav, flac, mp3 or ogg file: float32 [C, T] and its rate in Hz.

    Raises UserError, naming the file, if it is missing, unreadable, without samples, or holds a NaN or an infinity.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise UserError(f"no audio file {path}. Check the path, or leave this clip out.")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)  # [T, C]
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise UserError(
            f"cannot read the audio file {path}: {error}. "
            f"Readable are {', '.join(SUFFIXES)}; convert or remove the file."
        ) from error
    if len(samples) == 0:
        raise UserError(f"the audio file {path} holds no samples. Make it again, or remove it.")
    if not np.isfinite(samples).all():
        raise UserError(f"the audio file {path} holds NaN or infinite samples. Make it again, or remove it.")
    return np.ascontiguousarray(samples.T), rate


def duration(path: Path | str) -> float:
    """Seconds of an audio file as its header says, without reading its samples. Raises UserError if it has none."""
    return _header(path).duration


def rate(path: Path | str) -> int:
    """Hz of an audio file as its header says. Raises UserError if it has none."""
    return _header(path).samplerate


def channels(path: Path | str) -> int:
    """Channels of an audio file as its header says. Raises UserError if it has none."""
    return _header(path).channels


def _header(path: Path | str) -> Any:
    import soundfile

    try:
        return soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise UserError(f"cannot read the audio file {path}: {error}. Convert or remove the file.") from error


def write(path: Path | str, audio: np.ndarray, rate: int) -> None:
    """Writes [C, T] or [T] float audio as 16-bit WAV, or FLAC to a name.flac, clipped to [-1, 1]; whole or not at all.

    Raises UserError on audio without samples or with a NaN or an infinity: such a file would poison every score.
    """
    import soundfile

    path = Path(path)
    samples = np.atleast_2d(np.asarray(audio, dtype=np.float32))
    if samples.ndim != 2 or samples.size == 0 or not np.isfinite(samples).all():
        raise UserError(f"will not write {path}: got audio of shape {np.shape(audio)}, allowed is finite [C, T].")
    kind, encoded = "FLAC" if path.suffix == ".flac" else "WAV", io.BytesIO()
    # In memory: on a full disk its writes into a file would print a traceback of their own.
    soundfile.write(encoded, _sixteen_bits(samples.T), rate, format=kind, subtype="PCM_16")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(encoded.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes private files
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sixteen_bits(samples: np.ndarray) -> np.ndarray:
    """int16 of float32 samples, as libsndfile makes them for WAV; for FLAC it would round where this rounds down."""
    wide = np.rint(np.clip(samples, -1.0, 1.0).astype(np.float64) * 2**31)
    return np.minimum(np.floor(wide / 2**16), 2**15 - 1).astype(np.int16)


def resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """[C, T] or [T] audio at another rate (soxr, high quality), float32; the same array if the rates are equal."""
    if from_rate == to_rate:
        return audio
    import soxr

    samples = soxr.resample(np.asarray(audio, dtype=np.float32).T, from_rate, to_rate, quality="HQ")
    return np.ascontiguousarray(samples.T)


def mono(audio: np.ndarray) -> np.ndarray:
    """[T]: the mean of the channels of [C, T]; [T] is returned as it is."""
    return audio if audio.ndim == 1 else audio.mean(axis=0)


def fit_length(audio: np.ndarray, n_samples: int) -> np.ndarray:
    """Audio of exactly ``n_samples``: trimmed at the end, or padded there with zeros."""
    missing = n_samples - audio.shape[-1]
    if missing <= 0:
        return audio[..., :n_samples]
    return np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, missing)])


def load_mono(path: Path | str, rate: int) -> np.ndarray:
    """A file as mono [T] float32 at ``rate``: what every embedder listens to."""
    samples, file_rate = read(path)
    return resample(mono(samples), file_rate, rate)


def loudness(audio: np.ndarray, rate: int) -> float:
    """Integrated loudness of [C, T] or [T] in LUFS (ITU-R BS.1770-4); -inf for silence.

    Raises ValueError on audio shorter than one gating block, 0.4 s.
    """
    import pyloudnorm

    return float(pyloudnorm.Meter(rate).integrated_loudness(np.atleast_2d(audio).T))
