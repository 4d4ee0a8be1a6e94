"""What the actions of the verb ``study`` understand: one dataclass per action, whose fields are its options."""

from dataclasses import dataclass, field

from magnet_eval.config import option
from magnet_eval.decoding import between
from magnet_eval.lookup import UserError


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

    study: str = option("study", "folder of the packet that study prepare made")
    raters: int = option(20, "synthetic raters, one after the other in their slots")
    effects: dict[str, float] = field(
        default_factory=dict,
        metadata={"help": "points by which a system is better than the mean, e.g. effects='{musicgen-tiny: 8}'"},
    )
    rater_sd: float = option(10.0, "points: how raters differ in leniency")
    item_sd: float = option(8.0, "points: how prompts differ")
    system_item_sd: float = option(6.0, "points: how systems differ from prompt to prompt")
    rater_system_sd: float = option(5.0, "points: how tastes for systems differ")
    residual_sd: float = option(12.0, "points: what is left")
    careless: int = option(0, "of the raters: those who answer at random, for the screening to find")
    seed: int = option(0, "of everything random")
    url: str = option("", "address of a running study serve; none: one is started for the purpose")

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
