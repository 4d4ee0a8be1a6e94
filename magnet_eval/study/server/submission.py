"""What a listener sends for one page, and the checks that it has to pass, be it on the server or in a file.

Nothing here trusts its input: a wrong value is a Refused with one line, and what passes holds only what is asked for.
"""

from dataclasses import dataclass
from typing import Any

from magnet_eval.study.schema import Dimension, Page

MAX_COMMENT = 2000  # characters
MAX_PLAYS = 10_000
MAX_HEARD_S = 86_400.0


class Refused(Exception):
    """A request that is answered with an HTTP status and one line; trying it again would not help."""

    def __init__(self, status: int, reason: str) -> None:
        """With the status, such as 422, and the reason."""
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What a listener did with one stimulus."""

    stimulus_id: str
    score: float | None  # on the dimension's scale; None where it was not touched
    touched: bool
    plays: int  # times that it was switched to
    heard_s: float
    heard_all: bool
    position: int  # on screen, from 0


@dataclass(frozen=True)
class Submission:
    """The answers of one page."""

    page_id: str
    answers: tuple[Answer, ...]
    comment: str
    t_client: str  # the listener's clock, ISO 8601
    page_no: int


def submission(body: Any, page: Page, dimension: Dimension, protocol: str) -> Submission:
    """The checked answers to ``page``. Raises Refused unless every stimulus is there once, with values in range."""
    if not isinstance(body, dict) or not isinstance(body.get("scores"), list):
        raise Refused(422, "a page is {scores: [...], comment, t_client, page_no}")
    scale = (0.0, 100.0) if protocol == "ab" else (dimension.scale[0], dimension.scale[1])
    answers = tuple(_answer(one, scale) for one in body["scores"])
    if sorted(answer.stimulus_id for answer in answers) != sorted(page.stimuli):
        raise Refused(422, f"page {page.page_id} needs one score for each of its {len(page.stimuli)} stimuli")
    if protocol == "ab" and sorted(answer.score or 0 for answer in answers) not in ([0, 0], [0, 100], [50, 50]):
        raise Refused(422, "of a pair, one gets 100 and the other 0, or both get 50")
    return Submission(
        page_id=page.page_id,
        answers=answers,
        comment=_text(body, "comment", MAX_COMMENT),
        t_client=_text(body, "t_client", 40),
        page_no=int(_number(body, "page_no", 0, 100_000)),
    )


def _answer(one: Any, scale: tuple[float, float]) -> Answer:
    if not isinstance(one, dict) or not isinstance(one.get("stimulus_id"), str):
        raise Refused(422, "a score is {stimulus_id, score, touched, plays, heard_s, heard_all, position}")
    touched = _flag(one, "touched")
    if (one.get("score") is None) == touched:
        raise Refused(422, "score is null where nothing was touched, and only there")
    return Answer(
        stimulus_id=one["stimulus_id"],
        score=_number(one, "score", *scale) if touched else None,
        touched=touched,
        plays=int(_number(one, "plays", 0, MAX_PLAYS)),
        heard_s=_number(one, "heard_s", 0, MAX_HEARD_S),
        heard_all=_flag(one, "heard_all"),
        position=int(_number(one, "position", 0, 100)),
    )


def _number(values: dict[str, Any], name: str, low: float, high: float) -> float:
    value = values.get(name)
    # isinstance(True, int) holds in Python; NaN is in no range; an int may be too large for a float
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refused(422, f"{name} must be a number from {low:g} to {high:g}")
    return float(value)


def _flag(values: dict[str, Any], name: str) -> bool:
    value = values.get(name)
    if not isinstance(value, bool):
        raise Refused(422, f"{name} must be true or false")
    return value


def _text(values: dict[str, Any], name: str, most: int) -> str:
    value = values.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise Refused(422, f"{name} must be a text of at most {most} characters")
    return value.replace("\0", "").encode("utf-8", "replace").decode()  # half an emoji is no UTF-8
