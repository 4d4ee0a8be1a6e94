"""How each family of models decodes: its settings, as typed dataclasses that check themselves."""

from dataclasses import dataclass, field

from magnet_eval.lookup import UserError, check

SAMPLING = ("per_clip", "reference")  # one generator per clip, or the reference code's one generator per batch


def between(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Nothing if low <= value <= high. Raises UserError otherwise."""
    if not low <= value <= high:
        allowed = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise UserError(f"{name} must be {allowed}, got {value:g}.")


def _check_sampling(temperature: float, top_p: float, top_k: int, sampling: str) -> None:
    between("decoding.temperature", temperature, 0)
    between("decoding.top_p", top_p, 0, 1)
    between("decoding.top_k", top_k, 0)
    check("decoding.sampling", sampling, SAMPLING)


def _check_stride(seconds: float | None) -> None:
    if seconds is not None and not seconds > 0:  # the upper limit is the model's segment; see generators/long.py
        raise UserError(f"decoding.stride_seconds must be above 0, got {seconds:g}.")


@dataclass
class MaskedDecoding:
    """How MAGNeT decodes: iterations per codebook, sampling, annealed guidance, spans (Ziv et al., 2024)."""

    steps: list[int] = field(default_factory=lambda: [20, 10, 10, 10])  # iterations of each codebook stage
    temperature: float = 3.0
    anneal_temperature: bool = True  # linearly towards 0 over the steps of a stage
    top_p: float = 0.9  # 0 is off
    top_k: int = 0  # 0 is off
    cfg_max: float = 10.0  # guidance at the first step of a stage ...
    cfg_min: float = 1.0  # ... and at its last
    span_arrangement: str = "nonoverlap"
    span_scoring: str = "max"
    schedule: str = "code"  # of the masked share: as the published code has it, or as the paper writes it
    greedy: bool = False
    sampling: str = "per_clip"
    stride_seconds: float | None = None  # between windows, where a clip is longer than a segment; None: 0.6 of it

    def __post_init__(self) -> None:
        """Refuses what cannot be decoded with."""
        if not self.steps:
            raise UserError("decoding.steps is empty; give one number of steps per codebook, e.g. [20, 10, 10, 10].")
        for steps in self.steps:
            between("decoding.steps", steps, 1, 10_000)
        _check_sampling(self.temperature, self.top_p, self.top_k, self.sampling)
        _check_stride(self.stride_seconds)
        check("decoding.span_arrangement", self.span_arrangement, ("nonoverlap", "stride1"))
        check("decoding.span_scoring", self.span_scoring, ("max", "prod"))
        check("decoding.schedule", self.schedule, ("code", "paper"))


@dataclass
class AutoregressiveDecoding:
    """How a MusicGen-style model decodes: token by token in the delay pattern (Copet et al., 2023)."""

    temperature: float = 1.0
    top_k: int = 250  # 0 is off
    top_p: float = 0.0  # 0 is off
    cfg: float = 3.0  # guidance scale
    greedy: bool = False
    two_step_cfg: bool = False  # conditioned and unconditioned halves in two calls: less memory, more time
    sampling: str = "per_clip"
    stride_seconds: float | None = None  # between windows, where a clip is longer than a segment; None: 0.6 of it

    def __post_init__(self) -> None:
        """Refuses what cannot be decoded with."""
        _check_sampling(self.temperature, self.top_p, self.top_k, self.sampling)
        _check_stride(self.stride_seconds)


@dataclass
class HybridDecoding:
    """Hybrid MAGNeT: the first seconds autoregressively, the rest masked."""

    prompt_seconds: float = 1.0
    autoregressive: AutoregressiveDecoding = field(default_factory=AutoregressiveDecoding)
    masked: MaskedDecoding = field(default_factory=MaskedDecoding)

    def __post_init__(self) -> None:
        """Refuses a negative beginning, two kinds of random numbers in one clip, and a stride without a use."""
        between("decoding.prompt_seconds", self.prompt_seconds, 0)
        if self.autoregressive.sampling != self.masked.sampling:
            raise UserError(
                f"decoding.autoregressive.sampling is {self.autoregressive.sampling} and decoding.masked.sampling "
                f"{self.masked.sampling}; set both to one of {', '.join(SAMPLING)}."
            )
        if self.autoregressive.stride_seconds is not None:
            raise UserError(
                "decoding.autoregressive.stride_seconds has no use in a hybrid, whose later windows are masked; "
                "set decoding.masked.stride_seconds."
            )


DECODING: dict[str, type | None] = {  # family -> its settings; dict: another package's own; None: nothing to decide
    "masked": MaskedDecoding,
    "autoregressive": AutoregressiveDecoding,
    "hybrid": HybridDecoding,
    "transformers": dict,
    "audiocraft": dict,
    "diffusers": dict,
    "codec": None,
    "unigram": None,
    "files": None,
}


@dataclass
class Rescoring:
    """A second model whose probabilities are mixed into MAGNeT's own."""

    checkpoint: str
    weight: float = 0.5
    weight_on: str = "rescorer"  # which side ``weight`` multiplies; the other gets 1 - weight

    def __post_init__(self) -> None:
        """Refuses a weight that is no share."""
        between("rescorer.weight", self.weight, 0, 1)
        check("rescorer.weight_on", self.weight_on, ("rescorer", "magnet"))
