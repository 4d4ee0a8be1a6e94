"""Numbers as they are shown: as many digits as the interval supports."""

import math

from magnet_eval.records import Score

DASH = "–"
MINUS = "\u2212"


def decimals(value: float, low: float | None = None, high: float | None = None) -> int:
    """How many decimals to show: as many as its interval supports.

    The half-width gets two significant digits (GUM, JCGM 100:2008, 7.2.6). Without an interval the value gets three,
    and never fewer than those before the decimal point.
    """
    if low is not None and high is not None and high > low:
        return max(0, 1 - math.floor(math.log10((high - low) / 2)))
    if value == 0 or float(value).is_integer():
        return 0
    return max(0, 2 - math.floor(math.log10(abs(value))))


def number(value: float, digits: int) -> str:
    """A number with a true minus sign; zero has none."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def value_text(row: Score) -> str:
    """The value of a row."""
    return number(row.value, decimals(row.value, row.low, row.high))


def interval_text(row: Score) -> str:
    """The 95 % interval of a row as ``[low, high]``; "" where there is none."""
    if row.low is None or row.high is None:
        return ""
    digits = decimals(row.value, row.low, row.high)
    return f"[{number(row.low, digits)}, {number(row.high, digits)}]"


def p_text(p_value: float) -> str:
    """A p-value with two significant digits at most."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def seconds_text(seconds: float) -> str:
    """A duration, in ms below one second."""
    return (
        f"{number(seconds * 1000, decimals(seconds * 1000))} ms"
        if seconds < 1
        else (f"{number(seconds, decimals(seconds))} s")
    )


def batch_text(row: Score) -> str:
    """A crossover with its interval, whose ends may lie beyond the sizes timed."""

    def size(value: float) -> str:
        return number(value, 0 if value >= 10 else 1)

    if row.low is None and row.high is None:
        return size(row.value)
    low = size(row.low) if row.low is not None else f"below {row.params['batches'][0]}"
    high = size(row.high) if row.high is not None else f"above {row.params['batches'][-1]}"
    return f"{size(row.value)} [{low}, {high}]"
