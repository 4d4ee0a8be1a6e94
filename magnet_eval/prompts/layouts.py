"""How tools name the audio of a clip of a video, and where it is in a user's folder. Folders are only ever read."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

from magnet_eval.audio import SUFFIXES
from magnet_eval.lookup import UserError

# What downloads also leave. Some of it soundfile opens; the rest is better called unreadable than missing.
OTHERS = (".opus", ".aiff", ".aif", ".m4a", ".aac", ".webm", ".mp4")
ALL = (*SUFFIXES, *OTHERS)


def index(folder: Path) -> dict[str, Path]:
    """Stem to path of every audio file in a folder and below; of several files of one stem the first in ALL wins.

    Raises UserError if there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}. Give the one that holds the clips, in any subfolders.")
    files = [file for file in folder.rglob("*") if file.suffix.lower() in ALL and not file.name.startswith(".")]
    files.sort(key=lambda file: (ALL.index(file.suffix.lower()), file))
    return {file.stem: file for file in reversed(files)}


def clip_file(files: Mapping[str, Path], clip: str, start: float, end: float, *ids: str) -> Path | None:
    """The file of a clip among ``files`` (see index), in the first layout that fits; None where there is none."""
    return next((files[stem] for stem in stems(clip, start, end, *ids) if stem in files), None)


def stems(clip: str, start: float, end: float, *ids: str) -> Iterator[str]:
    """The file names, without suffix, that a clip may have; ``ids`` are those of its captions.

    Most telling first: <video> alone may be another clip of it, or a caption's id another number. YouTube ids hold
    hyphens and underscores, so that names are built and looked up, never taken apart.
    """
    for first, last in _times(start, end):
        yield f"[{clip}]-[{first}-{last}]"
        yield f"{clip}_{first}_{last}"
        yield f"{clip}_{first}"
    yield clip
    yield f"Y{clip}"  # AudioSet's habit: no file name begins with a hyphen
    yield from ids


@functools.cache
def _times(start: float, end: float) -> tuple[tuple[str, str], ...]:
    """Both times as they are written: 30, 30.0, 30.000, and in milliseconds."""
    kinds = (lambda t: f"{t:g}", lambda t: f"{t:.1f}", lambda t: f"{t:.3f}", lambda t: f"{round(1000 * t)}")
    return tuple((kind(start), kind(end)) for kind in kinds)
