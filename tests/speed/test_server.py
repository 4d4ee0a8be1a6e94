"""The server scenario: against queueing theory, and with generators that only move a clock."""

import numpy as np
import pytest

from magnet_eval import speed
from magnet_eval.speed import server


def test_arrivals_are_a_poisson_process():
    gaps = np.diff(server.arrivals(4.0, 20_000, np.random.default_rng(0)))
    assert gaps.mean() == pytest.approx(0.25, rel=0.03) and gaps.std() == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_waiting_times_are_those_of_a_queue_with_constant_service(load):
    """M/D/1: mean wait = load x service / 2 (1 - load) (Pollaczek and Khinchine)."""
    found = server.simulated(load / 2.0, {1: [2.0]}, 20_000, 1e9, np.random.default_rng(1))
    assert np.mean(found) == pytest.approx(2.0 + load * 2.0 / (2 * (1 - load)), rel=0.05)


def test_who_waits_is_served_together_in_timed_batch_sizes_only():
    now, batches = [0.0], []

    def answer(first, n):
        batches.append((first, n))
        now[0] += 10.0

    found = server.serve(
        [0.0, 1.0, 2.0, 3.0, 40.0], [1, 2], answer, lambda: now[0],
        lambda seconds: now.__setitem__(0, now[0] + seconds), 1e9,
    )  # fmt: skip
    assert batches == [(0, 1), (1, 2), (3, 1), (4, 1)]
    assert found == [10.0, 19.0, 18.0, 27.0, 10.0]


def test_a_rate_is_given_up_once_it_is_lost():
    found = server.simulated(10.0, {1: [1.0]}, 1000, 2.0, np.random.default_rng(0))
    assert len(found) < 300 and not server.is_met([*found, *[0.0] * (1000 - len(found))], 2.0)


def test_64_requests_may_have_one_late_one():
    assert server.is_met([1.0] * 63 + [3.0], 2.0) and not server.is_met([1.0] * 62 + [3.0] * 2, 2.0)
    assert not server.is_met([1.0] * 43, 2.0)  # too few to show it


def test_the_rate_found_lies_at_the_limit(fake, time_them, run):
    """One second a call whatever the batch, 3 s allowed: far more than the 1 clip/s that one by one would allow."""
    settings = {"scenarios": ["server"], "batches": [4], "queries": 64, "repeats": 3, "bound": 3.0}
    one = fake(1.0, [1.0] * 100_000)
    rows = time_them({"a": one}, max_seconds=10_000.0, **settings)
    row = rows["a", speed.SERVER_RATE, None, None]
    assert 1.0 < row.value < 4.0 and row.n == 64
    assert row.params["p90"] <= 3.0 and row.params["limit_found"] and row.params["bound"] == 3.0
    served = [timing for timing in run.timings() if timing.stage == "served"]
    assert len(served) >= 2 and f"server at {row.value:.4g} clips/s" in {timing.scenario for timing in served}
    assert {batch for _, metric, batch, _ in rows if metric == speed.THROUGHPUT} == {1, 4}


def test_a_bound_below_a_single_call_is_a_failure_in_one_line(fake, time_them, run):
    rows = time_them({"a": fake(2.0)}, scenarios=["server"], batches=[1], queries=64, bound=1.0)
    assert ("a", speed.SERVER_RATE, None, None) not in rows and ("a", speed.THROUGHPUT, 1, None) in rows
    (failure,) = run.failures()
    assert failure["reason"].startswith("server: no rate was met with nine in ten within 1 s")
