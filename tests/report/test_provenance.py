"""What the report says of its systems, from the manifest."""

from magnet_eval.report.data import load, merged
from magnet_eval.report.provenance import systems

SETTINGS = {"settings": {"top_k": 250}, "decoding": {"top_k": 250}}


def said(run, label: str, **model) -> dict[str, str]:
    run.update_manifest(systems={label: model})
    return dict(systems(load(run)))[label]


def test_files_say_where_they_come_from(run):
    shown = said(run, "magnet-tiny", family="files", description="A folder", about={"name": "Ours", "version": "2"})
    assert shown["text"] == "A folder, family files, Ours 2"
    assert said(run, "magnet-tiny", family="files")["text"] == "family files, origin not stated"
    assert "origin" not in said(run, "magnet-tiny", family="masked")["text"]


def test_padding_is_said_where_it_is_ours_to_choose(run):
    assert "text padding isolated" in said(run, "magnet-tiny", family="autoregressive", **SETTINGS)["decoding"]
    theirs = said(run, "magnet-tiny", family="transformers", **SETTINGS)["decoding"]
    assert "top_k 250" in theirs and "padding" not in theirs


def test_warnings_that_differ_in_the_system_alone_are_one():
    lines = ["FAD has 12 frames of a for 200 dimensions", "busy", "FAD has 12 frames of b c for 200 dimensions"]
    assert merged(lines, ["a", "b c"]) == ["FAD has 12 frames of a, b c for 200 dimensions", "busy"]
    assert merged(lines, []) == lines
