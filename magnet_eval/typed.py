"""Plain values (YAML, command line) to typed dataclasses; every mistake is one line that says where it is."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

from magnet_eval.lookup import UserError, unknown

T = TypeVar("T")

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def typed(kind: type[T], value: Any, where: str = "") -> T:
    """``value`` as an instance of the dataclass ``kind``, nested ones included.

    ``where`` is the dotted path that error messages start with. Raises UserError on an unknown key (with the
    nearest names), a missing key, or a value of the wrong type.
    """
    return typing.cast(T, _value(kind, value, where))


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(inner, value, where)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is list:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} must be a list such as [a, b], got {value!r}.")
        return [_value(inner[0], item, f"{where}[{index}]") for index, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where} must be a mapping of names to values, got {value!r}.")
        return {str(key): _value(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    return _scalar(kind, value, where)


def _union(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in choices:
        return None
    rest = [choice for choice in choices if choice is not type(None)]
    # Several dataclasses: the owner's __post_init__ knows which of them is meant.
    return _value(rest[0], value, where) if len(rest) == 1 else value


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and hasattr(kind, "from_text"):
        return kind.from_text(value)
    if not isinstance(value, Mapping):
        raise UserError(f"{where or kind.__name__} must be a mapping of names to values, got {value!r}.")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in fields:
            raise unknown("key", f"{prefix}{key}", [prefix + name for name in fields])
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in value and not optional:
            raise UserError(f"{prefix}{name} is missing; give it as {name}: ... ({where or kind.__name__}).")
    return kind(**{key: _value(hints[key], item, prefix + key) for key, item in value.items()})


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a kind of int in Python; a count of "true" is a mistake all the same.
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise UserError(f"{where} must be {WORDS.get(kind, kind)}, got {value!r}.")
