"""Checks of the clips themselves, from arrays alone: what would make a score mean something else than it says.

Some networks like silence, and a file that stands twice counts twice: each finding is reported by clip, never replaced.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval.lookup import UserError

SILENCE_DB = -60.0  # RMS re full scale
FULL_SCALE = 0.9999  # 16-bit audio ends at 32767 / 32768
CLIPPED_SHARE = 0.01
TOLERANCE = 0.05  # s
NEAR = 1e-3  # of the set's RMS distance to its mean
BLOCK_VALUES = 2**23  # distances at a time: 64 MB


@dataclass(frozen=True)
class Fault:
    """One finding."""

    kind: str  # not_finite, silent, clipped, short, long, duplicate or near_duplicate
    clips: tuple[str, ...]  # ids; more than one where it is about their likeness
    detail: str  # one line for people


def level_db(audio: np.ndarray) -> float:
    """RMS of samples of any shape re full scale, in dB; -inf for digital silence."""
    rms = np.sqrt(np.mean(np.square(audio, dtype=np.float64)))
    return float(20 * np.log10(rms)) if rms > 0 else -np.inf


def clipped_share(audio: np.ndarray) -> float:
    """Share of samples at full scale, 0..1."""
    return float((np.abs(audio) >= FULL_SCALE).mean())


def audio_faults(clip_id: str, audio: np.ndarray, rate: int, seconds: float | None = None) -> list[Fault]:
    """What is wrong with a clip [C, T] or [T]: samples that are no numbers, silence, clipping, another length.

    ``seconds`` is the length asked for; None where any will do. Raises ValueError for audio without samples.
    """
    audio = np.atleast_2d(audio)
    if audio.size == 0:
        raise ValueError(f"clip {clip_id} holds no samples")
    n_bad = int((~np.isfinite(audio)).sum())
    if n_bad:
        return [Fault("not_finite", (clip_id,), f"{n_bad} samples are NaN or infinite")]
    faults, level, share = [], level_db(audio), clipped_share(audio)
    if level < SILENCE_DB:
        faults.append(Fault("silent", (clip_id,), f"{level:.1f} dB re full scale, below {SILENCE_DB:g}"))
    if share > CLIPPED_SHARE:
        faults.append(Fault("clipped", (clip_id,), f"{share:.1%} of samples at full scale"))
    length = audio.shape[1] / rate
    if seconds is not None and abs(length - seconds) > TOLERANCE:
        kind = "short" if length < seconds else "long"
        faults.append(Fault(kind, (clip_id,), f"{length:.2f} s, asked for {seconds:.2f}"))
    return faults


def duplicates(hashes: Mapping[str, str]) -> list[Fault]:
    """Clips of equal content, by clip id -> hash of the samples: one fault for each group of two or more."""
    groups = defaultdict(list)
    for clip_id, content in hashes.items():
        groups[content].append(clip_id)
    return [
        Fault("duplicate", tuple(ids), f"{len(ids)} clips have the same content")
        for ids in groups.values()
        if len(ids) > 1
    ]


def near_duplicates(ids: Sequence[str], embeddings: np.ndarray, near: float = NEAR) -> list[Fault]:
    """Clips whose embeddings [n, d] are nearly equal: one fault for each group that is linked by such pairs.

    Near is a distance of at most ``near`` times the set's RMS distance to its mean, so that neither the scale nor the
    offset of the embedding matters. A set that is equal throughout is one group.
    Raises ValueError for a NaN or an infinity, or for other numbers of ids and rows.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import cdist

    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(ids):
        raise ValueError(f"{len(ids)} clips need embeddings [{len(ids)}, d], got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("embeddings hold NaN or infinite values")
    if len(rows) < 2:
        return []
    rows = rows - rows.mean(axis=0)
    limit = near * np.sqrt((rows**2).sum(axis=1).mean())
    step = max(1, BLOCK_VALUES // len(rows))
    starts = range(0, len(rows), step)
    near_rows = [np.argwhere(cdist(rows[start : start + step], rows) <= limit) + (start, 0) for start in starts]
    pairs = np.concatenate(near_rows)
    links = coo_matrix((np.ones(len(pairs), dtype=np.int8), pairs.T), shape=(len(rows), len(rows)))
    _, group = connected_components(links, directed=False)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    return [
        Fault("near_duplicate", tuple(ids[i] for i in group), f"{len(group)} clips are embedded alike within {near:g}")
        for group in members
        if len(group) > 1
    ]


def refuse(faults: Sequence[Fault], n_clips: int) -> None:
    """Raises UserError, in one line, if there is any fault: how many clips of which kind, and the first ones by id."""
    if not faults:
        return
    concerned = Counter(fault.kind for fault in faults for _ in fault.clips)
    kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in concerned.most_common())
    names = list(dict.fromkeys(clip for fault in faults for clip in fault.clips))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise UserError(
        f"{len(names)} of {n_clips} clips are not fit to score ({kinds}): {', '.join(names[:3])}{more}. "
        "Make them again, or leave them out."
    )
