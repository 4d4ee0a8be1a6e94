"""Systems in processes of their own: real ones, started for the purpose."""

import signal
import textwrap

import pytest

from magnet_eval import config, speed
from magnet_eval.config import Generation, Model, Speed
from magnet_eval.records import Prompt
from magnet_eval.speed.bench import Scenario, bench
from magnet_eval.speed.subject import Loaded
from magnet_eval.speed.worker import Failed, Worker, died
from magnet_eval.store import RunFolder

FAKES = """
    import logging, os, signal, time
    import numpy as np
    from magnet_eval.generators import Generation

    class Steady:
        sample_rate, device, mb = 16_000, "cpu", 1

        def __init__(self, model, device, dtype, exact):
            pass

        def generate(self, prompts, seeds):
            held = b"x" * (self.mb * 1_000_000)
            time.sleep(0.01)
            return Generation([np.zeros((1, 800), np.float32)] * len(prompts), 1, 1, 5, 10, {"tokens": 0.01})

    class Large(Steady):
        mb = 300

    class Streams(Steady):
        def stream(self, prompt, seed, chunk_seconds):
            for _ in range(3):
                time.sleep(0.02)
                yield np.zeros((1, 8), np.float32)

    class Killed(Steady):
        def generate(self, prompts, seeds):
            if len(prompts) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().generate(prompts, seeds)
"""
PROMPTS = [Prompt("p", "a bell", 1.0)]


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """A module of a user's own families, which a started process can import too."""
    (tmp_path / "own_families.py").write_text(textwrap.dedent(FAKES))
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name: Model(family=f"own_families:{name}", name=name.lower())


def test_a_killed_process_and_another_ones_memory_are_not_the_others_matter(fakes, tmp_path):
    run = RunFolder(tmp_path / "quick-v1")
    systems = [(name, fakes(name)) for name in ("Killed", "Large", "Steady", "Streams")]
    settings = Speed(["offline", "time_to_first_audio"], batches=[1, 2], repeats=3, queries=3, warmup=1)
    found = bench(systems, Scenario(settings, PROMPTS, Generation(device="cpu")), run, protocol=("quick", 1))
    (failure,) = run.failures()
    assert failure["system"] == "Killed" and failure["reason"].startswith("batch 2: its process was killed")
    sizes = {(row.system, row.params["batch"]) for row in found if row.metric == speed.THROUGHPUT}
    assert sizes == {("Killed", 1)} | {(name, n) for name in ("Large", "Steady", "Streams") for n in (1, 2)}
    peaks = {row.system: row.value for row in found if row.metric == speed.PEAK_MEMORY and row.params["batch"] == 2}
    assert peaks["Large"] > peaks["Steady"] + 200
    (first,) = [row for row in found if row.metric == speed.FIRST_AUDIO]
    assert first.system == "Streams" and 0.02 <= first.value < first.params["stream_seconds"]
    assert {timing.stage for timing in run.timings() if timing.scenario == "time_to_first_audio"} == {
        "first audio", "stream",
    }  # fmt: skip


@pytest.mark.parametrize(("seconds", "window"), [(4.0, None), (5.0, None), (5.04, 4.92), (10.0, 4.92)])
def test_windows_are_counted_in_whole_spans(seconds, window):
    """Spans of 3 frames at 25 Hz: a segment of 5 s holds 123 of its 125 frames, and so does a clip of 5 s."""
    loaded = Loaded("cpu", "float32", 1.0, shapes={"unit": 3, "segment": 123, "frame_rate": 25.0})
    assert loaded.windows_of(seconds) == window
    assert Loaded("cpu", "float32", 1.0).windows_of(seconds) is None


def test_a_clip_longer_than_the_models_segment_says_its_windows(caplog, tmp_path):
    """A real model, trained on 5 s; its stages and limits as well."""
    run = RunFolder(tmp_path / "quick-v1")
    tiny = config.load_model("musicgen-tiny")
    settings = Speed(batches=[1], repeats=1, warmup=0, seconds=6.0)
    found = bench([("a", tiny)], Scenario(settings, PROMPTS, Generation(device="cpu")), run, protocol=("quick", 1))
    row = next(row for row in found if row.metric == speed.THROUGHPUT)
    assert row.params["window_seconds"] == 5.0 and row.params["seconds"] == 6.0
    assert "a makes clips of 6 s in windows of 5 s" in caplog.text
    stages = [row.params["stage"] for row in found if row.metric == speed.LATENCY]
    assert stages == ["total", "text", "prefill", "decode", "codec", "write"]
    limits = run.manifest()["speed"][0]["devices"]["cpu"]["ceilings"]["float32"]
    shares = {row.params["stage"] for row in found if row.metric == speed.ROOFLINE_SHARE}
    assert limits["flops_per_s"] > 1e9 and {"total", "decode", "codec"} <= shares


def test_a_process_ends_with_its_worker_even_in_a_call(tmp_path):
    worker = Worker("a", tmp_path)
    worker.tell("idle_watts", 60.0)
    worker.close()
    assert not worker.process.is_alive()


def test_a_process_that_is_gone_says_how(tmp_path):
    worker = Worker("a", tmp_path)
    worker.process.terminate()
    worker.process.join()
    with pytest.raises(Failed, match="its process ended by signal SIGTERM"):
        worker.ask("state")
    worker.close()
    assert "memory" in died(-signal.SIGKILL) and died(3) == "its process ended with exit code 3"
