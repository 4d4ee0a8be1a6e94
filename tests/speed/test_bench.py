"""The timing loop with generators that only move a clock of their own."""

import numpy as np
import pytest

from magnet_eval import speed
from magnet_eval.config import Generation, Model, Speed
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt
from magnet_eval.report.data import load as load_report
from magnet_eval.speed.bench import Scenario, bench


def test_medians_and_rates_follow_from_the_clock(fake, time_them):
    rows = time_them({"a": fake(2.0)}, batches=[1, 4], repeats=5, max_seconds=200)
    assert rows["a", speed.LATENCY, 1, "total"].value == pytest.approx(2.0)
    assert rows["a", speed.LATENCY, 4, "tokens"].value == pytest.approx(6.4)
    assert rows["a", speed.THROUGHPUT, 4, None].value == pytest.approx(0.5)
    assert rows["a", speed.AUDIO_THROUGHPUT, 4, None].value == pytest.approx(2.5)
    assert rows["a", speed.RTF, 1, None].value == pytest.approx(0.4)
    assert rows["a", speed.SPEEDUP, 1, None].value == pytest.approx(2.5)
    assert rows["a", speed.ITERATIONS, 1, None].value == 50
    assert rows["a", speed.NETWORK_EVALUATIONS, 1, None].value == 100
    assert rows["a", speed.PEAK_MEMORY, 1, None].value > 10  # MB of this very process
    assert rows["a", speed.LATENCY, 1, "total"].n == 5


def test_raw_values_are_kept_per_stage_and_in_order(fake, time_them, run):
    script = [4.0, 1.0, 1.0, 1.0, 3.0, 1.0, 2.0]  # a first call, three that agree, then three that count
    rows = time_them({"a": fake(1.0, script)}, batches=[1], repeats=3)
    timings = {timing.stage: timing for timing in run.timings()}
    assert list(timings) == ["total", "tokens", "codec", "write"]
    assert timings["total"].values == pytest.approx((3.0, 1.0, 2.0))
    assert timings["codec"].values == pytest.approx((0.3, 0.1, 0.2))
    assert timings["total"].warmup == pytest.approx((4.0, 1.0, 1.0, 1.0))
    assert timings["total"].iterations == 50 and timings["total"].seconds == 5.0
    assert rows["a", speed.FIRST_CALL, 1, None].value == pytest.approx(4.0)
    assert rows["a", speed.LOAD_TIME, None, None].value == pytest.approx(3.0)


def test_warm_up_goes_on_until_three_calls_agree_but_not_for_ever(fake, time_them):
    steady = fake(1.0, [9.0, 1.0, 1.03, 1.0, 1.01])
    never = fake(1.0, [1.5**i for i in range(10)])
    rows = time_them({"steady": steady, "never": never}, batches=[1], repeats=2, max_seconds=1000)
    assert len(steady.calls) == 6 + 2 and len(never.calls) == 10 + 2  # 1.0, 1.01 and 1.0 agree within 2 %
    assert rows["steady", speed.LATENCY, 1, "total"].params["settled"] is True
    assert rows["never", speed.LATENCY, 1, "total"].params["settled"] is False
    assert rows["never", speed.LATENCY, 1, "total"].params["n_warmup"] == 10


def test_systems_take_turns_on_the_same_prompts(fake, time_them):
    log = []
    generators = {name: fake(1.0, log=log, name=name) for name in "ab"}
    time_them(generators, batches=[2], repeats=3, warmup=0)
    assert log == ["a", "b"] * 3
    assert generators["a"].calls == generators["b"].calls
    assert [ids for ids, _ in generators["a"].calls] == [["p0", "p1"], ["p2", "p0"], ["p1", "p2"]]


def test_time_limit_stops_a_slow_system_and_not_the_others(fake, time_them):
    generators = {"slow": fake(10.0), "fast": fake(0.1)}
    rows = time_them(generators, batches=[1], repeats=6, max_seconds=45.0)
    assert rows["slow", speed.LATENCY, 1, "total"].n == 2  # 3 x 10 s of warm-up, then until 45 s are spent
    assert rows["fast", speed.LATENCY, 1, "total"].n == 6
    assert rows["slow", speed.LATENCY, 1, "total"].low is None  # two calls carry no interval
    assert rows["fast", speed.THROUGHPUT, 1, None].low == pytest.approx(10.0)


def test_a_call_longer_than_the_limit_is_timed_once(fake, time_them):
    slow = fake(100.0)
    rows = time_them({"slow": slow}, batches=[1], repeats=6, max_seconds=45.0)
    assert rows["slow", speed.LATENCY, 1, "total"].n == 1 and len(slow.calls) == 2  # one to warm up


@pytest.mark.parametrize(
    ("n", "quantiles", "missing"),
    [(63, {0.5}, ["p50", "p90", "p99"]), (64, {0.5, 0.9}, ["p99"]), (662, {0.5, 0.9, 0.99}, [])],
)
def test_quantiles_only_where_n_carries_them(fake, time_them, run, n, quantiles, missing):
    rows = time_them({"a": fake(0.01)}, batches=[1], repeats=n)
    total = [row for row in run.scores() if row.metric == speed.LATENCY and row.params["stage"] == "total"]
    assert {row.params["quantile"] for row in total} == quantiles
    assert rows
    assert next(row for row in total if row.params["quantile"] == 0.5).params["n_too_small_for"] == missing


def test_single_stream_has_its_own_number_of_calls(fake, time_them, run):
    rows = time_them({"a": fake(0.01)}, scenarios=["single_stream", "offline"], batches=[1, 2], repeats=2, queries=64)
    assert rows["a", speed.LATENCY, 1, "total"].params["scenario"] == "single_stream"
    assert rows["a", speed.LATENCY, 1, "total"].n == 64 and rows["a", speed.LATENCY, 2, "total"].n == 2
    assert {timing.scenario for timing in run.timings()} == {"single_stream", "offline"}
    alone = time_them({"a": fake(0.01)}, scenarios=["single_stream"], batches=[4], queries=3)
    assert {batch for _, metric, batch, _ in alone if metric == speed.THROUGHPUT} == {1}


def test_out_of_memory_is_noted_and_ends_the_sweep_of_that_system_alone(fake, time_them, run):
    generators = {"big": fake(1.0, fails_from=4), "small": fake(1.0)}
    generators["big"].stream = lambda prompt, seed, seconds: iter([np.zeros((1, 8))] * 2)
    scenarios = ["offline", "time_to_first_audio"]
    rows = time_them(generators, scenarios=scenarios, batches=[8, 1, 4], repeats=2, queries=1)
    assert ("big", speed.FIRST_AUDIO, 1, None) in rows  # memory is enough for one clip
    assert {batch for name, metric, batch, _ in rows if (name, metric) == ("big", speed.THROUGHPUT)} == {1}
    assert {batch for name, metric, batch, _ in rows if (name, metric) == ("small", speed.THROUGHPUT)} == {1, 4, 8}
    reason = "batch 4: out of memory details, beside 1 other systems"
    assert run.failures() == [{"stage": "bench", "system": "big", "prompt_id": "", "reason": reason}]


@pytest.mark.parametrize("error", [ValueError("no such key"), KeyError("layers"), UserError("asks for 30 s")])
def test_a_model_that_raises_in_the_middle_costs_its_own_rows_only(fake, time_them, run, error):
    class Breaks(type(fake(1.0))):
        def generate(self, prompts, seeds):
            if len(prompts) == 2 and len(self.calls) > 5:
                raise error
            return super().generate(prompts, seeds)

    broken = Breaks(fake(1.0).clock, 1.0)
    rows = time_them({"broken": broken, "sound": fake(1.0)}, batches=[1, 2], repeats=3, warmup=3)
    assert ("broken", speed.THROUGHPUT, 1, None) in rows and ("broken", speed.THROUGHPUT, 2, None) not in rows
    assert ("sound", speed.THROUGHPUT, 2, None) in rows
    (failure,) = run.failures()
    assert failure["reason"].startswith("batch 2: ") and str(error.args[0]) in failure["reason"]


def test_a_system_that_cannot_be_loaded_costs_its_own_rows_only(fake, time_them, run):
    reason = "device 'cuda' is not there; this machine has cpu only. Say device=cpu."
    rows = time_them({"a": reason, "b": fake(1.0)}, batches=[1], repeats=1)
    assert {name for name, *_ in rows} == {"b"}
    assert run.failures() == [{"stage": "bench", "system": "a", "prompt_id": "", "reason": reason}]
    assert set(run.manifest()["timed"]) == {"b"}  # a is tried again the next time
    with pytest.raises(UserError, match="no system could be timed; the first reason: device 'cuda' is not there"):
        time_them({"a": reason}, batches=[1])


def test_files_are_not_timed_and_other_rows_stay(fake, time_them, run):
    time_them({"a": fake(1.0)}, batches=[1], repeats=1)
    before = run.scores()
    scenario = Scenario(Speed(), [Prompt("p", "text", 5.0)], Generation())
    assert bench([("mine", Model(family="files", folder="x"))], scenario, run, protocol=("quick", 1), start=None) == []
    assert run.scores() == before and len(run.timings()) == 4


def test_failures_and_systems_of_earlier_timings_stay_on_record(fake, time_them, run):
    run.update_manifest(systems={"a": {"family": "masked", "description": "as generated"}})
    a = fake(1.0, fails_from=8)
    time_them({"a": a}, batches=[1, 8], repeats=1)
    time_them({"a": a, "b": fake(1.0)}, again=False, batches=[1, 8], repeats=1)
    assert [row["system"] for row in run.failures()] == ["a"]
    systems = run.manifest()["systems"]
    assert systems["a"]["description"] == "as generated" and systems["b"]["family"] == "masked"


def test_a_rerun_times_only_what_is_new(fake, time_them, run):
    a, b = fake(1.0), fake(2.0)
    time_them({"a": a}, batches=[1], repeats=1)
    n_calls = len(a.calls)
    rows = time_them({"a": a, "b": b}, again=False, batches=[1], repeats=1)
    assert {name for name, *_ in rows} == {"b"} and len(a.calls) == n_calls
    assert {row.system for row in run.scores()} == {"a", "b"}
    time_them({"a": a}, again=False, batches=[1], repeats=2)  # other settings: other work
    assert len(a.calls) > n_calls
    assert run.scores().count(run.scores()[0]) == 1  # replaced, not added


def test_other_length_number_format_and_weights_are_other_work(fake, time_them, run):
    a = fake(1.0)
    time_them({"a": a}, batches=[1], repeats=1)
    for settings in ({"seconds": 2.0}, {"dtype": "bfloat16"}, {"weights": "random"}):
        rows = time_them({"a": a}, again=False, batches=[1], repeats=1, **settings)
        params = rows["a", speed.THROUGHPUT, 1, None].params
        assert {name: params[name] for name in settings} == settings
    assert [facts["settings"]["weights"] for facts in run.manifest()["speed"]] == ["random"]


def test_ctrl_c_keeps_what_is_finished_and_does_not_count_it_as_done(fake, time_them, run):
    class Interrupted(type(fake(1.0))):
        def generate(self, prompts, seeds):
            if len(prompts) == 4:
                raise KeyboardInterrupt
            return super().generate(prompts, seeds)

    with pytest.raises(KeyboardInterrupt):
        time_them({"a": Interrupted(fake(1.0).clock, 1.0)}, batches=[1, 2, 4], repeats=1)
    assert {row.params["batch"] for row in run.scores() if row.metric == speed.THROUGHPUT} == {1, 2}
    assert {timing.batch for timing in run.timings()} == {1, 2}
    assert not run.manifest()["timed"]


def test_nothing_that_could_be_timed_is_an_error(fake, time_them, run):
    with pytest.raises(UserError, match="no system could be timed; the first reason: batch 1: out of memory"):
        time_them({"a": fake(1.0, fails_from=1)}, batches=[1])
    assert run.scores() == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"batches": [0]}, "batches must be between 1 and 4096, got 0"),
        ({"seconds": -1.0}, "seconds must be between 0.1 and 600, got -1"),
        ({"max_seconds": -5.0}, "max_seconds must be at least"),
        ({"queries": 0}, "queries must be at least 1"),
        ({"bound": -1.0}, "bound must be at least"),
        ({"chunk_seconds": 0.0}, "chunk_seconds must be between"),
        ({"scenarios": ["ofline"]}, "Did you mean offline"),
        ({"scenarios": []}, "scenarios is empty"),
        ({"weights": "none"}, "unknown speed.weights"),
        ({"dtype": "int8"}, "unknown speed.dtype"),
        ({"scenarios": ["server"], "queries": 43}, "at least 44 requests.*speed.queries=64"),
    ],
)
def test_bad_settings_are_one_clear_line(settings, expected):
    with pytest.raises(UserError, match=expected):
        Speed(**settings)


def test_each_session_keeps_its_settings_as_long_as_a_system_of_it_is_there(fake, time_them, run, monkeypatch):
    times = iter(["first", "second", "third"])
    monkeypatch.setattr("magnet_eval.speed.bench.now", lambda: next(times))

    def sessions():
        return [(facts["at"], facts["systems"], facts["settings"]["batches"]) for facts in run.manifest()["speed"]]

    time_them({"a": fake(1.0), "b": fake(1.0)}, batches=[1, 2], repeats=1)
    time_them({"b": fake(1.0)}, batches=[4], repeats=1)
    assert sessions() == [("first", ["a"], [1, 2]), ("second", ["b"], [4])]
    assert {(row.system, row.params["session"]) for row in run.scores()} == {("a", "first"), ("b", "second")}
    time_them({"a": fake(1.0)}, batches=[1], repeats=1)
    assert sessions() == [("second", ["b"], [4]), ("third", ["a"], [1])]


@pytest.mark.parametrize(("share", "warned"), [(0.1, False), (0.61, True)])
def test_a_busy_machine_is_a_warning(fake, time_them, run, monkeypatch, share, warned):
    monkeypatch.setattr("magnet_eval.speed.machine.busy", lambda: share)
    time_them({"a": fake(1.0)}, batches=[1], repeats=1)
    assert any("used 61% of its processors" in line for line in load_report(run).warnings) is warned


def test_how_busy_the_machine_is_comes_from_the_ticks_between(monkeypatch, tmp_path):
    from magnet_eval.speed import machine

    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1\n")  # user nice system idle iowait irq softirq steal
    monkeypatch.setattr(machine, "STAT", stat)
    monkeypatch.setattr("time.sleep", lambda _: stat.write_text("cpu  130 0 60 855 55 0 0 0 0 0\n"))
    assert machine.busy() == pytest.approx(0.4)  # 40 of 100 ticks were of use
    monkeypatch.setattr(machine, "STAT", tmp_path / "none")
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 0, 0))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert machine.busy() == 0.25


def test_a_call_that_sets_up_again_what_another_system_needed_does_not_count(fake, time_them, monkeypatch):
    """Where one runs out of memory, the others give back buffers that their next call has to make again."""
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *_: None)
    monkeypatch.setattr("magnet_eval.speed.memory.reset", lambda device: None)
    monkeypatch.setattr("magnet_eval.speed.memory.peaks", lambda device, gpu: {})
    monkeypatch.setattr("magnet_eval.speed.machine.flags", lambda device: {})
    monkeypatch.setattr("magnet_eval.speed.nvml.Gpu.of", lambda device: None)
    small = fake(1.0)
    big = fake(1.0, fails_from=4, device="cuda:0")
    small.released = 0
    small.release = lambda: setattr(small, "released", small.released + 1)
    rows = time_them({"small": small, "big": big}, batches=[2, 4], repeats=2, warmup=3)
    assert small.released == 3  # as each of two series begins, and for the other's sake
    of_four = [ids for ids, _ in small.calls if len(ids) == 4]
    assert len(of_four) == 3 + 1 + 2  # warm-up, one that does not count, two that do
    assert rows["small", speed.LATENCY, 4, "total"].n == 2


def test_facts_of_the_device_are_in_the_manifest(fake, time_them, run):
    time_them({"a": fake(1.0)}, batches=[1], repeats=1)
    found = run.manifest()["speed"][0]["devices"]["cpu"]
    assert run.manifest()["protocol"] == {"name": "quick", "version": 1}  # of a bench alone
    assert found["flags"]["threads"] >= 1 and "math" in found["flags"]["attention"]
    assert 0 <= found["before"]["busy"] <= 1 and 0 <= found["after"]["busy"] <= 1


def test_decoders_timed_together_are_compared_and_go_stale_together(fake, time_them, run):
    """A pair is compared within one session only: another day's timings of one of them say nothing of the ratio."""
    families = {"parallel": "masked", "sequential": "autoregressive"}
    both = {"parallel": fake(2.0), "sequential": fake(4.0)}
    rows = time_them(both, families=families, batches=[1, 2], repeats=5, max_seconds=1000)
    assert rows["parallel", speed.SPEEDUP_VS, 2, None].value == pytest.approx(2.0)
    time_them({"sequential": fake(3.0)}, families=families, batches=[1, 2], repeats=5)
    assert not [row for row in run.scores() if row.metric == speed.SPEEDUP_VS]
    assert {row.system for row in run.scores()} == {"parallel", "sequential"}


def test_values_are_finite_and_intervals_hold_them(fake, time_them):
    rng = np.random.default_rng(0)
    script = [1.0] * 3 + list(rng.uniform(0.5, 1.5, 20))
    row = time_them({"a": fake(1.0, script)}, batches=[1], repeats=20)["a", speed.LATENCY, 1, "total"]
    assert row.low < row.value < row.high
