"""From the audio of runs to what is heard: one rate, one length, one loudness, ends faded, nothing else changed."""

import math
import os
import statistics
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from magnet_eval import audio
from magnet_eval.lookup import UserError
from magnet_eval.store import file_hash, writing
from magnet_eval.study.packet.anchors import ANCHORS, anchor

FADE = 0.005  # s at each end: a loop would click otherwise
SHORTEST = 0.8  # of the usual length: a clip that is shorter by more may be a mistake
LONGEST_DELAY = 0.05  # s by which a clip may lag behind its reference or lead it
ALIKE = 0.5  # correlation from which on a clip counts as a version of its reference
MTIME = 946684800  # 2000-01-01: of every file, so that none says when a system was run; a zip knows no 1970


@dataclass(frozen=True)
class Sound:
    """One clip to be heard, and how it is made of its file."""

    name: str  # for messages
    source: Path
    role: str
    sha256: str  # that its file must have; "" where nobody noted it
    offset: int = 0  # samples at the study's rate to cut at its start; below 0: zeros to put there


@dataclass(frozen=True)
class Format:
    """What all clips have in common."""

    rate: int
    channels: int
    n_samples: int = 0


def format_of(sounds: Sequence[Sound]) -> Format:
    """The highest rate and most channels of the systems' clips: none loses, and real clips come down to them."""
    files = [sound.source for sound in sounds if sound.role == "system"]
    return Format(max(map(audio.rate, files)), min(2, max(map(audio.channels, files))))


def length(sounds: Sequence[Sound], form: Format, seconds: float | None, longest: float) -> int:
    """Samples that every clip has: those of the shortest one, or of ``seconds``, but at most of ``longest``.

    Raises UserError where a clip is shorter than asked for, or much shorter than the others.
    """
    lengths = {sound: audio.duration(sound.source) - max(sound.offset, 0) / form.rate for sound in sounds}
    shortest = min(lengths, key=lambda sound: lengths[sound])
    if seconds is None:
        usual = min(longest, statistics.median(lengths.values()))
        if lengths[shortest] < SHORTEST * usual:
            raise UserError(
                f"{shortest.name} is {lengths[shortest]:.2f} s long, the clips' median is {usual:.2f} s. Leave its "
                f"prompt out with leave_out=[PROMPT ID], or cut all with seconds={lengths[shortest]:.2f}."
            )
        seconds = min(longest, lengths[shortest])
    elif lengths[shortest] < seconds - 0.5 / form.rate:
        raise UserError(
            f"{shortest.name} has {lengths[shortest]:.2f} s, shorter than seconds={seconds:g}. Ask for less."
        )
    return math.floor(seconds * form.rate + 1e-6)


def verified(sound: Sound) -> Sound:
    """``sound`` with the hash of its file. Raises UserError if that is gone, or not the one that was scored."""
    if not sound.source.is_file():
        raise UserError(f"{sound.name}: no audio file {sound.source}. Generate it again, or leave its prompt out.")
    found = file_hash(sound.source)
    if sound.sha256 and found != sound.sha256:
        raise UserError(f"{sound.name}: {sound.source} was changed since it was made. Generate it again.")
    return replace(sound, sha256=found)


def aligned(sound: Sound, reference: Sound, form: Format) -> Sound:
    """``sound`` with the offset at which it fits its reference best; 0 where it is no version of it."""
    from scipy.signal import correlate, correlation_lags

    x, y = (audio.mono(conformed(one, form)).astype(np.float64) for one in (sound, reference))
    n = min(len(x), len(y))
    x, y = x[:n], y[:n]
    lags = correlation_lags(n, n)
    near = abs(lags) <= LONGEST_DELAY * form.rate
    scale = math.sqrt((x @ x) * (y @ y))
    found = correlate(x, y, method="fft")[near] / (scale or 1.0)
    best = int(found.argmax())
    return replace(sound, offset=int(lags[near][best]) if found[best] >= ALIKE else 0)


def conformed(sound: Sound, form: Format) -> np.ndarray:
    """The whole clip at the study's rate and channels, behind its anchor's low-pass: float32 [C, T]."""
    samples, rate = audio.read(sound.source)
    if samples.shape[0] != form.channels:
        samples = np.repeat(audio.mono(samples)[None], form.channels, axis=0)
    samples = audio.resample(samples, rate, form.rate)
    return anchor(samples, form.rate, sound.role) if sound.role in ANCHORS else samples


def rendered(sound: Sound, form: Format) -> np.ndarray:
    """The clip as it will be heard, but for its level: float32 [C, n_samples]."""
    samples = conformed(sound, form)
    cut = np.pad(samples, [(0, 0), (max(-sound.offset, 0), 0)])[:, max(sound.offset, 0) :]
    n = round(FADE * form.rate)
    ramp = np.sin(np.arange(n) / n * np.pi / 2).astype(np.float32) ** 2
    heard = audio.fit_length(cut, form.n_samples).copy()
    heard[:, :n] *= ramp
    heard[:, -n:] *= ramp[::-1]
    return heard


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Writes [C, T] as 16-bit WAV with the 44 bytes of header that it needs and no more."""
    with writing(path):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(samples.shape[0])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(to_int16(samples).T.tobytes())
        os.utime(path, (MTIME, MTIME))


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples rounded to 16 bits, little-endian."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
