"""What the verbs of the command line understand: one dataclass per verb, whose fields are its options.

run and score have config.Run for theirs.
"""

from dataclasses import dataclass, replace

from magnet_eval.config import Model, Protocol, Run, System, check_label, check_text, option
from magnet_eval.decoding import between
from magnet_eval.lookup import UserError, check
from magnet_eval.prompts import DATASETS

ACTIONS = ("prepare", "download")
FORMATS = ("html", "markdown", "latex", "csv", "parquet", "json")
PRUNABLE = ("audio", "cache")
PROTOCOLS_OWN = {  # options of train that a protocol's training block takes the place of
    "what": "", "minutes": "", "out": "", "steps": "training.steps=STEPS", "seed": "training.seeds=[0,1,2]",
}  # fmt: skip
KINDS = ("models", "protocols", "metrics", "runs")


@dataclass
class GenerateOptions:
    """The options of generate: a model and texts of your own, or a protocol."""

    model: Model | None = option(None, "makes clips of prompts=; see: magnet-eval list models")
    prompts: list[str] | None = option(None, "the texts, e.g. prompts='[slow waltz for strings]'")
    seconds: float = option(5.0, "length of each clip made with model=")
    out: str = option("clips", "folder for the clips made with model=")
    protocol: Protocol | None = option(None, "makes the clips of a protocol instead")
    systems: list[System] | None = option(None, "of the protocol, only these: labels or models")
    results: str = option("results", "folder of run folders")
    device: str | None = option(None, "auto, cpu, cuda or cuda:N")
    batch: int | None = option(None, "clips generated at a time; changes audio in the reference modes only")
    seed: int | None = option(None, "of everything random")
    engine: str = option("local", "where the clips of protocol= are made: local, or ray for a cluster")
    workers: int | None = option(None, "how many make those at a time, each with the model [one per GPU, or one]")
    audio: str | None = option(None, "wav or flac, which takes about half the disk; samples and scores are the same")

    def __post_init__(self) -> None:
        """Refuses both, neither, or a model without texts."""
        if (self.model is None) == (self.protocol is None):
            got = "both" if self.model else "neither"
            raise UserError(f"generate needs model=NAME prompts='[TEXT]', or protocol=NAME; got {got}.")
        if self.model is None:
            return
        if self.engine != "local" or self.workers is not None:
            raise UserError("engine= and workers= go with protocol=NAME; leave them out with model=.")
        if not self.prompts:
            raise UserError("the prompt list is empty; give texts, e.g. prompts='[slow waltz for strings]'.")
        for text in self.prompts:
            check_text(text)
        between("seconds", self.seconds, 0.1, 600)


@dataclass
class BenchOptions(Run):
    """The options of bench: those of a run, and changes of the protocol's speed block."""

    scenarios: list[str] | None = option(None, "some of single_stream, offline, server, time_to_first_audio")
    batches: list[int] | None = option(None, "sizes to time, e.g. [1,2,4,8,16,32,64]; memory may end the list early")
    dtype: str | None = option(None, "float32, float16 or bfloat16")
    weights: str | None = option(None, "random: models at their true size without a file; speed is the same")

    def __post_init__(self) -> None:
        """Puts the choices into the protocol."""
        super().__post_init__()
        if self.protocol.speed is None:
            raise UserError(
                f"protocol {self.protocol.name} has no speed block; add speed: {{batches: [1, 8]}} to its YAML."
            )
        names = ("scenarios", "batches", "dtype", "weights")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        self.protocol = replace(self.protocol, speed=replace(self.protocol.speed, **chosen))


@dataclass
class ReportOptions(Run):
    """The options of report."""

    format: str = option("html", " | ".join(FORMATS))
    run: str | None = option(None, "a run folder from anywhere, in place of the protocol's here")

    def __post_init__(self) -> None:
        """Refuses formats that there are not."""
        super().__post_init__()
        check("format", self.format, FORMATS)


@dataclass
class CompareOptions:
    """The options of compare."""

    runs: list[str] | None = option(None, "run folders, e.g. runs='[results/quickstart-v1, elsewhere/quickstart-v1]'")
    systems: list[str] | None = option(None, "only these of their systems")
    name: str = option("comparison", "of the folder of the comparison, and of its report")
    results: str = option("results", "folder of run folders")
    reports: str = option("reports", "folder of rendered reports")
    json: bool = option(False, "one JSON document in place of the table; --json is the same")

    def __post_init__(self) -> None:
        """Refuses a comparison of nothing, and a name that is no folder name."""
        if not self.runs:
            raise UserError("compare needs runs='[FOLDER, FOLDER]'; see: magnet-eval list runs.")
        if not check_label(self.name):
            raise UserError("name is empty; give the comparison a name, e.g. name=comparison.")


@dataclass
class ListOptions:
    """The options of list; its first word may be given without what=."""

    what: str = option("models", " | ".join(KINDS))
    results: str = option("results", "folder of run folders")
    json: bool = option(False, "one JSON document instead of a table")

    def __post_init__(self) -> None:
        """Refuses what there is no list of."""
        check("list", self.what, KINDS)


@dataclass
class PruneOptions:
    """The options of prune."""

    run: str | None = option(None, "the run folder; see: magnet-eval list runs")
    what: str = option("audio", " | ".join(PRUNABLE))
    yes: bool = option(False, "true removes; without it prune says what it would free")

    def __post_init__(self) -> None:
        """Refuses what cannot be removed, and no run."""
        check("what", self.what, PRUNABLE)
        if not self.run:
            raise UserError("prune needs run=FOLDER; see: magnet-eval list runs.")


@dataclass
class DataOptions:
    """The options of data; its first word may be given without action=."""

    action: str = option("prepare", " | ".join(ACTIONS))
    dataset: str | None = option(None, " | ".join(DATASETS))
    csv: str | None = option(None, "its official CSV, or hub:OWNER/NAME")
    audio: str | None = option(None, "folder with its clips, in any subfolders; only ever read")
    split: str | None = option(None, "part of it: all, eval, balanced; test, val, train")
    out: str | None = option(None, "the manifest [data/DATASET.jsonl], or the folder of download [data/DATASET]")
    tolerance: float = option(0.5, "seconds by which a clip may be shorter or longer than it should")
    json: bool = option(False, "the availability report instead of its table")

    def __post_init__(self) -> None:
        """Refuses unknown data sets and actions, and a data set without its table."""
        check("action", self.action, ACTIONS)
        between("tolerance", self.tolerance, 0)
        if self.dataset is None or self.csv is None:
            needs = "dataset=NAME" if self.dataset is None else "csv=FILE, the official CSV"
            raise UserError(
                f"data needs {needs}; e.g. magnet-eval data prepare dataset=musiccaps csv=FILE audio=FOLDER."
            )
        check("dataset", self.dataset, DATASETS)
        self.out = self.out or f"data/{self.dataset}{'.jsonl' if self.action == 'prepare' else ''}"


@dataclass
class DoctorOptions:
    """The options of doctor."""

    json: bool = option(False, "one JSON document instead of a table")


@dataclass
class TrainOptions:
    """The options of train: which part of the embedded models to make again."""

    what: str = option("all", "one step of the recipe (codec, text, clap, magnet, hybrid, audio-magnet, ...), or all")
    protocol: Protocol | None = option(None, "trains the networks that this protocol compares instead; see ablation-*")
    minutes: float = option(60.0, "time for each model; running it again goes on")
    steps: int = option(0, "ends the training of a language model or the judge earlier; 0: does not")
    work: str = option("training_runs", "folder for data, states and logs")
    out: str = option("training_runs/models", "folder for the models; models/tiny replaces the embedded ones")
    seed: int = option(0, "of everything random")
    threads: int = option(0, "CPU threads; 0: all")

    def __post_init__(self) -> None:
        """Refuses times, steps and threads that do not exist, and beside protocol= what the protocol itself says."""
        if self.protocol is not None:
            for name, instead in PROTOCOLS_OWN.items():
                if getattr(self, name) != getattr(TrainOptions, name):
                    hint = f"type protocol.{instead}" if instead else "leave it out"
                    raise UserError(f"{name}= does not go with protocol=, which says it all; {hint}.")
        between("seed", self.seed, 0)
        between("steps", self.steps, 0)
        between("minutes", self.minutes, 0.01)
        between("threads", self.threads, 0)
