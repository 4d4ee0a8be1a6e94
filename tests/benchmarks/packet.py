"""Times study prepare and study check at the size of a real study, and writes results/measured/packet.md.

30 prompts of five systems, 10 s at 32 kHz, with gold and anchor, in two passes: a run of noises is made first.
Run it on an otherwise idle machine: python tests/benchmarks/packet.py
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "study"))
from study_runs import make_run

from magnet_eval.environment import environment
from magnet_eval.study.schema import Folders, read_key, read_packet

RESULT = Path(__file__).resolve().parents[2] / "results" / "measured" / "packet.md"
SYSTEMS = tuple(f"system-{letter}" for letter in "abcde")
PROMPTS = 30
BARS = {"prepare": 30.0, "check": 5.0}  # seconds


def timed(*words: str) -> tuple[float, float, float]:
    """Wall and CPU seconds and peak memory in GB of one call of magnet-eval study; the peak is the largest so far."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "magnet_eval", "study", *words], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    return seconds, cpu, after.ru_maxrss / unit


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "noises-v1", systems=SYSTEMS, prompts=PROMPTS, seconds=10.0, rate=32000)
        study = f"{folder}/study"
        rows = [("prepare", *timed("prepare", f"run={run.path}", f"out={study}", f"prompts={PROMPTS}"))]
        rows.append(("check", *sorted(timed("check", f"study={study}") for _ in range(3))[1]))  # the median
        folders = Folders.of(study)
        n_pages, n_stimuli = len(read_packet(folders).pages), len(read_key(folders).stimuli)
        size = sum(path.stat().st_size for path in folders.study.rglob("*") if path.is_file()) / 1e6
    known = environment()
    hardware = known["hardware"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB"
    lines = [
        "# A packet for a listening test, timed",
        "",
        f"`python tests/benchmarks/packet.py`, Python {known['python']}; {machine}; load when it ended: "
        f"{os.getloadavg()[0]:.1f}",
        "",
        f"{PROMPTS} prompts, {len(SYSTEMS)} systems, gold and a 3.5 kHz anchor, clips of 10 s at 32 kHz, two passes: "
        f"{n_pages} pages, {n_stimuli} stimuli, {size:.0f} MB. prepare ends with a check of its own; times "
        "are of whole commands.",
        "",
        "| what | seconds | bar | CPU seconds | peak memory, GB |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {seconds:.1f} | {BARS[name]:g} | {cpu:.1f} | {memory:.2f} |"
            for name, seconds, cpu, memory in rows
        ),
    ]
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
