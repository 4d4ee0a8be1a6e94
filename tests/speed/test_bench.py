"""The timing loop with a generator that only moves a clock of its own."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from magnet_eval import speed
from magnet_eval.config import Generation, Model, Speed
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt
from magnet_eval.speed.bench import Scenario, bench
from magnet_eval.speed.loop import MAX_WARMUP
from magnet_eval.speed.rows import median_interval
from magnet_eval.store import RunFolder

PROMPTS = [Prompt(f"p{i}", f"text {i}", 5.0) for i in range(3)]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@dataclass
class FakeGeneration:
    iterations: int
    network_evaluations: int
    stage_seconds: dict


@dataclass
class FakeGenerator:
    """Takes ``seconds`` per clip, or what ``script`` says, call by call."""

    clock: Clock
    seconds: float
    script: list = field(default_factory=list)
    fails_from: int = 99  # batch size at which memory runs out
    calls: list = field(default_factory=list)
    log: list = field(default_factory=list)
    name: str = ""

    def generate(self, prompts, seeds):
        if len(prompts) >= self.fails_from:
            raise RuntimeError("out of memory\ndetails")
        self.calls.append(([prompt.id for prompt in prompts], list(seeds)))
        self.log.append(self.name)
        seconds = self.script.pop(0) if self.script else self.seconds * len(prompts)
        self.clock.now += seconds
        return FakeGeneration(50, 100, {"tokens": 0.8 * seconds, "codec": 0.1 * seconds})


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "quick-v1")


class Zoo:
    """Stands in for magnet_eval.generators: the generators by their model's name."""

    def __init__(self, generators):
        self.generators = generators
        self.n_built = 0

    def build(self, model, device, dtype, *, exact):
        assert not exact
        self.n_built += 1
        return self.generators[model.name]

    def fingerprint(self, model):
        return f"weights of {model.name}"


def time_them(run, generators, clock, again=True, **settings):
    """Rows of a measurement of named generators, as {(system, metric, batch, stage): row}."""
    systems = [(name, Model(family="masked", name=name)) for name in generators]
    scenario = Scenario(Speed(**settings), PROMPTS, Generation())
    rows = bench(systems, scenario, run, protocol=("quick", 1), again=again, zoo=Zoo(generators), clock=clock)
    return {(r.system, r.metric, r.params.get("batch"), r.params.get("stage")): r for r in rows}


def test_medians_and_rates_follow_from_the_clock(run):
    clock = Clock()
    rows = time_them(run, {"a": FakeGenerator(clock, 2.0)}, clock, batches=[1, 4], repeats=5)
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


def test_raw_values_are_kept_per_stage_and_in_order(run):
    clock = Clock()
    script = [1.0, 1.0, 3.0, 1.0, 2.0]  # two warm-up calls that agree, then three that count
    time_them(run, {"a": FakeGenerator(clock, 1.0, script)}, clock, batches=[1], repeats=3)
    timings = {timing.stage: timing for timing in run.timings()}
    assert list(timings) == ["total", "tokens", "codec"]
    assert timings["total"].values == pytest.approx((3.0, 1.0, 2.0))
    assert timings["codec"].values == pytest.approx((0.3, 0.1, 0.2))
    assert timings["total"].iterations == 50 and timings["total"].seconds == 5.0


def test_warm_up_goes_on_until_two_calls_agree_but_not_for_ever(run):
    clock = Clock()
    steady = FakeGenerator(clock, 1.0, [9.0, 5.0, 1.0, 1.0])
    never = FakeGenerator(clock, 1.0, [float(2**i) for i in range(MAX_WARMUP)])
    rows = time_them(run, {"steady": steady, "never": never}, clock, batches=[1], repeats=2)
    assert len(steady.calls) == 4 + 2 and len(never.calls) == MAX_WARMUP + 2
    assert rows["steady", speed.LATENCY, 1, "total"].value == pytest.approx(1.0)


def test_systems_take_turns_on_the_same_prompts(run):
    clock, log = Clock(), []
    generators = {name: FakeGenerator(clock, 1.0, log=log, name=name) for name in "ab"}
    time_them(run, generators, clock, batches=[2], repeats=3, warmup=0)
    assert log == ["a", "b"] * 3
    assert generators["a"].calls == generators["b"].calls
    assert [ids for ids, _ in generators["a"].calls] == [["p0", "p1"], ["p2", "p0"], ["p1", "p2"]]


def test_time_limit_stops_a_slow_system_and_not_the_others(run):
    clock = Clock()
    generators = {"slow": FakeGenerator(clock, 10.0), "fast": FakeGenerator(clock, 0.1)}
    rows = time_them(run, generators, clock, batches=[1], repeats=6, max_seconds=45.0)
    assert rows["slow", speed.LATENCY, 1, "total"].n == 3  # 2 x 10 s of warm-up, then until 45 s are spent
    assert rows["fast", speed.LATENCY, 1, "total"].n == 6
    assert rows["slow", speed.LATENCY, 1, "total"].low is None  # three calls carry no interval
    assert rows["fast", speed.THROUGHPUT, 1, None].low == pytest.approx(10.0)


def test_p90_only_where_n_carries_it(run):
    clock = Clock()

    def quantiles(n):
        time_them(run, {"a": FakeGenerator(clock, 0.01)}, clock, batches=[1], repeats=n)
        return {row.params["quantile"] for row in run.scores() if row.metric == speed.LATENCY}

    assert quantiles(63) == {0.5} and quantiles(64) == {0.5, 0.9}


def test_out_of_memory_is_noted_and_the_rest_goes_on(run):
    clock = Clock()
    generators = {"big": FakeGenerator(clock, 1.0, fails_from=8), "small": FakeGenerator(clock, 1.0)}
    rows = time_them(run, generators, clock, batches=[1, 8], repeats=2)
    assert ("big", speed.LATENCY, 1, "total") in rows and ("big", speed.LATENCY, 8, "total") not in rows
    assert ("small", speed.LATENCY, 8, "total") in rows
    assert run.failures() == [{"stage": "bench", "system": "big", "prompt_id": "", "reason": "batch 8: out of memory"}]


def test_files_are_not_timed_and_other_rows_stay(run):
    clock = Clock()
    time_them(run, {"a": FakeGenerator(clock, 1.0)}, clock, batches=[1], repeats=1)
    before = run.scores()
    zoo = Zoo({})
    scenario = Scenario(Speed(), PROMPTS, Generation())
    assert bench([("mine", Model(family="files", folder="x"))], scenario, run, protocol=("quick", 1), zoo=zoo) == []
    assert run.scores() == before and len(run.timings()) == 3 and zoo.n_built == 0


def test_failures_and_systems_of_earlier_timings_stay_on_record(run):
    clock = Clock()
    run.update_manifest(systems={"a": {"family": "masked", "description": "as generated"}})
    a = FakeGenerator(clock, 1.0, fails_from=8)
    time_them(run, {"a": a}, clock, batches=[1, 8], repeats=1)
    time_them(run, {"a": a, "b": FakeGenerator(clock, 1.0)}, clock, again=False, batches=[1, 8], repeats=1)
    assert [row["system"] for row in run.failures()] == ["a"]
    systems = run.manifest()["systems"]
    assert systems["a"]["description"] == "as generated" and systems["b"]["family"] == "masked"


def test_a_rerun_times_only_what_is_new(run):
    clock = Clock()
    a, b = FakeGenerator(clock, 1.0), FakeGenerator(clock, 2.0)
    time_them(run, {"a": a}, clock, batches=[1], repeats=1)
    n_calls = len(a.calls)
    rows = time_them(run, {"a": a, "b": b}, clock, again=False, batches=[1], repeats=1)
    assert {row.system for row in rows.values()} == {"b"} and len(a.calls) == n_calls
    assert {row.system for row in run.scores()} == {"a", "b"}
    time_them(run, {"a": a}, clock, again=False, batches=[1], repeats=2)  # other settings: other work
    assert len(a.calls) > n_calls
    assert run.scores().count(run.scores()[0]) == 1  # replaced, not added


def test_the_first_system_does_not_pay_for_the_imports(run):
    clock = Clock()

    class Slow(Zoo):
        def build(self, model, device, dtype, *, exact):
            clock.now += 3.0 if self.n_built else 60.0
            return super().build(model, device, dtype, exact=exact)

    systems = [(name, Model(family="masked", name=name)) for name in "ab"]
    zoo = Slow({name: FakeGenerator(clock, 1.0) for name in "ab"})
    rows = bench(systems, Scenario(Speed(), PROMPTS, Generation()), run, protocol=("quick", 1), zoo=zoo, clock=clock)
    assert [row.value for row in rows if row.metric == speed.LOAD_TIME] == [3.0, 3.0]


def test_nothing_that_could_be_timed_is_an_error(run):
    clock = Clock()
    with pytest.raises(UserError, match="no system could be timed; the first reason: batch 1: out of memory"):
        time_them(run, {"a": FakeGenerator(clock, 1.0, fails_from=1)}, clock, batches=[1])
    assert run.scores() == []


def test_interval_of_the_median_covers_it_at_the_stated_rate():
    rng = np.random.default_rng(0)
    samples = rng.exponential(size=(200, 25))
    hits = [low <= np.log(2) <= high for low, high in (median_interval(s, rng, 400) for s in samples)]
    assert 0.88 <= np.mean(hits) <= 1.0
    assert median_interval([1.0] * 4, rng) is None
