"""The page: one HTML file with its style, script, figures and audio inside, which asks nothing of the network."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magnet_eval import zoo
from magnet_eval.lookup import UserError
from magnet_eval.report import listen, provenance
from magnet_eval.report.data import INK, Data, load, shown_label
from magnet_eval.store import RunFolder, content_key, file_hash, write_atomic, write_page

CODE = Path(__file__).parent
PACKAGE = CODE.parent
SIGNS = {"best": "●", "tied": "≈", "same": "=", "better": "▲", "worse": "▼"}
VERDICTS = {
    "best": "best", "tied": "not distinguishable", "same": "shown to be equivalent", "better": "better",
    "worse": "worse",
}  # fmt: skip
HEAD_BYTES = 2000  # the key stands within these
MOST_FAILURES = 100  # rows of the table of failures


def build(run_folder: RunFolder | Path, out: Path) -> Path:
    """Writes the report of ``run_folder`` to the file ``out`` (".html" is added if it is not there) and returns it.

    Audio beyond ``listen.INLINE_LIMIT`` goes to the folder ``<stem of out>_audio`` beside it. A page that was made from
    the same records by the same code is left as it is.
    Raises UserError where there is no run, or the folder cannot be written.
    """
    folder = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    if not folder.path.is_dir():
        raise UserError(f"there is no run {folder.path} to report. Make one first: magnet-eval run protocol=NAME.")
    key = content(folder)
    out = out if out.suffix == ".html" else out.with_name(f"{out.name}.html")
    if not is_current(out, key):
        data = load(folder)
        sounds = listen.Sounds(out.with_name(f"{out.stem}_audio"))
        shown = listen.entries(data, sounds)
        for stale in sounds.folder.glob("*.flac"):  # an earlier page's; whatever else lies there is not ours
            stale.unlink()
        for name, audio in sounds.files.items():
            write_atomic(sounds.folder / name, audio)
        write_page(out, page(data, shown, len(sounds.files), key))
    return out


def content(folder: RunFolder) -> str:
    """Content key of a page: the run's records, which of their sounds are there, published tables, this package's code.

    Clips name their audio by hash, so that its size says enough of a file.
    """
    records = [*folder.path.glob("*.json*"), *folder.path.glob("*/clips.jsonl"), *folder.path.glob("*/order/*.npy")]
    code = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".j2", ".css", ".js"}]
    published = (zoo.root() / "results" / "published").glob("*.yaml")
    known = [[path.name, file_hash(path)] for path in sorted([*records, *code, *published])]
    sounds = [*folder.path.glob("*/audio/*"), *(Path(prompt.reference) for prompt in folder.prompts())]
    return content_key(known, [[path.name, size(path)] for path in sorted(sounds)])


def size(path: Path) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # the latter of a name that no disk takes
        return -1


def is_current(out: Path, key: str) -> bool:
    """Whether ``out`` is a page with this key, and the audio beside it is all there."""
    if not out.is_file():
        return False
    with out.open("rb") as file:
        if f'content="{key}"'.encode() not in file.read(HEAD_BYTES):
            return False
    beside = re.findall(rb'"src":"([^"]+)"', out.read_bytes())
    return all((out.parent / name.decode()).is_file() for name in beside)


def as_json(value: Any) -> str:
    """JSON that is safe inside a script element: it holds no tag, no comment and no entity."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def policy(script: str) -> str:
    """The Content-Security-Policy of the page: no request to anybody, and no script but its own."""
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{own}'; style-src 'unsafe-inline'; img-src data:; "
        "media-src blob: 'self' file:; base-uri 'none'; form-action 'none'"
    )


def page(data: Data, entries: list[dict[str, Any]], n_beside: int, key: str) -> str:
    """The whole HTML text. ``entries`` are from ``listen.entries``; ``n_beside`` clips are not inside the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    files = CODE / "templates"
    environment = Environment(
        loader=FileSystemLoader(files), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script = (files / "report.js").read_text(encoding="utf-8")
    looks = {
        label: {"path": system.path, "fill": "var(--ink)" if system.colour == INK else system.colour}
        for label, system in data.systems.items()
    }
    prompts = [{**{k: entry[k] for k in ("text", "badge")}, "json": Markup(as_json(entry))} for entry in entries]
    return environment.get_template("report.html.j2").render(
        key=key, policy=policy(script), style=(files / "style.css").read_text(encoding="utf-8"), script=script,
        systems=data.systems, looks=looks, looks_json=Markup(as_json(looks)), prompts=prompts,
        signs=SIGNS, verdicts=VERDICTS, audio_note=audio_note(n_beside),
        most_failures=MOST_FAILURES, which=listen.which(data), no_real=any(prompt.reference for prompt in data.prompts)
        and not listen.has_reference(data),
        **evidence(data), **provenance.provenance(data),
    )  # fmt: skip


def audio_note(n_beside: int) -> str:
    """Where the audio is."""
    beside = f" {n_beside} clips lie in the folder beside it: keep the two together." if n_beside else ""
    return f"Audio is 16-bit FLAC, as generated, inside this page.{beside}"


def evidence(data: Data) -> dict[str, Any]:
    """Sentences, tables and figures, by their names in the template."""
    from magnet_eval.report import (
        breakdown,
        controllability,
        decoding_order,
        figures,
        people,
        published,
        summary,
        tables,
    )

    metrics = list(dict.fromkeys(row.metric for row in data.quality if row.better))
    tradeoffs = [figure for name in metrics if (figure := figures.quality_latency(data, name)) is not None]
    hero = None
    if metrics:
        hero = figures.quality_latency(data, metrics[0], "hero") or figures.quality(data, metrics[0])
    tag_figures, plain_tags = breakdown.breakdown(data)
    found = {
        "quality": tables.quality(data),
        **quality_evidence(data, metrics if tradeoffs else metrics[1:]),
        "tag_figures": tag_figures,
        "plain_tags": plain_tags,
        "published": published.beside(data),
        "comparisons": tables.comparisons(data.comparisons),
        "controllability": controllability.evidence(data),
        "people": (said := people.evidence(data)),
        **speed_evidence(data),
        "tradeoffs": tradeoffs,
        "orders": decoding_order.figures(data),
        "hero": hero,
        "lead": [*(said["sentences"] if said else []), *summary.lead(data)],
        "pairs": summary.pairs(data),
        "aside": [label for label, system in data.systems.items() if system.role],
        "has_tiny": any("tiny" in shown_label(row).lower() for row in data.quality),
    }
    if found["variant_figures"]:  # one network of many is no answer
        found["hero"] = found["variant_figures"].pop(0)
    elif hero is None and found["speed_figures"]:  # a bench alone
        found["hero"] = found["speed_figures"].pop(0)
    return {**found, "sections": sections(data, found), "absent": absent(data, found)}


def sections(data: Data, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchor and name of the sections that there are."""
    every = (
        ("quality", "Quality", found["quality"].rows),
        ("ablation", "Ablation", found["ablation"]),
        ("variants", "Variants", found["variants"].rows),
        ("findings", "Findings", found["findings"]),
        ("published", "Published", found["published"]),
        ("comparisons", "Comparisons", found["comparisons"].rows),
        ("controllability", "Controllability", found["controllability"][0].rows),
        ("people", "What people say", found["people"]),
        ("speed", "Speed", data.speed),
        ("tradeoff", "Quality and latency", found["tradeoffs"]),
        ("order", "Order of decoding", found["orders"]),
        ("listen", "Listen", data.prompts),
        ("made", "How this was made", True),
    )
    return [(anchor, name) for anchor, name, shown in every if shown]


def absent(data: Data, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What this run was not asked, and what to type for it."""
    lines, run = [], data.folder.path.name
    if not data.speed:
        name = data.manifest.get("protocol", {}).get("name") or "NAME"
        timed = "bench the runs that it is made of, then compare" if "compared" in data.manifest else ""
        lines.append(("Speed was not measured.", timed or f"magnet-eval bench protocol={name}"))
    if not found["people"]:
        prepare = f"magnet-eval study prepare run=results/{run} systems=[A,B] out=study"
        take_in = f"magnet-eval study analyse study=study runs=[results/{run}] into_runs=true"
        lines.append(("Nobody was asked to listen.", f"{prepare}; when the answers are in: {take_in}"))
    return lines


def quality_evidence(data: Data, metrics: list[str]) -> dict[str, Any]:
    """Figures of the quality section, those of an ablation in its order."""
    from magnet_eval.report import ablation, distributions, figures, findings, variants

    found = ablation.find(data)
    ranked = dict.fromkeys(row.metric for row in data.quality if row.better)
    return {
        "quality_figures": [] if found or data.variants else [figures.quality(data, name) for name in metrics],
        "clip_figures": [shown for name in ranked if (shown := distributions.clip_scores(data, name)) is not None],
        "ablation": found,
        "ablation_table": ablation.settings_table(data, found) if found else None,
        "ablation_figures": ablation.figures(data, found) if found else [],
        "variants": variants.table(data),
        "variants_legend": variants.LEGEND,
        "variant_figures": variants.figures(data),
        "findings": findings.evidence(data),
    }


def speed_evidence(data: Data) -> dict[str, Any]:
    """Tables and figures of the speed section, by their names in the template."""
    from magnet_eval.report import speed_figures, speed_tables

    ends = sorted({data.batches[0], data.batches[-1]}) if data.batches else []
    drawn = [speed_figures.throughput(data), speed_figures.speedup(data), speed_figures.first_audio(data)]
    drawn += [speed_figures.roofline(data)]
    limits = [(f"Batch {batch}", speed_tables.shares(data, batch)) for batch in ends]
    return {
        "speed_figures": [shown for shown in [*(speed_figures.stages(data, batch) for batch in ends), *drawn] if shown],
        "speed_tables": [(f"Batch {batch}", speed_tables.timed(data, batch)) for batch in data.batches],
        "loading": speed_tables.timed(data, None),
        "serving": speed_tables.serving(data),
        "paired": speed_tables.paired(data),
        "speed_notes": speed_tables.notes(data),
        "shares": [(name, shown) for name, shown in limits if shown.rows],
        "random_weights": sorted({row.system for row in data.speed if row.params.get("weights") == "random"}),
    }
