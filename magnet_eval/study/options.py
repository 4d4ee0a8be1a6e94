"""What the actions of the verb ``study`` understand: one dataclass per action, whose fields are its options."""

from dataclasses import dataclass, field

from magnet_eval.config import option
from magnet_eval.decoding import between
from magnet_eval.lookup import UserError, check
from magnet_eval.study.folders import REHEARSAL
from magnet_eval.study.schema import PROTOCOLS

CONTROLS = ("gold", "anchor35", "anchor70")
PLATFORMS = ("prolific", "mturk")
TARGETS = ("csv", "webmushra", *PLATFORMS)


@dataclass
class ServeOptions:
    """The options of study serve."""

    study: str = option("study", "folder of the packet that study prepare made")
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0: every one of this machine")
    port: int = option(8000, "port to listen on; 0: any that is free")
    completion: str = option("", "completion code for everybody, or https://ADDRESS to go back to; none: one each")

    def __post_init__(self) -> None:
        """Refuses ports that do not exist."""
        between("port", self.port, 0, 65535)


@dataclass
class SimulateOptions:
    """The options of study simulate: how the synthetic raters hear. Variances as in study plan."""

    study: str = option("study", "folder of the packet; answers go to STUDY.rehearsal, in place of earlier ones")
    raters: int = option(20, "synthetic raters, one after the other in their slots")
    effects: dict[str, float] | None = option(
        None, "points by which a system is better than the mean, e.g. effects='{musicgen-tiny: 8}'"
    )
    rater_sd: float = option(10.0, "points: how raters differ in leniency")
    item_sd: float = option(8.0, "points: how prompts differ")
    system_item_sd: float = option(6.0, "points: how systems differ from prompt to prompt")
    rater_system_sd: float = option(5.0, "points: how tastes for systems differ")
    residual_sd: float = option(12.0, "points: what is left")
    careless: int = option(0, "of the raters: those who answer at random, for the screening to find")
    seed: int = option(0, "of everything random")
    url: str = option(
        "", "address of a running study serve study=STUDY.rehearsal, to which they are added; none: one is started"
    )

    def __post_init__(self) -> None:
        """Refuses numbers of raters and spreads that do not exist."""
        between("raters", self.raters, 1, 10_000)
        between("careless", self.careless, 0, self.raters)
        between("seed", self.seed, 0, 2**63 - 1)
        for name in ("rater_sd", "item_sd", "system_item_sd", "rater_system_sd", "residual_sd"):
            between(name, getattr(self, name), 0, 100)


@dataclass
class WithdrawOptions:
    """The options of study withdraw."""

    study: str = option("study", "folder of the packet")
    code: str = option("", "the listener's code, or that of the platform")

    def __post_init__(self) -> None:
        """Refuses no code."""
        if not self.code:
            raise UserError("study withdraw needs code=CODE, as the listener saw it at the end.")


@dataclass
class PrepareOptions:
    """The options of study prepare."""

    run: list[str] | str | None = option(None, "run folder with the clips, or several: run='[FOLDER, FOLDER]'")
    systems: list[str] | None = option(None, "only these of their systems")
    out: str = option("study", "folder of the packet; the key goes to OUT.key beside it")
    method: str = option("multi_nr", " | ".join(PROTOCOLS))
    title: str = option("Listening test", "what listeners read at the top; it should not say what is compared")
    prompts: int = option(20, "how many prompts to draw of those that all systems have")
    leave_out: list[str] = field(default_factory=list, metadata={"help": "ids of prompts not to draw"})
    seconds: float | None = option(None, "length of each clip; none: that of the shortest")
    loudness: float = option(-14.0, "LUFS of all clips; lower where one of them would pass -1 dBTP")
    controls: list[str] | None = option(None, "hidden clips no system made: gold, anchor35, anchor70; []: none")
    dimensions: list[str] | None = option(None, "what is asked, each in a pass of its own, e.g. [ovl, rel]")
    questions: str | None = option(None, "YAML file with questions, scales, labels and the consent of your own")
    raters: int = option(20, "listeners to make places for")
    prompts_per_rater: int | None = option(None, "how many of the prompts each of them hears; none: all")
    repeats: float = option(0.1, "share of a rater's prompts that come once more, to see who is consistent")
    headphones: bool = option(True, "whether listeners are checked for headphones")
    alpha: float = option(0.05, "level of the tests, in the plan")
    margin: float | None = option(None, "points within which systems count as equivalent; none: a 20th of the scale")
    exclusions: list[str] | None = option(None, "screening rule sets, in the plan; none: those of the method")
    seed: int = option(0, "of the draw and all orders")
    salt: str | None = option(None, "secret that ids are made with; none: a fresh one")

    def __post_init__(self) -> None:
        """Refuses no runs, unknown methods and controls, and numbers that make no study."""
        self.run = [self.run] if isinstance(self.run, str) else self.run
        if not self.run:
            raise UserError(
                "study prepare needs run=FOLDER, e.g. run=results/quickstart-v1; see: magnet-eval list runs."
            )
        if self.out.endswith(REHEARSAL):
            raise UserError(f"out={self.out} is the name of a rehearsal. Choose one without {REHEARSAL} at its end.")
        check("method", self.method, PROTOCOLS)
        for name in self.controls or ():
            check("control", name, CONTROLS)
        between("prompts", self.prompts, 2)
        between("raters", self.raters, 1, 10_000)
        between("loudness", self.loudness, -36, -9)
        between("repeats", self.repeats, 0, 1)
        between("alpha", self.alpha, 1e-6, 0.5)
        between("seed", self.seed, 0, 2**63 - 1)
        if self.seconds is not None:
            between("seconds", self.seconds, 0.5, 60)
        if self.prompts_per_rater is not None:
            between("prompts_per_rater", self.prompts_per_rater, 1, self.prompts)


@dataclass
class CheckOptions:
    """The options of study check."""

    study: str = option("study", "folder of the packet that study prepare made")


@dataclass
class ExportOptions:
    """The options of study export."""

    to: str = option("csv", " | ".join(TARGETS))
    study: str = option("study", "folder of the packet that study prepare made")
    out: str | None = option(None, "folder for what is made; none: STUDY.TO, beside it")
    url: str | None = option(None, "prolific and mturk: where the study is served, https://...")
    minutes: float | None = option(None, "prolific and mturk: how long it takes; none: an estimate")
    reward: float = option(0.0, "prolific and mturk: payment of one listener, in the platform's currency")

    def __post_init__(self) -> None:
        """Refuses unknown targets, and platforms without an address to send listeners to."""
        check("to", self.to, TARGETS)
        between("reward", self.reward, 0)
        if self.to in PLATFORMS and not (self.url or "").startswith("https://"):
            raise UserError(
                f"study export to={self.to} needs url=https://..., where the study is served; got {self.url!r}."
            )


@dataclass
class ImportOptions:
    """The options of study import."""

    study: str = option("study", "folder of the packet that was answered; STUDY.rehearsal: by synthetic raters")
    answers: list[str] | str | None = option(
        None, "files of answers (answers.sqlite, *.json of the page, mushra.csv, long *.csv); none: STUDY.responses"
    )

    def __post_init__(self) -> None:
        """Takes one file for a list of one."""
        self.answers = [self.answers] if isinstance(self.answers, str) else self.answers


@dataclass
class AnalyseOptions:
    """The options of study analyse. None: as the study's plan says."""

    study: str = option(
        "study", "folder of the packet, whose answers were imported; STUDY.rehearsal: those of synthetic raters"
    )
    runs: list[str] | None = option(None, "run folders whose metrics are held against the ratings; the plan's")
    rules: list[str] | None = option(None, "screening rule sets that leave raters out; the plan's; []: none")
    margin: float | None = option(None, "points within which systems count as equivalent; the plan's")
    alpha: float | None = option(None, "level of significance; the plan's")
    into_runs: bool = option(False, "also put the ratings into the runs' scores, for magnet-eval report")
    seed: int = option(0, "of everything random")

    def __post_init__(self) -> None:
        """Refuses margins and levels that are none."""
        if self.margin is not None and not self.margin > 0:
            raise UserError(f"margin must be above 0, got {self.margin:g}.")
        if self.alpha is not None:
            between("alpha", self.alpha, 0.0001, 0.4999)
        between("seed", self.seed, 0, 2**63 - 1)


@dataclass
class PlanOptions:
    """The options of study plan. Spreads as in study simulate."""

    raters: list[int] = field(default_factory=lambda: [10, 20, 40], metadata={"help": "numbers of raters"})
    prompts: list[int] = field(default_factory=lambda: [20, 50, 100], metadata={"help": "numbers of prompts"})
    per_rater: list[int] = field(
        default_factory=lambda: [10, 20], metadata={"help": "numbers of prompts that a rater hears"}
    )
    systems: int = option(3, "systems that are compared")
    extra: int = option(2, "clips a page has besides: gold, anchors")
    dimensions: int = option(2, "questions, each in a pass of its own")
    seconds: float = option(10.0, "length of a clip")
    alpha: float = option(0.05, "level of significance, over all pairs and questions")
    power: float = option(0.8, "how sure a difference is to be found")
    system_item_sd: float = option(6.0, "points: how systems differ from prompt to prompt")
    rater_system_sd: float = option(5.0, "points: how tastes for systems differ")
    residual_sd: float = option(12.0, "points: what is left")
    pilot: str | None = option(None, "folder of a study whose ratings say the three spreads")
    json: bool = option(False, "one JSON document instead of a table")

    def __post_init__(self) -> None:
        """Refuses studies that cannot be."""
        for name in ("raters", "prompts", "per_rater"):
            if not getattr(self, name):
                raise UserError(f"{name} is empty; give numbers, e.g. {name}=[20,40].")
            for number in getattr(self, name):
                between(name, number, 2 if name != "per_rater" else 1, 100_000)
        between("systems", self.systems, 2, 100)
        between("extra", self.extra, 0, 100)
        between("dimensions", self.dimensions, 1, 20)
        between("seconds", self.seconds, 0.1, 600)
        between("alpha", self.alpha, 0.0001, 0.4999)
        between("power", self.power, 0.5, 0.999)
        for name in ("system_item_sd", "rater_system_sd", "residual_sd"):
            between(name, getattr(self, name), 0, 100)
        if not self.system_item_sd + self.rater_system_sd + self.residual_sd > 0:
            raise UserError("all three spreads are 0: then two answers say everything. Give those of a pilot.")
