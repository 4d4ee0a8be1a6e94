"""The whole chain on fakes: nothing is done twice, nothing stale is kept, and no accident loses finished work."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from magnet_eval import audio, config, metric_checks, other_side, pipeline
from magnet_eval.lookup import UserError
from magnet_eval.metrics import METRICS, Metric, control
from magnet_eval.metrics.alignment import cosine_score
from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.records import ClipScore, Prompt, is_people

HERE = Path(__file__).resolve().parent
TEXTS = [f"melody number {i}" for i in range(10)]
SECONDS = 0.25
METRIC = {"embedder": "pipeline_fakes:Ear", "preset": "v1", "paper": "", "description": ""}
FAKE_METRICS = {
    "fake_fad": Metric(
        name="fake_fad", label="FAD", fn=frechet_of_clips, needs="reference_set", better="lower", best=0.0, **METRIC
    ),
    "fake_pair": Metric(
        name="fake_pair", label="Pair", fn=cosine_score, needs="reference_pairs", better="higher", best=1.0, **METRIC
    ),
    "fake_text": Metric(
        name="fake_text", label="Text", fn=cosine_score, needs="text", better="higher", best=1.0, **METRIC
    ),
}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A working directory with two fake models and real clips; the count of what the fakes have done."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)
    for name, metric in FAKE_METRICS.items():
        monkeypatch.setitem(METRICS, name, metric)
    monkeypatch.setattr(control, "N_PERMUTATIONS", 399)
    import pipeline_fakes

    write_world(tmp_path, pipeline_fakes)
    pipeline_fakes.CALLS.clear()
    return pipeline_fakes.CALLS


def write_world(home, fakes):
    """models/*.yaml, and real/ with captions and audio."""
    (home / "models").mkdir()
    for name, noise in (("good", 0.02), ("noisy", 0.3)):
        model = {"family": "pipeline_fakes:Chords", "decoding": {"noise": noise}}
        (home / "models" / f"{name}.yaml").write_text(json.dumps(model))
    (home / "real").mkdir()
    maker = fakes.Chords(config.Model(family="pipeline_fakes:Chords"))
    rows = []
    for i, text in enumerate(TEXTS):
        prompt = Prompt(f"p{i}", text, SECONDS)
        audio.write(home / "real" / f"p{i}.wav", maker.one(prompt, 1000 + i), fakes.RATE)
        rows.append(json.dumps({"id": prompt.id, "text": text}))
    (home / "real" / "captions.jsonl").write_text("\n".join(rows))


def settings(results="results", n=None, systems=("good", "noisy"), metrics=tuple(FAKE_METRICS), **run):
    protocol = config.Protocol(
        version=1,
        name="fake",
        systems=[config.System(name) if isinstance(name, str) else name for name in systems],
        prompts=config.Prompts(source="folder", path="real", n=n, seconds=SECONDS),
        reference=config.Reference(source="folder", path="real"),
        generation=config.Generation(batch=4, device="cpu"),
        metrics={name: config.MetricChoice() for name in metrics},
    )
    return config.Run(protocol=protocol, results=str(results), **run)


def files(folder):
    """Every file of a run folder but the manifest and the lock, which tell of times and processes."""
    names = (path for path in folder.path.rglob("*") if path.is_file())
    return {str(p.relative_to(folder.path)): p.read_bytes() for p in names if p.name not in ("manifest.json", ".lock")}


def test_from_prompts_to_scores(calls):
    folder = pipeline.run(settings())
    assert calls["clips"] == 20
    clip = folder.clips("good")[3]
    assert clip.path == f"good/audio/{clip.prompt_id}.wav"
    assert soundfile.info(folder.path / clip.path).subtype == "PCM_16"
    assert (clip.n_samples, clip.frames_asked, clip.frames_made) == (int(SECONDS * clip.sample_rate), 50, 49)
    assert [c.prompt_id for c in folder.clips("good")] == [prompt.id for prompt in folder.prompts()]

    rows = {(row.system, row.metric, row.versus): row for row in folder.scores()}
    assert len(rows) == len(folder.scores())
    for metric in ("fake_fad", "fake_pair", "fake_text"):
        good, noisy = rows["good", metric, ""], rows["noisy", metric, ""]
        assert good.n == noisy.n == 10
        assert good.low < good.value < good.high
        assert (good.value < noisy.value) == (METRICS[metric].better == "lower")
        apart = rows["noisy", metric, "good"]
        assert apart.value == pytest.approx(noisy.value - good.value, abs=1e-9)
        assert 0 < apart.p_value < 0.05
        assert apart.ids_hash == good.ids_hash
        assert (good.floor is not None) == (metric == "fake_fad")
    assert {row.protocol for row in folder.scores()} == {"fake"}
    clip_scores = [row.value for row in folder.clip_scores() if (row.system, row.metric) == ("good", "fake_text")]
    assert np.mean(clip_scores) == pytest.approx(rows["good", "fake_text", ""].value)

    manifest = folder.manifest()
    assert list(manifest["systems"]) == ["good", "noisy"]
    assert manifest["baseline"] == "good"
    assert list(manifest["embedders"]) == ["pipeline_fakes:Ear"]
    assert manifest["failures"] == []
    assert manifest["environment"]["packages"]["numpy"]
    assert [entry["stage"] for entry in manifest["history"]] == ["generate", "score"]


def test_captions_of_other_clips_score_lower(calls):
    folder = pipeline.run(settings(metrics=["fake_text"]))
    rows = {(row.system, row.metric, row.versus): row for row in folder.scores()}
    right, shuffled = rows["good", "fake_text", ""], rows["good", "fake_text_shuffled", ""]
    apart = rows["good", "fake_text", "shuffled captions"]
    assert apart.value == pytest.approx(right.value - shuffled.value)
    assert apart.low > 0
    assert apart.p_value < 0.01


def test_a_rerun_does_nothing(calls):
    first = files(pipeline.run(settings()))
    manifest = (Path("results/fake-v1/manifest.json")).read_text()
    calls.clear()
    assert files(pipeline.run(settings())) == first
    assert not calls
    assert Path("results/fake-v1/manifest.json").read_text() == manifest


def test_an_interrupted_run_ends_as_an_uninterrupted_one(calls, monkeypatch):
    whole = files(pipeline.run(settings("whole")))
    calls.clear()
    monkeypatch.setenv("FAKE_CRASH_AT", "5")  # in the second system's second batch
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(settings("broken"))
    assert calls["clips"] == 14
    monkeypatch.delenv("FAKE_CRASH_AT")
    calls.clear()
    assert files(pipeline.run(settings("broken"))) == whole
    assert calls["clips"] == 6


def test_batch_size_changes_no_byte(calls):
    assert files(pipeline.run(settings("four"))) == files(pipeline.run(settings("one", batch=1)))


def test_another_seed_makes_everything_anew_and_leaves_nothing_old(calls):
    old = {clip.prompt_id: clip for clip in pipeline.generate(settings()).clips("good")}
    calls.clear()
    folder = pipeline.generate(settings(seed=1))
    assert calls["clips"] == 20
    for clip in folder.clips("good"):
        assert clip.key != old[clip.prompt_id].key
        assert clip.sha256 != old[clip.prompt_id].sha256
    assert len((folder.path / "good" / "clips.jsonl").read_text().splitlines()) == 10


def test_other_decoding_makes_only_that_system_anew(calls):
    pipeline.generate(settings())
    calls.clear()
    changed = config.System("noisy", set={"decoding.noise": 0.1})
    pipeline.generate(settings(systems=["good", changed]))
    assert calls["clips"] == 10


def test_another_text_or_length_makes_the_clip_anew(calls):
    pipeline.generate(settings())
    calls.clear()
    captions = Path("real/captions.jsonl")
    captions.write_text(captions.read_text().replace("melody number 3", "another melody"))
    pipeline.generate(settings())
    assert calls["clips"] == 2
    longer = settings()
    longer.protocol.prompts.seconds = 2 * SECONDS
    pipeline.generate(longer)
    assert calls["clips"] == 2 + 20


def test_fewer_prompts_lose_no_clips_of_the_others(calls):
    pipeline.run(settings())
    calls.clear()
    few = pipeline.run(settings(n=3))
    assert {row.n for row in few.scores()} == {3}
    assert len(few.clips("good")) == 3
    many = pipeline.run(settings())
    assert {row.n for row in many.scores()} == {10}
    assert not calls["clips"]


def test_a_failed_clip_is_an_absent_row_with_its_reason(calls):
    captions = Path("real/captions.jsonl").read_text()
    for i, text in ((1, "no sense"), (2, "no memory"), (5, "not there"), (7, "all NaN"), (8, "too much")):
        captions = captions.replace(f"melody number {i}", text)
    Path("real/captions.jsonl").write_text(captions)
    folder = pipeline.run(settings(systems=["good"]))
    reasons = {row["prompt_id"]: row["reason"] for row in folder.failures()}
    assert reasons.keys() == {"p1", "p2", "p5", "p7", "p8"}
    assert reasons["p1"] == "ValueError: a shape that\ndoes not fit"
    assert reasons["p8"] == "MemoryError"
    assert reasons["p2"] == "out of memory"
    assert reasons["p5"] == "no audio file"
    assert "finite" in reasons["p7"]
    assert {clip.prompt_id for clip in folder.clips("good")} == {f"p{i}" for i in (0, 3, 4, 6, 9)}
    assert {row.n for row in folder.scores()} == {5}
    assert not folder.audio("good", "p2").exists()


def test_a_model_that_makes_nothing_any_more_ends_the_run_in_one_line(calls):
    captions = Path("real/captions.jsonl").read_text()
    for i in range(10):
        captions = captions.replace(f"melody number {i}", "no sense")
    Path("real/captions.jsonl").write_text(captions)
    with pytest.raises(UserError, match="good: 10 times in a row nothing was made.*ValueError: a shape that does") as e:
        pipeline.run(settings())
    assert "\n" not in str(e.value)
    folder = pipeline.folder_of(settings())
    assert [row["prompt_id"] for row in folder.failures()] == [f"p{i}" for i in range(10)]
    Path("real/captions.jsonl").write_text(captions.replace("no sense", "not there"))
    assert len(pipeline.generate(settings()).failures()) == 20  # mistakes of each clip's own end nothing


def test_a_clip_that_can_no_longer_be_made_is_gone_and_not_an_old_one(calls):
    folder = pipeline.run(settings(systems=["good"]))
    captions = Path("real/captions.jsonl")
    captions.write_text(captions.read_text().replace("melody number 2", "no memory"))
    pipeline.run(settings(systems=["good"]))
    assert "p2" not in {clip.prompt_id for clip in folder.clips("good")}
    assert not folder.audio("good", "p2").exists()


def test_a_folder_of_audio_is_a_system_and_is_only_read(calls):
    Path("models/mine.yaml").write_text("family: files\nfolder: mine\n")
    shutil.copytree("real", "mine")
    Path("mine/p6.wav").unlink()
    Path("mine/p7.wav").write_bytes(b"RIFF")
    before = {path: path.read_bytes() for path in Path("mine").iterdir()}
    folder = pipeline.run(settings(systems=["mine"]))
    assert {row["prompt_id"]: row["stage"] for row in folder.failures()} == {"p6": "generate", "p7": "generate"}
    assert {row.n for row in folder.scores()} == {8}
    assert {path: path.read_bytes() for path in Path("mine").iterdir()} == before
    clips = {clip.prompt_id: clip for clip in folder.clips("mine")}
    shutil.copy("mine/p1.wav", "mine/p0.wav")
    pipeline.run(settings(systems=["mine"]))
    again = {clip.prompt_id: clip for clip in folder.clips("mine")}
    assert {name for name in again if again[name] != clips[name]} == {"p0"}


def test_torn_and_lost_and_altered_clips_are_made_again(calls):
    folder = pipeline.generate(settings(systems=["good"]))
    before = files(folder)
    lines = folder.path / "good" / "clips.jsonl"
    lines.write_bytes(lines.read_bytes()[:-40])
    folder.audio("good", "p1").unlink()
    folder.audio("good", "p2").write_bytes(b"RIFF")
    calls.clear()
    assert files(pipeline.generate(settings(systems=["good"]))) == before
    assert calls["clips"] == 3


def test_scoring_alone_takes_no_altered_clip_for_the_one_on_record(calls):
    folder = pipeline.generate(settings(systems=["good"]))
    folder.audio("good", "p2").write_bytes(b"RIFF")
    pipeline.score(settings(systems=["good"]))
    assert {row.n for row in folder.scores()} == {9}
    assert [(row["stage"], row["prompt_id"]) for row in folder.failures()] == [("score", "p2")]


def test_a_damaged_cache_is_made_anew(calls):
    folder = pipeline.run(settings())
    before = files(folder)
    for i, path in enumerate(sorted(folder.cache.iterdir())):
        path.write_bytes((b"", b"{", path.read_bytes()[:50])[i % 3])
    assert files(pipeline.score(settings())) == before


def test_another_embedder_version_scores_anew(calls, monkeypatch):
    import pipeline_fakes

    pipeline.run(settings())
    calls.clear()
    monkeypatch.setattr(pipeline_fakes.Ear, "version", "2")
    for card in Path("results/cache").glob("*.json"):  # as an edit of the embedder's source file would
        if "sample_rate" in card.read_text():
            card.unlink()
    pipeline.score(settings())
    assert calls["embedded"] == 30


def test_a_new_metric_preset_scores_anew_without_embedding(calls, monkeypatch):
    pipeline.run(settings())
    calls.clear()
    monkeypatch.setitem(METRICS, "fake_fad", replace(METRICS["fake_fad"], preset="v2"))
    folder = pipeline.score(settings())
    assert {row.preset for row in folder.scores() if row.metric == "fake_fad"} == {"v2"}
    assert not calls


def test_too_few_clips_for_a_score_are_a_failure_and_no_crash(calls):
    folder = pipeline.run(settings(n=1))
    assert folder.scores() == []
    assert any("at least 2" in row["reason"] for row in folder.failures())
    assert len(folder.clips("good")) == 1


def test_an_unreadable_reference_is_left_out_and_named(calls):
    Path("real/p4.wav").write_bytes(b"no audio at all")
    folder = pipeline.run(settings(systems=["good"]))
    n = {row.metric: row.n for row in folder.scores() if not row.versus}
    assert (n["fake_pair"], n["fake_fad"], n["fake_text"]) == (9, 10, 10)
    assert [row["system"] for row in folder.failures()] == ["reference"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["fake_fda"]}, "Did you mean fake_fad"),
        ({"systems": ["godo"]}, "Did you mean good"),
        ({"results": "models/good.yaml"}, "results=FOLDER"),
    ],
)
def test_mistakes_are_one_line(calls, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        pipeline.run(settings(**changes))
    assert "\n" not in str(caught.value)


def test_unknown_presets_and_missing_weights_are_one_line_and_no_clips_no_scores(calls):
    wrong = settings()
    wrong.protocol.metrics["fad_musicnn_tiny"] = config.MetricChoice(["musicnn-mtt-v2"])
    pipeline.generate(wrong)
    with pytest.raises(UserError, match=r"preset of fad_musicnn_tiny 'musicnn-mtt-v2'\. Did you mean musicnn-mtt-v1"):
        pipeline.score(wrong)
    wrong.protocol.metrics["fad_musicnn_tiny"] = config.MetricChoice(weights="nowhere.safetensors")
    with pytest.raises(UserError, match=r"metric fad_musicnn_tiny .*no weights nowhere\.safetensors"):
        metric_checks.check(wrong.protocol)
    with pytest.raises(UserError, match="magnet-eval generate"):
        pipeline.score(settings("elsewhere"))


def test_a_full_disk_keeps_what_is_finished(calls, monkeypatch):
    write, written = audio.write, []

    def until_full(path, samples, rate):
        if len(written) == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        write(path, samples, rate)

    monkeypatch.setattr(audio, "write", until_full)
    with pytest.raises(UserError, match="No space left on device. Finished work is kept; free some space"):
        pipeline.run(settings(systems=["good"]))
    monkeypatch.setattr(audio, "write", write)
    calls.clear()
    pipeline.run(settings(systems=["good"]))
    assert calls["clips"] == 6  # the batch of four that was whole stays


def test_rows_of_the_timing_loop_survive(calls):
    folder = pipeline.generate(settings())
    latency = replace(score_row(folder), metric="latency")
    folder.replace_scores([latency], lambda row: False)
    pipeline.score(settings())
    assert folder.scores()[-1] == latency


def test_ratings_survive_scoring(calls):
    folder = pipeline.run(settings())
    rating = replace(folder.scores()[0], metric="people_ovl", label="OVL (people)")
    folder.replace_scores([rating], is_people)
    folder.write_clip_scores([*folder.clip_scores(), ClipScore("good", "p0", "people_ovl", 60.0)])
    pipeline.score(settings())
    assert [row for row in folder.scores() if is_people(row)] == [rating]
    assert [row.value for row in folder.clip_scores() if is_people(row)] == [60.0]


def score_row(folder):
    pipeline.score(settings())
    return folder.scores()[0]


CHILD = """
import test_pipeline
from magnet_eval import pipeline
from magnet_eval.metrics import METRICS
METRICS.update(test_pipeline.FAKE_METRICS)
pipeline.run(test_pipeline.settings("killed"))
"""


def test_a_killed_process_leaves_a_run_that_goes_on(calls):
    whole = files(pipeline.run(settings("whole")))
    environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", "FAKE_SECONDS": "0.1"}
    child = subprocess.Popen([sys.executable, "-c", CHILD], env=environment)
    folder = pipeline.folder_of(settings("killed"))
    deadline = time.monotonic() + 60
    while not folder.all_clips("good") and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    kept = len(folder.all_clips("good")) + len(folder.all_clips("noisy"))
    assert 0 < kept < 20
    calls.clear()
    assert files(pipeline.run(settings("killed"))) == whole
    assert calls["clips"] == 20 - kept


def test_the_flow_itself_imports_no_torch():
    code = "import sys, magnet_eval.pipeline; assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=HERE.parent)


def test_fewer_frames_than_dimensions_are_said_once(calls, monkeypatch):
    monkeypatch.setitem(METRICS, "fake_fad", replace(METRICS["fake_fad"], covariance=True))
    folder = pipeline.run(settings(n=2, metrics=["fake_fad"]))  # 4 frames a clip, 8 dimensions; 40 real frames
    told = folder.manifest()["warnings_of_scores"]
    assert told == [
        f"FAD (v1) has 8 frames of {label} for 8 dimensions: only scores of as many clips compare"
        for label in ("good", "noisy")
    ]
    assert (
        folder.manifest()["warnings_of_scores"]
        == pipeline.score(settings(n=2, metrics=["fake_fad"])).manifest()["warnings_of_scores"]
    )


def test_a_real_clip_that_changed_since_its_data_set_was_prepared_is_named(calls, monkeypatch):
    listed = other_side.read_reference(settings().protocol.reference)
    wrong = [replace(listed[0], reference_sha256="0" * 64), *listed[1:]]
    monkeypatch.setattr(other_side, "read_reference", lambda chosen: wrong)
    folder = pipeline.run(settings(metrics=["fake_fad"]))
    (failure,) = folder.failures()
    assert failure["prompt_id"] == listed[0].id and "is not the file that data prepare found" in failure["reason"]
