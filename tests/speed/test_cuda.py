"""What the timing loop asks of CUDA, without a GPU by a stand-in, and on one where there is one."""

import subprocess
import sys

import pytest
import torch

from magnet_eval.records import Prompt
from magnet_eval.speed import loop, memory


class Generator:
    """Notes when it is called."""

    def __init__(self, events):
        self.events = events

    def generate(self, prompts, seeds):
        self.events.append("generate")


def test_the_device_is_idle_on_both_sides_of_the_clock(monkeypatch):
    events = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append(f"synchronise {device}"))
    calls = loop.Calls(loop.Subject("a", Generator(events), "cuda:0", "float32", 0.0), 1, 5.0)
    loop.one_call(calls, [Prompt("p", "text", 5.0)], [0], lambda: events.append("clock") or 0.0)
    assert events == ["synchronise cuda:0", "clock", "generate", "synchronise cuda:0", "clock"]


def test_peak_memory_of_cuda_is_that_of_its_allocator(monkeypatch):
    reset = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2_500_000)
    memory.reset("cuda")
    assert reset == ["cuda"] and memory.peak_mb("cuda") == 2.5


def test_peak_memory_of_the_process_follows_an_allocation():
    """In a process of its own: where a kernel resets no high-water mark, that of earlier tests would stand."""
    code = (
        "from magnet_eval.speed import memory; memory.reset('cpu'); before = memory.peak_mb('cpu'); "
        "block = bytearray(b'x') * 80_000_000; assert memory.peak_mb('cpu') > before + 40"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
def test_peak_memory_on_a_gpu():
    memory.reset("cuda")
    block = torch.zeros(25_000_000, device="cuda")
    assert memory.peak_mb("cuda") >= 100
    assert len(block)
