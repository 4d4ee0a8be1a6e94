"""The stopwatch: stages inside stages, by the host's clock and, on CUDA, by the device's."""

from types import SimpleNamespace

import pytest
import torch

from magnet_eval.generators import tokens


@pytest.fixture
def cuda(monkeypatch):
    """A device whose clock is the host's; ``now`` moves both, ``waits`` counts the times the host waited for it."""
    device = SimpleNamespace(type="cuda", now=0.0, waits=0)

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            self.at = device.now

        def elapsed_time(self, other):
            return 1e3 * (other.at - self.at)

    def synchronize(_):
        device.waits += 1

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(tokens.time, "perf_counter", lambda: device.now)
    return device


def run(device, clock):
    watch = tokens.Stopwatch(device)
    for _ in range(2):
        with watch.stage("outer"):
            clock.now += 1.0
            for _ in range(3):
                with watch.stage("inner"):
                    clock.now += 0.5
    return watch


def test_what_lies_inside_is_not_counted_twice(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(tokens.time, "perf_counter", lambda: clock.now)
    watch = run(torch.device("cpu"), clock)
    assert watch.seconds == pytest.approx({"inner": 3.0, "outer": 2.0})
    assert watch.event_seconds == {}


def test_a_loop_over_inner_stages_never_waits_for_the_device(cuda):
    watch = run(cuda, cuda)
    assert watch.seconds == pytest.approx({"inner": 3.0, "outer": 2.0})
    assert watch.event_seconds == pytest.approx({"inner": 3.0, "outer": 2.0})
    assert cuda.waits == 4  # on both sides of each outer stage
