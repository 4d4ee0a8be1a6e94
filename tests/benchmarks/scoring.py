"""Times the scoring of 1,000 clips of 10 s by every tiny metric, and its rerun, and writes results/measured/scoring.md.

The clips are pieces of the embedded reference clips, moved and joined by seeds of their own; each caption's real clip
is one of the 200. Both calls are processes of their own, imports included. Run it on an otherwise idle machine:
OMP_NUM_THREADS=2 python tests/benchmarks/scoring.py
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from magnet_eval import audio, zoo
from magnet_eval.environment import environment

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = zoo.root() / "models" / "tiny" / "reference"
N_CLIPS, RATE, SECONDS = 1000, 16_000, 10
METRICS = ("fad_musicnn_tiny", "kad_musicnn_tiny", "kl_mtt_tiny", "clap_tiny")
BARS = {"scoring": 60.0, "rerun": 5.0}  # seconds
UNIT = 1e9 if sys.platform == "darwin" else 1e6  # of a peak memory in a GB: bytes there, kilobytes elsewhere


def clip(seed: int, real: list[Path]) -> np.ndarray:
    """Two real clips, each begun elsewhere, one behind the other: float32 [160,000]."""
    rng = np.random.default_rng(seed)
    parts = [audio.load_mono(real[i], RATE) for i in rng.choice(len(real), 2, replace=False)]
    return np.concatenate([np.roll(part, rng.integers(len(part))) for part in parts])[: RATE * SECONDS]


def write_world(home: Path) -> None:
    """clips/ with 1,000 wave files, captions.jsonl with a real clip for each, and the protocol."""
    rows = [json.loads(line) for line in (REFERENCE / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    real = [REFERENCE / row["file"] for row in rows]
    (home / "clips").mkdir()
    (home / "protocols").mkdir()
    captions = []
    for i in range(N_CLIPS):
        soundfile.write(home / "clips" / f"clip{i}.wav", clip(i, real), RATE, subtype="PCM_16")
        row = rows[i % len(rows)]
        file = os.path.relpath(REFERENCE / row["file"], home)
        captions.append(json.dumps({"id": f"clip{i}", "text": row["text"], "file": file}))
    (home / "captions.jsonl").write_text("\n".join(captions), encoding="utf-8")
    protocol = {
        "version": 1,
        "prompts": {"source": "jsonl", "path": "captions.jsonl", "seconds": SECONDS},
        "systems": [{"model": "files", "label": "clips", "set": {"folder": "clips"}}],
        "reference": {"source": "tiny"},
        "metrics": {name: {} for name in METRICS},
    }
    (home / "protocols" / "scoring.yaml").write_text(json.dumps(protocol), encoding="utf-8")


def call(home: Path, verb: str) -> tuple[float, float]:
    """Wall seconds and peak memory in GB of one call of magnet-eval; the peak is that of the largest call so far."""
    start = time.perf_counter()
    words = [sys.executable, "-m", "magnet_eval", verb, "protocol=scoring"]
    subprocess.run(words, check=True, cwd=home, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / UNIT


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_world(home)
        call(home, "generate")
        rows = [(name, *call(home, "score")) for name in BARS]
    known = environment()
    hardware = known["hardware"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB"
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    lines = [
        f"# Scoring {N_CLIPS:,} clips of {SECONDS} s, timed",
        "",
        f"`OMP_NUM_THREADS={threads} python tests/benchmarks/scoring.py`, Python {known['python']}, "
        f"torch {known['packages']['torch']}; {machine}",
        "",
        f"Metrics: {', '.join(METRICS)}; 200 real clips of 5 s. The rerun finds all in the cache.",
        "",
        "| what | seconds | bar | peak memory, GB |",
        "|---|---:|---:|---:|",
        *(f"| {name} | {seconds:.1f} | {BARS[name]:g} | {memory:.2f} |" for name, seconds, memory in rows),
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured").mkdir(parents=True, exist_ok=True)
    (ROOT / "results" / "measured" / "scoring.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
