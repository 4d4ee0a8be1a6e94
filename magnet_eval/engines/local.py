"""The engine of one machine: this process, or one process for each worker, by default one for each GPU."""

import contextlib
import multiprocessing
import signal
from collections.abc import Generator, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

from magnet_eval.engines import Lost, R, T, Work, loaded, outcome, threads
from magnet_eval.engines.pool import Died, Pool

PATIENCE = 5.0  # seconds that a process has to end by itself


class LocalEngine:
    """Tasks in this process, or in processes of their own, which a script that starts them must let import it:

    its own work belongs below ``if __name__ == "__main__":``.
    """

    def __init__(self, workers: int | None = None) -> None:
        """workers: None for one per GPU of the machine, or one."""
        self.workers = workers

    def map(self, work: Work[T, R], tasks: Sequence[T], device: str) -> Generator[tuple[T, R | Lost]]:
        """See Engine. A single worker is this process: nothing is copied, and its death is the run's."""
        devices = devices_of(device, self.workers)[: len(tasks)]
        if len(devices) > 1:
            yield from Pool(Processes(work, devices), tasks, len(devices)).results()
            return
        do = work(devices[0]) if tasks else None
        for task in tasks:
            assert do is not None
            yield task, do(task)


def devices_of(device: str, workers: int | None) -> list[str]:
    """The device of each worker: with auto and cuda the GPUs in turn, where there are any."""
    n_gpus = n_visible_gpus() if device in ("auto", "cuda") and workers != 1 else 0
    n = workers or max(n_gpus, 1)
    return [f"cuda:{i % n_gpus}" for i in range(n)] if n_gpus and n > 1 else [device] * n


def n_visible_gpus() -> int:
    """CUDA devices that this process may use."""
    import torch

    return torch.cuda.device_count()


class Process:
    """The parent's end of one process."""

    def __init__(self, work: Work[Any, Any], device: str, n_threads: int) -> None:
        """Starts it anew ("spawn"): CUDA cannot be used in a forked one."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, work, device, n_threads), daemon=True)
        self.process.start()
        theirs.close()  # else its end would not be noticed


class Processes:
    """A crew of processes; worker i has devices[i]."""

    def __init__(self, work: Work[Any, Any], devices: Sequence[str]) -> None:
        """Starts none yet."""
        self.work, self.devices, self.n_threads = work, devices, threads()

    def start(self, place: int) -> Process:
        """See Crew."""
        return Process(self.work, self.devices[place], self.n_threads)

    def give(self, worker: Process, task: Any) -> None:
        """See Crew."""
        with contextlib.suppress(OSError):
            worker.pipe.send(task)

    def wait(self, workers: Sequence[Process]) -> list[Process]:
        """See Crew."""
        ready = connection.wait([worker.pipe for worker in workers])
        return [worker for worker in workers if worker.pipe in ready]

    def take(self, worker: Process) -> Any:
        """See Crew."""
        try:
            is_done, answer = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(PATIENCE)
            raise Died(end_of(worker.process.exitcode)) from None
        if not is_done:
            raise answer
        return answer

    def stop(self, worker: Process) -> None:
        """See Crew."""
        worker.pipe.close()
        worker.process.terminate()
        worker.process.join(PATIENCE)
        worker.process.kill()


def end_of(code: int | None) -> str:
    """How a process ended, by its exit code."""
    if code == -signal.SIGKILL:
        return "its process was killed, as the system does where memory runs out"
    return f"its process ended by signal {-code}" if code and code < 0 else f"its process ended with exit code {code}"


def serve(pipe: connection.Connection, work: Work[Any, Any], device: str, n_threads: int) -> None:
    """The process: loads, then does one task after the other until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    with contextlib.suppress(OSError):  # where memory runs out, this process goes, not the parent
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(EOFError, OSError):
        is_loaded, do = loaded(work, device, n_threads)
        pipe.send((is_loaded, None if is_loaded else do))
        while is_loaded:
            pipe.send(outcome(do, pipe.recv()))
