"""Systems of several runs side by side: the common prompts only, nothing taken on trust, nothing written elsewhere."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from magnet_eval import audio, cli, comparison, config
from magnet_eval.lookup import UserError
from magnet_eval.metrics import METRICS, Metric
from magnet_eval.metrics.alignment import cosine_score
from magnet_eval.records import Clip, ClipScore, Prompt, Score, Timing, is_people
from magnet_eval.store import RunFolder, file_hash

METRIC = Metric(
    name="fake_text", label="Text", fn=cosine_score, needs="text", better="higher", best=1.0,
    embedder="pipeline_fakes:Ear", preset="v1", paper="", description="",
)  # fmt: skip


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(METRICS, "fake_text", METRIC)
    import pipeline_fakes

    return pipeline_fakes


def make_run(fakes, path, systems, numbers, *, seconds=0.25, text="melody number {}", version=1, dtype="float32"):
    """A finished run: ``systems`` label -> noise, one clip each of the prompts ``numbers``."""
    folder = RunFolder(path)
    prompts = [Prompt(f"p{i}", text.format(i), seconds) for i in numbers]
    folder.write_prompts(prompts)
    for label, noise in systems.items():
        maker = fakes.Chords(config.Model(family="pipeline_fakes:Chords", decoding={"noise": noise}))
        for i, prompt in zip(numbers, prompts, strict=True):
            target = folder.audio(label, prompt.id)
            target.parent.mkdir(parents=True, exist_ok=True)
            audio.write(target, maker.one(prompt, i), fakes.RATE)
            name = target.relative_to(folder.path).as_posix()
            folder.append_clips(label, [Clip(prompt.id, label, name, fakes.RATE, 2000, i, file_hash(target), "key")])
    protocol = config.Protocol(
        version=version, name="fake", systems=[config.System(label) for label in systems],
        generation=config.Generation(dtype=dtype), metrics={"fake_text": config.MetricChoice()},
    )  # fmt: skip
    made = {
        label: {"family": "masked", "name": label, "fingerprint": f"{label} {noise}"}
        for label, noise in systems.items()
    }
    folder.update_manifest(protocol=dataclasses.asdict(protocol), systems=made, n_prompts=len(prompts), ids_hash="x")
    return folder


def test_only_the_common_prompts_count_and_rows_are_computed_anew(fakes):
    one = make_run(fakes, "results/one", {"good": 0.02}, range(8))
    one.order("good", "p3").parent.mkdir()
    np.save(one.order("good", "p3"), np.ones((1, 1), np.uint16))
    make_run(fakes, "results/two", {"noisy": 0.5}, range(3, 12))
    out = comparison.compare(["results/one", "results/two"], RunFolder("results/comparison"))
    rows = {(row.system, row.metric, row.versus): row for row in out.scores()}
    good, noisy = rows["good", "fake_text", ""], rows["noisy", "fake_text", ""]
    assert good.n == noisy.n == 5
    assert good.ids_hash == noisy.ids_hash == out.manifest()["ids_hash"]
    apart = rows["noisy", "fake_text", "good"]
    assert apart.value < 0 and apart.p_value is not None
    assert [prompt.id for prompt in out.prompts()] == ["p3", "p4", "p5", "p6", "p7"]
    warnings = out.manifest()["warnings"]
    assert any("good: 5 of its 8 clips" in line for line in warnings)
    assert out.audio("good", "p3").stat().st_ino == Path("results/one/good/audio/p3.wav").stat().st_ino
    assert np.array_equal(np.load(out.order("good", "p3")), [[1]]) and not out.order("good", "p4").exists()


def test_namesakes_keep_apart_and_what_differs_is_said(fakes):
    make_run(fakes, "here/fake-v1", {"good": 0.02}, range(4))
    make_run(fakes, "there/fake-v1", {"good": 0.4}, range(4), version=2, dtype="float16")
    out = comparison.compare(["here/fake-v1", "there/fake-v1"], RunFolder("results/comparison"))
    assert {row.system for row in out.scores()} == {"good (fake-v1)", "good (fake-v1 2)"}
    warnings = " | ".join(out.manifest()["warnings"])
    assert "protocol: fake v1 in fake-v1, fake v2 in fake-v1 2" in warnings
    assert "number format: float32 in fake-v1, float16" in warnings
    assert "good is not the same system" in warnings
    assert out.manifest()["protocol"]["name"] == "comparison"  # two versions: no published table stands beside it


def test_timings_come_along_under_the_new_labels(fakes):
    for place in ("here/fake-v1", "there/fake-v1"):
        run = make_run(fakes, place, {"good": 0.02}, range(4))
        row = Score(
            "fake", 1, "good", "latency", "Latency", 0.5, "s", "lower", 5, params={"batch": 1, "stage": "total"}
        )
        run.replace_scores([row], lambda _: True)
        run.write_timings([Timing("good", "total", 1, 5.0, (0.5,), "cpu", "float32", 1, 1)])
    out = comparison.compare(["here/fake-v1", "there/fake-v1"], RunFolder("results/comparison"))
    assert sorted(row.system for row in out.scores() if row.metric == "latency") == [
        "good (fake-v1 2)",
        "good (fake-v1)",
    ]
    assert sorted(timing.system for timing in out.timings()) == ["good (fake-v1 2)", "good (fake-v1)"]


def test_ratings_come_along_and_several_tests_are_a_warning(fakes):
    for place, system, study in (("one", "good", "a"), ("two", "noisy", "b")):
        run = make_run(fakes, f"results/{place}", {system: 0.1}, range(4))
        of_clips = [ClipScore(system, f"p{i}", "people_ovl", 60.0 + i) for i in (0, 9)]
        rows = [Score(f"study {study}", 1, system, metric, "OVL (people)", 61.0, "", "higher", 12)
                for metric in ("people_ovl", "agrees_ovl")]  # fmt: skip
        run.replace_scores(rows, lambda _: True)
        run.write_clip_scores(of_clips)
    out = comparison.compare(["results/one", "results/two"], RunFolder("results/comparison"))
    rated = [row for row in out.scores() if is_people(row)]
    assert [(row.system, row.metric, row.value) for row in rated] == [
        ("good", "people_ovl", 61.0), ("noisy", "people_ovl", 61.0),
    ]  # fmt: skip
    assert {(row.system, row.prompt_id) for row in out.clip_scores() if is_people(row)} == {
        ("good", "p0"), ("noisy", "p0"),
    }  # fmt: skip
    assert any("2 listening tests (study a, study b)" in line for line in out.manifest()["warnings"])


def test_pairs_of_decoders_keep_together_under_the_new_labels(fakes):
    """Their rows name the other system in params and label; where it is left out, so are they."""
    for place in ("here/fake-v1", "there/fake-v1"):
        run = make_run(fakes, place, {"good": 0.02, "noisy": 0.5}, range(4))
        run.replace_scores([Score("fake", 1, "good", "speedup_vs", "Speed-up over noisy", 2.0, "×", "higher", 5,
                                  params={"batch": 1, "versus": "noisy"})], lambda _: True)  # fmt: skip

    def paired(out):
        return [(r.system, r.label, r.params["versus"]) for r in out.scores() if r.metric == "speedup_vs"]

    out = RunFolder("results/comparison")
    comparison.compare(["here/fake-v1", "there/fake-v1"], out)
    assert paired(out) == [
        ("good (fake-v1)", "Speed-up over noisy (fake-v1)", "noisy (fake-v1)"),
        ("good (fake-v1 2)", "Speed-up over noisy (fake-v1 2)", "noisy (fake-v1 2)"),
    ]
    comparison.compare(["here/fake-v1", "there/fake-v1"], out, ["good"])
    assert paired(out) == []


def test_a_comparison_is_made_again_in_its_place(fakes):
    make_run(fakes, "results/one", {"good": 0.02, "noisy": 0.5}, range(4))
    out = RunFolder("results/comparison")
    first = comparison.compare(["results/one"], out).scores()
    assert comparison.compare(["results/one"], out).scores() == first
    comparison.compare(["results/one"], out, systems=["good", "noisy"])
    assert len(list((out.path / "good/audio").glob("*.wav"))) == 4


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"numbers": range(20, 24)}, "0 prompts in common"),
        ({"numbers": range(4), "seconds": 0.5}, "its seconds is 0.25 and 0.5"),
        ({"numbers": range(4), "text": "song {}"}, "its text is 'melody number 0' and 'song 0'"),
    ],
)
def test_what_cannot_be_compared_is_refused(fakes, other, message):
    make_run(fakes, "results/one", {"good": 0.02}, range(4))
    make_run(fakes, "results/two", {"noisy": 0.5}, **other)
    with pytest.raises(UserError, match=message):
        comparison.compare(["results/one", "results/two"], RunFolder("results/comparison"))
    assert not Path("results/comparison").exists()


def test_a_clip_that_is_gone_is_named(fakes):
    run = make_run(fakes, "results/one", {"good": 0.02, "noisy": 0.5}, range(4))
    run.audio("good", "p2").unlink()
    out = comparison.compare(["results/one"], RunFolder("results/comparison"))
    assert [(row["system"], row["prompt_id"]) for row in out.failures()] == [("good", "p2")]


def test_a_run_from_elsewhere_writes_nothing_outside_the_comparison(fakes):
    run = make_run(fakes, "results/one", {"good": 0.02, "noisy": 0.5}, range(3))
    for name in ("prompts.jsonl", "good/clips.jsonl", "noisy/clips.jsonl"):
        path = run.path / name
        path.write_text(path.read_text().replace('"p1"', '"../../../p1"'))
    before = {path for path in Path().rglob("*") if "comparison" not in path.parts}
    out = comparison.compare(["results/one"], RunFolder("results/comparison"))
    assert [prompt.id for prompt in out.prompts()] == ["p0", "p2"]
    assert {path for path in Path().rglob("*") if not {"comparison", "cache"} & set(path.parts)} == before


def test_a_comparison_from_elsewhere_has_nothing_outside_it_removed(fakes):
    make_run(fakes, "results/one", {"good": 0.02, "noisy": 0.5}, range(3))
    out = RunFolder("results/comparison")
    for label in ("../one", "..", "good/../.."):
        out.update_manifest(compared=[], systems={label: {}})
        with pytest.raises(UserError, match="no folder name"):
            comparison.compare(["results/one"], out)
    assert Path("results/one/good/clips.jsonl").is_file()


def test_bad_words(fakes, capsys):
    make_run(fakes, "results/one", {"good": 0.02, "noisy": 0.5}, range(3))
    make_run(fakes, "results/alone", {"good": 0.02}, range(3))
    Path("results/empty").mkdir()
    for words, message in (
        ([], "compare needs runs="),
        (["runs=[results/nowhere]"], "is no run"),
        (["runs=[results/empty]"], "is no run"),
        (["runs=[results/alone]"], "needs two systems"),
        (["runs=[results/one]", "systems=[god]"], "Did you mean"),
        (["runs=[results/one]", "name=a/b"], "no folder name"),
        (["runs=[results/one]", "name=one"], "is a run, no comparison"),
    ):
        assert cli.main(["compare", *words]) == 2
        error = capsys.readouterr().err
        assert message in error, words
        assert "Traceback" not in error


def test_the_verb_writes_a_report_with_the_warnings(fakes, capsys):
    make_run(fakes, "results/one", {"good": 0.02}, range(6))
    make_run(fakes, "results/two", {"noisy": 0.5}, range(2, 6))
    assert cli.main(["compare", "runs=[results/one,results/two]"]) == 0
    assert "report: reports/comparison.html" in capsys.readouterr().out
    page = Path("reports/comparison.html").read_text()
    assert "good: 4 of its 6 clips count" in page
    assert json.loads(Path("results/comparison/manifest.json").read_text())["compared"][1]["run"] == "two"
