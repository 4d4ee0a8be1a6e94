"""What a protocol says of an ablation: models that are trained for it, and findings that it puts to the test.

A variant is trained at every seed, at one small budget; each such network is a system of the protocol. Two variants
that differ in nothing but their names share their networks, within a protocol and between protocols.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from magnet_eval.decoding import between
from magnet_eval.lookup import UserError, check

FAMILIES = ("masked", "autoregressive", "hybrid")
HEADS = 4  # of attention, in every network of the lab
LAB = "training_runs/lab"  # where trained variants lie
LATENCY = "latency"  # speed.LATENCY, the one metric of speed that findings may be about


@dataclass
class Variant:
    """How the networks of one variant are trained, and the model of the zoo that they take the place of networks in."""

    model: str = ""  # the protocol's if left out
    parts: dict[str, str] = field(default_factory=lambda: {"checkpoint": "masked"})  # of the model -> what it learns
    span_len: int = 3  # frames masked together
    subcodes_context: int = 5  # frames that codebooks after the first may look to either side; -1: all
    no_text: float = 0.15  # share of the training rows without text, for guidance

    def __post_init__(self) -> None:
        """Refuses what cannot be trained."""
        for part, family in self.parts.items():
            check("part", part, ("checkpoint", "prompter"))
            check(f"parts.{part}", family, FAMILIES)
        between("span_len", self.span_len, 1, 25)
        between("subcodes_context", self.subcodes_context, -1, 125)
        between("no_text", self.no_text, 0, 0.9)


@dataclass
class Training:
    """The networks that a protocol asks for: every variant at every seed, with one budget for all."""

    variants: dict[str, Variant]
    steps: int = 300
    batch: int = 16
    width: int = 128
    lr: float = 4e-3  # at its peak
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])

    def __post_init__(self) -> None:
        """Refuses an empty plan, and one that names a seed twice."""
        if not (self.variants and self.seeds):
            raise UserError("training needs variants and seeds, e.g. variants: {span 3: {span_len: 3}}, seeds: [0, 1].")
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"training.seeds names a seed twice: {self.seeds}. Name each once.")
        between("training.steps", self.steps, 1)
        between("training.batch", self.batch, 8, 4096)
        between("training.width", self.width, 32, 1024)
        if self.width % HEADS:
            raise UserError(
                f"training.width is shared by {HEADS} heads, got {self.width}; a multiple of {HEADS} will do."
            )
        for seed in self.seeds:
            between("training.seeds", seed, 0)
        between("training.lr", self.lr, 1e-6, 1)

    def folder(self, variant: Variant, family: str, seed: int) -> str:
        """The folder of one network: its name says all that its weights depend on."""
        shape = "" if family == "autoregressive" else f"-span{variant.span_len}-context{variant.subcodes_context}"
        budget = f"width{self.width}-batch{self.batch}-steps{self.steps}-lr{self.lr:g}"
        return str(PurePosixPath(LAB, f"{family}{shape}-notext{variant.no_text:g}-{budget}-seed{seed}"))

    def networks(self) -> Iterator[tuple[str, Variant, str, int]]:
        """Folder, variant, family and seed of every network, each once; the first seed of all variants comes first."""
        seen = set()
        for seed in self.seeds:
            for variant in self.variants.values():
                for family in variant.parts.values():
                    folder = self.folder(variant, family, seed)
                    if folder not in seen:
                        seen.add(folder)
                        yield folder, variant, family, seed

    def labels(self) -> dict[str, dict[int, str]]:
        """Variant -> seed -> the label of the system that is this variant at this seed."""
        return {name: {seed: f"{name}, seed {seed}" for seed in self.seeds} for name in self.variants}

    def seed_of(self) -> dict[str, int]:
        """Label of a system -> the seed that it is trained at."""
        return {label: seed for own in self.labels().values() for seed, label in own.items()}

    def changes(self, name: str, seed: int) -> dict[str, Any]:
        """What a variant's system changes in its model: where its networks are."""
        variant = self.variants[name]
        return {part: self.folder(variant, family, seed) for part, family in variant.parts.items()}


@dataclass
class Finding:
    """One sentence of a paper that a run can support or not: ``better`` scores better than each of ``than``."""

    claim: str
    better: str  # a variant, or the label of a system
    than: list[str]
    source: str = ""  # none: a question of this project
    metrics: list[str] = field(default_factory=list)  # names, or latency; none: all that rank the audio
    margin: float = 0.0  # the claim still holds if ``better`` is worse by this share: "costs little"

    def __post_init__(self) -> None:
        """Refuses a claim without the other side."""
        if not self.than:
            raise UserError(f"finding {self.claim!r} compares with nothing; give than: [LABEL].")
        between("findings.margin", self.margin, 0, 1)


def known_names(findings: list[Finding], names: Collection[str], metrics: Collection[str]) -> None:
    """Raises UserError where a finding speaks of no variant and no system, or of a metric that is not asked for."""
    for finding in findings:
        for name in (finding.better, *finding.than):
            check(f"finding {finding.claim!r}: label", name, names)
        for name in finding.metrics:
            check(f"finding {finding.claim!r}: metric", name, (*metrics, LATENCY))
