"""One entry of the model zoo as a typed dataclass: what models/NAME.yaml may say. It checks; it never acts."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magnet_eval import zoo
from magnet_eval.decoding import DECODING, Rescoring
from magnet_eval.lookup import UserError, check
from magnet_eval.presets import preset
from magnet_eval.typed import typed

CONTROLS = {  # families that bound the others and do not compete
    "codec": "codec round trip: the real clip, encoded and decoded",
    "unigram": "control: tokens drawn without a model",
}
PADDING = ("isolated", "reference")
TASKS = ("", "music", "sound")
WEIGHTS = ("", "random")
RANDOM = ("masked", "autoregressive", "hybrid", "transformers")  # families that can be built without files
OWNERS = {"prompter": ("hybrid",), "rescorer": ("masked",), "folder": ("files",)}  # field -> families that have it


@dataclass
class Model:
    """One entry of the model zoo (models/NAME.yaml)."""

    family: str
    checkpoint: str = ""  # this and the next two: a hub id, or a folder or file; see zoo.find
    text: str = ""  # "": what the checkpoint says, or holds
    codec: str = ""  # "": what lies beside the checkpoint
    preset: str = ""  # named decoding settings, see presets.py; "": the family's defaults
    decoding: dict[str, Any] | None = None  # what differs from the preset; see ``settings``
    padding: str = "isolated"  # of texts in a batch; "reference" lets padding take attention, as audiocraft does
    prompter: str | None = None  # hybrid only: a second checkpoint that writes the beginning
    rescorer: Rescoring | None = None  # masked only
    folder: str | None = None  # files only: audio named PROMPT-ID.wav
    weights: str = ""  # "random": no file is read, for measurements of speed; see generators/random.py
    sha256: dict[str, str] = field(default_factory=dict)  # of weights, by part/file: tiny/codec/model.safetensors
    task: str = ""  # music | sound
    parameters: int = 0  # of the language model, with the text projection; this and the next two for listings
    sample_rate: int = 0  # Hz
    seconds: float = 0.0  # length of the clips it was trained on
    description: str = ""
    licence: str = ""
    tiny: bool = False  # scores of it are labelled tiny
    name: str = ""  # the YAML's stem

    def __post_init__(self) -> None:
        """Refuses what does not go together."""
        check("padding", self.padding, PADDING)
        check("task", self.task, TASKS)
        check("weights", self.weights, WEIGHTS)
        if self.weights and self.family not in RANDOM:
            raise UserError(
                f"weights: random is for families {', '.join(RANDOM)}; {self.name or 'this model'} is {self.family}."
            )
        if ":" in self.family:  # a family of the user's own keeps its decoding as it is
            return
        check("family", self.family, DECODING)
        for name, owners in OWNERS.items():
            if getattr(self, name) and self.family not in owners:
                raise UserError(
                    f"{name} belongs to family {' or '.join(owners)}; {self.name or 'this model'} is {self.family}."
                )
        if dataclasses.is_dataclass(DECODING[self.family]):
            self.decoding = _without_none(self.decoding or {}, "decoding")
        self.settings()

    def settings(self) -> Any:
        """The decoding settings in full: the family's dataclass, ``decoding`` over the preset over its defaults.

        A plain dict for families that pass them on to another package. Raises UserError on a wrong one.
        """
        kind = DECODING.get(self.family, dict)
        given = self.decoding or {}
        if kind is None:
            if given or self.preset:
                raise UserError(f"family {self.family} has no decoding settings, got {given or self.preset!r}.")
            return None
        if kind is dict and not self.preset:
            return dict(given)
        base = preset(self.preset, self.family, self.task, self.seconds) if self.preset else {}
        return typed(kind, _over(base, given), "decoding")

    def settings_in_full(self) -> dict[str, Any]:
        """``settings`` as plain values; empty where there is nothing to decide."""
        settings = self.settings() or {}
        return settings if isinstance(settings, dict) else dataclasses.asdict(settings)

    def node(self) -> dict[str, Any]:
        """Plain values for Hydra, in which every decoding setting has a key; None is "as the preset says"."""
        kind = DECODING.get(self.family, dict)
        values = dataclasses.asdict(self)
        if dataclasses.is_dataclass(kind):
            values["decoding"] = _over(_blank(kind), values["decoding"])
        return values

    def find(self, value: str) -> Path:
        """The place of a part (``checkpoint``, ``text``, ...); see zoo.find."""
        return zoo.find(value)


def _without_none(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise UserError(f"{where} must be a mapping of names to values, got {values!r}.")
    nested = {key: _without_none(v, f"{where}.{key}") if isinstance(v, Mapping) else v for key, v in values.items()}
    return {str(key): value for key, value in nested.items() if value is not None and value != {}}


def _over(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` over ``base``, mapping by mapping."""
    merged = dict(base)
    for key, value in given.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def _blank(kind: Any) -> dict[str, Any]:
    """Every setting of a decoding dataclass as None, nested ones included."""
    return {
        name.name: _blank(name.type) if dataclasses.is_dataclass(name.type) else None
        for name in dataclasses.fields(kind)
    }
