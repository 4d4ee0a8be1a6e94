"""What an analysis says in plain words, and the paragraph about its methods, ready to paste."""

from collections.abc import Container, Sequence

from magnet_eval.report.numbers import decimals, number, p_text
from magnet_eval.study.analysis.analyse import Analysis, Condition, Findings
from magnet_eval.study.analysis.compare import Comparison

NAMES = {
    "multi_nr": "a multiple-stimulus test without a reference (in the manner of ITU-R BS.2132)",
    "mushra": "a MUSHRA test (ITU-R BS.1534-3)",
    "ab": "a paired comparison test",
    "acr": "an absolute category rating test (ITU-T P.800)",
}
MUSHRA = {"reference": "hidden reference", "anchor35": "3.5 kHz anchor", "anchor70": "7 kHz anchor"}  # what it needs
SOURCES = {
    "bs1534": "ITU-R BS.1534-3",
    "musicgen": "Copet et al., 2023",
    "crowdmos": "CrowdMOS; Ribeiro et al., 2011",
    "p808": "ITU-T P.808",
    "headphones": "Milne et al., 2020",
}
RULES = {  # by rule set and rule, as screening names them
    ("bs1534", "A: hidden reference below 90"): "missed the hidden reference (below 90) on more than 15 % of the items",
    ("bs1534", "B: 7 kHz anchor above 90"): "took the 7 kHz anchor for good (above 90) on more than 15 % of the items",
    ("musicgen", "clip not heard to its end"): "did not hear every clip to its end",
    ("musicgen", "mean of the real clips"): "rated the real clips below 85 on average",
    ("crowdmos", "correlation with the others"): "correlated with the others by less than 0.25",
    ("crowdmos", "answers beyond 2.5 sd"): "gave more than 5 % of answers beyond 2.5 standard deviations",
    ("p808", "clip not heard to its end"): "did not hear every clip",
    ("p808", "gold clip more than a class below the top"): "missed a gold clip by more than one class",
    ("p808", "variance of the answers"): "hardly varied",
    ("headphones", "Huggins pitch not heard"): "missed a Huggins pitch",
}


def sentences(analysis: Analysis) -> list[str]:
    """Which difference is real, what is equivalent, and what cannot be told."""
    return [pair(row, analysis.settings.alpha) for row in analysis.kept.comparisons]


def pair(row: Comparison, alpha: float) -> str:
    """One comparison. Equivalence shows the interval that its two tests amount to, all of it within the margin."""
    first, second, size = row.system, row.versus, span(row.difference, row.low, row.high)
    question, p_value = row.dimension.upper(), p_text(row.p_adjusted)
    if row.verdict.startswith(("higher", "lower")):
        if row.difference < 0:
            first, second, size = second, first, span(-row.difference, -row.high, -row.low)
        near = f", though by less than {row.margin:g}" if row.verdict.endswith("margin") else ""
        return f"{question}: {first} is rated higher than {second} by {size} points{near} ({p_value})."
    if row.verdict == "equivalent":
        inner = span(row.difference, row.equivalence_low, row.equivalence_high)
        return (
            f"{question}: {first} and {second} are equivalent: their difference, {inner} at {100 - 200 * alpha:g} %, "
            f"is within ±{row.margin:g} points ({p_text(row.equivalence_p)})."
        )
    return (
        f"{question}: {first} and {second} are neither told apart ({p_value}) nor shown to be equivalent: "
        f"the difference is {size} points."
    )


def changed(analysis: Analysis) -> list[str]:
    """The verdicts that the exclusions turned."""
    before = {(row.dimension, row.system, row.versus): row.verdict for row in analysis.everyone.comparisons}
    found = []
    for row in analysis.kept.comparisons:
        old = before.get((row.dimension, row.system, row.versus), "")
        if old and old != row.verdict:
            found.append(
                f"{row.dimension.upper()}: {row.system} against {row.versus} is {old!r} with every rater, "
                f"{row.verdict!r} after the exclusions."
            )
    return found


def mean_text(row: Condition) -> str:
    """A mean with its interval."""
    return span(row.mean, row.low, row.high)


def span(value: float, low: float | None, high: float | None) -> str:
    """A value with its interval, as many digits as that supports."""
    if low is None or high is None:
        return number(value, decimals(value))
    digits = decimals(value, low, high)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def methods(analysis: Analysis) -> str:
    """The paragraph for a paper."""
    from magnet_eval import __version__

    settings, kept = analysis.settings, analysis.kept
    systems = [row for row in kept.conditions if row.role == "system"]
    questions = ", ".join(dict.fromkeys(row.dimension.upper() for row in systems))
    n_systems = len({row.system for row in systems})
    n_prompts = max(row.prompts for row in systems)
    name = test_name(settings.protocol, {row.role for row in kept.conditions})
    return " ".join(
        [
            *(["A rehearsal: no person took part, the raters are synthetic."] if settings.rehearsal else []),
            f"We ran {name} of {n_systems} systems on {n_prompts} prompts ({questions}).",
            _screened(analysis),
            "Means have 95 % intervals for other raters and other prompts alike: from a two-way (rater × prompt) "
            "bootstrap whose width is that of the variance components of raters, prompts and single answers, with "
            "Student's t at Satterthwaite's degrees of freedom.",
            "Systems were compared on the same rater and prompt, with the same bootstrap; p-values are two-sided "
            f"and adjusted after Holm over all {len(kept.comparisons)} comparisons, "
            f"with a significance level of {settings.alpha:g}.",
            f"Systems count as equivalent if two one-sided tests at {settings.alpha:g} (each comparison alone) place "
            f"their difference within ±{settings.margin:g} points.",
            *(f"This departs from the plan made beforehand: {line}." for line in settings.unplanned),
            *_of_pairs(kept.strengths),
            _agree(kept),
            f"Analysed with magnet-eval {__version__}.",
        ]
    )


def test_name(protocol: str, roles: Container[str]) -> str:
    """What a test in which clips of these roles were rated may be called."""
    lacking = [name for role, name in MUSHRA.items() if role not in roles] if protocol == "mushra" else []
    if lacking:
        return f"a MUSHRA-style test (after ITU-R BS.1534-3, but without its {' and '.join(lacking)})"
    return NAMES[protocol]


def _screened(analysis: Analysis) -> str:
    n, gone = len(analysis.screening.raters), analysis.dropped
    applied = {(row.rule_set, row.rule) for row in analysis.screening.verdicts if row.total}
    rules = []
    for name in analysis.settings.exclusions:
        own = [text for key, text in RULES.items() if key[0] == name and key in applied]
        rules += [f"{' or '.join(own)} ({SOURCES[name]})"] if own else []
    if not rules:
        return f"All {n} raters were kept."
    answers = f"{analysis.kept.ratings} of {analysis.everyone.ratings} answers"
    return f"Of {n} raters {len(gone)} were left out, who {'; or '.join(rules)}; {answers} remain."


def _of_pairs(strengths: Sequence[object]) -> list[str]:
    if not strengths:
        return []
    return ["Strengths are of the Bradley-Terry model, ties half a win, intervals by the two-way bootstrap."]


def _agree(kept: Findings) -> str:
    parts = []
    for row in kept.concord:
        if row.alpha is not None and row.icc_single is not None and row.icc_mean is not None:
            icc = f"ICC(2,1) = {row.icc_single:.2f} and ICC(2,k) = {row.icc_mean:.2f} with k = {row.k:.3g}"
            parts.append(f"Krippendorff's alpha = {row.alpha:.2f}, {icc} ({row.dimension.upper()})")
    return f"Agreement (interval scale): {'; '.join(parts)}." if parts else "Agreement could not be computed."
