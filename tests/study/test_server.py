"""The server over HTTP: what it gives, what it refuses, what it keeps."""

import http.client
import json
import shutil
import signal
import sqlite3
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest

from magnet_eval.lookup import UserError
from magnet_eval.study.server import serving
from magnet_eval.study.server.app import MAX_BODY
from magnet_eval.study.server.limits import Allowance

JSON = {"Content-Type": "application/json"}


def ask(url, method, path, body=None, headers=JSON):
    """Status, headers in small letters, content."""
    host = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(host.hostname, host.port, timeout=20)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, content, headers)
    response = connection.getresponse()
    got = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return got


def page_of(row, score=50, **changes):
    scores = [
        {
            "stimulus_id": name,
            "score": score,
            "touched": True,
            "plays": 1,
            "heard_s": 1,
            "heard_all": True,
            "position": 0,
        }
        for name in row["stimuli"]
    ]
    return {"scores": scores, "comment": "", "t_client": "", "page_no": 0, **changes}


def begin(url):
    return json.loads(ask(url, "POST", "/api/session", {"language": "en"})[2])


def test_only_the_packet_is_served(site):
    study = site(headphones=1)
    (study.folders.study / "notes.txt").write_text("private")
    packet = study.packet
    for path in ("/", "/app.js", "/app.css", "/strings/de.json", "/packet.json", "/assignments.csv",
                 f"/stimuli/{packet.pages[0].stimuli[0]}.wav", f"/stimuli/{packet.headphones[0].file}"):  # fmt: skip
        status, headers, content = ask(study.url, "GET", path)
        assert status == 200 and content, path
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff" and "server" not in headers
    for path in ("/notes.txt", "/../study.key/key.json", "/..%2fstudy.key/key.json", "/stimuli/../../key.json",
                 "/study.key/key.json", "//etc/passwd", "/stimuli/", "/strings/fr.json", "/answers.sqlite", "/%00",
                 "/stimuli/s_aaaaaaaa.wav", "/docs", "/openapi.json"):  # fmt: skip
        status, headers, content = ask(study.url, "GET", path)
        assert status == 404 and b"salt" not in content, path
        assert "content-security-policy" in headers


def test_stimuli_are_kept_and_answers_are_not(site):
    study = site()
    name = study.packet.pages[0].stimuli[0]
    assert "immutable" in ask(study.url, "GET", f"/stimuli/{name}.wav")[1]["cache-control"]
    assert ask(study.url, "GET", "/packet.json")[1]["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b"[" * 60_000, JSON, 400),
        (b"\xff\xfe", JSON, 400),
        (b'{"language": NaN}', JSON, 422),
        (b'{"session": "\\ud800"}', JSON, 404),
        (b'{"language": "en", "code": "\\ud800"}', JSON, 422),
        (b'{"language": "en", "slot": 1e999}', JSON, 200),
        (json.dumps({"language": "en", "comment": "x" * 1_000_000}).encode(), JSON, 413),
    ],
)
def test_what_is_no_request_is_told_so(site, body, headers, status):
    study = site()
    got = ask(study.url, "POST", "/api/session", body, headers)
    assert got[0] == status, got
    assert status == 200 or set(json.loads(got[2])) == {"error"}
    assert len(study.answers.sessions()) == (status == 200)


def test_a_page_of_a_megabyte_or_of_others_changes_nothing(site):
    study = site()
    begun = begin(study.url)
    row = begun["order"][0]
    place = f"/api/session/{begun['session']}/page/"
    assert ask(study.url, "PUT", place + row["page_id"], page_of(row, comment="x" * MAX_BODY))[0] == 413
    assert ask(study.url, "PUT", place + "p_aaaaaaaa", page_of(row))[0] == 404
    assert ask(study.url, "PUT", place + begun["order"][1]["page_id"], page_of(row))[0] == 422
    assert ask(study.url, "POST", place + row["page_id"], page_of(row))[0] == 405
    assert ask(study.url, "POST", f"/api/session/{begun['session']}/finish", {})[0] == 409
    assert list(study.answers.rows()) == []
    assert ask(study.url, "PUT", place + row["page_id"], page_of(row, comment="<script>'\"; --"))[0] == 200
    assert {one["comment"] for one in study.answers.rows()} == {"<script>'\"; --"}


def test_listeners_at_once_get_slots_in_turn_and_lose_nothing(site):
    study = site()

    def take_part(_):
        begun = begin(study.url)
        for row in begun["order"]:
            path = f"/api/session/{begun['session']}/page/{row['page_id']}"
            assert ask(study.url, "PUT", path, page_of(row), JSON | {"Idempotency-Key": path})[0] == 200
            assert json.loads(ask(study.url, "PUT", path, page_of(row), JSON | {"Idempotency-Key": path})[2])[
                "repeated"
            ]
        code = json.loads(ask(study.url, "POST", f"/api/session/{begun['session']}/finish", {})[2])["completion_code"]
        return begun["slot"], code

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(take_part, range(12)))
    assert sorted(slot for slot, _ in done) == sorted([0, 1, 2, 3] * 3)
    assert len({code for _, code in done}) == 12
    assert len(list(study.answers.rows())) == 12 * 4 * 3


def test_the_progress_page_needs_the_token_and_tells_no_system(site):
    study = site()
    begin(study.url)
    for token in ("", "?token=", "?token=wrong", f"?token={study.token}x", "?token=%C3%A9"):
        assert ask(study.url, "GET", f"/admin{token}")[0] == 403
    status, headers, content = ask(study.url, "GET", f"/admin?token={study.token}")
    text = content.decode()
    assert status == 200 and headers["cache-control"] == "no-store"
    assert "0 of 4 slots finished" in text and "on the way" in text
    assert all(name not in text for name in (">one<", ">two<", "prompt0"))


def test_no_address_is_stored(site):
    study = site()
    begin(study.url)
    rows = study.answers.connection.execute("SELECT * FROM sessions").fetchall()
    assert "127.0.0.1" not in str(rows)


def test_too_many_requests_are_put_off(site):
    study = site()
    study.saves = Allowance(rate=0.5, burst=2)
    begun = begin(study.url)
    row = begun["order"][0]
    path = f"/api/session/{begun['session']}/page/{row['page_id']}"
    got = [ask(study.url, "PUT", path, page_of(row)) for _ in range(3)]
    assert [status for status, *_ in got] == [200, 200, 429]
    assert 1 <= int(got[2][1]["retry-after"]) <= 3


def test_a_disk_that_refuses_is_a_503_and_the_next_try_works(site, monkeypatch):
    study = site()
    begun = begin(study.url)
    row = begun["order"][0]
    path = f"/api/session/{begun['session']}/page/{row['page_id']}"
    with monkeypatch.context() as patch:
        patch.setattr(
            study.answers, "_store", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError("disk is full"))
        )
        assert ask(study.url, "PUT", path, page_of(row))[0] == 503
    assert ask(study.url, "PUT", path, page_of(row))[0] == 200


def test_allowances_refill_and_forget():
    now = [0.0]
    allowance = Allowance(rate=2, burst=3, clock=lambda: now[0])
    assert [allowance.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert allowance.wait("b") == 0
    now[0] = 0.5
    assert [allowance.wait("a") for _ in range(2)] == [0, 0.5]
    for number in range(20_000):
        allowance.wait(str(number))
    assert len(allowance.buckets) == 10_000


def test_a_packet_with_a_file_missing_or_linked_away_is_not_served(hand_packet, tmp_path):
    study = hand_packet()
    stimulus = next((study / "stimuli").iterdir())
    shutil.move(stimulus, tmp_path / "elsewhere.wav")
    with pytest.raises(UserError, match=f"has no stimuli/{stimulus.name}"):
        serving.site_of(str(study))
    stimulus.symlink_to(tmp_path / "elsewhere.wav")
    with pytest.raises(UserError, match="has no stimuli/"):
        serving.site_of(str(study))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_line_on_what_was_collected(server, stop):
    study = server()
    begin(study.url)
    study.process.send_signal(stop)
    assert study.process.wait(timeout=20) == 0
    assert "1 sessions, 0 finished. Next: magnet-eval study import" in study.log.read_text()
    responses = study.study.with_name("study.responses")
    assert [path.name for path in responses.iterdir()] == ["answers.sqlite"], "the log is in the file"


def test_a_port_that_is_taken_is_a_line():
    listener = serving.listen("127.0.0.1", 0)
    with pytest.raises(UserError, match="Choose another with port="):
        serving.listen("127.0.0.1", listener.getsockname()[1])
    listener.close()
