"""The store of answers: slots, doubles, withdrawal, files."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from magnet_eval.lookup import UserError
from magnet_eval.study import schema
from magnet_eval.study.server import answers as module
from magnet_eval.study.server.answers import Answers
from magnet_eval.study.server.submission import Refused

ENGLISH = {"language": "en"}


@pytest.fixture
def answers(hand_packet):
    return opened(schema.Folders.of(hand_packet()))


def opened(folders):
    return Answers(folders.responses / "answers.sqlite", schema.read_packet(folders), schema.read_assignments(folders))


def body(row, value=50.0, **changes):
    scores = [
        {"stimulus_id": name, "score": value + position, "touched": True, "plays": 1, "heard_s": 0.6, "heard_all": True,
         "position": position}
        for position, name in enumerate(row["stimuli"])
    ]  # fmt: skip
    return {"scores": scores, "comment": "", "t_client": "now", "page_no": 0, **changes}


def fill(answers, begun, value=50.0):
    for row in begun["order"]:
        answers.save(begun["session"], row["page_id"], body(row, value))


def test_slots_are_shared_out_evenly(answers):
    begun = [answers.begin(ENGLISH) for _ in range(10)]
    assert [one["slot"] for one in begun] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert begun[1]["order"] != begun[0]["order"] and len(begun[0]["order"]) == 4


def test_an_abandoned_slot_is_given_again_and_a_finished_one_is_not(answers, monkeypatch):
    first, second = answers.begin(ENGLISH), answers.begin(ENGLISH)
    fill(answers, first)
    answers.finish(first["session"])
    later = datetime.now(UTC) + 2 * module.ABANDONED

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return later

    monkeypatch.setattr(module, "datetime", Clock)
    assert [answers.begin(ENGLISH)["slot"] for _ in range(4)] == [1, 2, 3, 0]
    assert answers.resume(second["session"])["slot"] == 1, "whoever comes back goes on"


def test_a_page_is_stored_once_and_the_last_answer_counts(answers):
    begun = answers.begin(ENGLISH)
    session, row = begun["session"], begun["order"][0]
    first = answers.save(session, row["page_id"], body(row, 10), "k1")
    again = answers.save(session, row["page_id"], body(row, 90), "k1")
    assert again == first | {"repeated": True}
    assert [one["score"] for one in answers.rows()] == [10, 11, 12]
    answers.save(session, row["page_id"], body(row, 20), "k2")
    rows = list(answers.rows())
    assert [one["score"] for one in rows] == [20, 21, 22]
    assert [one["stimulus_id"] for one in rows] == row["stimuli"]
    columns = "comment dimension heard_all heard_s page_id page_no pass plays position score session slot stimulus_id"
    assert sorted(rows[0]) == [*columns.split(), "t_client", "t_server", "touched"]


def test_the_end_needs_every_page_and_nothing_changes_after_it(answers):
    begun = answers.begin(ENGLISH)
    with pytest.raises(Refused, match="4 pages are not answered"):
        answers.finish(begun["session"])
    fill(answers, begun)
    answers.finish(begun["session"])
    finished = answers.sessions()[0]["finished"]
    answers.finish(begun["session"])
    assert answers.sessions()[0]["finished"] == finished
    with pytest.raises(Refused, match="finished"):
        fill(answers, begun, 1.0)
    assert min(one["score"] for one in answers.rows()) == 50


@pytest.mark.parametrize("session", ["", "r_0", "../../etc/passwd", "r_' OR 1=1 --", "\ud800"])
def test_an_unknown_session_is_refused(answers, session):
    answers.begin(ENGLISH)
    for call in (
        lambda: answers.resume(session),
        lambda: answers.save(session, "p", {}),
        lambda: answers.finish(session),
    ):
        with pytest.raises(Refused) as error:
            call()
        assert error.value.status == 404


@pytest.mark.parametrize("facts", [{}, {"language": "fr"}, {"language": 1}, {**ENGLISH, "code": "a@b.example"},
    {**ENGLISH, "code": ""}, {**ENGLISH, "code": "x" * 65}, {**ENGLISH, "sample_rate": "48000"},
    {**ENGLISH, "headphones_correct": float("nan")}])  # fmt: skip
def test_wrong_facts_make_no_session(answers, facts):
    with pytest.raises(Refused):
        answers.begin(facts)
    assert answers.sessions() == []


def test_one_code_is_one_session_and_a_slot_can_be_asked_for(answers):
    first = answers.begin({**ENGLISH, "code": "PROLIFIC-1", "slot": 2})
    assert answers.begin({**ENGLISH, "code": "PROLIFIC-1"}) == first and first["slot"] == 2
    assert answers.begin({**ENGLISH, "slot": 99})["slot"] == 0


def test_withdrawing_deletes_every_answer_from_the_disk_too(hand_packet):
    folders = schema.Folders.of(hand_packet())
    answers = opened(folders)
    stays, goes = answers.begin(ENGLISH), answers.begin({**ENGLISH, "code": "ME"}, "Agent/1")
    fill(answers, stays)
    row = goes["order"][0]
    answers.save(goes["session"], row["page_id"], body(row, comment="something private"))
    assert answers.session_of("ME") == goes["session"] and answers.withdraw(goes["session"]) == 1
    assert {one["session"] for one in answers.rows()} == {stays["session"]}
    gone = next(one for one in answers.sessions() if one["session"] == goes["session"])
    assert gone["withdrawn"] and gone["code"] is None and gone["user_agent"] == ""
    assert all(b"something private" not in path.read_bytes() for path in folders.responses.iterdir())
    with pytest.raises(Refused, match="withdrawn"):
        answers.resume(goes["session"])
    assert [answers.session_of(code) for code in ("ME", "nobody", "\ud800", "' OR 1=1 --")] == [None] * 4


def test_a_file_of_answers_is_taken_in_once(answers):
    slot = answers.slots[1]
    order = [{"page_id": one.page_id, "stimuli": list(one.stimuli)} for one in slot]
    document = {
        "study_id": "test", "key_sha256": answers.packet.key_sha256, "session": "r_0a1b2c3d4e", "slot": 1, **ENGLISH,
        "pages": {row["page_id"]: body(row) for row in order},
    }  # fmt: skip
    for _ in range(2):
        assert answers.add(json.loads(json.dumps(document))) == "r_0a1b2c3d4e"
    assert Counter(one["session"] for one in answers.rows()) == {"r_0a1b2c3d4e": 12}
    assert answers.sessions()[0]["finished"]
    for change in ({"study_id": "other"}, {"session": "' --"}, {"slot": 77}, {"pages": []}, {"pages": {"p": {}}},
                   {"slot": [1]}, {"code": [1]}, {"code": {"a": 1}}, {"code": 10**30}, {"code": "\ud800"}):  # fmt: skip
        with pytest.raises(Refused):
            answers.add({**document, "session": "r_ffffffffff", **change})
    assert len(answers.sessions()) == 1, "a refused file leaves nothing"


def test_the_answers_to_another_packet_are_not_opened(hand_packet, tmp_path):
    folders = schema.Folders.of(hand_packet())
    opened(folders)
    other = folders.study / "packet.json"
    other.write_text(other.read_text().replace('"study_id": "test"', '"study_id": "second"'))
    with pytest.raises(UserError, match="answers to another packet"):
        opened(folders)
    for path in folders.responses.iterdir():
        path.unlink()
    (folders.responses / "answers.sqlite").write_text("no database, but long enough to be looked at" * 99)
    with pytest.raises(UserError, match="cannot open"):
        opened(folders)
