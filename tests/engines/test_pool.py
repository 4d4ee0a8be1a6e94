"""The pool over workers without processes: who gets what, and what comes of deaths."""

from collections import Counter

import pytest

from magnet_eval.engines.pool import ATTEMPTS, Died, Lost, Pool
from magnet_eval.lookup import UserError


class Paper:
    """A crew that answers in the order in which it is asked; ``deadly`` tasks and ``sick`` places kill workers."""

    def __init__(self, deadly=(), sick=(), wrong=()):
        self.deadly, self.sick, self.wrong = deadly, sick, wrong
        self.alive, self.at, self.tasks, self.given = set(), {}, {}, Counter()

    def start(self, place):
        worker = f"worker {len(self.at)}"
        self.alive.add(worker)
        self.at[worker] = place
        return worker

    def give(self, worker, task):
        assert worker in self.alive and worker not in self.tasks, "one task at a time"
        self.tasks[worker] = task
        self.given[task] += 1

    def wait(self, workers):
        assert workers and set(workers) <= self.alive
        return list(workers)

    def take(self, worker):
        if worker not in self.tasks:
            if self.at[worker] in self.sick:
                raise Died("it was sick")
            return None
        task = self.tasks.pop(worker)
        if task in self.deadly:
            raise Died("it was killed")
        if task in self.wrong:
            raise KeyError(task)
        return -task

    def stop(self, worker):
        self.alive.discard(worker)


def test_each_task_is_done_once_and_all_workers_end():
    crew = Paper()
    assert sorted(Pool(crew, range(20), 3).results()) == [(i, -i) for i in range(20)]
    assert set(crew.given.values()) == {1}
    assert not crew.alive


def test_results_wait_for_a_slow_reader_and_no_work_is_begun_meanwhile():
    crew = Paper()
    results = Pool(crew, range(100), 4).results()
    for _ in range(8):
        next(results)
    assert crew.given.total() <= 8 + 4
    results.close()
    assert not crew.alive


def test_a_deadly_task_is_given_up_by_name_and_takes_no_other_along():
    crew = Paper(deadly={7})
    done = dict(Pool(crew, range(20), 3).results())
    assert crew.given[7] == ATTEMPTS
    assert isinstance(done[7], Lost) and done[7].reason == "3 workers died of it; of the last, it was killed"
    assert [done[i] for i in range(20) if i != 7] == [-i for i in range(20) if i != 7]
    assert not crew.alive


def test_a_place_where_no_worker_can_load_is_left_to_the_others():
    crew = Paper(sick={1})
    assert sorted(Pool(crew, range(50), 2).results()) == [(i, -i) for i in range(50)]
    assert Counter(crew.at.values())[1] == ATTEMPTS


def test_where_no_worker_can_load_the_run_ends_with_one_line():
    crew = Paper(sick={0, 1})
    with pytest.raises(UserError, match="no worker can load the model: it was sick"):
        list(Pool(crew, range(5), 2).results())
    assert not crew.alive


def test_an_error_of_the_work_ends_all_workers():
    crew = Paper(wrong={3})
    with pytest.raises(KeyError):
        list(Pool(crew, range(9), 2).results())
    assert not crew.alive
