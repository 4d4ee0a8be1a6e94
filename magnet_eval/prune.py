"""Disk space back from a finished run: its audio, or the cache, goes; scores, clips on record and manifest stay."""

import re
from collections.abc import Iterator
from pathlib import Path

from magnet_eval import remote
from magnet_eval.audio import SUFFIXES
from magnet_eval.lookup import UserError
from magnet_eval.options import PruneOptions
from magnet_eval.store import RunFolder, now, writing

CACHED = re.compile(r"[0-9a-f]{64}\.(npz|json)")
LOST = {
    "audio": "report shows no players; run and generate make the clips again, which takes their time again",
    "cache": "scoring again embeds every clip again, and so do the other runs of this results folder",
}


def prune(chosen: PruneOptions) -> str:
    """What would be freed; with yes=true it is, and the manifest says so. Raises UserError if there is no such run."""
    assert chosen.run  # PruneOptions has checked it
    folder = remote.run_folder(chosen.run)
    if not (folder.path / "manifest.json").is_file():
        raise UserError(f"{chosen.run} is no run folder: it holds no manifest.json. See: magnet-eval list runs.")
    with folder.lock():
        files = list(FILES[chosen.what](folder))
        size = sum(path.stat().st_size for path in files)
        total = f"{len(files)} files of {chosen.what}, {size / 1e6:.1f} MB"
        if not files:
            return f"nothing to remove: {folder.path} has no {chosen.what} left"
        if not chosen.yes:
            return f"would remove {total}, and keep scores and manifest; afterwards {LOST[chosen.what]}. Add yes=true."
        entry = {"at": now(), "n_files": len(files), "bytes": size}
        folder.update_manifest(pruned={**folder.manifest().get("pruned", {}), chosen.what: entry})
        for path in files:
            with writing(path):
                path.unlink(missing_ok=True)
    return f"removed {total}; {LOST[chosen.what]}"


def audio_of(folder: RunFolder) -> Iterator[Path]:
    """The audio files of every system of a run; folders that are links to somewhere else are left alone."""
    for record in sorted(folder.path.glob("*/clips.jsonl")):
        home = record.parent / "audio"
        if not record.parent.is_symlink() and not home.is_symlink() and home.is_dir():
            yield from sorted(path for path in home.iterdir() if path.suffix in SUFFIXES and path.is_file())


def cache_of(folder: RunFolder) -> Iterator[Path]:
    """Embeddings and computed scores of the results folder that the run is in."""
    if folder.cache.is_dir():
        yield from sorted(path for path in folder.cache.iterdir() if CACHED.fullmatch(path.name))


FILES = {"audio": audio_of, "cache": cache_of}
