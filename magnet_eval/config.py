"""The vocabulary of models/, protocols/ and the command line as typed dataclasses. They check; they never act.

Conventions: lengths in seconds, a missing choice is None, a wrong value is a UserError of one line.
In here: Protocol, Run, and what turns a name into one of them. A protocol's blocks are in blocks.py, Model in model.py.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magnet_eval import zoo
from magnet_eval.ablation import Finding, Training, known_names
from magnet_eval.blocks import Generation as Generation
from magnet_eval.blocks import MetricChoice as MetricChoice
from magnet_eval.blocks import Prompts as Prompts
from magnet_eval.blocks import Reference as Reference
from magnet_eval.blocks import Speed as Speed
from magnet_eval.blocks import System as System
from magnet_eval.blocks import check_label as check_label
from magnet_eval.blocks import check_text as check_text
from magnet_eval.decoding import between
from magnet_eval.lookup import UserError, check
from magnet_eval.model import CONTROLS as CONTROLS
from magnet_eval.model import Model as Model
from magnet_eval.typed import typed


@dataclass
class Protocol:
    """One versioned recipe of an evaluation (protocols/NAME.yaml)."""

    version: int  # goes up with every change that moves a number
    systems: list[System] = field(default_factory=list)
    title: str = ""
    model: str = ""  # that of systems which name none, so that an ablation can be run on another one
    prompts: Prompts = field(default_factory=Prompts)
    reference: Reference = field(default_factory=Reference)
    generation: Generation = field(default_factory=Generation)
    metrics: dict[str, MetricChoice] = field(default_factory=dict)  # by name
    speed: Speed | None = None
    training: Training | None = None  # models that are trained for it: systems like the others
    has_trained: bool = False  # whether ``systems`` holds them already, and the names in findings are checked
    findings: list[Finding] = field(default_factory=list)  # of a paper, put to the test by this run
    name: str = ""  # the YAML's stem

    def __post_init__(self) -> None:
        """Adds the systems that are trained; refuses a protocol without systems, or with two of one label."""
        between("version", self.version, 1)
        is_new, self.has_trained = not self.has_trained, True
        if is_new and self.training:
            self.systems = [*self.systems, *trained_systems(self.training)]
        self.systems = [system.of(self.model) for system in self.systems]
        labels = [system.label for system in self.systems]
        if not labels:
            raise UserError("systems is empty; name at least one model, e.g. systems=[magnet-tiny].")
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise UserError(f"two systems are labelled {twice[0]!r}; give one of them another label.")
        if is_new:  # a run of fewer systems, or a comparison, keeps the findings that it says nothing of
            known_names(self.findings, [*labels, *(self.training.variants if self.training else ())], self.metrics)

    def node(self) -> dict[str, Any]:
        """Plain values for Hydra, in which the systems of ``model`` name none, so that another one can be set.

        Those that are trained are left out: ``training`` says them.
        """
        values = dataclasses.asdict(self)
        added = {system.label for system in trained_systems(self.training)} if self.training else ()
        values["systems"] = [system for system in values["systems"] if system["label"] not in added]
        values["has_trained"] = False
        for system in values["systems"]:
            if system["model"] == self.model:
                system["model"] = ""
        return values


def trained_systems(training: Training) -> list[System]:
    """A system for every variant and seed."""
    return [
        System(variant.model, label, training.changes(name, seed))
        for name, variant in training.variants.items()
        for seed, label in training.labels()[name].items()
    ]


def option(default: Any, text: str) -> Any:
    """A field of a verb's options: its default and its line in ``--help``."""
    return field(default=default, metadata={"help": text})


@dataclass
class Run:
    """One protocol to work on, with the choices of the command line. None leaves the protocol's own choice."""

    protocol: Protocol = field(
        metadata={"help": "what is compared and how; see: magnet-eval list protocols", "choice": "quickstart"}
    )
    systems: list[System] | None = option(None, "only these: labels of the protocol's systems, or models of the zoo")
    results: str = option("results", "folder of run folders; a URL such as s3://bucket/results will do")
    reports: str = option("reports", "folder of rendered reports")
    device: str | None = option(None, "auto, cpu, cuda or cuda:N")
    batch: int | None = option(None, "clips generated at a time; changes audio in the reference modes only")
    seed: int | None = option(None, "of everything random")
    engine: str = option("local", "where clips are made: local, or ray for a cluster")
    workers: int | None = option(None, "how many make clips at a time, each with the model [one per GPU, or one]")
    audio: str | None = option(None, "wav or flac, which takes about half the disk; samples and scores are the same")
    json: bool = option(False, "one JSON document in place of the table; --json is the same")

    def __post_init__(self) -> None:
        """Puts the choices into the protocol, so that nothing below looks at two places."""
        chosen = {name: getattr(self, name) for name in ("device", "batch", "seed", "audio")}
        generation = dataclasses.replace(
            self.protocol.generation, **{name: value for name, value in chosen.items() if value is not None}
        )
        systems = self.protocol.systems
        if self.systems is not None:
            labelled = {system.label: system for system in systems}
            names = {*labelled, *list_models()}
            for system in self.systems:
                check("system", system.model, names)
            plain = [system == System(system.model) for system in self.systems]  # with changes it is another one
            systems = [
                labelled.get(system.label, system) if is_plain else system
                for system, is_plain in zip(self.systems, plain, strict=True)
            ]
        self.protocol = dataclasses.replace(self.protocol, generation=generation, systems=systems)


def models_dir() -> Path:
    """The folder of the models that ship with the package."""
    return zoo.root() / "models"


def protocols_dir() -> Path:
    """The folder of the protocols that ship with the package."""
    return zoo.root() / "protocols"


def list_models() -> list[str]:
    """Names of all models, sorted."""
    return zoo.names("models")


def list_protocols() -> list[str]:
    """Names of all protocols, sorted."""
    return zoo.names("protocols")


def load_model(name: str) -> Model:
    """The model of models/NAME.yaml. Raises UserError if there is none or a key or value in it is wrong."""
    return _load(Model, "models", name)


def load_protocol(name: str) -> Protocol:
    """The protocol of protocols/NAME.yaml. Raises UserError if there is none or a key or value in it is wrong."""
    return _load(Protocol, "protocols", name)


def _load(kind: type[Any], folder: str, name: str) -> Any:
    try:
        return typed(kind, {**zoo.read(folder, name), "name": name})
    except UserError as error:
        raise UserError(f"{folder}/{name}.yaml: {error}" if name in zoo.names(folder) else str(error)) from error


def resolve_system(system: System) -> Model:
    """The system's model with its changes applied; ``name`` stays the model's."""
    settings = load_model(system.model).node()
    for path, value in system.set.items():
        *parents, last = path.split(".")
        block = settings
        for parent in parents:
            block[parent] = block.get(parent) or {}
            block = block[parent]
            if not isinstance(block, dict):
                raise UserError(f"system {system.label!r}: unknown key {path!r}: {parent} has no keys below it.")
        block[last] = value
    try:
        return typed(Model, settings)
    except UserError as error:
        raise UserError(f"system {system.label!r}: {error}") from error
