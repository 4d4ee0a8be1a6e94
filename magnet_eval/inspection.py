"""What is wrong with a system's clips before any score: silence, clipping, another length, the same clip twice.

Each finding is reported by clip and counts as it is: no clip is left out or replaced because of one.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from magnet_eval import audio
from magnet_eval.lookup import UserError
from magnet_eval.metrics.checks import Fault, audio_faults, duplicates
from magnet_eval.records import Clip, Prompt
from magnet_eval.store import content_key, write_atomic

VERSION = 1  # raise it when a change of code changes a finding


def inspect(root: Path, cache: Path, clips: Sequence[Clip], prompts: Mapping[str, Prompt]) -> list[Fault]:
    """The faults of one system's clips, from the cache where they are known. ``root`` is what clips' paths start at."""
    asked = [(clip.prompt_id, clip.sha256, seconds_of(clip, prompts)) for clip in clips]
    path = cache / f"{content_key('inspection', VERSION, asked)}.json"
    try:
        return [Fault(**{**row, "clips": tuple(row["clips"])}) for row in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError, KeyError):
        pass  # not looked at yet, or damaged
    found = [fault for clip in clips for fault in _of_clip(root, clip, seconds_of(clip, prompts))]
    found += duplicates({clip.prompt_id: clip.sha256 for clip in clips})
    write_atomic(path, json.dumps([asdict(fault) for fault in found]))
    return found


def seconds_of(clip: Clip, prompts: Mapping[str, Prompt]) -> float | None:
    """How long a clip should be: what was asked for, less the frames that its model's spans leave out."""
    if clip.prompt_id not in prompts:
        return None
    share = clip.frames_made / clip.frames_asked if clip.frames_asked else 1.0
    return prompts[clip.prompt_id].seconds * share


def summary(faults: Sequence[Fault], n_clips: int) -> str:
    """The faults of ``n_clips`` clips in one line; "" for none."""
    if not faults:
        return ""
    kinds = Counter(fault.kind for fault in faults for _ in fault.clips)
    concerned = {clip for fault in faults for clip in fault.clips}
    words = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in kinds.most_common())
    return f"{len(concerned)} of {n_clips} clips are odd: {words}"


def _of_clip(root: Path, clip: Clip, seconds: float | None) -> Iterator[Fault]:
    try:
        samples, rate = audio.read(root / clip.path)
    except UserError:
        return  # a clip that is gone or cannot be read is a failure, which scoring names
    yield from audio_faults(clip.prompt_id, samples, rate, seconds)
