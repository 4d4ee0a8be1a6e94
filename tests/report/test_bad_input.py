"""Runs as they come: half finished, of other versions, hostile, from elsewhere. No traceback, nothing hidden."""

import json
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from magnet_eval import report
from magnet_eval.records import Prompt
from magnet_eval.report import formats
from magnet_eval.report.data import load
from magnet_eval.store import RunFolder


@pytest.fixture
def run(whole_run, tmp_path):
    """The run of these tests' own, with its real clips beside it; a test may change it."""
    shutil.copytree(whole_run.path.parent, tmp_path, dirs_exist_ok=True)
    own = RunFolder(tmp_path / whole_run.path.name)
    change(own.path / "prompts.jsonl", lambda row: row.update(reference=str(tmp_path / moved(row["reference"]))))
    return own


def moved(reference) -> Path:
    """The place of a real clip below the folder that holds its run."""
    return Path(*Path(reference).parts[-2:])


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are laid out in full, and their drawings are empty: for what damages words and counts alone."""
    monkeypatch.setattr(Figure, "savefig", lambda self, buffer, **options: buffer.write("<svg></svg>"))


def built(run, tmp_path) -> str:
    """The page; the tables in other formats are made as well."""
    tables(load(run))
    return report.build(run, tmp_path / "page").read_text(encoding="utf-8")


def tables(data):
    """All that can be made without a drawing."""
    formats.markdown(data), formats.latex(data), formats.csv(data), formats.as_json(data)


def change(path, edit):
    """Every line of a JSON-lines file as ``edit`` leaves it."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        edit(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


FILES = (
    "scores.jsonl",
    "clip_scores.jsonl",
    "timings.jsonl",
    "prompts.jsonl",
    "magnet-tiny/clips.jsonl",
    "manifest.json",
)


@pytest.mark.parametrize("gone", FILES)
def test_a_run_that_ended_early_has_a_page(run, tmp_path, gone):
    (run.path / gone).unlink()
    assert "How this was made" in built(run, tmp_path)


@pytest.mark.parametrize("gone", ["magnet-tiny/audio", "magnet-tiny"])
def test_missing_audio_is_said_at_its_place(run, tmp_path, gone):
    shutil.rmtree(run.path / gone)
    page = built(run, tmp_path)
    assert ("no audio file" if gone.endswith("audio") else '"missing":"no clip"') in page


@pytest.mark.parametrize("name", FILES[:-1])
def test_records_with_unknown_fields_are_counted(run, tmp_path, undrawn, name):
    change(run.path / name, lambda row: row.update(mood="new"))
    n = len((run.path / name).read_text(encoding="utf-8").splitlines())
    assert f"Mind: {n} of {n} lines of {name} are damaged, or of another version, and left out" in built(run, tmp_path)


def test_records_with_missing_fields_are_counted(run, tmp_path):
    change(run.path / "scores.jsonl", lambda row: row.pop("unit") if row["metric"] == "clap_tiny" else None)
    page = built(run, tmp_path)
    assert "lines of scores.jsonl are damaged" in page and "FAD-musicnn" in page


@pytest.mark.parametrize("param", ["batch", "stage", "seconds", "device", "quantile", "dtype", "scenario"])
def test_timings_that_do_not_say_of_what_do_no_harm(run, tmp_path, param):
    change(run.path / "scores.jsonl", lambda row: row["params"].pop(param, None))
    page = built(run, tmp_path)
    assert ("rows of scores.jsonl are damaged" in page) == (param in ("batch", "stage", "seconds"))


@pytest.mark.parametrize(
    "facts",
    [
        {"protocol": {}}, {"environment": {}}, {"environment": {"hardware": {}}}, {"history": [{}]},
        {"systems": [{"label": "magnet-tiny", "model": {"family": "masked"}}, {"label": "musicgen-tiny"}]},
        {"systems": {"magnet-tiny": {}, "musicgen-tiny": {}, "codec-tiny": {}}}, {"failures": [{}]}, {"checks": None},
    ],
    ids=str,
)  # fmt: skip
def test_manifests_that_say_less(run, tmp_path, undrawn, facts):
    run.update_manifest(**facts)
    assert "magnet-tiny" in built(run, tmp_path)


def test_no_system_at_all(run, tmp_path):
    run.update_manifest(systems={})
    run.replace_scores([], lambda row: True)
    assert "Nothing to compare yet" in built(run, tmp_path)


def test_captions_of_any_script_and_ids_of_any_length(run, tmp_path):
    texts = ("ואלס איטי לכלי מיתר", "<img src=x onerror=alert(1)> & <b>loud</b>", "فالس بطيء &amp; رق")
    prompts = [Prompt(f"{i}" + "x" * 299, text, 2.0, {"<i>": "‮"}) for i, text in enumerate(texts)]
    run.write_prompts(prompts)
    change(run.path / "clip_scores.jsonl", lambda row: row.update(prompt_id=row["prompt_id"][1:] + "x" * 299))
    change(run.path / "magnet-tiny/clips.jsonl", lambda row: row.update(prompt_id=row["prompt_id"][1:] + "x" * 299))
    run.update_manifest(
        failures=[{"stage": "generate", "system": "<b>", "prompt_id": "y" * 300, "reason": "<i>no</i>"}]
    )
    page = built(run, tmp_path)
    assert texts[0] in page and texts[2].replace("&", "\\u0026") in page
    assert "<img" not in page and "<i>" not in page.split("</header>")[1].replace("<i>compute</i>", "").replace(
        "<i>memory</i>", ""
    )
    assert page.count('dir="auto"') == len(texts) + 4  # options, caption, tags, title, reason
    assert '"missing":"no clip"' in page and '"audio":' in page


def test_a_metric_of_a_strangers_run_cannot_become_markup(run, tmp_path):
    hostile = '"><script>alert(1)</script>\\1'
    change(run.path / "scores.jsonl", lambda row: row.update(metric=hostile) if row["metric"] == "clap_tiny" else None)
    change(run.path / "clip_scores.jsonl", lambda row: row.update(metric=hostile))
    assert "<script>alert" not in built(run, tmp_path)


@pytest.mark.parametrize("path", ["../reference/r0.wav", "/etc/hostname", "magnet-tiny/../../reference/r0.wav"])
def test_a_clip_outside_the_run_is_not_read(run, tmp_path, undrawn, path):
    change(run.path / "magnet-tiny/clips.jsonl", lambda row: row.update(path=path))
    assert built(run, tmp_path).count('"missing":"no clip"') == 3


def test_hundreds_of_failures_are_counted_and_kept_in_the_manifest(run, tmp_path, undrawn):
    run.update_manifest(failures=[{"system": "a", "prompt_id": f"id{i:03}", "reason": "no"} for i in range(250)])
    page = built(run, tmp_path)
    assert "And 150 more" in page and "id249" in page


def test_real_clips_that_stayed_at_home_are_absent_with_a_line(run, tmp_path, undrawn):
    here = built(run, tmp_path)
    assert "real clip that the caption describes" in here and '"system":"real clip"' in here
    shutil.rmtree(tmp_path / "reference")
    elsewhere = report.build(run, tmp_path / "other").read_text(encoding="utf-8")
    assert "whose real clips are not on this machine" in elsewhere and '"system":"real clip"' not in elsewhere


@pytest.mark.parametrize("field", ["environment", "history", "warnings", "protocol", "failures", "checks", "speed"])
def test_fields_of_another_shape_are_left_out(run, tmp_path, undrawn, field):
    path, whole = run.path / "manifest.json", run.manifest()
    for value in (None, "text", 7, ["text"]):
        path.write_text(json.dumps({**whole, field: value}))
        tables(load(run))
    path.write_text(json.dumps({**whole, field: {"a": "b"}}))
    assert "How this was made" in built(run, tmp_path)


@pytest.mark.parametrize(
    "systems", [["a", "b"], {"magnet-tiny": "masked"}, "magnet-tiny", [{"name": "no label"}], None]
)
def test_systems_of_another_shape(run, systems):
    run.update_manifest(systems=systems)
    data = load(run)
    tables(data)
    assert systems is None or "of the manifest (systems) are damaged, or of another version" in " ".join(data.warnings)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("scores.jsonl", {"params": None}), ("scores.jsonl", {"better": "up"}), ("scores.jsonl", {"n": None}),
        ("scores.jsonl", {"value": "1.0"}), ("prompts.jsonl", {"text": None}), ("prompts.jsonl", {"tags": ["a"]}),
        ("clip_scores.jsonl", {"value": "high"}), ("clip_scores.jsonl", {"value": float("nan")}),
        ("timings.jsonl", {"values": 3}), ("magnet-tiny/clips.jsonl", {"path": "../../secret.wav"}),
        ("magnet-tiny/clips.jsonl", {"n_samples": "many"}),
    ],
)  # fmt: skip
def test_values_of_another_type_are_counted(run, name, changes):
    change(run.path / name, lambda row: row.update(changes))
    n = len((run.path / name).read_text(encoding="utf-8").splitlines())
    data = load(run)
    tables(data)
    assert f"{n} of {n} lines of {name} are damaged, or of another version, and left out" in data.warnings


def test_a_path_that_no_disk_takes_is_a_missing_clip(run, tmp_path, undrawn):
    change(run.path / "magnet-tiny" / "clips.jsonl", lambda row: row.update(path=f"magnet-tiny/audio/{'x' * 300}.wav"))
    assert '"missing":' in built(run, tmp_path)


def test_a_label_leads_to_no_other_folder(run, tmp_path):
    """A run from elsewhere may have nothing read beside it."""
    shutil.copytree(run.path / "magnet-tiny", run.path.parent / "outside")
    change(run.path.parent / "outside" / "clips.jsonl", lambda row: row.update(system="../outside"))
    run.update_manifest(systems={"../outside": {"family": "masked"}, **run.manifest()["systems"]})
    data = load(run)
    assert not data.clips["../outside"] and len(data.clips["magnet-tiny"]) == 3
    assert "that is no folder inside the run" in built(run, tmp_path)
