"""The report's tables in other formats: Markdown and LaTeX to paste, CSV, Parquet and JSON to compute with.

Markdown and LaTeX hold the tables of the page: numbers with as many digits as their interval supports, and marks. CSV,
Parquet and JSON hold every Score row, in full precision.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from magnet_eval.lookup import UserError
from magnet_eval.records import Score
from magnet_eval.report import ablation, controllability, findings, people, published, speed_tables, tables, variants
from magnet_eval.report.data import Data, load, shown_label
from magnet_eval.report.provenance import provenance
from magnet_eval.store import RunFolder, write_atomic

SUFFIXES = {"html": ".html", "markdown": ".md", "latex": ".tex", "csv": ".csv", "parquet": ".parquet", "json": ".json"}
ARROWS = {"lower": r"$\downarrow$", "higher": r"$\uparrow$", "": ""}
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "−": r"$-$", "×": r"$\times$", "–": "--", "·": r"$\cdot$", "≥": r"$\geq$", "\u00a0": "~", "\u202f": r"\,",
}  # fmt: skip


def write(run_folder: RunFolder, out: Path, kind: str) -> Path:
    """Writes the tables or rows of a run to ``out`` with the suffix of ``kind`` (a key of SUFFIXES but html).

    The same records give the same bytes. Raises UserError where there is no run, or the format's package is missing.
    """
    if not run_folder.path.is_dir():
        raise UserError(f"there is no run {run_folder.path} to report. Make one first: magnet-eval run protocol=NAME.")
    out = out.with_name(f"{out.name}{SUFFIXES[kind]}")
    write_atomic(out, WRITERS[kind](load(run_folder)))
    return out


@dataclass(frozen=True)
class Section:
    """A table with its title, the heading of its first column, and what must be known to read it."""

    title: str
    first: str
    table: tables.Table
    notes: Sequence[str] = ()


def sections(data: Data) -> Iterator[Section]:
    """What there is to tell, the empty ones among it."""
    yield Section("Quality", "System", tables.quality(data))
    yield Section("Differences", "Difference", tables.comparisons(data.comparisons))
    title = "Does the score measure what it says? Spearman's rank correlation"
    yield Section(title, "System", *controllability.evidence(data))
    yield Section("People", "System", people.means(data))
    rated = tables.comparisons([row for row in data.people if row.versus])
    yield Section("People, differences", "Difference", rated)
    if changed := ablation.find(data):
        yield Section(f"Ablation of {changed.model}", "System", ablation.settings_table(data, changed))
    if (trained := variants.table(data)).rows:
        yield Section("Variants, over seeds", "Variant", trained, [variants.LEGEND])
    for tested in findings.evidence(data):
        legend = [tested.legend] if tested.table.rows else []
        yield Section(tested.title, "Difference", tested.table, [tested.outcome, *legend])
    if beside := published.beside(data):
        yield Section("Beside published numbers", "System", published.table(beside))
    yield from speed_sections(data)


def speed_sections(data: Data) -> Iterator[Section]:
    """The tables of the timing loop."""
    for batch in data.batches:
        for kind, table in zip(("rates", "resources"), speed_tables.timed(data, batch), strict=False):
            yield Section(f"Speed, batch {batch}: {kind}", "System", table)
    yield Section("Pairs of decoders", "Pair", speed_tables.paired(data))
    yield Section("Requests at random", "System", speed_tables.serving(data))
    for batch in data.batches:
        yield Section(f"Share of the limit, batch {batch}", "Stage", speed_tables.shares(data, batch))
    for table in speed_tables.timed(data, None):
        yield Section("Before the first call", "System", table)


def shown(data: Data) -> list[Section]:
    """``sections`` that say something, their tables with a row of what real clips score against one another."""
    return [replace(one, table=with_floor(one.table)) for one in sections(data) if one.table.rows or one.notes]


def with_floor(table: tables.Table) -> tables.Table:
    """A table and its floor as the last row, if it has one."""
    if not any(column.floor for column in table.columns):
        return table
    floor = [tables.Cell(column.floor) if column.floor else tables.Cell() for column in table.columns]
    return tables.Table(table.columns, [*table.rows, ("real against real", floor)])


def facts(data: Data) -> list[str]:
    """What every table's reader must know: protocol, prompts, machine, and what is warned of."""
    made = dict(provenance(data)["made"])
    kept = [f"{name}: {made[name]}" for name in ("Protocol", "Prompts", "Hardware", "Commit") if name in made]
    tiny = ["Metrics marked tiny are judged by small networks of this package and compare with no published number"]
    has_tiny = any("tiny" in shown_label(row).lower() for row in data.quality)
    return [*kept, *(tiny if has_tiny else []), *(f"Mind: {line}" for line in data.warnings)]


def title_of(column: tables.Column, arrow: str) -> str:
    """A column's heading in one line."""
    unit = f" ({column.unit})" if column.unit else ""
    return " ".join(part for part in (f"{column.label}{unit}", arrow) if part)


def markdown(data: Data) -> str:
    """GitHub's tables; the best of a column in bold, ``≈`` what cannot be told from it."""

    def escaped(text: str) -> str:
        return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", text)

    def cell_text(cell: tables.Cell) -> str:
        value = f"**{cell.text}**" if cell.mark == "best" else cell.text
        sign = {"tied": "≈", "same": "=", "better": "▲", "worse": "▼"}.get(cell.mark, "")
        return " ".join(part for part in (value, sign, cell.interval.replace("[", "\\["), cell.note) if part)

    parts = [f"# {escaped(provenance(data)['title'])}", ""]
    for one in shown(data):
        columns = one.table.columns
        parts += [f"## {escaped(one.title)}", "", *(line for note in one.notes for line in (escaped(note), ""))]
        if one.table.rows:
            head = [one.first, *(escaped(title_of(column, column.arrow)) for column in columns)]
            parts += [f"| {' | '.join(head)} |", f"|---{'|---:' * len(columns)}|"]
            parts += [f"| {' | '.join([escaped(name), *map(cell_text, cells)])} |" for name, cells in one.table.rows]
            parts.append("")
    parts += [f"- {escaped(fact)}" for fact in facts(data)]
    parts.append(
        "- Bold: best; ≈: not distinguishable (p ≥ 0.05, Holm; where no p is given, 0 in the interval); "
        "brackets: 95 % intervals"
    )
    return "\n".join(parts) + "\n"


def latex_text(text: str) -> str:
    """Text as LaTeX sets it, whatever characters it has."""
    return "".join(LATEX.get(character, character) for character in text)


def latex(data: Data) -> str:
    """Tables for booktabs; the best of a column in bold, with an ``approx`` sign what cannot be told from it."""

    def cell_text(cell: tables.Cell) -> str:
        value = latex_text(cell.text)
        value = rf"\textbf{{{value}}}" if cell.mark == "best" else value
        sign = {"tied": r"$\approx$", "same": "$=$", "better": r"$\blacktriangle$", "worse": r"$\blacktriangledown$"}
        small = " ".join(latex_text(part) for part in (cell.interval, cell.note) if part)
        small = rf"{{\footnotesize {small}}}" if small else ""
        return " ".join(part for part in (value, sign.get(cell.mark, ""), small) if part)

    notes = "\n".join(
        "% " + latex_text(" ".join(fact.split())) for fact in facts(data)
    )  # a line break would end the comment
    parts = [r"% needs \usepackage{booktabs,amssymb}", notes]
    for one in shown(data):
        table, notes = one.table, " ".join(one.notes)
        if not table.rows:
            parts += [f"% {latex_text(' '.join(f'{one.title}: {notes}'.split()))}", ""]
            continue
        head = [latex_text(title_of(column, "")) + " " + ARROWS[column.better] for column in table.columns]
        n = ", ".join(dict.fromkeys(column.n for column in table.columns if column.n))
        title = f"{provenance(data)['title']}: {one.title[:1].lower()}{one.title[1:]}"
        caption = f"{title} ({'; '.join(filter(None, [n, '95 % intervals']))}){f'. {notes}' if notes else ''}"
        parts += [
            r"\begin{table}", rf"\caption{{{latex_text(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\toprule",
            " & ".join([one.first, *(part.strip() for part in head)]) + r" \\", r"\midrule",
            *(" & ".join([latex_text(name), *map(cell_text, cells)]) + r" \\" for name, cells in table.rows),
            r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
        ]  # fmt: skip
    return "\n".join(parts)


def frame(data: Data) -> pd.DataFrame:
    """Every Score row, a column per field; ``params`` as JSON."""
    names = [field.name for field in dataclasses.fields(Score)]
    every = [*data.scores, *data.agreements]
    rows = [{**dataclasses.asdict(row), "params": json.dumps(dict(row.params), sort_keys=True)} for row in every]
    return pd.DataFrame(rows, columns=names)


def csv(data: Data) -> str:
    """``frame`` as CSV, its texts safe in a spreadsheet, which would run one that begins like a formula."""
    table = frame(data)
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = [f"'{v}" if isinstance(v, str) and v[:1] in "=+-@\t\r" and v else v for v in table[name]]
    return table.to_csv(index=False, lineterminator="\n")


def parquet(data: Data) -> bytes:
    """``frame`` as Parquet. Raises UserError without pyarrow."""
    try:
        return frame(data).to_parquet(index=False)
    except ImportError as error:
        raise UserError("format=parquet needs pyarrow: pip install 'magnet-eval[parquet]'. Or: format=csv.") from error


def as_json(data: Data) -> str:
    """Protocol, systems and every Score row."""
    content: dict[str, Any] = {name: value for name, value in data.manifest.items() if name != "history"}
    content["scores"] = [dataclasses.asdict(row) for row in (*data.scores, *data.agreements)]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


WRITERS: dict[str, Callable[[Data], str | bytes]] = {
    "markdown": markdown, "latex": latex, "csv": csv, "parquet": parquet, "json": as_json,
}  # fmt: skip
