"""A run folder with scores made by hand: what the report reads, without a model."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from magnet_eval import audio
from magnet_eval.records import Clip, ClipScore, Prompt, Score, Timing
from magnet_eval.report.data import load
from magnet_eval.speed.loop import Calls, Series
from magnet_eval.speed.rows import Rows
from magnet_eval.speed.subject import Loaded
from magnet_eval.store import RunFolder

FAMILIES = {"magnet-tiny": "masked", "musicgen-tiny": "autoregressive", "codec-tiny": "codec"}
RATE = 16_000
QUALITY = {  # metric -> label, unit, better, half-width of the interval, floor, values by place in the order
    "fad_musicnn_tiny": ("FAD-musicnn", "", "lower", 0.31, 1.92, (5.13, 4.87, 2.41, 4.52, 5.9, 5.4, 9.8)),
    "clap_tiny": ("CLAP-tiny", "", "higher", 0.013, None, (0.312, 0.334, 0.402, 0.34, 0.29, 0.30, 0.07)),
}
SECONDS = (0.41, 1.27, 0.0, 0.63, 0.72, 0.55, 0.05)  # latency at batch 1; 0: not timed


def speed_rows(label, seconds):
    """Rows as the timing loop makes them, for two batch sizes."""
    loaded = Loaded("cpu", "float32", 0.231)
    yield Rows("quick", 1).of_system(label, loaded)
    for batch in (1, 8):
        calls = [seconds * batch**0.7 * drift for drift in (0.96, 1.05, 1.0, 0.98, 1.02)]
        stages = {"total": 1.0, "text": 0.05, "tokens": 0.8, "codec": 0.13}
        parts = {stage: [share * value for value in calls] for stage, share in stages.items()}
        series = Series("offline", batch, len(calls))
        made = Calls(label, loaded, series, 2.0, parts, warmup=calls[:3], iterations=50, network_evaluations=100)
        made.peak_mb = {"process": 612.3}
        yield from Rows("quick", 1).of_calls(made)


def quality_rows(labels, n):
    """Plain scores, and the differences of the competing systems to the second one."""
    for metric, (label, unit, better, half, floor, values) in QUALITY.items():
        for system, value in zip(labels, values, strict=False):
            yield Score(
                "quick", 1, system, metric, label, value, unit, better, n, value - half, value + half, floor,
                preset="v1", ids_hash="0123456789abcdef",
            )  # fmt: skip
        for i, system in enumerate(labels):
            if i not in (1, 2):
                gap = values[i] - values[1]
                p_value = 0.4 if abs(gap) < half else 0.0004
                yield Score(
                    "quick", 1, system, metric, label, gap, unit, better, n, gap - half, gap + half,
                    versus=labels[1], p_value=p_value,
                )  # fmt: skip


def tone(prompt, system, seconds=2.0):
    """A chord whose pitch tells prompt and system."""
    t = np.arange(int(seconds * RATE)) / RATE
    root = 110 * 2 ** (((prompt * 5) % 24 + system) / 12)
    sound = sum(np.sin(2 * np.pi * root * k * t) * np.exp(-k * (t % 0.5) * 2) / k for k in range(1, 9))
    return (0.3 * sound).astype(np.float32)[None]


def make_run(path, families=FAMILIES, n_prompts=3, texts=(), seconds=2.0):
    """Writes a run folder and returns it. ``texts`` replaces the first captions."""
    run, labels = RunFolder(path / "quick-v1"), list(families)
    prompts = []
    for i in range(n_prompts):
        reference = path / "reference" / f"r{i}.wav"
        audio.write(reference, tone(i, 20, seconds), RATE)
        text = texts[i] if i < len(texts) else f"slow waltz number {i} for strings"
        prompts.append(Prompt(f"p{i}", text, seconds, {"style": "waltz", "tempo": "slow"}, str(reference)))
    run.write_prompts(prompts)
    clip_scores = []
    for k, label in enumerate(labels):
        clips = []
        for i, prompt in enumerate(prompts):
            file = run.audio(label, prompt.id)
            audio.write(file, tone(i, k, seconds), RATE)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            where = str(file.relative_to(run.path))
            clips.append(Clip(prompt.id, label, where, RATE, int(seconds * RATE), i, digest, f"{k}-{i}", 125, 123))
            clip_scores.append(ClipScore(label, prompt.id, "clap_tiny", 0.3 + 0.05 * np.cos(7 * i + 3 * k)))
        run.write_clips(label, clips)
    rows = list(quality_rows(labels, n_prompts))
    timed = [(label, seconds) for label, seconds in zip(labels, SECONDS, strict=False) if seconds]
    rows += [row for label, seconds in timed for row in speed_rows(label, seconds)]
    run.replace_scores(rows, lambda row: True)
    run.write_clip_scores(clip_scores)
    run.write_timings([Timing(label, "total", 1, 2.0, (s,) * 5, "cpu", "float32", 50, 100) for label, s in timed])
    run.update_manifest(
        protocol={"name": "quick", "version": 1, "title": "Quick comparison", "generation": {"seed": 0}},
        systems={label: {"family": family, "fingerprint": "ab" * 32} for label, family in families.items()},
        environment={"hardware": {"cpu": "Test CPU", "cores": 2, "memory_gb": 8, "gpus": []}, "python": "3.11"},
        history=[{"at": "2026-01-02T03:04:05+00:00", "stage": "generate"}],
        command="magnet-eval run protocol=quick",
        failures=[{"stage": "generate", "system": labels[0], "prompt_id": "p9", "reason": "out of memory"}],
    )
    return run


@pytest.fixture
def run(tmp_path):
    """Three systems, three prompts; a test may change it."""
    return make_run(tmp_path)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The same for reading only."""
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def hostile_run(whole_run, tmp_path_factory):
    """The run with captions of markup, of another script and of one long word, and ids of 300 characters."""
    run = RunFolder(tmp_path_factory.mktemp("hostile") / whole_run.path.name)
    shutil.copytree(whole_run.path, run.path)
    texts = (
        "<script>alert(1)</script> & <img src=x onerror=alert(1)>",
        "ואלס איטי לכלי מיתר <b>&amp;</b>",
        "w" * 300,
    )
    run.write_prompts([Prompt(f"{i}{'x' * 299}", text, 2.0, {"<i>": "‮"}) for i, text in enumerate(texts)])
    for file in [run.path / "clip_scores.jsonl", *run.path.glob("*/clips.jsonl")]:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        renamed = [{**row, "prompt_id": row["prompt_id"].removeprefix("p") + "x" * 299} for row in rows]
        file.write_text("".join(json.dumps(row) + "\n" for row in renamed), encoding="utf-8")
    failure = {"stage": "generate", "system": "<b>", "prompt_id": "y" * 300, "reason": "<i>no</i> " + "z" * 300}
    run.update_manifest(failures=[failure])
    return run


@pytest.fixture
def make_score():
    """A function that makes a Score of a metric that the package does not know."""

    def make(system="a", metric="roughness", value=1.0, better="lower", **more):
        return Score("quick", 1, system, metric, "Roughness", value, "asper", better, 32, **more)

    return make


@pytest.fixture
def make_data(tmp_path):
    """A function from Score rows to what a report reads."""

    def make(*rows, families=None):
        folder = RunFolder(tmp_path / "hand-v1")
        folder.replace_scores(rows, lambda row: True)
        if families:
            folder.update_manifest(systems={label: {"family": family} for label, family in families.items()})
        return load(folder)

    return make


@pytest.fixture
def make_hostile_run(tmp_path):
    """A function that makes a run whose first caption and first label would like to be markup."""

    def make(text):
        return make_run(tmp_path, {"a <b>bold</b> $x_1$ & co": "masked", "other": "masked"}, 2, (text,))

    return make
