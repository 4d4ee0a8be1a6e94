"""Where the work of a run is executed: in this process, in several of this machine, or on a Ray cluster.

An engine moves work and nothing else. What a task gives depends on the task alone, so that neither the engine nor the
number of workers nor the order in which tasks end can be heard, and only the process of the run writes its folder.

In here: the table of engines, Engine (what one is) and build; threads, loaded and outcome, for workers of all kinds.
"""

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, TypeVar

from magnet_eval.engines.pool import Lost as Lost
from magnet_eval.lookup import UserError, load

ENGINES = {
    "local": "magnet_eval.engines.local:LocalEngine",
    "ray": "magnet_eval.engines.ray:RayEngine",
}
MOST_WORKERS = 10_000
NO_ENGINE = "Take engine=local or engine=ray, or a class that is called with the number of workers and has map."
T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[str], Callable[[T], R]]  # device -> what does a task; picklable, called once in each worker


class Engine(Protocol):
    """Executes tasks."""

    def map(self, work: Work[T, R], tasks: Sequence[T], device: str) -> Generator[tuple[T, R | Lost]]:
        """Each task and what came of it, in the order in which they end; Lost where every worker that had it died.

        At most one result per worker waits for whoever reads this. Raises what the work itself raises.
        """


def build(name: str, workers: int | None = None) -> Engine:
    """The engine of a name, or of the user's own pkg.module:object; workers=None: one per GPU, one without any.

    Raises UserError on an unknown name, on no workers, and where the engine's package is not installed.
    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise UserError(f"workers must be 1 to {MOST_WORKERS}, got {workers}; e.g. workers=2.")
    kind = load(ENGINES, name, "engine")
    try:
        engine: Engine = kind(workers)
    except Exception as error:
        if isinstance(error, UserError) or name in ENGINES:
            raise
        raise UserError(
            f"engine {name!r} cannot be made: {type(error).__name__}: {error!s:.200}. {NO_ENGINE}"
        ) from error
    if not callable(getattr(engine, "map", None)):
        raise UserError(f"{name!r} makes no engine: what it gives has no map. {NO_ENGINE}")
    return engine


def outcome(do: Callable[[T], R], task: T) -> tuple[bool, Any]:
    """Whether a task was done; what it gave, or the error, fit to be sent to another process."""
    try:
        return True, do(task)
    except Exception as error:
        error.add_note(f"in a worker:\n{traceback.format_exc()}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an error whose class wants more than its text
            return False, RuntimeError(f"{type(error).__name__}: {error}")
        return False, error


def threads() -> int:
    """CPU threads that torch has in this process: another number in a worker would change the last bits of its work."""
    import torch

    return torch.get_num_threads()


def loaded(work: Work[T, R], device: str, n_threads: int) -> tuple[bool, Any]:
    """The outcome of loading ``work`` in a process of its own, in which torch has ``n_threads`` CPU threads."""
    os.environ["OMP_NUM_THREADS"] = str(n_threads)  # while it loads; torch takes no more of them than there are cores
    result = outcome(work, device)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n_threads)
    return result
