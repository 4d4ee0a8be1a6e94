"""The clips of a data set from YouTube, through the optional package yt-dlp and the program ffmpeg.

Never needed: any folder with the clips will do. Many videos are gone, and YouTube may turn a downloader away.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError
from magnet_eval.progress import Progress
from magnet_eval.prompts.datasets import Entry
from magnet_eval.store import writing

SHOWN_FAILURES = 3

log = logging.getLogger(__name__)


def download(entries: Iterable[Entry], folder: Path, progress: Progress) -> str:
    """Downloads the clips that are not there yet to folder/ID.wav; what came of it.

    A clip that cannot be had is a warning. Raises UserError if yt-dlp or ffmpeg is not installed.
    """
    try:
        import yt_dlp
    except ImportError as error:
        raise UserError("data download needs the package yt-dlp: pip install 'magnet-eval[download]'.") from error
    if not shutil.which("ffmpeg"):
        raise UserError("data download needs the program ffmpeg, which cuts the clips out. Install it, then try again.")
    clips = {entry.clip: entry for entry in entries}
    todo = [clip for clip in clips.values() if not (folder / f"{clip.clip}.wav").is_file()]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    n_failed = 0
    for done, clip in enumerate(todo, start=1):
        with writing(folder), tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as place:
            try:
                with yt_dlp.YoutubeDL(settings(clip, Path(place), yt_dlp.utils)) as program:
                    program.download([f"https://www.youtube.com/watch?v={clip.clip}"])
                (Path(place) / f"{clip.clip}.wav").replace(folder / f"{clip.clip}.wav")
            except (yt_dlp.utils.YoutubeDLError, FileNotFoundError) as error:
                n_failed += 1
                if n_failed <= SHOWN_FAILURES:
                    log.warning("no clip %s: %s", clip.clip, " ".join(str(error).split()))
        progress("download", done, len(todo))
    return f"{len(todo) - n_failed} clips downloaded, {len(clips) - len(todo)} were there, {n_failed} failed: {folder}"


def settings(clip: Entry, place: Path, utils: Any) -> dict[str, Any]:
    """What yt-dlp is told: the best sound of the clip's part of the video, cut to the sample, as WAV."""
    return {
        "format": "bestaudio/best",
        "outtmpl": {"default": f"{str(place).replace('%', '%%')}/{clip.clip}.%(ext)s"},
        "download_ranges": utils.download_range_func(None, [(clip.start, clip.end)]),
        "force_keyframes_at_cuts": True,
        "postprocessors": [{"key": "FFmpegExtractAudio", "preferredcodec": "wav"}],
        "noplaylist": True,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": logging.Logger("yt-dlp", logging.CRITICAL),  # what fails comes as an exception too
    }
