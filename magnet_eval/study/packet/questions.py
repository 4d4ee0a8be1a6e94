"""The questions that listeners are asked, as data: questions.yaml, and a file of the user's own over it."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magnet_eval.lookup import UserError, check
from magnet_eval.study.schema import Dimension
from magnet_eval.typed import typed

OWN = Path(__file__).with_name("questions.yaml")


@dataclass(frozen=True)
class Scale:
    """What answers can be."""

    ends: list[float]
    step: float
    labels: dict[str, list[str]]  # by language


@dataclass(frozen=True)
class Question:
    """What is asked."""

    question: dict[str, str]  # by language
    scale: str = "points"  # name of a scale
    show_prompt: bool = False


@dataclass(frozen=True)
class Questions:
    """All that there is to choose from."""

    dimensions: dict[str, Question] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    methods: dict[str, list[str]] = field(default_factory=dict)  # dimensions that a protocol asks for by default
    consent: dict[str, str] = field(default_factory=dict)  # by language

    def __post_init__(self) -> None:
        """Refuses scales without two ends, a step and five labels."""
        for name, scale in self.scales.items():
            if len(scale.ends) != 2 or not scale.ends[0] < scale.ends[1] or not scale.step > 0:
                raise UserError(f"scales.{name} needs ends: [LOW, HIGH] and a step above 0.")
            if any(len(labels) != 5 for labels in scale.labels.values()):
                raise UserError(f"scales.{name}.labels needs five labels in each language, from the low end up.")


def read_questions(own: str | None = None) -> Questions:
    """The questions of the package, changed by the file ``own``. Raises UserError, naming it, on a mistake in it."""
    values = _load(OWN)
    if own is None:
        return typed(Questions, values)
    path = Path(own).expanduser()
    changes = _load(path)
    try:
        typed(Questions, changes)
        return typed(Questions, _over(values, changes))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def dimensions(questions: Questions, protocol: str, names: Sequence[str] | None) -> list[Dimension]:
    """The dimensions of these names; none: those of the protocol. Raises UserError on unknown or unfit ones."""
    found = []
    for name in questions.methods[protocol] if names is None else names:
        check("dimension", name, questions.dimensions)
        asked = questions.dimensions[name]
        check(f"scale of {name}", asked.scale, questions.scales)
        scale = questions.scales[asked.scale]
        if (protocol == "ab") != (asked.scale == "pair"):
            raise UserError(f"dimension {name!r} cannot be asked with method={protocol}: its scale is {asked.scale}.")
        found.append(Dimension(name, asked.question, scale.ends, scale.step, scale.labels, asked.show_prompt))
    if not found or len({one.id for one in found}) < len(found):
        raise UserError(f"dimensions must be one or more different names, e.g. [ovl, rel]; got {names}.")
    return found


def languages(questions: Questions, asked: Sequence[Dimension]) -> list[str]:
    """The languages in which everything is there. Raises UserError if there is none."""
    parts: list[Container[str]] = [questions.consent, *(one.question for one in asked), *(one.labels for one in asked)]
    found = [language for language in questions.consent if all(language in part for part in parts)]
    if not found:
        raise UserError("no language has consent, questions and labels; give all of them in one, e.g. en.")
    return found


def _over(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes`` in their place, block by block."""
    merged = dict(values)
    for key, value in changes.items():
        is_block = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _over(merged[key], value) if is_block else value
    return merged


def _load(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"cannot read {path}: {' '.join(str(error).split())}. It is YAML, as questions.yaml."
        ) from error
