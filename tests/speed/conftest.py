"""Systems that only move a clock of their own, asked in this process instead of another one."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from magnet_eval.config import Generation, Model, Speed
from magnet_eval.generators import Generation as Made
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt
from magnet_eval.speed.bench import Scenario, bench
from magnet_eval.speed.subject import Subject
from magnet_eval.speed.worker import Failed, outcome
from magnet_eval.store import RunFolder

PROMPTS = [Prompt(f"p{i}", f"text {i}", 5.0) for i in range(3)]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


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
    load_seconds: float = 3.0
    sample_rate: int = 16_000
    device: str = "cpu"

    def generate(self, prompts, seeds):
        if len(prompts) >= self.fails_from:
            raise RuntimeError("out of memory\ndetails")
        self.calls.append(([prompt.id for prompt in prompts], list(seeds)))
        self.log.append(self.name)
        seconds = self.script.pop(0) if self.script else self.seconds * len(prompts)
        self.clock.now += seconds
        clip = np.zeros((1, 8), np.float32)
        return Made([clip] * len(prompts), 250, 250, 50, 100, {"tokens": 0.8 * seconds, "codec": 0.1 * seconds})


class Zoo:
    """Stands in for magnet_eval.generators: the generators by their model's name."""

    def __init__(self, generators):
        self.generators = generators
        self.n_built = 0

    def build(self, model, device, dtype, *, exact):
        assert not exact
        self.n_built += 1
        generator = self.generators[model.name]
        if isinstance(generator, str):
            raise UserError(generator)
        generator.clock.now += generator.load_seconds
        return generator


class Local:
    """A worker whose process is this one."""

    def __init__(self, label, folder, zoo, clock):
        self.label, self.loaded, self.closed = label, None, False
        self.subject = Subject(folder, zoo, clock)
        self.subject.ceilings = lambda device, dtypes: {}  # seconds of real work

    def tell(self, what, *arguments):
        self.told = outcome(self.subject, what, arguments)

    def answer(self):
        is_done, value, out_of_memory = self.told
        if not is_done:
            raise Failed(value, out_of_memory)
        return value

    def ask(self, what, *arguments):
        self.tell(what, *arguments)
        return self.answer()

    def close(self):
        self.closed = True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fake(clock):
    """Makes generators on the test's clock: seconds per clip, and what differs."""
    return lambda seconds, script=(), **how: FakeGenerator(clock, seconds, list(script), **how)


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "quick-v1")


@pytest.fixture
def time_them(run, clock, monkeypatch):
    """A measurement of generators by name: its rows as {(system, metric, batch, stage): row}."""
    monkeypatch.setattr("time.sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    monkeypatch.setattr("magnet_eval.generators.fingerprint", lambda model: f"weights of {model.name}")

    def measure(generators, again=True, families=None, **settings):
        zoo = Zoo(generators)
        kinds = families or dict.fromkeys(generators, "masked")
        systems = [(name, Model(family=kinds[name], name=name)) for name in generators]
        scenario = Scenario(Speed(**settings), PROMPTS, Generation())
        rows = bench(
            systems, scenario, run, protocol=("quick", 1), again=again,
            start=lambda label, folder: Local(label, folder, zoo, clock),
        )  # fmt: skip
        return {(r.system, r.metric, r.params.get("batch"), r.params.get("stage")): r for r in rows}

    return measure
