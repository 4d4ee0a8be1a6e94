"""The engine of a Ray cluster: one actor for each worker, by default one for each GPU of the cluster.

Every node needs this package, the models and the data under the same paths: a shared file system. Results travel to the
process of the run, which alone writes. An actor or node that is lost costs the task it had, which another one does.
"""

import contextlib
import logging
import os
import pickle
import socket
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magnet_eval.engines import Lost, R, T, Work, loaded, outcome, threads
from magnet_eval.engines.pool import Died, Pool
from magnet_eval.lookup import UserError

log = logging.getLogger(__name__)
PATIENCE = 60.0  # seconds without a first worker until a warning says what it waits for
SHARED = ("HF_", "TORCH_", "CUBLAS_", "NVIDIA_")  # beginnings of the variables that workers take over from the parent


class RayEngine:
    """Tasks on the actors of a cluster: that of RAY_ADDRESS, or a new one on this machine."""

    def __init__(self, workers: int | None = None) -> None:
        """workers: None for one per GPU of the cluster, or one. Raises UserError without the package ray."""
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise UserError("engine=ray needs the package ray; type: pip install 'magnet-eval[ray]'.") from error
        self.workers = workers

    def map(self, work: Work[T, R], tasks: Sequence[T], device: str) -> Generator[tuple[T, R | Lost]]:
        """See Engine."""
        if not tasks:
            return
        if ":" in device:
            raise UserError(f"engine=ray chooses the GPUs itself, got device={device}; give device=cuda.")
        n_gpus = int(connect(self.workers).get("GPU", 0))
        crew = Actors(work, device, num_gpus=int(device == "cuda" or (device == "auto" and n_gpus > 0)))
        n = self.workers or (max(n_gpus, 1) if crew.resources["num_gpus"] else 1)
        yield from Pool(crew, tasks, min(n, len(tasks))).results()


def connect(workers: int | None) -> Mapping[str, float]:
    """The resources of the cluster that this process is in; it joins one, or starts one, if it is in none."""
    import ray

    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        address = os.environ.get("RAY_ADDRESS", "local")
        own: dict[str, Any] = {}
        if address == "local":  # as with processes, so many workers as asked for, whatever the number of cores
            own = {"num_cpus": max(workers or 1, os.cpu_count() or 1), "include_dashboard": False}
        host, _, port = address.rpartition("://")[2].rpartition(":")
        try:
            if port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=10).close()
            # What actors print would go to stdout, which is for the answer; it is in the logs of Ray.
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **own)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"no Ray cluster at RAY_ADDRESS={address}: {error}; see: ray status.") from error
    return ray.cluster_resources()


@dataclass(frozen=True)
class Surroundings:
    """What the names in a configuration refer to: the working folder, where modules are found, variables."""

    folder: str
    path: list[str]
    environment: dict[str, str]

    @classmethod
    def here(cls) -> "Surroundings":
        """Those of this process."""
        environment = {name: value for name, value in os.environ.items() if name.startswith(SHARED)}
        return cls(os.getcwd(), sys.path, environment)  # noqa: PTH109

    def take_over(self) -> None:
        """Makes them those of this process; a folder that its node does not have stays out."""
        os.environ.update(self.environment)
        sys.path += [place for place in self.path if place not in sys.path]
        with contextlib.suppress(OSError):
            os.chdir(self.folder)


class Actor:
    """The worker itself, in a process of the cluster."""

    def load(self, work: bytes, device: str, n_threads: int, parent: Surroundings) -> tuple[bool, Any]:
        """Makes ready for tasks. ``work`` is a pickle, which can be read only where the parent's modules are found."""
        parent.take_over()
        is_loaded, self.do = loaded(lambda device: pickle.loads(work)(device), device, n_threads)
        return is_loaded, None if is_loaded else self.do

    def execute(self, task: Any) -> tuple[bool, Any]:
        """Does one task."""
        return outcome(self.do, task)


class Member:
    """The parent's end of one actor: its handle, and the answer that it owes."""

    def __init__(self, actor: Any, answer: Any) -> None:
        """As given by Ray."""
        self.actor, self.answer = actor, answer


class Actors:
    """A crew of actors; Ray finds the places for them, also later, when nodes join."""

    def __init__(self, work: Work[Any, Any], device: str, num_gpus: int) -> None:
        """Starts none yet."""
        self.to_load = pickle.dumps(work), device, threads(), Surroundings.here()
        self.resources = {"num_gpus": num_gpus, "num_cpus": 1}
        self.is_waiting = True  # for the first answer of any worker

    def start(self, place: int) -> Member:
        """See Crew."""
        import ray

        actor: Any = ray.remote(Actor).options(max_restarts=0, **self.resources).remote()
        return Member(actor, actor.load.remote(*self.to_load))

    def give(self, worker: Member, task: Any) -> None:
        """See Crew."""
        worker.answer = worker.actor.execute.remote(task)

    def wait(self, workers: Sequence[Member]) -> list[Member]:
        """See Crew."""
        import ray

        answers = [worker.answer for worker in workers]
        first: list[Any] = []
        while not first:
            first, _ = ray.wait(answers, timeout=PATIENCE)
            if not first and self.is_waiting:
                log.warning("no worker has loaded yet; each needs %s of %s", self.resources, ray.cluster_resources())
            self.is_waiting = False
        ready = set(ray.wait(answers, num_returns=len(answers), timeout=0)[0])
        return [worker for worker in workers if worker.answer in ready]

    def take(self, worker: Member) -> Any:
        """See Crew."""
        import ray

        try:
            is_done, answer = ray.get(worker.answer)
        except ray.exceptions.RayError as error:
            raise Died(end_of(error)) from error
        if not is_done:
            raise answer
        return answer

    def stop(self, worker: Member) -> None:
        """See Crew."""
        import ray

        ray.kill(worker.actor)


def end_of(error: Exception) -> str:
    """How an actor ended, in one sentence of Ray's many."""
    text = " ".join(str(error).split())
    return f"Ray says: {(text.partition('The actor is dead because ')[2] or text).partition('. ')[0]}"
