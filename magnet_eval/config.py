"""The vocabulary of models/, protocols/ and the command line as typed dataclasses. They check; they never act.

Conventions: lengths in seconds, a missing choice is None, a wrong value is a UserError of one line.
In here: System, Protocol with its blocks, Run; and what turns a name into one of them. Model is in model.py.
"""

import dataclasses
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magnet_eval import audio, zoo
from magnet_eval.ablation import Finding, Training, known_names
from magnet_eval.decoding import between
from magnet_eval.lookup import UserError, check
from magnet_eval.model import CONTROLS as CONTROLS
from magnet_eval.model import Model as Model
from magnet_eval.typed import typed

DTYPES = ("float32", "float16", "bfloat16")
LONGEST_NAME = 200  # bytes of a label, which names a folder
MAX_TEXT = 2000  # characters of a prompt: far above any caption. A text encoder may take fewer, and then warns


def check_text(text: str) -> str:
    """A prompt's text itself. Raises UserError if it is empty or longer than MAX_TEXT characters."""
    if not text.strip():
        raise UserError("a prompt is empty; write what should be heard, e.g. 'slow waltz for strings'.")
    control = next((c for c in text if unicodedata.category(c) == "Cc" and c not in "\t\r\n"), "")
    if control:
        raise UserError(f"a prompt holds the control character {control!r}: {text[:40]!r}. Take it out.")
    if len(text) > MAX_TEXT:
        raise UserError(
            f"a prompt has {len(text)} characters, allowed are {MAX_TEXT}: {text[:40]!r}... Shorten it to one caption."
        )
    return text


def check_label(label: str) -> str:
    """A label itself. Raises UserError on one that is no folder name; an empty one is still to be filled in."""
    odd = set(label) & set('/\\:*?"<>|') or not label.isprintable() or label != label.strip(" .")
    if odd or len(label.encode()) > LONGEST_NAME:
        raise UserError(
            f"system label {label[:60]!r} is no folder name; use letters, digits, spaces and - _ . only, "
            f"{LONGEST_NAME} at most."
        )
    own = ("manifest.json", "prompts.jsonl", "scores.jsonl", "clip_scores.jsonl", "timings.jsonl", "cache")
    if label.casefold() in own:
        raise UserError(f"system label {label!r} is no folder name: a run has a file of its own there; give another.")
    return label


@dataclass
class System:
    """What is compared: a model with a label and optional changes. In YAML a plain name is enough."""

    model: str = ""  # the protocol's if left out
    label: str = ""  # the model's name if left out
    set: dict[str, Any] = field(default_factory=dict)  # e.g. {decoding.steps: [60, 10, 10, 10]}

    def __post_init__(self) -> None:
        """Fills in the label; refuses one that is no folder name, since clips are stored under it."""
        self.label = check_label(self.label or self.model)

    @classmethod
    def from_text(cls, model: str) -> "System":
        """The system that a plain model name stands for."""
        return cls(model)

    def of(self, model: str) -> "System":
        """The system itself, or of ``model`` where it names none. Raises UserError if neither does."""
        if not (self.model or model):
            raise UserError(f"system {self.label!r} names no model; give it one, or the protocol: model: magnet-tiny.")
        return self if self.model else System(model, self.label, self.set)


@dataclass
class Reference:
    """Which real clips the generated ones are compared with."""

    source: str = "tiny"  # tiny | tiny-sounds | folder | jsonl | musiccaps | audiocaps, or pkg.module:object
    n: int | None = None  # a fixed draw of n; None: all
    path: str | None = None  # of the folder, the JSON lines or CSV; hub:OWNER/NAME for a data set of the hub
    audio: str | None = None  # folder of a data set's clips, where path is no manifest of data prepare
    split: str | None = None  # part of a data set: all, eval, balanced; test, val, train
    captions: str | None = None  # audiocaps: one (a clip), or all of its five
    ids: str | None = None  # path of a text file with an id a line: these only

    def __post_init__(self) -> None:
        """Refuses empty selections."""
        if self.n is not None:
            between(f"{type(self).__name__.lower()}.n", self.n, 1)


@dataclass
class Prompts(Reference):
    """Which texts are generated from, and how long the audio is."""

    seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuses empty selections and silly lengths."""
        super().__post_init__()
        between("prompts.seconds", self.seconds, 0.1, 600)


@dataclass
class Generation:
    """How clips are made; the audio depends on ``seed`` and ``dtype``, on ``batch`` only in the reference modes."""

    batch: int = 8
    seed: int = 0
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    dtype: str = "float32"
    audio: str = "wav"  # wav | flac: the same samples and scores; clips that are there stay as they are

    def __post_init__(self) -> None:
        """Refuses sizes, devices and number formats that do not exist."""
        between("batch", self.batch, 1, 4096)
        between("seed", self.seed, 0, 2**63 - 1)
        device, colon, index = self.device.partition(":")
        check("device", device, ("auto", "cpu", "cuda"))
        if colon and not (device == "cuda" and index.isdecimal()):
            raise UserError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}.")
        check("dtype", self.dtype, DTYPES)
        check("audio", self.audio, audio.FORMATS)


SCENARIOS = ("single_stream", "offline", "server", "time_to_first_audio")
FEWEST_SERVED = 44  # requests of which none is late that show nine in ten, see speed/quantiles.py


@dataclass
class Speed:
    """How speed is measured; the scenarios are those of MLPerf, see speed/loop.py and speed/server.py."""

    scenarios: list[str] = field(default_factory=lambda: ["offline"])
    batches: list[int] = field(default_factory=lambda: [1, 8])  # of offline and server, as far as memory goes
    repeats: int = 5  # timed calls per system and batch size, after the warm-up
    queries: int = 64  # timed calls of the other scenarios: 64 carry a p90, 662 a p99
    warmup: int = 10  # at most so many calls before those that count, fewer once three agree within 2 %; 0: none
    max_seconds: float = 60.0  # per system and batch size: timing stops early after that, and says its n
    seconds: float | None = None  # of audio; None: as long as the protocol's prompts
    dtype: str | None = None  # None: that of the protocol's generation
    weights: str | None = None  # random: models at their true size without a file, which speed does not depend on
    chunk_seconds: float = 1.0  # of audio per piece where a system streams
    bound: float | None = None  # seconds that nine in ten requests to the server may take; None: as long as the clip

    def __post_init__(self) -> None:
        """Refuses empty measurements, and numbers that are none of their kind."""
        if not self.scenarios:
            raise UserError(f"speed.scenarios is empty; give some of {', '.join(SCENARIOS)}.")
        for scenario in self.scenarios:
            check("speed.scenarios", scenario, SCENARIOS)
        if not self.batches:
            raise UserError("speed.batches is empty; give batch sizes, e.g. [1, 8].")
        for batch in self.batches:
            between("speed.batches", batch, 1, 4096)
        between("speed.repeats", self.repeats, 1)
        between("speed.queries", self.queries, 1)
        if "server" in self.scenarios and self.queries < FEWEST_SERVED:
            raise UserError(
                f"speed.queries is {self.queries}, but scenario server needs at least {FEWEST_SERVED} requests to show "
                "that nine in ten are served in time; add protocol.speed.queries=64."
            )
        between("speed.warmup", self.warmup, 0)
        between("speed.max_seconds", self.max_seconds, 0.1)
        between("speed.chunk_seconds", self.chunk_seconds, 0.1, 600)
        if self.seconds is not None:
            between("speed.seconds", self.seconds, 0.1, 600)
        if self.bound is not None:
            between("speed.bound", self.bound, 0.001)
        if self.dtype is not None:
            check("speed.dtype", self.dtype, DTYPES)
        if self.weights is not None:
            check("speed.weights", self.weights, ("random",))


@dataclass
class MetricChoice:
    """A metric of a protocol. In YAML the name of a preset is enough."""

    preset: list[str] = field(default_factory=list)  # one or more of the metric's; none: its first
    weights: str | None = None  # the embedder's, in place of where they are looked for: a path, a name, a hub id
    sha256: str | None = None  # that their file must have, or the first digits of it

    @classmethod
    def from_text(cls, preset: str) -> "MetricChoice":
        """The choice that a plain preset name stands for."""
        return cls([preset])


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
    has_trained: bool = False  # whether ``systems`` holds them already
    findings: list[Finding] = field(default_factory=list)  # of a paper, put to the test by this run
    name: str = ""  # the YAML's stem

    def __post_init__(self) -> None:
        """Adds the systems that are trained; refuses a protocol without systems, or with two of one label."""
        between("version", self.version, 1)
        if self.training and not self.has_trained:
            self.systems, self.has_trained = [*self.systems, *trained_systems(self.training)], True
        self.systems = [system.of(self.model) for system in self.systems]
        labels = [system.label for system in self.systems]
        if not labels:
            raise UserError("systems is empty; name at least one model, e.g. systems=[magnet-tiny].")
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise UserError(f"two systems are labelled {twice[0]!r}; give one of them another label.")
        known_names(self.findings, [*labels, *(self.training.variants if self.training else ())])

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
        for label, seed in zip(training.labels()[name], training.seeds, strict=True)
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
