"""Progress of long stages: a bar on stderr with rate and time left where stderr is a terminal, else nothing."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Progress = Callable[[str, int, int], None]  # (what is going on, steps done, steps in all)


def silent(what: str, done: int, total: int) -> None:
    """Shows nothing."""


@contextlib.contextmanager
def bar() -> Iterator[Progress]:
    """A function to report progress to; each ``what`` gets its own bar, with steps per second and time left."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),  # a label may have brackets
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    # Over ten minutes: a batch of long clips may take one, and two batches are needed for a rate.
    with RichProgress(*columns, console=Console(stderr=True), speed_estimate_period=600) as shown:
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, rate="")
            speed = shown.tasks[shown.task_ids.index(tasks[what])].speed
            shown.update(tasks[what], completed=done, total=total, rate=rate_text(speed))

        yield report


def rate_text(speed: float | None) -> str:
    """Steps per second, or seconds per step where those are the larger number; "" where it is not known yet."""
    if not speed:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"
