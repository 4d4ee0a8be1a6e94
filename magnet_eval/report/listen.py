"""The listening part of a report: every system's clip of a prompt beside the real one, with spectrograms and scores.

Audio goes into the page as FLAC (lossless, played by every current browser) until ``INLINE_LIMIT`` is reached; the
clips of the remaining prompts lie in a folder beside the page. Prompts come with the telling ones first; of more than
``MOST_PROMPTS`` only these and a draw of the others are shown.
"""

import base64
import functools
import io
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from magnet_eval import audio
from magnet_eval.lookup import UserError
from magnet_eval.records import ClipScore, Prompt
from magnet_eval.report.data import Data, shown_label
from magnet_eval.report.numbers import decimals, number

INLINE_LIMIT = 24_000_000  # bytes of FLAC; base64 makes them 4/3 as many: the page stays below 35 MB
REFERENCE = "real clip"
BADGES = ("best", "worst", "most disagreed")
MOST_PROMPTS = 64  # up to so many, all are shown
TELLING, DRAWN = 5, 15  # else so many of each badge, and so many drawn from the rest


def flac(samples: np.ndarray, rate: int) -> bytes:
    """[C, T] float audio as 16-bit FLAC: equal to a 16-bit WAV file sample by sample."""
    import soundfile

    buffer = io.BytesIO()
    whole = np.clip(np.rint(samples.T * 32768.0), -32768, 32767).astype(np.int16)  # the scale that reading divides by
    soundfile.write(buffer, whole, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


@functools.cache
def mel_bands(rate: int, n_bins: int, n_bands: int) -> np.ndarray:
    """Weights float32 [n_bins, n_bands] that average power in bands of equal width on the mel scale."""
    edges = np.expm1(np.linspace(0, np.log1p(rate / 2 / 700), n_bands + 1)) * 700 / (rate / 2) * (n_bins - 1)
    low = np.floor(edges[:-1]).astype(int)
    high = np.maximum(low + 1, np.ceil(edges[1:]).astype(int))
    bins = np.arange(n_bins)[:, None]
    inside = (bins >= low) & (bins < high)
    return (inside / inside.sum(axis=0)).astype(np.float32)


def spectrogram(samples: np.ndarray, rate: int, width: int = 200, height: int = 64, window: int = 1024) -> np.ndarray:
    """Levels of [T] audio as an image, uint8 [height, width]: loud is dark, frequency up on a mel scale.

    Hann windows, power averaged in mel-spaced bands, 70 dB below the loudest is white.
    """
    padded = np.pad(samples.astype(np.float32), (window // 2, window))
    starts = np.linspace(0, len(samples) - 1, width).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[starts] * np.hanning(window).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    bands = power @ mel_bands(rate, power.shape[1], height)  # [width, height]
    level = 10 * np.log10(np.maximum(bands, 1e-12) / max(float(bands.max()), 1e-9))
    return (255 * np.clip(-level / 70, 0, 1)).astype(np.uint8).T[::-1]


def png(image: np.ndarray) -> bytes:
    """A grey uint8 [height, width] image as PNG of 16 levels, 4 bits a pixel; an odd width loses its last column."""
    nibbles = image[:, : image.shape[1] // 2 * 2] >> 4
    packed = nibbles[:, ::2] << 4 | nibbles[:, 1::2]
    lines = b"".join(b"\0" + line.tobytes() for line in packed)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", nibbles.shape[1], nibbles.shape[0], 4, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def standardised(data: Data) -> dict[str, dict[str, float]]:
    """Merit of each clip, by prompt and system: its scores as z-values, better upwards, averaged over the metrics."""
    better = {row.metric: row.better for row in data.quality}
    by_metric: dict[str, list[ClipScore]] = defaultdict(list)
    for row in data.clip_scores:
        system = data.systems.get(row.system)
        if system and not system.role and better.get(row.metric):
            by_metric[row.metric].append(row)
    merits: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for metric, rows in by_metric.items():
        values = np.array([row.value for row in rows])
        z = (values - values.mean()) / (values.std() or 1.0) * (-1 if better[metric] == "lower" else 1)
        for row, merit in zip(rows, z, strict=True):
            merits[row.prompt_id][row.system].append(float(merit))
    return {prompt: {label: float(np.mean(z)) for label, z in own.items()} for prompt, own in merits.items()}


def in_order(data: Data) -> list[tuple[Prompt, str]]:
    """The prompts with a badge each ("" for most): best, worst and most disagreed first, then as in the protocol.

    Of more than MOST_PROMPTS: TELLING of each badge, then DRAWN of the others, drawn with a seed of 0.
    """
    merits = standardised(data)
    is_all = len(data.prompts) <= MOST_PROMPTS
    keys: tuple[Callable[[str], float], ...] = (
        lambda key: -float(np.mean(list(merits[key].values()))),
        lambda key: float(np.mean(list(merits[key].values()))),
        lambda key: -float(np.ptp(list(merits[key].values()))),
    )
    badges: dict[str, str] = {}
    for badge, key in zip(BADGES, keys, strict=True):
        left = [prompt.id for prompt in data.prompts if prompt.id in merits and prompt.id not in badges]
        badges.update(dict.fromkeys(sorted(left, key=key)[: 1 if is_all else TELLING], badge))
    by_id = {prompt.id: prompt for prompt in data.prompts}
    rest = [prompt for prompt in data.prompts if prompt.id not in badges]
    if not is_all:
        chosen = np.random.default_rng(0).choice(len(rest), min(DRAWN, len(rest)), replace=False)
        rest = [rest[i] for i in sorted(chosen)]
    return [(by_id[key], badge) for key, badge in badges.items()] + [(prompt, "") for prompt in rest]


def which(data: Data) -> str:
    """Which prompts are shown, and in what order."""
    n = len(data.prompts)
    if n <= MOST_PROMPTS:
        return "The best, the worst and the most disagreed prompt come first."
    badges = {prompt_badge for _, prompt_badge in in_order(data)}
    drawn = f"{DRAWN} drawn at random (seed 0)"
    if badges == {""}:
        return f"Of the {n:,} prompts these are {drawn}."
    return (
        f"Of the {n:,} prompts these are the {TELLING} best, {TELLING} worst and {TELLING} most disagreed, and {drawn}."
    )


class Sounds:
    """Turns audio files into what the page plays: inline until the limit, then files beside the page."""

    def __init__(self, folder: Path, limit: int = INLINE_LIMIT) -> None:
        """``folder`` is where audio beyond ``limit`` bytes goes; it is made when it is needed."""
        self.folder, self.left = folder, limit
        self.files: dict[str, bytes] = {}

    def add(self, path: Path, name: str) -> dict[str, Any]:
        """The entry of one file: audio (base64) or src, spectrogram (base64 PNG), seconds. Raises UserError."""
        samples, rate = audio.read(path)
        content = flac(samples, rate)
        entry: dict[str, Any] = {
            "seconds": round(samples.shape[1] / rate, 2),
            "picture": base64.b64encode(png(spectrogram(audio.mono(samples), rate))).decode(),
        }
        if self.left >= len(content):
            self.left -= len(content)
            entry["audio"] = base64.b64encode(content).decode()
        else:
            self.left = 0  # from here on everything is beside the page: a prompt is not split at random
            self.files[name] = content
            entry["src"] = f"{self.folder.name}/{name}"
        return entry


def scores_of(data: Data, prompts: set[str]) -> dict[tuple[str, str], list[list[str]]]:
    """Label and value of every metric of each clip of ``prompts``, by system and prompt."""
    labels = {row.metric: shown_label(row) for row in data.plain}
    found: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
    for row in data.clip_scores:
        if row.prompt_id in prompts:
            value = number(row.value, decimals(row.value))
            found[row.system, row.prompt_id].append([labels.get(row.metric, row.metric), value])
    return found


def entries(data: Data, sounds: Sounds) -> list[dict[str, Any]]:
    """What the page shows, one entry per prompt: caption, badge, and its clips, the real one first if it is here."""
    clips = {(clip.system, clip.prompt_id): clip for own in data.clips.values() for clip in own}
    chosen, has_real, shown = in_order(data), has_reference(data), []
    scores = scores_of(data, {prompt.id for prompt, _ in chosen})
    for i, (prompt, badge) in enumerate(chosen):
        items = []
        if prompt.reference and has_real:
            items.append(_item(sounds, Path(prompt.reference), REFERENCE, f"{i:03d}-real.flac", []))
        for k, label in enumerate(data.systems):
            clip = clips.get((label, prompt.id))
            path = data.folder.path / clip.path if clip else None
            if clip and (Path(clip.path).is_absolute() or ".." in Path(clip.path).parts):
                path = None  # a run from elsewhere may read no file outside its folder
            items.append(_item(sounds, path, label, f"{i:03d}-{k}.flac", scores.get((label, prompt.id), [])))
        tags = [f"{name}: {value}" for name, value in prompt.tags.items()]
        shown.append({"id": prompt.id, "text": prompt.text, "badge": badge, "tags": tags, "items": items})
    return shown


def has_reference(data: Data) -> bool:
    """Whether any real clip of the run is on this machine."""
    return any(prompt.reference and Path(prompt.reference).is_file() for prompt in data.prompts)


def _item(sounds: Sounds, path: Path | None, label: str, name: str, scores: Sequence[Sequence[str]]) -> dict[str, Any]:
    """One clip; a missing or unreadable one says so."""
    item: dict[str, Any] = {"system": label, "scores": scores}
    if path is None:
        return {**item, "missing": "no clip"}
    try:
        return {**item, **sounds.add(path, name)}
    except (UserError, OSError, ValueError) as error:  # the latter two of a name that no disk takes
        return {**item, "missing": str(error)}
