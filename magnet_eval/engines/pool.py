"""Tasks over workers that may die: each worker has one at a time, and the task of a dead one goes to another.

A worker that has answered gets its next task before anything is done with the answer, so that it never waits for the
disk of the parent.
"""

import logging
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from magnet_eval.lookup import UserError

log = logging.getLogger(__name__)
ATTEMPTS = 3  # workers that may die of one task; and, in one place, while they load
T = TypeVar("T")
Worker = Hashable


@dataclass(frozen=True)
class Lost:
    """In place of a task's result: every worker that had it died."""

    reason: str


class Died(Exception):
    """A worker is gone; the text says how, as the end of a sentence."""


class Crew(Protocol):
    """One kind of workers: processes of this machine, actors of a cluster."""

    def start(self, place: int) -> Worker:
        """A worker that begins to load; its first answer is that it has."""

    def give(self, worker: Any, task: Any) -> None:
        """Sends a task to a worker; a dead one is noticed when its answer is taken."""

    def wait(self, workers: Sequence[Any]) -> Sequence[Any]:
        """Those of the workers, one at least, that have answered or died."""

    def take(self, worker: Any) -> Any:
        """A worker's answer. Raises Died, or what the work itself raised."""

    def stop(self, worker: Any) -> None:
        """Ends a worker, in the middle of a task if need be."""


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """A task, and which try at it this is."""

    task: T
    n: int = 1


class Pool(Generic[T]):
    """Tasks, and the workers that share them."""

    def __init__(self, crew: Crew, tasks: Sequence[T], n_workers: int) -> None:
        """Starts nothing yet."""
        self.crew, self.n_workers = crew, n_workers
        self.todo = deque(Attempt(task) for task in tasks)
        self.doing: dict[Worker, Attempt[T] | None] = {}  # None: it loads
        self.idle: list[Worker] = []
        self.places: dict[Worker, int] = {}
        self.failed_loads = Counter[int]()  # by place, in a row

    def results(self) -> Iterator[tuple[T, Any]]:
        """Each task with its result or Lost, in the order in which they end. Raises UserError if no worker can load."""
        try:
            for place in range(self.n_workers):
                self.start(place)
            while self.todo or any(self.doing.values()):
                answered = self.crew.wait(list(self.doing))
                ended = [pair for worker in answered for pair in self.hear(worker)]
                yield from ended
        finally:
            for worker in (*self.doing, *self.idle):
                self.crew.stop(worker)

    def start(self, place: int) -> None:
        """Starts a worker in a place."""
        worker = self.crew.start(place)
        self.places[worker], self.doing[worker] = place, None

    def hear(self, worker: Worker) -> list[tuple[T, Any]]:
        """Takes a worker's answer and gives it the next task: what has ended by that, one task or none."""
        attempt = self.doing[worker]
        try:
            answer = self.crew.take(worker)
        except Died as death:
            return self.replace(worker, attempt, str(death))
        self.employ(worker)
        if attempt is None:
            self.failed_loads[self.places[worker]] = 0
            return []
        return [(attempt.task, answer)]

    def employ(self, worker: Worker) -> None:
        """Gives a worker the next task, if there is one."""
        self.doing.pop(worker, None)
        if not self.todo:
            self.idle.append(worker)
            return
        attempt = self.doing[worker] = self.todo.popleft()
        self.crew.give(worker, attempt.task)

    def replace(self, worker: Worker, attempt: Attempt[T] | None, reason: str) -> list[tuple[T, Any]]:
        """Has another worker do what a dead one had to do, unless too many have died of it."""
        place = self.places.pop(worker)
        del self.doing[worker]
        self.crew.stop(worker)
        ended: list[tuple[T, Any]] = []
        if attempt is None:
            self.failed_loads[place] += 1
        elif attempt.n < ATTEMPTS:
            self.todo.appendleft(Attempt(attempt.task, attempt.n + 1))
        else:
            ended = [(attempt.task, Lost(f"{ATTEMPTS} workers died of it; of the last, {reason}"))]
        log.warning("worker %d is gone while it %s: %s", place, "works" if attempt else "loads", reason)
        if self.todo and self.idle:
            self.employ(self.idle.pop())
        elif self.todo and self.failed_loads[place] < ATTEMPTS:
            self.start(place)
        if self.todo and not self.doing:
            raise UserError(f"no worker can load the model: {reason}. Give each more memory, or fewer: workers=1.")
        return ended
