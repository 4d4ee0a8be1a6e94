"""Which listeners to leave out, by named sets of published rules; every rater and rule is listed, none left out unseen.

    bs1534      ITU-R BS.1534-3: hidden reference, 7 kHz anchor
    musicgen    Copet et al. (2023), after AudioGen: everything heard, real clips not below 85
    crowdmos    Ribeiro et al. (2011): agreement with the others, outlying answers
    p808        ITU-T P.808 and its toolkit: everything heard, gold clips, answers that vary
    headphones  Milne et al. (2020): every Huggins pitch heard

Limits that the sources give on 0 to 100 or 1 to 5 are carried over to the question's own scale. A limit itself is
allowed: what is *beyond* it counts. Repeats are no answers of their own here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from magnet_eval.records import Rating
from magnet_eval.study.analysis.grid import SCALE

RULE_SETS = ("bs1534", "musicgen", "crowdmos", "p808", "headphones")
REAL = ("reference", "gold")  # roles of clips that no system made and nothing spoilt
Scales = Mapping[str, tuple[float, float]]
SHARE = 0.15  # of the items that may fail (BS.1534-3)
LEAST_REFERENCE, MOST_ANCHOR = 0.9, 0.9  # of the scale
DISPUTED = 0.25  # an item whose anchor more than this share of raters finds so good tells nothing (BS.1534-3)
LEAST_REAL = 0.85  # of the scale (MusicGen)
LEAST_CORRELATION, MOST_OUTLIERS, OUTLYING = 0.25, 0.05, 2.5  # CrowdMOS; the last in standard deviations
LEAST_VARIANCE = 0.1  # in squared classes of five (P.808)
SLACK = 1e-9  # of rounding: 3 of 20 is 15 %


@dataclass(frozen=True)
class Verdict:
    """One rule on one rater."""

    rater: str
    rule_set: str
    rule: str
    failed: int  # answers (clips, items, trials) against the rule
    total: int  # answers that it looked at; 0: the rule has nothing to look at, and keeps the rater
    value: float | None  # what is held against the limit; None where there is none
    limit: str  # in words
    dropped: bool


@dataclass(frozen=True)
class Screening:
    """What the rule sets say."""

    raters: tuple[str, ...]  # all of them
    verdicts: tuple[Verdict, ...]
    outlying: frozenset[Rating]  # single answers that crowdmos leaves out

    def dropped(self, rule_sets: Iterable[str]) -> set[str]:
        """The raters that any of the rule sets leaves out."""
        chosen = set(rule_sets)
        return {verdict.rater for verdict in self.verdicts if verdict.dropped and verdict.rule_set in chosen}

    def kept(self, ratings: Sequence[Rating], rule_sets: Sequence[str]) -> list[Rating]:
        """The ratings that the rule sets leave."""
        dropped = self.dropped(rule_sets)
        outlying = self.outlying if "crowdmos" in rule_sets else frozenset()
        return [rating for rating in ratings if rating.rater not in dropped and rating not in outlying]


def screen(
    ratings: Sequence[Rating], sessions: Sequence[Mapping[str, Any]] = (), scales: Scales | None = None
) -> Screening:
    """Every rule of every set on every rater. sessions: rows of session, headphones_correct, headphones_total."""
    raters = sorted({rating.rater for rating in ratings})
    own = {rating: _share_of_scale(rating, scales or {}) for rating in ratings if rating.role != "repeat"}
    by_rater = {rater: [answer for answer in own.values() if answer.rater == rater] for rater in raters}
    outlying = _outlying(list(own.values()))
    verdicts = [
        *_bs1534(by_rater), *_musicgen(by_rater), *_crowdmos(by_rater, outlying), *_p808(by_rater),
        *_headphones(raters, sessions),
    ]  # fmt: skip
    return Screening(
        tuple(raters), tuple(verdicts), frozenset(rating for rating, answer in own.items() if answer in outlying)
    )


def _bs1534(by_rater: Mapping[str, Sequence[Rating]]) -> Iterator[Verdict]:
    """A: the hidden reference missed; B: the mid anchor taken for good, on items where few others do."""
    too_good: dict[tuple[str, str], list[bool]] = {}
    for answers in by_rater.values():
        for answer in answers:
            if answer.role == "anchor70":
                too_good.setdefault(_item(answer), []).append(answer.value > MOST_ANCHOR + SLACK)
    disputed = {item for item, found in too_good.items() if np.mean(found) > DISPUTED + SLACK}
    for rater, answers in by_rater.items():
        missed = [answer.value < LEAST_REFERENCE - SLACK for answer in answers if answer.role == "reference"]
        yield _share(rater, "bs1534", "A: hidden reference below 90", missed, SHARE)
        fooled = [
            answer.value > MOST_ANCHOR + SLACK
            for answer in answers
            if answer.role == "anchor70" and _item(answer) not in disputed
        ]
        yield _share(rater, "bs1534", "B: 7 kHz anchor above 90", fooled, SHARE)


def _musicgen(by_rater: Mapping[str, Sequence[Rating]]) -> Iterator[Verdict]:
    """Everything heard to its end; the mean of the real clips not below 85 (the paper leaves open: mean or each)."""
    for rater, answers in by_rater.items():
        yield _heard(rater, "musicgen", answers)
        real = [100 * answer.value for answer in answers if answer.role in REAL]
        mean = float(np.mean(real)) if real else None
        limit = 100 * LEAST_REAL
        below = mean is not None and mean < limit - SLACK
        yield Verdict(
            rater, "musicgen", "mean of the real clips", int(below), len(real), mean, f"at least {limit:g}", below
        )


def _crowdmos(by_rater: Mapping[str, Sequence[Rating]], outlying: set[Rating]) -> Iterator[Verdict]:
    """Correlation with the mean of the others, clip by clip; share of outlying answers."""
    sums: dict[tuple[str, ...], list[float]] = {}
    for answers in by_rater.values():
        for answer in answers:
            sums.setdefault(_clip(answer), []).append(answer.value)
    for rater, answers in by_rater.items():
        pairs = [
            (answer.value, (sum(others) - answer.value) / (len(others) - 1))
            for answer in answers
            if len(others := sums[_clip(answer)]) > 1
        ]
        r = _correlation(np.array(pairs)) if len(pairs) > 2 else None
        apart = r is not None and r < LEAST_CORRELATION - SLACK
        limit = f"at least {LEAST_CORRELATION:g}"
        yield Verdict(rater, "crowdmos", "correlation with the others", int(apart), len(pairs), r, limit, apart)
        yield _share(
            rater, "crowdmos", "answers beyond 2.5 sd", [answer in outlying for answer in answers], MOST_OUTLIERS
        )


def _p808(by_rater: Mapping[str, Sequence[Rating]]) -> Iterator[Verdict]:
    """Everything heard; every gold clip within one class of five of the top; answers that vary."""
    for rater, answers in by_rater.items():
        yield _heard(rater, "p808", answers)
        missed = [answer.value < 0.75 - SLACK for answer in answers if answer.role in REAL]
        yield _share(rater, "p808", "gold clip more than a class below the top", missed, 0)
        classes = [4 * answer.value for answer in answers]
        variance = float(np.var(classes, ddof=1)) if len(classes) > 1 else None
        flat = variance is not None and variance < LEAST_VARIANCE - SLACK
        limit = f"at least {LEAST_VARIANCE:g} classes²"
        yield Verdict(rater, "p808", "variance of the answers", int(flat), len(classes), variance, limit, flat)


def _headphones(raters: Sequence[str], sessions: Sequence[Mapping[str, Any]]) -> Iterator[Verdict]:
    """Every trial right, as the test's authors ask; a rater without the check is kept."""
    found = {str(row.get("session")): row for row in sessions}
    for rater in raters:
        row = found.get(rater, {})
        right, total = (_count(row.get(f"headphones_{name}")) for name in ("correct", "total"))
        yield _share(rater, "headphones", "Huggins pitch not heard", [i >= right for i in range(total)], 0)


def _share(rater: str, rule_set: str, rule: str, failed: Sequence[bool], most: float) -> Verdict:
    """A rule on the share of answers that fail."""
    n, total = int(sum(failed)), len(failed)
    share = n / total if total else None
    limit = f"at most {100 * most:g} %" if most else "none"
    return Verdict(rater, rule_set, rule, n, total, share, limit, share is not None and share > most + SLACK)


def _heard(rater: str, rule_set: str, answers: Sequence[Rating]) -> Verdict:
    return _share(rater, rule_set, "clip not heard to its end", [not answer.heard_all for answer in answers], 0)


def _outlying(answers: Sequence[Rating]) -> set[Rating]:
    """Answers more than 2.5 standard deviations from the mean of their system."""
    groups: dict[tuple[str, ...], list[Rating]] = {}
    for answer in answers:
        groups.setdefault((answer.dimension, answer.role, answer.system, answer.versus), []).append(answer)
    found = set()
    for group in groups.values():
        values = np.array([answer.value for answer in group])
        reach = OUTLYING * values.std(ddof=1) if len(values) > 1 else 0.0
        found |= {group[i] for i in np.flatnonzero(np.abs(values - values.mean()) > reach + SLACK)}
    return found


def _correlation(pairs: np.ndarray) -> float:
    """Pearson's correlation of two columns; 0 where one of them is constant and so tells nothing."""
    centred = pairs - pairs.mean(axis=0)
    spread = float(np.sqrt((centred**2).sum(axis=0).prod()))
    return float(centred[:, 0] @ centred[:, 1]) / spread if spread > 1e-12 else 0.0


def _share_of_scale(rating: Rating, scales: Scales) -> Rating:
    """The rating with its value as a share of its scale."""
    low, high = scales.get(rating.dimension, SCALE)
    return replace(rating, value=(rating.value - low) / (high - low))


def _item(rating: Rating) -> tuple[str, str]:
    return rating.dimension, rating.prompt_id


def _clip(rating: Rating) -> tuple[str, ...]:
    return rating.dimension, rating.role, rating.system, rating.prompt_id, rating.versus


def _count(value: Any) -> int:
    """A whole number of a CSV's cell; 0 where there is none."""
    text = str(value if value is not None else "")
    return int(text) if text.isdecimal() else 0
