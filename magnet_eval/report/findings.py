"""Findings of a paper put to the test: each comparison that a finding speaks of, and whether the run supports it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from magnet_eval.ablation import Finding
from magnet_eval.lookup import UserError
from magnet_eval.records import Score
from magnet_eval.report import variants
from magnet_eval.report.ablation import rows_of
from magnet_eval.report.data import Data
from magnet_eval.report.tables import Table, comparisons, difference
from magnet_eval.typed import typed

SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "undecided"


@dataclass(frozen=True)
class Tested:
    """One finding: what is claimed and by whom, what this run says, and the comparisons behind it."""

    claim: str
    source: str
    outcome: str
    table: Table


def evidence(data: Data) -> list[Tested]:
    """The findings that the run's protocol names and its scores speak to."""
    try:
        found = typed(list[Finding], (data.manifest.get("protocol") or {}).get("findings") or [], "findings")
    except UserError:  # a manifest of another version
        return []
    tested = []
    for finding in found:
        rows = list(differences(data, finding))
        if rows:
            tested.append(
                Tested(finding.claim, finding.source, outcome(finding, rows), comparisons([row for row, _ in rows]))
            )
    return tested


def differences(data: Data, finding: Finding) -> Iterator[tuple[Score, float]]:
    """Rows ``better`` minus each of ``than``, metric by metric, and the value of the latter."""
    rows = rows_of(data)
    metrics = dict.fromkeys(row.metric for row in rows if not finding.metrics or row.metric in finding.metrics)
    members = {**{label: [label] for label in data.systems}, **variants.groups(data)}
    for other in finding.than:
        for metric in metrics:
            own = {row.system: row for row in rows if row.metric == metric}
            pairs = [
                (own[a], own[b])
                for a, b in zip(members.get(finding.better, []), members.get(other, []), strict=False)
                if a in own and b in own
            ]
            if pairs:
                yield _difference(data, finding.better, other, pairs), pairs[0][1].value


def _difference(data: Data, better: str, other: str, pairs: Sequence[tuple[Score, Score]]) -> Score:
    """Over several seeds their mean difference; of two single systems the run's own comparison, where it made one."""
    first, second = pairs[0]
    if len(pairs) > 1:
        rows = [replace(a, value=a.value - b.value) for a, b in pairs]
        return variants.over_seeds(rows, system=better, versus=other)
    made = difference(data, better, other, first.metric)
    if made is not None and made.system == better:
        return made
    if made is not None:
        low, high = (None if end is None else -end for end in (made.high, made.low))
        return replace(made, system=better, versus=other, value=-made.value, low=low, high=high)
    ends = [end for row in (first, second) for end in (row.low, row.high)]
    low = high = None
    if None not in ends:  # two intervals apart: wider than that of the difference
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


def outcome(finding: Finding, rows: Sequence[tuple[Score, float]]) -> str:
    """One sentence: how many comparisons support the claim, contradict it, or leave it open."""
    said: Mapping[str, int] = Counter(verdict(finding, row, other) for row, other in rows)
    counts = ", ".join(f"{word} in {said[word]}" for word in (SUPPORTED, CONTRADICTED, OPEN) if said.get(word))
    total = f"{len(rows)} comparison{'s' if len(rows) > 1 else ''}"
    within = f" (a loss of up to {finding.margin:.0%} counts as none)" if finding.margin else ""
    return f"Of {total}: {counts}{within}."
