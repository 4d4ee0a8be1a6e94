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
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as shown:
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, rate="")
            speed = shown.tasks[shown.task_ids.index(tasks[what])].speed
            shown.update(tasks[what], completed=done, total=total, rate=f"{speed:.1f}/s" if speed else "")

        yield report
