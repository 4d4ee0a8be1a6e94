"""A small world for runs that go wrong: two stub systems, captions, real clips, a protocol, and how to run it.

The stubs are tests/pipeline_fakes.py; what happens to a run (a kill, a full disk) is brought about by child.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from magnet_eval import audio
from magnet_eval.metrics import Metric
from magnet_eval.metrics.alignment import cosine_score
from magnet_eval.metrics.clip_stats import frechet_of_clips

HERE = Path(__file__).resolve().parent
RATE = 8000  # Hz, of the stubs
N_REAL = 12
EAR = {"embedder": "pipeline_fakes:Ear", "preset": "v1", "paper": "", "description": ""}
FAD = Metric(name="stub_fad", label="FAD", fn=frechet_of_clips, needs="reference_set", better="lower", best=0.0, **EAR)
MATCH = Metric(name="stub_text", label="Text", fn=cosine_score, needs="text", better="higher", best=1.0, **EAR)
METRICS = ("faults_world:FAD", "faults_world:MATCH")
# Facts of a time, a process or a place, in which two equal runs differ.
PASSING = ("history", "environment", "command")
DATED = ('name="content-key"', 'class="facts"')  # lines of a page that follow from them


def write(home: Path, n: int = 12, n_systems: int = 2, seconds: float = 0.1) -> None:
    """models/, real/, captions.jsonl of ``n`` prompts, and protocols/stub.yaml of so many systems."""
    for folder in ("models", "protocols", "real"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    labels = [f"stub{i}" for i in range(n_systems)]
    for i, label in enumerate(labels):
        model = {"family": "pipeline_fakes:Chords", "decoding": {"noise": 0.02 + 0.05 * i, "masked": True}}
        (home / "models" / f"{label}.yaml").write_text(json.dumps(model))
    rng = np.random.default_rng(0)
    for i in range(N_REAL):
        audio.write(home / "real" / f"r{i}.wav", rng.normal(0, 0.1, int(seconds * RATE)), RATE)
    with (home / "captions.jsonl").open("w") as file:
        file.writelines(json.dumps({"id": f"p{i:06}", "text": f"melody number {i}"}) + "\n" for i in range(n))
    protocol = {
        "version": 1,
        "systems": labels,
        "prompts": {"source": "jsonl", "path": "captions.jsonl", "seconds": seconds},
        "reference": {"source": "folder", "path": "real"},
        "generation": {"batch": 4, "device": "cpu"},
        "metrics": {name: {} for name in METRICS},
    }
    (home / "protocols" / "stub.yaml").write_text(json.dumps(protocol))


def start(home: Path, *words: str, **environment: str) -> subprocess.Popen:
    """``magnet-eval`` with these words in ``home``, as a process that the FAULT of the environment happens to."""
    paths = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))
    known = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, str(HERE / "child.py"), *words],
        cwd=home, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def call(home: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of such a process once it has ended."""
    process = start(home, *words, **environment)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def state(home: Path) -> dict[str, object]:
    """All that a run leaves, by path: bytes; manifest and page without what tells of one time."""
    found: dict[str, object] = {}
    for path in sorted(p for top in ("results", "reports") for p in (home / top).rglob("*") if p.is_file()):
        name = path.relative_to(home).as_posix()
        if path.name == "manifest.json":
            found[name] = {key: value for key, value in json.loads(path.read_text()).items() if key not in PASSING}
        elif name.startswith("reports/"):
            evidence = path.read_text(encoding="utf-8").partition('<h2 id="made">')[0]
            found[name] = [line for line in evidence.splitlines() if not any(mark in line for mark in DATED)]
        elif path.name not in (".lock", "index.html"):
            found[name] = path.read_bytes()
    return found


def kept(home: Path) -> dict[str, bytes]:
    """The finished clips: their list and their audio, by path."""
    run = home / "results" / "stub-v1"
    paths = [*run.glob("*/clips.jsonl"), *run.glob("*/audio/*")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(paths)}
