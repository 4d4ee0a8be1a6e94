"""What is asked of CUDA, without a GPU by stand-ins, and on one where there is one."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from magnet_eval import speed
from magnet_eval.generators import Generation
from magnet_eval.records import Prompt
from magnet_eval.speed import memory
from magnet_eval.speed.loop import Calls, Series
from magnet_eval.speed.nvml import Gpu, summary
from magnet_eval.speed.rows import Rows
from magnet_eval.speed.subject import Call, Loaded, Subject

PROMPT = Prompt("p", "text", 5.0)


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda with the calls that a timing makes, noted in order."""
    events = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append(f"synchronise {device}"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: events.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2_500_000)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 4_000_000)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: events.append("empty"))
    return events


@pytest.fixture
def subject(cuda, tmp_path):
    """A system on cuda:0 whose calls and clock are noted."""

    class Generator:
        sample_rate, device = 16_000, "cuda:0"

        def generate(self, prompts, seeds):
            cuda.append("generate")
            clips = [np.zeros((1, 4), np.float32)] * len(prompts)
            return Generation(clips, 0, 0, 50, 100, {"tokens": 1.0, "write": 0.5})

    made = Subject(tmp_path, clock=lambda: cuda.append("clock") or float(cuda.count("clock")))
    made.generator, made.device = Generator(), "cuda:0"
    return made


def test_the_device_is_idle_on_both_sides_of_the_clock(subject, cuda, tmp_path):
    call = subject.call([PROMPT, PROMPT], [0, 1])
    assert cuda == [
        "reset", "synchronise cuda:0", "clock", "generate", "synchronise cuda:0", "clock", "clock",
    ]  # fmt: skip
    assert call.seconds == {"total": 2.0, "tokens": 1.0, "write": 1.5}  # copied for 0.5 s, written for 1
    assert call.peak_mb == {"allocated": 2.5, "reserved": 4.0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.wav", "1.wav"]


def test_memory_of_the_process_is_the_drivers(cuda):
    assert memory.peaks("cuda", SimpleNamespace(process_bytes=lambda: 9_000_000))["process"] == 9.0
    assert "process" not in memory.peaks("cuda", SimpleNamespace(process_bytes=lambda: None))


def test_memory_is_given_back(subject, cuda):
    subject.generator.release = lambda: cuda.append("let go")
    subject.release()
    assert cuda == ["let go", "empty"]


def test_the_server_sets_up_every_shape_before_requests_arrive(subject, monkeypatch):
    sizes = []
    make = subject.generator.generate
    subject.generator.generate = lambda prompts, seeds: sizes.append(len(prompts)) or make(prompts, seeds)
    subject.serve([0.0, 0.0, 0.0], [1, 2], [PROMPT], 1e9)
    assert sizes == [1, 2, 2, 1]


def test_peak_memory_of_the_process_follows_an_allocation():
    """In a process of its own: where a kernel resets no high-water mark, that of earlier tests would stand."""
    code = (
        "from magnet_eval.speed import memory; memory.reset('cpu'); before = memory.process_mb(); "
        "block = bytearray(b'x') * 80_000_000; assert memory.process_mb() > before + 40"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def nvml(monkeypatch):
    """A stand-in for pynvml: a GPU of 200 W whose counter moves with a clock of its own."""

    class NVMLError(Exception):
        pass

    fake = SimpleNamespace(
        now=0.0, NVMLError=NVMLError, NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2, NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetComputeRunningProcesses=lambda gpu: [
            SimpleNamespace(pid=1, usedGpuMemory=5), SimpleNamespace(pid=os.getpid(), usedGpuMemory=7_000_000),
        ],
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda gpu: 0x04 | 0x40 | 0x01,
        nvmlSystemGetDriverVersion=lambda: "580.1", nvmlDeviceGetEnforcedPowerLimit=lambda gpu: 700_000,
        nvmlDeviceGetPowerUsage=lambda gpu: 200_000, nvmlDeviceGetTemperature=lambda gpu, sensor: 61,
        nvmlDeviceGetClockInfo=lambda gpu, kind: {1: 1980, 2: 2619}[kind],
    )  # fmt: skip
    fake.nvmlDeviceGetTotalEnergyConsumption = lambda gpu: 200_000 * fake.now  # mJ
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_the_state_of_a_gpu(nvml):
    gpu = Gpu("GPU-1")
    state = gpu.state()
    assert state["throttled_by"] == ["power cap", "temperature (hardware)"]  # being idle is no throttling
    assert (state["sm_mhz"], state["memory_mhz"], state["temperature_c"]) == (1980, 2619, 61)
    assert (state["power_limit_w"], state["driver"], state["processes"]) == (700.0, "580.1", 2)
    assert gpu.process_bytes() == 7_000_000


def test_what_the_gpu_was_like_during_calls_is_summed_up(nvml, subject):
    subject.gpu = Gpu("GPU-1")
    clocks = iter([1980, 1400, 1700])
    nvml.nvmlDeviceGetClockInfo = lambda gpu, kind: next(clocks) if kind == nvml.NVML_CLOCK_SM else 2619
    for _ in range(3):
        subject.call([PROMPT], [0])
    found = summary(subject.seen)
    assert (found["sm_mhz_min"], found["sm_mhz_mean"], found["temperature_c_max"]) == (1400, 1693, 61)
    assert found["throttled_by"] == ["power cap", "temperature (hardware)"]


def test_energy_is_counted_over_a_window_of_calls(nvml, subject):
    subject.gpu = Gpu("GPU-1")
    subject.clock = lambda: nvml.now
    make = subject.generator.generate

    def generate(prompts, seeds):
        nvml.now += 4.0
        return make(prompts, seeds)

    subject.generator.generate = generate
    assert subject.energy([PROMPT, PROMPT], [0, 1], 10.0) == (2400.0, 12.0, 3)
    assert nvml.now == 16.0  # a call before, which may have to set up, is not in it
    calls = Calls("a", Loaded("cuda:0", "float16", 1.0), Series("offline", 2, 5), 5.0)
    per_clip, per_second = Rows("quick", 1).of_energy(calls, 2400.0, 12.0, 3)
    assert (per_clip.metric, per_clip.value, per_clip.unit) == (speed.ENERGY_PER_CLIP, 400.0, "J/clip")
    assert (per_second.value, per_second.params["mean_watts"]) == (80.0, 200.0)


def test_idle_power_is_apart(nvml, subject, monkeypatch):
    subject.gpu, subject.clock = Gpu("GPU-1"), lambda: nvml.now
    monkeypatch.setattr("time.sleep", lambda seconds: setattr(nvml, "now", nvml.now + seconds))
    assert subject.idle_watts(10.0) == 200.0


def test_without_pynvml_a_gpu_is_timed_all_the_same(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # cannot be imported
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1"))
    assert Gpu.of("cuda") is None
    assert "pip install 'magnet-eval[energy]'" in caplog.text
    assert Gpu.of("cpu") is None


@pytest.mark.parametrize(("events", "differ"), [(0.985, False), (0.97, True)])
def test_a_stage_on_which_two_clocks_differ_is_flagged(events, differ):
    calls = Calls("a", Loaded("cuda:0", "float16", 1.0), Series("offline", 1, 5), 5.0)
    for _ in range(5):
        calls.add(Call({"total": 1.2, "tokens": 1.0}, 50, 100, {}, {"tokens": events}))
    rows = {row.params["stage"]: row.params for row in Rows("quick", 1).of_calls(calls) if "stage" in row.params}
    assert rows["tokens"]["clocks_differ"] is differ and rows["tokens"]["device_seconds"] == events
    assert "clocks_differ" not in rows["total"]
    assert next(one for one in calls.timings() if one.stage == "tokens").events == (events,) * 5


@pytest.mark.gpu
def test_peak_memory_on_a_gpu():
    memory.reset("cuda")
    block = torch.zeros(25_000_000, device="cuda")
    found = memory.peaks("cuda")
    assert found["reserved"] >= found["allocated"] >= 100
    assert len(block)


@pytest.mark.gpu
def test_a_real_gpu_says_how_it_is():
    gpu = Gpu.of("cuda")
    assert gpu is not None and gpu.joules() > 0 and gpu.state()["sm_mhz"] > 0
