"""Reads the records of a run for its report: whatever made them, and whatever has become of them since.

A run may come from another version, from elsewhere, or from a crash: what cannot be shown is counted and left out.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from magnet_eval import speed
from magnet_eval.lookup import UserError
from magnet_eval.records import Clip, Prompt, Score
from magnet_eval.store import R, RunFolder, read_lines

NEEDED = {  # params without which a row of speed has no place on the page
    speed.LATENCY: {"batch", "stage", "seconds"},
    speed.THROUGHPUT: {"batch"},
    speed.SPEEDUP_VS: {"batch", "versus"},
    speed.CROSSOVER_BATCH: {"batches", "versus"},
    speed.ROOFLINE_SHARE: {"batch", "stage", "bound", "limit_seconds", "flops", "bytes"},
    speed.SERVER_RATE: {"p90", "bound"},
}
SHAPES: dict[str, type] = {  # of a manifest's fields, where a report uses them; lists are of mappings but for WORDS
    "protocol": dict, "environment": dict, "systems": dict, "checks": dict, "history": list, "failures": list,
    "speed": list, "compared": list, "warnings": list, "warnings_of_scores": list, "command": str, "ids_hash": str,
    "pruned": dict,
}  # fmt: skip
WORDS = ("warnings", "warnings_of_scores")
ENTRIES: dict[str, set[str]] = {"checks": {"summary", "faults"}, "pruned": {"at"}}  # what an entry of a field needs


def fitting(name: str, value: Any) -> Any:
    """A field of the manifest without entries of another shape; None where it has itself another one."""
    kind = SHAPES.get(name)
    if kind is None:
        return value
    if not isinstance(value, kind):
        return None
    if isinstance(value, list):
        if name in WORDS:
            return [line for line in value if isinstance(line, str)]
        return [entry for entry in value if is_entry(entry, ENTRIES.get(name, set()))]
    if isinstance(value, dict) and name in ("systems", "checks", "pruned"):
        return {label: entry for label, entry in value.items() if is_entry(entry, ENTRIES.get(name, set()))}
    return value


def plain_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if it holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_entry(value: Any, keys: Collection[str]) -> bool:
    """Whether a value is a mapping with these keys."""
    return isinstance(value, dict) and set(keys) <= set(value)


def len_of(value: Any) -> int:
    """Entries of a list or mapping; of anything else whether it is there."""
    return len(value) if isinstance(value, list | dict) else value is not None


class Reader:
    """Reads the records of a run, those of other versions as far as they are known here; ``unread`` says the rest."""

    def __init__(self, folder: RunFolder) -> None:
        """Reads nothing yet."""
        self.folder = folder
        self.unread: list[str] = []

    def manifest(self) -> dict[str, Any]:
        """The manifest, its systems by label, without fields of another shape than ``SHAPES``."""
        try:
            manifest = self.folder.manifest()
        except UserError:  # too odd to go on with a run; what can be shown of it is shown
            found = plain_object(self.folder.path / "manifest.json")
            if found is None:
                raise
            manifest = found
        systems = manifest.get("systems", {})
        if isinstance(systems, list):
            labels = [str(one["label"]) if is_entry(one, {"label"}) else f"entry {i}" for i, one in enumerate(systems)]
            systems = dict(zip(labels, (one if is_entry(one, {"label"}) else None for one in systems), strict=True))
            manifest["systems"] = systems
        kept = {name: fitting(name, value) for name, value in manifest.items()}
        odd = [name for name in kept if name in SHAPES and len_of(kept[name]) < len_of(manifest[name])]
        self.note(len(odd), len(manifest), f"fields of the manifest ({', '.join(odd)})")
        return {name: value for name, value in kept.items() if value is not None}

    def lines(self, kind: type[R], name: str) -> list[R]:
        """The records of one file."""
        path = self.folder.path / name
        records: list[R] = read_lines(kind, path)
        n = 0
        if path.is_file():
            with path.open("rb") as file:
                n = sum(bool(line.strip()) for line in file)
        self.note(n - len(records), n, f"lines of {name}")
        return records

    def scores(self) -> list[Score]:
        """Score rows, without those of speed that do not say what was timed."""
        rows = self.lines(Score, "scores.jsonl")
        known = [row for row in rows if NEEDED.get(row.metric, set()) <= set(row.params)]
        self.note(len(rows) - len(known), len(rows), "rows of scores.jsonl")
        return known

    def clips(self, label: str, prompts: list[Prompt]) -> list[Clip]:
        """A system's clips in prompt order, without what no page shows; none where its label leads out of the run."""
        if Path(label).name != label or "\0" in label:
            self.unread.append(f"the clips of {label!r} are left out: that is no folder inside the run")
            return []
        own = (clip for clip in self.lines(Clip, f"{label}/clips.jsonl") if clip.system == label)
        clips = {clip.prompt_id: replace(clip, sha256="", key="") for clip in own}
        return [clips[prompt.id] for prompt in prompts if prompt.id in clips]

    def note(self, n: int, n_all: int, what: str) -> None:
        """Says how many could not be read."""
        if n:
            self.unread.append(f"{n} of {n_all} {what} are damaged, or of another version, and left out")
