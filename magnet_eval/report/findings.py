"""Findings of a paper put to the test: each comparison that a finding speaks of, and whether the run supports it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from magnet_eval.ablation import LATENCY, Finding
from magnet_eval.lookup import UserError
from magnet_eval.metrics import METRICS
from magnet_eval.records import Score
from magnet_eval.report import variants
from magnet_eval.report.ablation import rows_of
from magnet_eval.report.data import Data, name_of
from magnet_eval.report.tables import Table, comparisons, difference
from magnet_eval.typed import typed

SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "undecided"
OVER_SEEDS = (
    "Mean difference over seeds with Student's 95 % interval over training seeds, the same prompts in each; not "
    "adjusted for the number of comparisons."
)
OF_SYSTEMS = (
    "Difference of two systems with its 95 % interval over clips (of latency: over calls), by which the claim is "
    "judged; not adjusted for the number of comparisons, as p and the sign beside it are (Holm)."
)


@dataclass(frozen=True)
class Tested:
    """One finding: what is claimed and by whom, what this run says, and the comparisons behind it."""

    claim: str
    source: str
    outcome: str
    table: Table  # empty where nothing was measured
    legend: str  # of the table

    @property
    def title(self) -> str:
        """The claim and who makes it."""
        return f"{self.claim} ({self.source})"


@dataclass(frozen=True)
class Comparison:
    """One metric of ``better`` minus one other side."""

    row: Score
    base: float  # mean value of the other side, which a margin is a share of
    is_trained: bool  # over seeds


def evidence(data: Data) -> list[Tested]:
    """The findings that the run's protocol names."""
    try:
        found = typed(list[Finding], (data.manifest.get("protocol") or {}).get("findings") or [], "findings")
    except UserError:  # a manifest of another version
        return []
    return [tested(data, finding) for finding in found]


def tested(data: Data, finding: Finding) -> Tested:
    """One finding: its comparisons and what they say, and what was not measured."""
    found = list(differences(data, finding))
    table = comparisons([one.row for one in found])
    source = finding.source or "A question of this project"
    said = " ".join(filter(None, [outcome(finding, found), lacking(data, finding, found)]))
    if any(one.is_trained for one in found):
        return Tested(finding.claim, source, said, variants.of_seeds(table), OVER_SEEDS)
    return Tested(finding.claim, source, said, table, OF_SYSTEMS)


def wanted(data: Data, finding: Finding) -> list[str]:
    """The metrics that a finding is about, whether the run has scores of them or not."""
    scored = list(dict.fromkeys(row.metric for row in rows_of(data)))
    if finding.metrics:
        presets = {name: [one for one in scored if name_of(one) == name] for name in finding.metrics}
        return [one for name, found in presets.items() for one in found or [name]]
    asked = (data.manifest.get("protocol") or {}).get("metrics") or {}
    return [name for name in scored if name != LATENCY] or list(asked)


def differences(data: Data, finding: Finding) -> Iterator[Comparison]:
    """Rows ``better`` minus each of ``than``, metric by metric."""
    rows = rows_of(data)
    for other in finding.than:
        is_trained = bool({finding.better, other} & set(data.variants))
        for metric in wanted(data, finding):
            own = {row.system: row for row in rows if row.metric == metric}
            labels = beside(data, finding.better, other)
            pairs = [(own[a], own[b]) for a, b in labels if a in own and b in own]
            if not pairs:
                continue
            made = over_seeds(finding.better, other, pairs) if is_trained else of_systems(data, *pairs[0])
            yield Comparison(made, float(np.mean([b.value for _, b in pairs])), is_trained)


def beside(data: Data, better: str, other: str) -> list[tuple[str, str]]:
    """Labels to compare: of two variants those at the same seed; a single system stands beside every seed."""
    if better not in data.variants and other not in data.variants:
        return [(better, other)]
    seeds = dict.fromkeys(seed for name in (better, other) for seed in data.variants.get(name, ()))
    first, second = (data.variants.get(name, dict.fromkeys(seeds, name)) for name in (better, other))
    return [(first[seed], second[seed]) for seed in seeds if seed in first and seed in second]


def over_seeds(better: str, other: str, pairs: Sequence[tuple[Score, Score]]) -> Score:
    """The mean difference of pairs of rows, one a seed."""
    return variants.over_seeds([replace(a, value=a.value - b.value) for a, b in pairs], system=better, versus=other)


def of_systems(data: Data, first: Score, second: Score) -> Score:
    """The run's own comparison of two systems; where it made none, how far their intervals are apart."""
    better, other = first.system, second.system
    made = difference(data, better, other, first.metric)
    if made is not None and made.system == better:
        return made
    if made is not None:
        low, high = (None if end is None else -end for end in (made.high, made.low))
        return replace(made, system=better, versus=other, value=-made.value, low=low, high=high)
    ends = [end for row in (first, second) for end in (row.low, row.high)]
    low = high = None
    if None not in ends:  # wider than the interval of the difference
        low, high = first.low - second.high, first.high - second.low  # type: ignore[operator]
    return replace(first, versus=other, value=first.value - second.value, low=low, high=high, floor=None)


def verdict(finding: Finding, row: Score, other: float) -> str:
    """What one difference says of the claim, up to the margin that it grants."""
    if row.low is None or row.high is None:
        return OPEN
    allowed = finding.margin * abs(other)
    loss = (row.low, row.high) if row.better == "lower" else (-row.high, -row.low)
    if loss[1] < allowed:
        return SUPPORTED
    return CONTRADICTED if loss[0] > allowed else OPEN


def outcome(finding: Finding, found: Sequence[Comparison]) -> str:
    """One sentence: how many comparisons support the claim, contradict it, or leave it open; "" without any."""
    if not found:
        return ""
    said: Mapping[str, int] = Counter(verdict(finding, one.row, one.base) for one in found)
    counts = ", ".join(f"{word} in {said[word]}" for word in (SUPPORTED, CONTRADICTED, OPEN) if said.get(word))
    total = f"{len(found)} comparison{'s' if len(found) > 1 else ''}"
    within = f" (a loss of up to {finding.margin:.0%} counts as none)" if finding.margin else ""
    single = " One seed says nothing of training." if any(one.is_trained and one.row.n < 2 for one in found) else ""
    return f"Of {total}: {counts}{within}.{single}"


def lacking(data: Data, finding: Finding, found: Sequence[Comparison]) -> str:
    """A sentence that names what the finding is about and the run did not measure; "" where that is nothing."""
    there = {(one.row.metric, one.row.versus) for one in found}
    labels = {row.metric: row.label for row in rows_of(data)}
    names = []
    for metric in wanted(data, finding) or ["any metric"]:
        others = [other for other in finding.than if (metric, other) not in there]
        label = labels.get(metric) or (METRICS[metric].label if metric in METRICS else metric)
        if others:
            names.append(label if others == finding.than else f"{label} against {', '.join(others)}")
    return f"Not measured: {', '.join(names)}." if names else ""
