"""Times the main job, its rerun and --help, each in a process of its own, and writes results/measured/demo.md.

Run it on an otherwise idle machine: python tests/benchmarks/demo.py
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from magnet_eval.environment import environment

ROOT = Path(__file__).resolve().parents[2]
RUN = ["run", "protocol=quickstart"]
BARS = {"main job": 300.0, "rerun": 10.0, "--help": 0.5}  # seconds
MEMORY_BAR = 3.0  # GB


def timed(words: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in GB of one call of magnet-eval; the peak is that of the largest call so far."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "magnet_eval", *words], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    rows = []
    helps = sorted(timed(["--help"])[0] for _ in range(5))
    rows.append(("--help", helps[2], None))
    with tempfile.TemporaryDirectory() as folder:
        words = [*RUN, f"results={folder}/results", f"reports={folder}/reports"]
        for name in ("main job", "rerun"):
            rows.append((name, *timed(words)))
    known = environment()
    hardware = known["hardware"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB"
    lines = [
        "# The main job, timed",
        "",
        f"`python tests/benchmarks/demo.py`, Python {known['python']}, torch {known['packages']['torch']}; {machine}",
        "",
        "| what | seconds | bar | peak memory, GB | bar |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, seconds, memory in rows:
        size = (f"{memory:.2f}", f"{MEMORY_BAR:g}") if memory else ("", "")
        lines.append(f"| {name} | {seconds:.2f} | {BARS[name]:g} | {size[0]} | {size[1]} |")
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured").mkdir(parents=True, exist_ok=True)
    (ROOT / "results" / "measured" / "demo.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
