"""What the engines cost, with a stub that takes a known time; writes results/measured/engines.md.

Four questions. What does a clip cost beyond its model: the time of clips that take none, less that of this process
alone for Ray's own share. How much faster are two workers than one. What share of a worker's time is lost at sixteen.
And does the plan of the README, N x M x seconds / workers, say how long a run takes. The clock runs from when the
last worker has loaded, on which the others wait, to the last clip on disk: loading is paid once a worker, however long
the run is.

The stub sleeps, as a GPU's host does, so that workers do not compete for the cores of this machine.
Run it on an otherwise idle machine: python tests/benchmarks/engines.py
"""

import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "engines")]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:3])  # of workers

import ray  # noqa: E402

from magnet_eval import config, pipeline  # noqa: E402
from magnet_eval.environment import environment  # noqa: E402

DELAY = 0.5  # seconds that a clip takes
MOST = 16  # workers
CLIP_SECONDS = 10.0  # of audio, at 8 kHz in the stub
BARS = {"overhead": 5.0, "speedup": 1.7, "loss": 0.05}  # ms a clip; times; share of time


@dataclass(frozen=True)
class Timed:
    """One run: how many clips of the model's ``delay`` its workers made, and how long it took."""

    n_clips: int
    workers: int
    delay: float
    seconds: float  # without loading

    @property
    def ideal(self) -> float:
        """Seconds if nothing cost anything but the model."""
        return self.n_clips * self.delay / self.workers

    @property
    def overhead(self) -> float:
        """Milliseconds a clip and worker beyond the model's own."""
        return 1000 * (self.seconds - self.ideal) * self.workers / self.n_clips


def timed(engine: str, workers: int, delay: float, n_each: int) -> Timed:
    """Times a run of n_each clips a worker, in a folder that is new each time."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path.cwd()
        os.chdir(folder)
        try:
            n = workers * n_each
            write_world(n, workers, delay)
            settings = config.Run(
                protocol=config.load_protocol("own"), engine=engine, workers=workers, results="results"
            )
            ends: list[float] = []
            pipeline.generate(settings, lambda what, done, total: ends.append(time.time()))
            start = max(path.stat().st_mtime for path in Path().glob("loaded-*"))
        finally:
            os.chdir(home)
    return Timed(n, workers, delay, ends[-1] - start)


def write_world(n: int, workers: int, delay: float) -> None:
    """A stub model that takes ``delay`` a clip and waits for all workers, and n captions."""
    for folder in ("models", "protocols"):
        Path(folder).mkdir()
    model = {"family": "engine_fakes:Sleeper", "decoding": {"delay": delay, "crowd": workers}}
    Path("models/stub.yaml").write_text(json.dumps(model))
    rows = [json.dumps({"id": f"p{i:05}", "text": f"melody number {i}"}) for i in range(n)]
    Path("captions.jsonl").write_text("\n".join(rows))
    protocol = {
        "version": 1,
        "systems": ["stub"],
        "prompts": {"source": "jsonl", "path": "captions.jsonl", "seconds": CLIP_SECONDS},
        "generation": {"batch": 1, "device": "cpu"},
    }
    Path("protocols/own.yaml").write_text(json.dumps(protocol))


def main() -> None:
    ray.init("local", num_cpus=MOST, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    here = timed("local", 1, 0.0, 400)
    rows = [("this process", here)]
    for engine in ("local", "ray"):
        rows += [(engine, timed(engine, n, DELAY, 40)) for n in (1, 2, MOST)]
        rows += [(f"{engine}, no delay", timed(engine, 2, 0.0, 200))]
    write(here, rows)


def write(here: Timed, rows: list[tuple[str, Timed]]) -> None:
    """Writes the page, and shows it."""
    known = environment()
    hardware = known["hardware"]
    by = {(name, row.workers): row for name, row in rows}
    lines = [
        "# Engines, timed with a stub",
        "",
        f"`python tests/benchmarks/engines.py`, Python {known['python']}, ray {ray.__version__}; "
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB.",
        f"Clips of {CLIP_SECONDS:g} s at 8 kHz, one a call, which sleeps {DELAY:g} s. Loading is left out.",
        "",
        "| engine | workers | clips | seconds | ideal | lost |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows:
        lost = f"{1 - row.ideal / row.seconds:.1%}" if row.delay else ""
        lines.append(f"| {name} | {row.workers} | {row.n_clips} | {row.seconds:.2f} | {row.ideal:.2f} | {lost} |")
    lines += ["", "| what | measured | bar |", "|---|---:|---:|"]
    for engine in ("local", "ray"):
        one, two, most = (by[engine, n] for n in (1, 2, MOST))
        faster = (two.n_clips / two.seconds) / (one.n_clips / one.seconds)
        lines += [
            f"| {engine}: two workers against one | {faster:.2f} x | {BARS['speedup']} x |",
            f"| {engine}: time lost at {MOST} workers | {1 - most.ideal / most.seconds:.1%} | {BARS['loss']:.0%} |",
        ]
    free = by["ray, no delay", 2]
    own = 1000 * (free.seconds / free.n_clips - here.seconds / here.n_clips)
    lines += [
        f"| Ray's own cost of a clip, beyond this process's | {own:.1f} ms | {BARS['overhead']:g} ms |",
        f"| a clip that takes no time, in this process (audio, its hash, its row) | {here.overhead:.1f} ms | |",
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured" / "engines.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
