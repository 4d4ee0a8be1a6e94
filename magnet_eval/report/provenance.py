"""How a run was made, in words for its report: what the manifest and the records of its clips say."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from magnet_eval.generators.files import origin
from magnet_eval.generators.parts import FOREIGN
from magnet_eval.metrics import METRICS
from magnet_eval.records import Clip
from magnet_eval.report.data import Data, name_of, shown_label


def provenance(data: Data) -> dict[str, Any]:
    """How the run was made, by the names in the template; what the manifest does not say is left out."""
    manifest = data.manifest
    protocol, environment = manifest.get("protocol", {}), manifest.get("environment", {})
    history, hardware = manifest.get("history", []), environment.get("hardware", {})
    name = protocol.get("name") or (data.scores[0].protocol if data.scores else data.folder.path.name)
    version = protocol.get("version") or (data.scores[0].version if data.scores else "")
    when = str(history[-1].get("at", "")).replace("T", " ").replace("+00:00", " UTC") if history else ""
    where = ", ".join([*hardware.get("gpus", []), str(hardware.get("cpu", "")), f"{hardware.get('cores', '')} cores"])
    packages = ", ".join(f"{package} {found}" for package, found in environment.get("packages", {}).items())
    made = {
        "Protocol": f"{name}, version {version}",
        "Made": when,
        "Hardware": where if hardware else "",
        "Software": ", ".join(
            filter(None, [f"Python {environment['python']}" if "python" in environment else "", packages])
        ),
        "Commit": environment.get("commit", ""),
        "Seed": str(protocol.get("generation", {}).get("seed", "")),
        "Number format": protocol.get("generation", {}).get("dtype", ""),
        "Prompts": f"{len(data.prompts)}, ids hash {manifest['ids_hash']}" if "ids_hash" in manifest else "",
    }
    size = f"{len(data.systems)} systems" + (f" × {len(data.prompts)} prompts" if data.prompts else "")
    facts = [f"{name} v{version}", size, when]
    return {
        "title": protocol.get("title") or f"{name}: comparison of {len(data.systems)} systems",
        "facts": [fact for fact in [*facts, made["Hardware"]] if fact],
        "made": [(key, value) for key, value in made.items() if value],
        "command": manifest.get("command", ""),
        "lengths": lengths(data),
        "checks": checks(manifest),
        "warnings": data.warnings,
        "failures": [
            {**dict.fromkeys(("stage", "system", "prompt_id", "reason"), ""), **row}
            for row in manifest.get("failures", [])
        ],
        "metrics": definitions(data),
        "weights": systems(data),
        "manifest": json.dumps(manifest, indent=2, ensure_ascii=False),
    }


def checks(manifest: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """What is odd about each system's clips: label, one line, and the first findings."""
    return [
        (
            label,
            found["summary"],
            [f"{', '.join(fault['clips'][:3])}: {fault['detail']}" for fault in found["faults"][:10]],
        )
        for label, found in (manifest.get("checks") or {}).items()
    ]


def lengths(data: Data) -> list[str]:
    """The token frames asked for and made, once per rule."""
    by_rule: dict[tuple[int, int], list[str]] = {}
    for label, clips in data.clips.items():
        for asked, made in sorted({(clip.frames_asked, clip.frames_made) for clip in clips if clip.frames_asked}):
            by_rule.setdefault((asked, made), []).append(label)
    why = "; spans of several frames fill no more than whole spans"
    return [
        f"{', '.join(labels)}: {made} of {asked} token frames{why if made < asked else ''}."
        for (asked, made), labels in by_rule.items()
    ]


def definitions(data: Data) -> list[dict[str, str]]:
    """What the shown metrics are and where they come from."""
    rows = {row.metric: row for row in data.quality}
    known = [(row, METRICS[name_of(metric)]) for metric, row in rows.items() if name_of(metric) in METRICS]
    return [
        {"name": shown_label(row), "text": metric.description, "paper": metric.paper, "preset": row.preset}
        for row, metric in known
    ]


def systems(data: Data) -> list[tuple[str, dict[str, str]]]:
    """Each system's description, decoding and fingerprint (settings and weights)."""
    return [
        (
            label,
            {
                "text": ", ".join(filter(None, described(model))),
                "decoding": decoding(model, data.clips.get(label, [])),
                "fingerprint": model.get("fingerprint", ""),
            },
        )
        for label, model in data.manifest.get("systems", {}).items()
    ]


def described(model: Mapping[str, Any]) -> Iterator[str]:
    """What a system is: its description, family and licence, and of a folder of files where they come from."""
    yield model.get("description", "")
    yield f"family {model.get('family', '')}"
    yield f"licence {model['licence']}" if model.get("licence") else ""
    yield origin(model.get("about", {})) if model.get("family") == "files" else ""


def decoding(model: Mapping[str, Any], clips: Sequence[Clip]) -> str:
    """Which settings a system ran with and what a clip cost: preset, what differs from it, iterations, evaluations."""
    if not model.get("settings"):
        return ""
    changed = ", ".join(f"{name} {value}" for name, value in flat(model.get("decoding") or {}))
    preset = f"preset {model['preset']}" if model.get("preset") else "settings of its own"
    said = [f"{preset}{': ' if not model.get('preset') else ', but ' if changed else ''}{changed or ''}".rstrip(": ")]
    costs = sorted({(clip.iterations, clip.network_evaluations) for clip in clips if clip.iterations})
    if costs:
        iterations, evaluations = (span([cost[i] for cost in costs]) for i in (0, 1))
        said.append(f"{iterations} iterations and {evaluations} network evaluations a clip")
    if model.get("family") not in FOREIGN:  # other packages pad as they do
        said.append(f"text padding {model.get('padding', 'isolated')}")
    return "; ".join(said)


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings with dotted names."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def span(values: Sequence[int]) -> str:
    """One number, or the least and the most."""
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)} to {max(values)}"
