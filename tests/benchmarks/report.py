"""Times the report of 6 systems x 5,500 clips, and writes results/measured/report.md.

The run is made up: scores from a seed, ratings and timings among them, and clips that are links to a dozen files of
10 s at 32 kHz. Every call is a process of its own, imports included. Run it on an otherwise idle machine:
OMP_NUM_THREADS=2 python tests/benchmarks/report.py
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from magnet_eval import audio, speed
from magnet_eval.environment import environment
from magnet_eval.records import Clip, ClipScore, Prompt, Score
from magnet_eval.store import RunFolder, file_hash

ROOT = Path(__file__).resolve().parents[2]
N_PROMPTS, RATE, SECONDS = 5500, 32_000, 10
SYSTEMS = {f"system-{letter}": "masked" for letter in "abcde"} | {"codec": "codec"}
METRICS = {"clap": ("CLAP", "higher"), "kl": ("KL", "lower"), "quality": ("Quality", "higher")}
TAGS = {"genre": 8, "lead": 6, "tempo": 3, "mood": 5, "voice": 2}
REPEATS = 3
BARS = {"seconds": 15.0, "memory, GB": 1.0, "HTML without audio, MB": 5.0}
UNIT = 1e9 if sys.platform == "darwin" else 1e6  # of a peak memory in a GB: bytes there, kilobytes elsewhere


def sounds(home: Path, rng: np.random.Generator) -> list[Path]:
    """A dozen files of chords in noise."""
    t = np.arange(RATE * SECONDS) / RATE
    paths = []
    for i in range(12):
        chord = sum(np.sin(2 * np.pi * 110 * 2 ** (i / 12) * k * t) * np.exp(-k * (t % 0.5)) / k for k in range(1, 9))
        paths.append(home / "sounds" / f"{i}.wav")
        audio.write(paths[-1], (0.2 * chord + rng.normal(0, 0.01, len(t))).astype(np.float32), RATE)
    return paths


def prompts(real: list[Path], rng: np.random.Generator) -> list[Prompt]:
    """Captions as long as those of MusicCaps."""
    words = ["slow", "warm", "strings", "piano", "drums", "bass", "distorted", "guitar", "waltz", "choir", "quiet"]
    return [
        Prompt(
            f"clip-{i:05}", " ".join(rng.choice(words, 40)), SECONDS,
            {tag: f"{tag} {rng.integers(n)}" for tag, n in TAGS.items()}, str(real[i % len(real)]),
        )
        for i in range(N_PROMPTS)
    ]  # fmt: skip


def rows(clip_scores: list[ClipScore], rng: np.random.Generator) -> Iterator[Score]:
    """Means, differences, ratings and latencies."""
    labels, ids = list(SYSTEMS), {"ids_hash": "0" * 16, "preset": "native"}
    for metric, (label, better) in METRICS.items():
        for k, system in enumerate(labels):
            values = [row.value for row in clip_scores if (row.system, row.metric) == (system, metric)]
            mean, half = float(np.mean(values)), 2 * float(np.std(values)) / N_PROMPTS**0.5
            yield Score("big", 1, system, metric, label, mean, "", better, N_PROMPTS, mean - half, mean + half, **ids)
            for versus in labels[:k]:
                gap = float(rng.normal(0, half))
                more = {"versus": versus, "p_value": float(rng.random()), **ids}
                yield Score(
                    "big", 1, system, metric, label, gap, "", better, N_PROMPTS, gap - half, gap + half, **more
                )  # fmt: skip
    for system in labels[:-1]:
        mean = float(rng.normal(60, 4))
        params = {"raters": 30, "prompts": 40}
        yield Score(
            "study s", 1, system, "people_ovl", "OVL (people)", mean, "points", "higher", 600, mean - 3, mean + 3,
            params=params,
        )  # fmt: skip
        for batch in (1, 8, 32):
            params = {"batch": batch, "stage": speed.TOTAL, "quantile": 0.5, "seconds": SECONDS, "device": "cpu"}
            value = float(rng.uniform(0.5, 2)) * batch**0.7
            yield Score(
                "big", 1, system, speed.LATENCY, "Latency", value, "s", "lower", 10, value * 0.9, value * 1.1,
                params=params,
            )  # fmt: skip


def write_run(home: Path) -> RunFolder:
    """The run folder big-v1."""
    rng = np.random.default_rng(0)
    real = sounds(home, rng)
    hashes = [file_hash(path) for path in real]
    asked, run, clip_scores = prompts(real, rng), RunFolder(home / "big-v1"), []
    run.write_prompts(asked)
    for k, label in enumerate(SYSTEMS):
        clips = []
        for i, prompt in enumerate(asked):
            place, sound = run.audio(label, prompt.id), (i + k) % len(real)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(real[sound], place)
            path = place.relative_to(run.path).as_posix()
            clips.append(Clip(prompt.id, label, path, RATE, RATE * SECONDS, i, hashes[sound], f"{k}-{i}", 500, 500))
            for metric in METRICS:
                clip_scores.append(ClipScore(label, prompt.id, metric, float(rng.normal(0.3 + 0.01 * k, 0.1))))
        run.write_clips(label, clips)
    run.write_clip_scores(clip_scores)
    run.replace_scores(rows(clip_scores, rng), lambda row: True)
    run.update_manifest(
        protocol={"name": "big", "version": 1, "systems": [{"model": name, "label": name} for name in SYSTEMS]},
        systems={label: {"family": family} for label, family in SYSTEMS.items()},
        n_prompts=N_PROMPTS,
        environment=environment(),
    )
    return run


def call(run: RunFolder, cwd: Path) -> tuple[float, float, float, Path]:
    """Seconds by the clock and of the processor, peak memory in GB (of the largest call so far) and the page."""
    cwd.mkdir()
    words = [sys.executable, "-m", "magnet_eval", "report", f"run={run.path}", "--json"]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, check=True, cwd=cwd, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, busy, after.ru_maxrss / UNIT, cwd / json.loads(done.stdout)["report"]


def contents(page: Path) -> dict[str, bytes]:
    """The page and the audio beside it, by name."""
    return {path.name: path.read_bytes() for path in [page, *page.parent.glob("*_audio/*")]}


def main() -> None:
    os.environ["PYTHONPATH"] = str(ROOT)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run = write_run(home)
        calls = [call(run, home / f"call{i}") for i in range(REPEATS)]
        pages = [contents(page) for *_, page in calls]
        is_same = all(page == pages[0] for page in pages)
        text = calls[0][3].read_text(encoding="utf-8")
    bare = re.sub(r'"audio":"[^"]*"', '"audio":""', text)
    found = {
        "seconds": float(np.median([seconds for seconds, *_ in calls])),
        "memory, GB": max(peak for _, _, peak, _ in calls),
        "HTML without audio, MB": len(bare.encode()) / 1e6,
    }
    known = environment()
    hardware = known["hardware"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB"
    each = ", ".join(f"{seconds:.1f}" for seconds, *_ in calls)
    busy = ", ".join(f"{seconds:.1f}" for _, seconds, *_ in calls)
    lines = [
        f"# The report of {len(SYSTEMS)} systems x {N_PROMPTS:,} clips, timed",
        "",
        f"`OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'all')} python tests/benchmarks/report.py`, "
        f"Python {known['python']}; {machine}; load before: {load:.1f}",
        "",
        f"Clips of {SECONDS} s at {RATE // 1000} kHz, {len(METRICS)} scores each, {len(TAGS)} tags a prompt. "
        f"Seconds: the median of {each}; of the processor {busy}, imports included. "
        f"With audio the page has {len(text.encode()) / 1e6:.0f} MB.",
        "",
        "| what | measured | bar |",
        "|---|---:|---:|",
        *(f"| {name} | {value:.2f} | {BARS[name]:g} |" for name, value in found.items()),
        f"| {REPEATS} calls, byte by byte | {'the same' if is_same else 'different'} | the same |",
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured").mkdir(parents=True, exist_ok=True)
    (ROOT / "results" / "measured" / "report.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
