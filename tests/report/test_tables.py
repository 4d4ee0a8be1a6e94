"""Tables from rows: columns by metric, marks, dashes."""

import json
from dataclasses import replace

from magnet_eval import report
from magnet_eval.records import Score
from magnet_eval.report import data as report_data
from magnet_eval.report import formats, html, tables
from magnet_eval.report.numbers import DASH


def cells(table):
    """Rows of a table by their heading."""
    return dict(table.rows)


def test_a_missing_row_is_a_dash(make_data, make_score):
    data = make_data(make_score("a", value=1.0), make_score("b", value=2.0), make_score("b", "warmth", 3.0, "higher"))
    shown = tables.quality(data)
    assert [cell.text for cell in cells(shown)["a"]] == ["1", DASH]
    assert "nan" not in report.short_table(data.folder).lower()


def test_best_tied_and_worse_are_marked_by_the_comparisons(make_data, make_score):
    plain = [
        make_score(s, value=v, low=v - 0.1, high=v + 0.1) for s, v in (("a", 1.0), ("b", 1.05), ("c", 3.0), ("d", 2.0))
    ]
    pairs = [
        make_score("b", value=0.05, versus="a", p_value=0.6),
        make_score("a", value=-2.0, versus="c", p_value=0.01),  # the other way round
    ]
    marks = {label: row[0].mark for label, row in tables.quality(make_data(*plain, *pairs)).rows}
    assert marks == {"a": "best", "b": "tied", "c": "", "d": ""}


def test_higher_is_better_where_the_row_says_so(make_data, make_score):
    rows = [make_score(s, value=v, better="higher", low=v - 0.1, high=v + 0.1) for s, v in (("a", 1.0), ("b", 2.0))]
    assert cells(tables.quality(make_data(*rows)))["b"][0].mark == "best"


def test_a_ceiling_does_not_compete(make_data, make_score):
    rows = [make_score(s, value=v, low=v - 0.1, high=v + 0.1) for s, v in (("real", 0.1), ("a", 1.0), ("b", 2.0))]
    data = make_data(*rows, families={"real": "codec", "a": "masked", "b": "masked"})
    marks = {label: row[0].mark for label, row in tables.quality(data).rows}
    assert marks == {"real": "", "a": "best", "b": ""}


def test_systems_that_the_last_run_did_not_have_are_no_part_of_its_report(make_data, make_score):
    rows = [make_score(s, value=v) for s, v in (("a", 1.0), ("left over", 0.1))]
    assert list(make_data(*rows).systems) == ["a", "left over"]
    data = make_data(*rows, families={"a": "masked"})
    assert list(data.systems) == ["a"] and [row.system for row in data.scores] == ["a"]


def test_comparisons_carry_p_and_say_which_is_better(make_data, make_score):
    rows = [
        make_score("a", value=-0.5, low=-0.7, high=-0.3, versus="b", p_value=0.0004),
        make_score("c", value=0.1, low=-0.2, high=0.4, versus="b", p_value=0.4),
    ]
    shown = tables.comparisons(make_data(*rows).comparisons)
    (better,), (tied,) = (row for _, row in shown.rows)
    assert (better.text, better.interval, better.mark, better.note) == (
        "\u22120.50", "[\u22120.70, \u22120.30]", "better", "p < 0.001",
    )  # fmt: skip
    assert tied.mark == "tied"
    assert [name for name, _ in shown.rows] == ["a \u2212 b", "c \u2212 b"]


def test_floor_and_n_stand_in_the_heading(run):
    column = tables.quality(report_data.load(run)).columns[0]
    assert (column.label, column.floor, column.n, column.arrow) == ("FAD-musicnn (tiny)", "1.92", "n = 3", "↓")


def test_short_table_has_every_system_and_latency(run):
    text = report.short_table(run)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["magnet-tiny", "musicgen-tiny", "codec-tiny"]
    assert "(tiny)" in lines[0] and "Latency" in lines[0] and DASH in lines[3]


def test_colours_depend_on_the_place_alone():
    few = report_data.looks({"a": "", "b": ""})
    many = report_data.looks({label: "masked" for label in "abcdefghijklmnop"})
    assert few["b"] == report_data.System("b", "#56B4E9", "s") and (many["b"].colour, many["b"].marker) == (
        "#56B4E9",
        "s",
    )
    assert len({(system.colour, system.marker) for system in many.values()}) == 16


def test_presets_of_one_metric_are_metrics_of_their_own(run, tmp_path):
    """In tables, sentences, figures and clip scores: "name@preset", labelled with the preset."""
    other = [
        replace(row, preset="v2", value=row.value + 1.0) for row in run.scores() if row.metric == "fad_musicnn_tiny"
    ]
    run.replace_scores([*run.scores(), *other], lambda row: True)
    rows = [replace(row, preset=preset, value=row.value + i)
            for row in run.clip_scores() for i, preset in enumerate(("v1", "v2"))]  # fmt: skip
    run.write_clip_scores(rows)
    data = report_data.load(run)
    assert [column.label for column in tables.quality(data).columns][::2] == [
        "FAD-musicnn, v1 (tiny)", "FAD-musicnn, v2 (tiny)",
    ]  # fmt: skip
    for metric in ("fad_musicnn_tiny@v1", "fad_musicnn_tiny@v2"):
        assert len({row.value for row in data.quality if row.metric == metric}) == 3
    page = html.build(run, tmp_path / "page.html").read_text()
    assert all(f"FAD-musicnn, {preset} (tiny): " in page for preset in ("v1", "v2"))
    assert {row.metric for row in formats_rows(data)} >= {"fad_musicnn_tiny"}
    assert "@" not in "".join(row.metric for row in formats_rows(data))


def formats_rows(data):
    """What the machine-readable formats hold: the records as they are."""
    return [Score(**{**row, "params": {}}) for row in json.loads(formats.as_json(data))["scores"]]
