"""Names to things: tables of lazy "module:object" strings, with the nearest names where a name is unknown."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any


class UserError(ValueError):
    """A mistake of the user: shown as one line, exit code 2, never as a traceback."""


def nearest(name: str, allowed: Iterable[str], n: int = 3) -> list[str]:
    """Up to ``n`` allowed names that look like ``name``, nearest first."""
    return difflib.get_close_matches(name, list(allowed), n=n, cutoff=0.5)


def unknown(kind: str, name: str, allowed: Iterable[str], hint: str = "") -> UserError:
    """The error for an unknown name: what, got, nearest, allowed, what to type next."""
    names = sorted(allowed)
    near = nearest(name, names)
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    return UserError(f"unknown {kind} {name!r}.{guess} Allowed: {', '.join(names)}.{' ' + hint if hint else ''}")


def check(kind: str, name: str, allowed: Iterable[str]) -> str:
    """``name`` itself if it is allowed. Raises UserError otherwise."""
    names = list(allowed)
    if name not in names:
        raise unknown(kind, name, names)
    return name


def load(table: Mapping[str, str], name: str, kind: str) -> Any:
    """The object behind ``name``: an entry of ``table``, or any "package.module:object" of the user's own."""
    target = table.get(name, name if ":" in name else None)
    if target is None:
        raise unknown(kind, name, table)
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # the last two for odd module names
        if name in table:
            raise
        raise UserError(f"{kind} {name!r} cannot be imported: {error}. Give it as package.module:object.") from error
