"""The tables in other formats: readable by their own readers, the same each time, and safe with any text."""

import csv
import dataclasses
import io
import json
import re

import pytest

from magnet_eval import cli, report
from magnet_eval.lookup import UserError
from magnet_eval.report import findings, formats, variants
from magnet_eval.report.data import load
from magnet_eval.store import RunFolder


def text_of(run, tmp_path, kind):
    return formats.write(run, tmp_path / "out" / "quick", kind).read_text(encoding="utf-8")


def test_csv_and_json_hold_every_row_in_full(run, tmp_path):
    rows = list(csv.DictReader(io.StringIO(text_of(run, tmp_path, "csv"))))
    told = json.loads(text_of(run, tmp_path, "json"))
    scores = run.scores()
    assert len(rows) == len(told["scores"]) == len(scores) > 0
    for row, score in zip(rows, scores, strict=True):
        assert float(row["value"]) == score.value
        assert (row["low"] == "") == (score.low is None)
        assert json.loads(row["params"]) == dict(score.params)
    assert told["scores"][0] == dataclasses.asdict(scores[0])


def test_parquet_is_read_back(run, tmp_path):
    pytest.importorskip("pyarrow")
    import pandas as pd

    table = pd.read_parquet(formats.write(run, tmp_path / "quick", "parquet"))
    assert table["value"].tolist() == [row.value for row in run.scores()]


def test_parquet_without_its_package_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"magnet-eval\[parquet\]"):
        formats.write(run, tmp_path / "quick", "parquet")
    assert not list(tmp_path.glob("*.parquet"))


def test_markdown_marks_the_best_and_has_one_width(run, tmp_path):
    text = text_of(run, tmp_path, "markdown")
    table = [line for line in text.partition("## Quality")[2].partition("## ")[0].splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(load(run).systems) + 1  # real against real
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    best = [line for line in table if "**" in line]
    assert best and all("codec" not in line for line in best)  # a control does not compete
    assert table[-1].startswith("| real against real | 1.92 |")


def test_latex_is_balanced_and_bold_where_best(run, tmp_path):
    text = text_of(run, tmp_path, "latex")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\begin{table}") >= 2
    for block in re.findall(r"\\midrule\n(.*?)\\bottomrule", text, flags=re.DOTALL):
        widths = {len(re.findall(r"(?<!\\)&", line)) for line in block.strip().splitlines()}
        assert len(widths) == 1
    assert r"\textbf{" in text
    assert "−" not in text and "×" not in text


@pytest.fixture
def trained_run(run):
    """The run as one of two variants at one seed each, with a finding that it speaks to and one that it does not."""
    parts = {"variants": {"masked": {}, "autoregressive": {}}, "seeds": [0]}
    names = {"magnet-tiny": "masked, seed 0", "musicgen-tiny": "autoregressive, seed 0"}
    sides = {"better": "masked", "than": ["autoregressive"]}
    claims = [
        {"claim": "Masks <help>", "source": "A paper", **sides},
        {"claim": "Masks are loud", **sides, "metrics": ["kad_musicnn_tiny"]},
    ]
    manifest = run.manifest()
    run.update_manifest(
        protocol={**manifest["protocol"], "training": parts, "findings": claims},
        systems={names.get(label, label): made for label, made in manifest["systems"].items()},
    )
    rows = [dataclasses.replace(r, system=names.get(r.system, r.system), versus=names.get(r.versus, r.versus))
            for r in run.scores()]  # fmt: skip
    run.replace_scores(rows, lambda _: True)
    return run


def test_variants_and_findings_say_what_their_intervals_are(trained_run, tmp_path):
    text, tex = (text_of(trained_run, tmp_path, kind) for kind in ("markdown", "latex"))
    page = report.build(trained_run, tmp_path / "page").read_text(encoding="utf-8")
    for shown in (text, page.replace("&#39;", "'")):
        assert variants.LEGEND in shown and findings.OVER_SEEDS in shown
        assert shown.index("Variants") < shown.index(variants.LEGEND) < shown.index(findings.OVER_SEEDS)
    assert "over seeds with Student's 95" in tex and "mean over the seeds" in tex
    assert "**" not in text.partition("## Quality")[2].partition("## ")[0]  # no seed is the best


def test_a_finding_without_data_is_shown(trained_run, tmp_path):
    text, tex = (text_of(trained_run, tmp_path, kind) for kind in ("markdown", "latex"))
    page = report.build(trained_run, tmp_path / "page").read_text(encoding="utf-8")
    said = "Not measured: KAD-musicnn."
    assert "## Masks are loud (A question of this project)\n\nNot measured: KAD-musicnn.\n\n" in text
    assert said in page and f"% Masks are loud (A question of this project): {said}" in tex
    assert "## Masks \\<help\\> (A paper)" in text and "One seed says nothing of training." in text
    assert "No single network is called the best" in page and "Masks &lt;help&gt;" in page
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == tex.count(r"\begin{table}")


HOSTILE = r"=cmd|'/c' & 100% $x_1$ {a}\input{/etc/passwd} #~^ <b>"


def test_hostile_labels_stay_text(run, tmp_path):
    first = next(iter(load(run).systems))
    manifest = run.manifest()
    manifest["systems"] = {HOSTILE if label == first else label: made for label, made in manifest["systems"].items()}
    run.update_manifest(systems=manifest["systems"])
    run.replace_scores(
        [dataclasses.replace(row, system=HOSTILE if row.system == first else row.system) for row in run.scores()],
        lambda _: True,
    )
    tex = text_of(run, tmp_path, "latex")
    assert r"\input{" not in tex and r"\textbackslash{}input\{" in tex
    assert r"100\% \$x\_1\$" in tex
    rows = list(csv.DictReader(io.StringIO(text_of(run, tmp_path, "csv"))))
    assert {row["system"][0] for row in rows if "cmd" in row["system"]} == {"'"}
    assert r"\|" in text_of(run, tmp_path, "markdown")


@pytest.mark.parametrize("kind", ["markdown", "latex", "csv", "json"])
def test_the_same_records_give_the_same_bytes(run, tmp_path, kind):
    assert text_of(run, tmp_path, kind) == text_of(run, tmp_path, kind)


@pytest.mark.parametrize("kind", ["markdown", "latex", "csv", "json"])
def test_a_run_without_scores_has_no_tables_and_no_fault(tmp_path, kind):
    (tmp_path / "empty").mkdir()
    assert text_of(RunFolder(tmp_path / "empty"), tmp_path, kind)


def test_the_verb(run, tmp_path, monkeypatch, capsys):
    results, name = run.path.parent, run.path.name.removesuffix("-v1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / f"{name}.yaml").write_text("version: 1\nsystems: [magnet-tiny]\n")
    words = ["report", f"protocol={name}", f"results={results}", "format=markdown"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"tables: reports/{name}-v1.md\n"
    assert cli.main([*words[:-1], "format=word"]) == 2
    assert "format" in capsys.readouterr().err
