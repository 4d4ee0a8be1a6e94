"""The listeners' page in a real browser: hear, rate, next; reload, a killed server, a lost reply; keys, phone, axe."""

import functools
import json
import os
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from magnet_eval.study import schema
from magnet_eval.study.packet.sounds import MTIME
from magnet_eval.study.server.serving import site_of

pytest.importorskip("playwright", reason="needs the package playwright")
HOSTILE = "& + % \" ' <b>bold</b> 🎧 ünï\n\\ ?#=;"


def begin(page):
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Start").click()


def rows(page):
    return page.locator("ol .sound")


def hear(page):
    """Plays every sound to its end."""
    rows(page).first.wait_for()
    for sound in page.locator(".sound").all():
        sound.get_by_role("button").click()
        sound.locator("small", has_text=re.compile("^heard$")).wait_for()


def rate(page, value=70):
    """Puts every slider of the page to about ``value`` and on."""
    for index, slider in enumerate(page.locator("input.rating").all()):
        slider.fill(str(value + index))


def go_on(page, name="Next page"):
    """Presses the button and waits for what comes after the page."""
    here = page.query_selector(".ending")
    page.get_by_role("button", name=name).click()
    here.wait_for_element_state("hidden")


def clean(page, **options):
    """No violation of a rule of axe-core (WCAG and good practice)."""
    found = pytest.importorskip("axe_playwright_python.sync_playwright").Axe().run(page, options=options)
    assert found.violations_count == 0, found.generate_report()


def stored(site):
    return list(site.answers.rows())


def test_from_consent_to_completion_code(site, listener):
    study = site(headphones=2, training=True, prompts=1)
    page = listener(study.url)
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.get_by_role("button", name="Start").click()
    page.get_by_text("Please tick the box first").wait_for()
    assert study.answers.sessions() == [], "nothing is stored before consent"
    begin(page)
    for answer in (1, 2):
        page.get_by_text(f"Try {answer} of 2").wait_for()
        page.get_by_role("button", name="Play the three noises").click()
        page.locator(".answers button:not([aria-disabled])").first.wait_for()
        page.get_by_role("button", name=f"Noise {answer}").click()
    page.get_by_role("heading", name="Part 1 of 2").wait_for()
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("Practice", exact=True).wait_for()
    hear(page)
    rate(page, 10)
    assert sum(name.startswith("s_") for name in asked) == 6, "the sounds of this page and the next"
    go_on(page)
    page.get_by_text("The practice is over.").wait_for()
    page.get_by_role("button", name="Continue").click()
    rows(page).first.wait_for()
    assert page.locator(".prompt").count() == 0
    hear(page)
    rate(page)
    page.get_by_text("Add a comment").click()
    page.get_by_label("Comment").fill(HOSTILE)
    go_on(page)
    page.get_by_role("heading", name="Part 2 of 2").wait_for()
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("A calm piano piece with a slow beat, number 0").wait_for()
    hear(page)
    rate(page, 30)
    go_on(page, "Finish")
    code = page.locator(".code code").inner_text()
    (session,) = study.answers.sessions()
    assert code == study.code(session["session"]) and session["finished"] and session["sample_rate"] == 16000
    assert (session["headphones_correct"], session["headphones_total"]) == (2, 2)
    assert [row["score"] for row in stored(study)] == [10, 11, 12, 70, 71, 72, 30, 31, 32]
    assert {row["comment"] for row in stored(study)} == {"", HOSTILE}
    assert all(row["heard_all"] and row["plays"] == 1 and row["heard_s"] >= 0.29 for row in stored(study))
    page.reload()
    assert page.locator(".code code").inner_text() == code


def test_next_waits_until_all_is_heard_and_rated(site, listener):
    page = listener(site(prompts=1).url)
    begin(page)
    page.get_by_role("button", name="Continue").click()
    first = page.locator("input.rating").first
    assert first.is_disabled(), "nobody rates what was not played"
    assert first.get_attribute("aria-valuetext") == "Play it first"
    hear(page)
    assert first.get_attribute("aria-valuetext") == "Not rated yet"
    page.get_by_role("button", name="Next page").click(force=True)  # it looks disabled, and says why
    page.get_by_text("Rate: Sound 1, Sound 2, Sound 3.").wait_for()
    assert page.evaluate("document.activeElement.ariaLabel") == "Rating of Sound 1"
    first.click()  # exactly in the middle, where a click changes nothing
    assert first.get_attribute("aria-valuetext") == "50, Fair"
    page.get_by_text("Rate: Sound 2, Sound 3.").wait_for()
    rate(page)
    page.get_by_text("All done on this page.").wait_for()


def test_a_reload_loses_nothing(site, listener):
    study = site(prompts=2)
    page = listener(study.url)
    begin(page)
    page.get_by_role("button", name="Continue").click()
    hear(page)
    page.locator("input.rating").nth(1).fill("33")
    page.reload()
    page.get_by_text("Rate: Sound 1, Sound 3.").wait_for()
    assert page.locator("input.rating").nth(1).get_attribute("aria-valuetext") == "33, Poor"
    rate(page, 40)
    go_on(page)
    page.get_by_text("Page 2 of 4").wait_for()
    page.reload()
    page.get_by_text("Page 2 of 4").wait_for()
    rows(page).first.wait_for()
    assert [row["score"] for row in stored(study)] == [40, 41, 42] and len(study.answers.sessions()) == 1


def test_a_server_that_is_killed_between_pages(server, listener):
    study = server(prompts=1)
    page = listener(study.url, errors=False)  # Chromium logs the failed requests
    begin(page)
    page.get_by_role("button", name="Continue").click()
    hear(page)
    rate(page)
    study.kill()
    page.get_by_role("button", name="Next page").click()
    page.get_by_text("No connection. Your answers are kept").wait_for()
    study.start()
    page.get_by_role("heading", name="Part 2 of 2").wait_for()
    study.kill()
    assert [row["score"] for row in site_of(study.study).answers.rows()] == [70, 71, 72]


def test_a_reply_that_is_lost_doubles_nothing(site, listener):
    study = site(prompts=1)
    page = listener(study.url, errors=False)
    replies = []

    def lose_the_first(route):
        replies.append(route.fetch())
        route.abort() if len(replies) == 1 else route.fulfill(response=replies[-1])

    page.route("**/page/*", lose_the_first)
    begin(page)
    page.get_by_role("button", name="Continue").click()
    hear(page)
    rate(page)
    page.get_by_role("button", name="Next page").dblclick(force=True)
    page.get_by_role("heading", name="Part 2 of 2").wait_for()
    assert [reply.json()["repeated"] for reply in replies] == [False, True]
    assert len(stored(study)) == 3


def test_keys_are_enough(site, listener):
    study = site(protocol="mushra", prompts=1)
    page = listener(study.url)

    def press(*names):
        for name in names:
            page.keyboard.press(name)

    page.get_by_role("heading", name="Thank you").wait_for()
    page.get_by_role("checkbox").focus()
    press("Space", "Tab", "Enter")
    page.get_by_role("heading", name="How good").wait_for()
    for key, name in (("0", "Reference"), ("1", "Sound 1"), ("2", "Sound 2")):
        press(key)
        page.locator(".sound", has_text=name).locator("small", has_text=re.compile("^heard$")).wait_for()
    press("ArrowRight", "1", "End", "ArrowLeft")
    press("l")
    assert page.get_by_role("button", name="Repeat").get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="Play", exact=True).wait_for()  # it came to its end
    press("l", " ")
    page.get_by_role("button", name="Pause", exact=True).wait_for()
    press(" ")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.get_by_role("button", name="Finish").focus()
    press("Enter")
    page.locator(".code code").wait_for()
    assert [(row["score"], row["position"]) for row in stored(study)] == [(99, 0), (51, 1)]


@pytest.mark.parametrize(
    ("protocol", "answer", "scores"), [("ab", "Sound 2 is better", [0, 100]), ("acr", "4 Good", [4])]
)
def test_a_phone(site, listener, protocol, answer, scores):
    study = site(protocol=protocol, prompts=1)
    page = listener(study.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.get_by_role("checkbox").tap()
    page.get_by_role("button", name="Start").tap()
    rows(page).first.wait_for()
    clean(page)
    assert page.get_by_role("radio").first.is_disabled()
    hear(page)
    page.get_by_text(answer).tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    small = page.evaluate(
        "[...document.querySelectorAll('button, summary')].filter((e) => e.offsetHeight && e.offsetHeight < 32)"
    )
    assert small == []
    go_on(page, "Finish")
    assert [row["score"] for row in stored(study)] == scores


def test_a_phone_says_what_the_ends_of_each_slider_mean(site, listener):
    study = site(prompts=1)
    page = listener(study.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    begin(page)
    page.get_by_role("button", name="Continue").click()
    rows(page).first.wait_for()
    for sound in rows(page).all():
        assert [sound.get_by_text(end, exact=True).is_visible() for end in ("Bad", "Excellent")] == [True, True]
    clean(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1200, "height": 800})
    assert page.get_by_text("Bad", exact=True).locator("visible=true").count() == 1, "above all sliders"


def test_axe_finds_nothing_in_light_and_in_dark(site, listener):
    study = site(prompts=1, headphones=1, slots=1)
    page = listener(study.url, color_scheme="light")

    def clean_at(heading):
        page.get_by_role("heading", name=heading).first.wait_for()
        clean(page)
        page.emulate_media(color_scheme="dark")
        clean(page, runOnly=["color-contrast"])
        page.emulate_media(color_scheme="light")

    clean_at("Thank you for listening")
    begin(page)
    clean_at("Headphone check")
    page.get_by_role("button", name="Play the three noises").click()
    page.locator(".answers button:not([aria-disabled])").first.wait_for()
    page.get_by_role("button", name="Noise 3").click()
    clean_at("The check did not go well")
    page.get_by_role("button", name="Go on anyway").click()
    clean_at("Part 1 of 2")
    page.get_by_role("button", name="Continue").click()
    clean_at("How good")
    hear(page)
    rate(page)
    clean_at("How good")
    go_on(page)
    page.get_by_role("button", name="Continue").click()
    hear(page)
    rate(page)
    go_on(page, "Finish")
    clean_at("That was all")
    page.goto(f"{study.url}/admin?token={study.token}")
    clean_at("1 of 1 slots finished")


@pytest.fixture
def static_host():
    """Serves folders without our server, as any web host does; their addresses."""
    hosts = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    def start(folder):
        hosts.append(ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)))
        threading.Thread(target=hosts[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{hosts[-1].server_port}/"

    yield start
    for host in hosts:
        host.shutdown()
        host.server_close()


def test_a_packet_that_was_made_anew_is_not_taken_from_the_cache(hand_packet, static_host, listener):
    study = hand_packet(protocol="acr", prompts=1)

    def publish(**changes):
        for name, (old, new) in changes.items():
            path = next(study.rglob(name.replace("_", ".")))
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        for path in study.rglob("*"):
            os.utime(path, (MTIME, MTIME))

    publish()
    url = static_host(study)
    page = listener(url, errors=False)
    page.get_by_role("button", name="Start").wait_for()
    page.goto("about:blank")
    publish(
        packet_json=("Which sounds better?", "Another study"),
        en_json=('"Start"', '"Set off"'),
        screens_js=('h("h1", {}, t("welcome"))', 'h("h1", {}, "New page")'),
    )
    page.goto(url)
    page.get_by_role("button", name="Set off").wait_for()
    page.get_by_role("heading", name="New page").wait_for()
    assert page.title() == "Another study"


def test_without_a_server_the_answers_are_a_file(hand_packet, static_host, listener):
    study = hand_packet(protocol="acr", prompts=2)
    page = listener(f"{static_host(study)}?slot=2&code=P7&lang=de", errors=False)
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Beginnen").click()
    for name in ("Nächste Seite", "Abschließen"):
        page.get_by_role("button", name="Klang 1 abspielen").click()
        page.get_by_text("gehört", exact=True).wait_for()
        page.get_by_text("5 Ausgezeichnet").click()
        go_on(page, name)
    with page.expect_download() as download:
        page.get_by_text("Meine Antworten herunterladen").click()
    document = json.loads(download.value.path().read_text(encoding="utf-8"))
    answers = site_of(study).answers
    session = answers.add(document)
    assert download.value.suggested_filename == f"answers-{session}.json"
    assert [row["score"] for row in answers.rows()] == [5, 5]
    (row,) = answers.sessions()
    assert (row["slot"], row["code"], row["language"], bool(row["finished"])) == (2, "P7", "de", True)
    assert row["consent_sha256"] == schema.sha256(answers.packet.consent["de"])


SWITCHING = """async () => {
  const rate = 16000, length = 4800, turns = [0.1, 0.33, 0.5];
  const offline = new OfflineAudioContext(1, rate, rate);
  Object.defineProperty(offline, "state", { value: "running" });
  globalThis.AudioContext = function () { return offline; };
  const { Deck } = await import("./audio.js");
  const buffers = new Map(["up", "down"].map((id, index) => {
    const buffer = new AudioBuffer({ length, sampleRate: rate });
    buffer.getChannelData(0).forEach((_, at, data) => (data[at] = (index ? -1 : 1) * (at + 1) / length));
    return [id, buffer];
  }));
  const deck = new Deck(rate, buffers, () => {});
  deck.toggle("up");
  const waits = turns.map((when, turn) => offline.suspend(when).then(() => {
    deck.toggle(turn % 2 ? "up" : "down");
    return OfflineAudioContext.prototype.resume.call(offline);
  }));
  const [sound] = await Promise.all([offline.startRendering(), ...waits]);
  deck.count();
  return {
    sound: [...sound.getChannelData(0)], start: Math.round(deck.when * rate),
    heard: [...deck.heard.values()].map(({ seconds, share, plays }) => ({ seconds, share, plays })),
  };
}"""


ENDINGS = """async () => {
  let now = 0;
  const context = { state: "running", destination: {}, get currentTime() { return now; } };
  globalThis.AudioContext = function () { return context; };
  const connect = (to) => to;
  globalThis.AudioBufferSourceNode = class { connect = connect; start() {} stop() {} };
  const nothing = () => {};
  const gain = { cancelScheduledValues: nothing, setValueAtTime: nothing, linearRampToValueAtTime: nothing };
  globalThis.GainNode = class { connect = connect; gain = gain; };
  const { Deck } = await import("./audio.js");
  const found = {};
  const play = (name, act) => {
    now = 0;
    const deck = new Deck(16000, new Map([["one", { duration: 1 }], ["two", { duration: 1 }]]), nothing);
    const ended = () => deck.voices.get("one").source.onended();
    const at = (when) => { now = when; deck.count(); };
    act(deck, at, ended);
    const rounded = (value) => Math.round(100 * value) / 100;
    found[name] = [...deck.heard.values()].map(({ share, seconds }) => [rounded(share), rounded(seconds)]);
    found[name].push(deck.playing);
  };
  const once = (deck) => { deck.loop(false); deck.seek(0.75); deck.toggle("one"); };
  play("frame between end and event", (deck, at, ended) => { once(deck); at(0.2); at(deck.when + 0.251); ended(); });
  play("event before the clock", (deck, at, ended) => { once(deck); at(deck.when + 0.22); ended(); });
  play("another after the end", (deck, at, ended) => { once(deck); at(deck.when + 0.3); deck.toggle("two"); ended(); });
  play("repeat off in the second round", (deck, at, ended) => {
    deck.seek(0.5); deck.toggle("one"); at(deck.when + 0.6); deck.toggle("two"); at(deck.when + 0.7);
    deck.loop(false); at(deck.when + 1.51); ended();
  });
  play("repeat on after the end", (deck, at, ended) => { once(deck); at(deck.when + 0.26); deck.loop(true); ended(); });
  play("repeat on and off after the end", (deck, at, ended) => {
    once(deck); at(deck.when + 0.26); deck.loop(true); deck.loop(false); at(deck.when + 0.5); ended();
  });
  play("repeat on in time", (deck, at) => { once(deck); at(deck.when + 0.2); deck.loop(true); at(deck.when + 0.5); });
  return found;
}"""


def test_only_what_was_heard_counts_however_late_the_end_is_told(site, listener):
    page = listener(site(prompts=1).url)
    tail, nothing = [0.25, 0.25], [0, 0]
    assert page.evaluate(ENDINGS) == {
        "frame between end and event": [tail, nothing, False],
        "event before the clock": [tail, nothing, False],
        "another after the end": [tail, nothing, False],
        "repeat off in the second round": [[0.6, 0.6], [0.9, 0.9], False],
        "repeat on after the end": [tail, nothing, False],
        "repeat on and off after the end": [tail, nothing, False],
        "repeat on in time": [[0.5, 0.5], nothing, True],
    }


def test_switching_and_looping_keep_every_sample_in_place(site, listener):
    page = listener(site(prompts=1).url)
    got = page.evaluate(SWITCHING)
    rate, length, start, fade = 16000, 4800, got["start"], 80 + 128  # 5 ms, and a block of the browser's
    turns = [start] + [-(-round(when * rate) // 128) * 128 for when in (0.1, 0.33, 0.5)] + [rate]
    for sign, since, until in zip((1, -1, 1, -1), turns, turns[1:], strict=False):
        for sample in range(since + fade, until):
            place = ((sample - start) % length + 1) / length
            assert abs(got["sound"][sample] - sign * place) < 1e-6, sample
    assert max(abs(value) for value in got["sound"][:start]) == 0
    steps = [abs(b - a) for a, b in zip(got["sound"], got["sound"][1:], strict=False)]
    wraps = [index for index, step in enumerate(steps) if step > 0.5]  # the beeps' own ends are not faded here
    assert all((index + 1 - start) % length == 0 for index in wraps)
    up, down = got["heard"]
    assert up["plays"] == down["plays"] == 2 and down["share"] == 1
    assert abs(up["seconds"] + down["seconds"] - (1 - start / rate)) < 0.02
