"""What passes from a listener to the answers, and what does not."""

import dataclasses

import pytest

from magnet_eval.study.schema import Dimension, Page
from magnet_eval.study.server.submission import MAX_COMMENT, Refused, submission

OVL = Dimension("ovl", {"en": "?"}, [0, 100], 1, {"en": list("abcde")}, False)
PAGE = Page("p_aaaaaaaa", "p1", "", ["s_aaaaaaaa", "s_bbbbbbbb"])


def score(stimulus_id, value=50, **changes):
    return {
        "stimulus_id": stimulus_id, "score": value, "touched": value is not None, "plays": 1, "heard_s": 5.0,
        "heard_all": True, "position": 0, **changes,
    }  # fmt: skip


def body(first=None, second=None, **changes):
    scores = [score("s_aaaaaaaa", **(first or {})), score("s_bbbbbbbb", **(second or {}))]
    return {"scores": scores, "comment": "", "t_client": "2026-11-22T20:00:00Z", "page_no": 3, **changes}


def test_what_passes_is_what_was_sent():
    text = "& + % \" ' <b>𝄞 🎧</b>\n; DROP TABLE scores"
    got = submission(body({"value": 0}, {"value": None}, comment=text), PAGE, OVL, "multi_nr")
    assert [answer.score for answer in got.answers] == [0.0, None]
    assert [answer.touched for answer in got.answers] == [True, False]
    assert (got.comment, got.page_no) == (text, 3)
    assert dataclasses.asdict(got.answers[0]) == score("s_aaaaaaaa", 0)


@pytest.mark.parametrize(
    "wrong",
    [
        None, [], "text", {}, {"scores": {}}, body()["scores"], body(scores=[]), body(scores=[1, 2]),
        body(scores=[score("s_aaaaaaaa")]),
        body(scores=[score("s_aaaaaaaa")] * 2),
        body(scores=[score("s_aaaaaaaa"), score("s_cccccccc")]),
        body({"value": 101}), body({"value": -1}), body({"value": float("nan")}), body({"value": float("inf")}),
        body({"value": "50"}), body({"value": True}), body({"value": 10**400}),
        body({"value": 50, "touched": False}), body({"value": None, "touched": True}), body({"touched": 1}),
        body({"plays": -1}), body({"heard_s": None}), body({"heard_all": "yes"}), body({"position": 1e9}),
        body(comment="x" * (MAX_COMMENT + 1)), body(comment=7), body(t_client="x" * 41), body(page_no=-1),
    ],
)  # fmt: skip
def test_what_is_refused(wrong):
    with pytest.raises(Refused) as error:
        submission(wrong, PAGE, OVL, "multi_nr")
    assert error.value.status == 422 and "\n" not in str(error.value)


@pytest.mark.parametrize(("first", "second", "right"), [(100, 0, True), (0, 100, True), (50, 50, True),
    (None, None, True), (100, 100, False), (100, 50, False), (70, 30, False)])  # fmt: skip
def test_a_pair_has_one_winner_or_a_tie(first, second, right):
    sent = body({"value": first}, {"value": second})
    if right:
        assert len(submission(sent, PAGE, OVL, "ab").answers) == 2
    else:
        with pytest.raises(Refused, match="one gets 100"):
            submission(sent, PAGE, OVL, "ab")


def test_half_an_emoji_is_stored_as_something_that_can_be_written():
    assert submission(body(comment="a\ud83d\0b"), PAGE, OVL, "multi_nr").comment == "a?b"
