"""Lists of ids that a user gives: a text file, one id a line."""

import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from magnet_eval.lookup import UserError
from magnet_eval.prompts.tables import lines

log = logging.getLogger(__name__)
T = TypeVar("T")


def keep(items: Iterable[T], path: str, names: Callable[[T], Collection[str]]) -> list[T]:
    """The items that go by a name of the list at ``path``, in their own order.

    Raises UserError where none does; ids of the list that nothing goes by are a warning.
    """
    file = Path(path).expanduser()
    wanted = {line.strip() for line in lines(file)}
    kept = [item for item in items if not wanted.isdisjoint(names(item))]
    absent = sorted(wanted.difference(*(names(item) for item in kept)))
    if not kept:
        example = f", e.g. {absent[0][:40]!r}" if absent else ""
        raise UserError(
            f"none of the {len(wanted):,} ids of {file} is among those chosen{example}. Give one id a line."
        )
    if absent:
        log.warning("%s: %d of its %d ids are not there, e.g. %s", file, len(absent), len(wanted), absent[0][:40])
    return kept
