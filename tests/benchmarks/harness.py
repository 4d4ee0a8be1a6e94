"""What the timing harness costs, and whether it changes what it times; writes results/measured/harness.md.

Two questions. How long does one question to a worker take when the system does nothing: that is all that a measurement
adds per call, most of it outside the clock. And does a system take as long under the harness as in a bare loop in a
process of its own: calls of both take turns. Run it on an otherwise idle machine: python tests/benchmarks/harness.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from magnet_eval import config
from magnet_eval.environment import environment
from magnet_eval.records import Prompt
from magnet_eval.speed.quantiles import median_interval
from magnet_eval.speed.worker import Worker
from magnet_eval.store import write_atomic

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("magnet-tiny", "musicgen-tiny")
PROMPTS = [Prompt("p", "slow waltz for strings", 5.0)]
ROUNDS, EMPTY_CALLS, WARMUP = 40, 300, 3
BAR = 0.01  # of what is timed
BARE = """
import sys, time
import numpy as np, soundfile
from magnet_eval import config, generators
from magnet_eval.records import Prompt
generator = generators.build(config.load_model(sys.argv[1]), "cpu", "float32", exact=False)
prompts = [Prompt("p", "slow waltz for strings", 5.0)]
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    made = generator.generate(prompts, [0])
    soundfile.write(sys.argv[2], np.clip(made.audio[0].T, -1, 1), generator.sample_rate, "PCM_16")
    print(time.perf_counter() - start, flush=True)
"""
IDLE = """
import numpy as np
from magnet_eval.generators import Generation

class Idle:
    sample_rate, device = 16_000, "cpu"

    def __init__(self, model, device, dtype, exact):
        pass

    def generate(self, prompts, seeds):
        return Generation([], 0, 0, 0, 0, {})
"""


class Bare:
    """The same generator in a loop without the harness."""

    def __init__(self, model: str, folder: Path) -> None:
        words = [sys.executable, "-c", BARE, model, str(folder / "bare.wav")]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def call(self) -> float:
        """Seconds of one call."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("call\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def started(model: config.Model, folder: Path) -> Worker:
    """A worker with its system loaded."""
    worker = Worker(model.name, folder)
    worker.ask("prepare", model.family)
    worker.ask("load", model, "cpu", "float32", [PROMPTS[0].text])
    return worker


def seconds_of_a_question(folder: Path) -> np.ndarray:
    """Wall seconds of asking for a call of a system that does nothing."""
    (folder / "idle_family.py").write_text(IDLE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    worker = started(config.Model(family="idle_family:Idle", name="idle"), folder)
    found = []
    for _ in range(EMPTY_CALLS):
        start = time.perf_counter()
        worker.ask("call", PROMPTS, [0])
        found.append(time.perf_counter() - start)
    worker.close()
    return np.array(found[WARMUP:])


def side_by_side(model: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of calls bare and under the harness, taking turns; which goes first changes from turn to turn."""
    bare, worker = Bare(model, folder), started(config.load_model(model), folder)
    sides = {"bare": bare.call, "harness": lambda: worker.ask("call", PROMPTS, [0]).seconds["total"]}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(WARMUP + ROUNDS):
        for name in sorted(sides, reverse=bool(turn % 2)):
            found[name].append(sides[name]())
    bare.close()
    worker.close()
    return np.array(found["bare"][WARMUP:]), np.array(found["harness"][WARMUP:])


def main() -> None:
    hardware, packages = environment()["hardware"], environment()["packages"]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        question = seconds_of_a_question(folder)
        rng = np.random.default_rng(0)
        for model in MODELS:
            bare, harness = side_by_side(model, folder)
            ratio = harness / bare  # of neighbours in time
            low, high = median_interval(ratio, rng)
            share = 100 * np.median(question) / np.median(bare)
            rows.append(
                f"| {model} | {np.median(bare):.4f} | {np.median(harness):.4f} | {100 * (np.median(ratio) - 1):+.2f} "
                f"[{100 * (low - 1):+.2f}, {100 * (high - 1):+.2f}] | {share:.2f} |"
            )
    write_atomic(
        ROOT / "results" / "measured" / "harness.md",
        "# What the timing harness costs\n\n"
        f"`python tests/benchmarks/harness.py`, Python {environment()['python']}, torch {packages['torch']}; "
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']} GB. Batch 1, 5 s of audio, "
        f"{ROUNDS} calls of each, in turn.\n\n"
        f"A question to a worker whose system does nothing: {1e3 * np.median(question):.2f} ms (median of "
        f"{len(question)}), for the pipe, the peak of memory and the clock. Bar: {100 * BAR:g} % of a call.\n\n"
        "| system | bare loop, s | under the harness, s | difference, % (95 %) | question / call, % |\n"
        "|---|---:|---:|---:|---:|\n" + "\n".join(rows) + "\n",
    )


if __name__ == "__main__":
    main()
