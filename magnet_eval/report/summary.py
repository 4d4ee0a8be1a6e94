"""The answer in sentences: which system is best and fastest, and how each pair differs, with the verdict.

Every number comes from Score rows; each clause says which table it stands in.
"""

from collections import Counter
from dataclasses import dataclass, replace

from magnet_eval import speed
from magnet_eval.records import Score
from magnet_eval.report.data import Data, shown_label
from magnet_eval.report.numbers import batch_text, decimals, interval_text, number, p_text, seconds_text, value_text
from magnet_eval.report.tables import best_of, difference, is_significant, is_tested


@dataclass(frozen=True)
class Clause:
    """Part of a sentence and where its numbers stand: an anchor of the page."""

    text: str
    anchor: str
    verdict: str = ""  # better, worse, tied or ""


@dataclass(frozen=True)
class Sentence:
    """A subject and its clauses."""

    system: str
    clauses: list[Clause]
    lead: str = ""  # words before the system's name

    @property
    def text(self) -> str:
        """The sentence in plain words."""
        return f"{self.lead}{self.system} {'; '.join(clause.text for clause in self.clauses)}."


def baseline(data: Data) -> str:
    """The system that the others are held against: the one that most comparisons are to, else the first one."""
    counts = Counter(row.versus for row in data.comparisons if row.versus in data.systems)  # no control
    return counts.most_common(1)[0][0] if counts else next(iter(data.systems), "")


def quality_clause(row: Score, system: str) -> Clause:
    """A difference in words: which way, by how much, and whether that is good; or that it cannot be told from zero."""
    label = shown_label(row)
    if not is_tested(row):
        return Clause(f"{label} compared without a test", "comparisons")
    if not is_significant(row):
        p_value = f" ({p_text(row.p_value)})" if row.p_value is not None else ""
        return Clause(f"{label} not distinguishable{p_value}", "comparisons", "tied")
    sign = 1 if row.value > 0 else -1  # the amount is positive; the words say which way
    size = replace(row, value=abs(row.value))
    if sign < 0 and row.low is not None and row.high is not None:
        size = replace(size, low=-row.high, high=-row.low)
    way = "higher" if (sign > 0) == (row.system == system) else "lower"
    verdict = "" if not row.better else "better" if way == row.better else "worse"
    amount = " ".join(part for part in (value_text(size), interval_text(size), row.unit) if part)
    return Clause(f"{label} {way} by {amount}{f' ({verdict})' if verdict else ''}", "comparisons", verdict)


def overlap(a: Score, b: Score) -> bool:
    """Whether both rows have intervals, and these have a point in common."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def speed_clause(data: Data, system: str, versus: str) -> Clause | None:
    """How many times faster or slower at the smallest batch size; None where one of the two was not timed."""
    batch = data.batches[0] if data.batches else 0
    mine, other = data.latency(system, batch), data.latency(versus, batch)
    if mine is None or other is None:
        return None
    apart = "" if mine.params.get("session") == other.params.get("session") else ", not timed in turn with it"
    if overlap(mine, other):
        return Clause(f"is about as fast as {versus} at batch {batch} (intervals overlap{apart})", "speed", "tied")
    ratio = other.value / mine.value
    word, times = ("faster", ratio) if ratio >= 1 else ("slower", 1 / ratio)
    is_sure = mine.low is not None and other.low is not None
    verdict = ("better" if ratio >= 1 else "worse") if is_sure else ""
    n = "" if is_sure else f" (n = {min(mine.n, other.n)}, too few for an interval)"
    if times_text(times) == times_text(1.0):
        return Clause(f"is as fast as {versus} at batch {batch}{n}{apart}", "speed")
    return Clause(f"is {times_text(times)} {word} than {versus} at batch {batch}{n}{apart}", "speed", verdict)


def times_text(ratio: float) -> str:
    """How many times, of a ratio of at least 1."""
    return f"{number(ratio, 0 if ratio >= 10 else 1 if ratio >= 1.1 else 2)}×"


def batches_clause(data: Data, system: str, versus: str) -> Clause | None:
    """Which of two decoders makes more clips per second as the batch grows; None unless paired at two sizes."""
    curve = [row for row in data.timed(speed.SPEEDUP_VS) if {row.system, row.params["versus"]} == {system, versus}]
    curve.sort(key=lambda row: row.params["batch"])
    if len(curve) < 2 or not all(map(is_tested, curve)):
        return None
    parallel, other, last = curve[0].system, curve[0].params["versus"], curve[-1]
    largest = last.params["batch"]
    crossings = [row for row in data.timed(speed.CROSSOVER_BATCH, versus=other) if row.system == parallel]
    if crossings:
        ahead, text = other, f"makes more clips per second from batch {batch_text(crossings[0])} on"
    elif all(row.low is not None and row.low > 1 for row in curve):
        ahead, text = parallel, f"makes more clips per second up to batch {largest}, {times_text(last.value)} there"
    elif all(row.high is not None and row.high < 1 for row in curve):
        ahead, text = other, f"makes more clips per second up to batch {largest}, {times_text(1 / last.value)} there"
    else:
        return None
    return Clause(f"{ahead} {text}", "speed", "better" if ahead == system else "worse")


def pair_sentence(data: Data, system: str, versus: str) -> Sentence | None:
    """Speed and every compared metric of two systems; None where nothing is known of the pair."""
    metrics = list(dict.fromkeys(row.metric for row in data.comparisons))
    rows = [row for metric in metrics if (row := difference(data, system, versus, metric)) is not None]
    quality = [quality_clause(row, system) for row in rows]
    pace = speed_clause(data, system, versus)
    if pace is None and not quality:
        return None
    if pace is None:
        text = f"against {versus}: {quality[0].text}"
        return Sentence(system, [replace(quality[0], text=text), *quality[1:]])
    growth = batches_clause(data, system, versus)
    return Sentence(system, [pace, *([growth] if growth else []), *quality])


def pairs(data: Data) -> list[Sentence]:
    """Every competing system against the baseline."""
    versus = baseline(data)
    others = [label for label in data.systems if label != versus and data.competes(label)]
    found = (pair_sentence(data, label, versus) for label in others)
    return [sentence for sentence in found if sentence is not None]


def best_sentence(data: Data, metric: str) -> Sentence | None:
    """Who is best on a metric, who cannot be told apart from it, and who was not compared with it."""
    rows = [row for row in data.quality if row.metric == metric]
    best = best_of(data, rows)
    if best is None:
        return None
    others = [row.system for row in rows if row is not best and data.competes(row.system)]
    compared = {label: difference(data, label, best.system, metric) for label in others}
    tied = [label for label, row in compared.items() if row and is_tested(row) and not is_significant(row)]
    unknown = [label for label, row in compared.items() if not row or not is_tested(row)]
    if tied == others:
        return no_difference(rows, best, others)
    unit = f" {best.unit}" if best.unit else ""
    interval = f" {interval_text(best)}" if interval_text(best) else ""
    clauses = [Clause(f"has {value_text(best)}{unit}{interval}, {best.better} is better", "quality", "better")]
    if tied:
        clauses.append(Clause(f"not distinguishable from it: {', '.join(tied)}", "comparisons", "tied"))
    if unknown:
        clauses.append(Clause(f"not compared with it: {', '.join(unknown)}", "comparisons"))
    return Sentence(best.system, clauses, f"Best {shown_label(best)}: ")


def no_difference(rows: list[Score], best: Score, others: list[str]) -> Sentence:
    """None can be told from the best: then none is said to be it."""
    values = sorted(row.value for row in rows if row.system in (best.system, *others))
    digits = decimals(best.value, best.low, best.high)
    shown = f"{number(values[0], digits)} to {number(values[-1], digits)}{f' {best.unit}' if best.unit else ''}"
    text = f"has {value_text(best)}, and cannot be told from {', '.join(others)} (n = {best.n}, all {shown})"
    return Sentence(best.system, [Clause(text, "comparisons", "tied")], f"No difference shown in {shown_label(best)}: ")


def fastest_sentence(data: Data) -> Sentence | None:
    """Who is fastest at the smallest batch size, and whose interval meets its own."""
    batch = data.batches[0] if data.batches else 0
    rows = [row for label in data.systems if data.competes(label) and (row := data.latency(label, batch))]
    if len(rows) < 2:
        return None
    best = min(rows, key=lambda row: row.value)
    clip = f"{best.params['seconds']:g} s of audio"
    text = f"makes {clip} in {seconds_text(best.value)} at batch {batch} on {best.params.get('device', 'this machine')}"
    clauses = [Clause(f"{text} (median of {best.n} calls)", "speed", "better")]
    tied = [row.system for row in rows if row is not best and overlap(row, best)]
    if tied:
        clauses.append(Clause(f"about as fast (intervals overlap): {', '.join(tied)}", "speed", "tied"))
    return Sentence(best.system, clauses, "Fastest: ")


def lead(data: Data) -> list[Sentence]:
    """The answer in short: the best system on every metric, and the fastest."""
    metrics = list(dict.fromkeys(row.metric for row in data.quality if row.better))
    found = [best_sentence(data, metric) for metric in metrics] + [fastest_sentence(data)]
    return [sentence for sentence in found if sentence is not None]
