"""A small packet by hand, its server, and a real browser. Where there is no browser, these tests are skipped."""

import contextlib
import functools
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import magnet_eval
from magnet_eval import audio
from magnet_eval.study import schema
from magnet_eval.study.server import serving

PAGE = Path(magnet_eval.__file__).parent / "study" / "page"
RATE = 16000
SECONDS = 0.3
QUESTIONS = {
    "ovl": {"en": "How good does each sound?", "de": "Wie gut klingt jeder?"},
    "rel": {"en": "How well does each fit the description?", "de": "Wie gut passt jeder zur Beschreibung?"},
}
LABELS = {
    "en": ["Bad", "Poor", "Fair", "Good", "Excellent"],
    "de": ["Schlecht", "Dürftig", "Mäßig", "Gut", "Ausgezeichnet"],
}
SYSTEMS = {"multi_nr": ["one", "two", "three"], "mushra": ["one", "two"], "ab": ["one", "two"], "acr": ["one"]}
CONSENT = {
    "en": "This study asks how generated sounds are judged. It stores your scores, never your name or address.\n\n"
    "Taking part is voluntary: you may stop at any time.",
    "de": "Diese Studie fragt, wie erzeugte Klänge beurteilt werden.",
}  # fmt: skip


@pytest.fixture
def hand_packet(tmp_path):
    """Makes packets of beeps; the folder STUDY."""
    return functools.partial(make_packet, tmp_path)


def make_packet(folder, protocol="multi_nr", *, prompts=2, slots=4, headphones=0, training=False, seconds=SECONDS):
    """STUDY and STUDY.key of clips that are short beeps; where it is."""
    study = schema.Folders.of(folder / "study")
    shutil.copytree(PAGE, study.study)
    rng = np.random.default_rng(0)
    dimensions = ["ovl", "rel"] if protocol == "multi_nr" else ["ovl"]
    scale, step = ([1.0, 5.0], 1.0) if protocol == "acr" else ([0.0, 100.0], 1.0)

    def new(letter, frequency=440.0):
        name = f"{letter}_" + "".join(rng.choice(list("abcdefghijkmnpqrstuvwxyz23456789"), 8))
        if letter != "p":
            time_s = np.arange(int(RATE * seconds)) / RATE
            audio.write(study.study / "stimuli" / f"{name}.wav", 0.1 * np.sin(2 * np.pi * frequency * time_s), RATE)
        return name

    pages, key = [], {}
    for number, dimension in enumerate(dimensions, 1):
        for prompt in range(-1 if training and number == 1 else 0, prompts):
            page, ids = new("p"), []
            for index, system in enumerate(SYSTEMS[protocol]):
                ids.append(new("s", 300.0 * (index + 1)))
                key[ids[-1]] = schema.Stimulus(
                    system, f"prompt{prompt}", "system", page, f"{system}.wav", "0" * 64, 0.0, 0
                )
            reference = new("s") if protocol == "mushra" else None
            if reference:
                key[reference] = schema.Stimulus(
                    "reference", f"prompt{prompt}", "reference", page, "r.wav", "0" * 64, 0.0, 0
                )
            text = f"A calm piano piece with a slow beat, number {prompt}" if dimension == "rel" else ""
            pages.append(schema.Page(page, f"p{number}", text, sorted(ids), reference, training=prompt < 0))
    check = [schema.HeadphoneTrial(f"{new('h')}.wav", number % 3 + 1) for number in range(headphones)]
    content = schema.to_json(schema.Key("test", "salt", 0, "0" * 64, key))
    packet = schema.Packet(
        "test", "Which sounds better?", protocol,
        [schema.Dimension(name, QUESTIONS[name], scale, step, LABELS, name == "rel") for name in dimensions],
        [schema.Pass(f"p{number}", name) for number, name in enumerate(dimensions, 1)],
        sorted(pages, key=lambda page: page.page_id),
        schema.AudioFacts(RATE, 1, seconds, int(RATE * seconds), -23.0, -3.0),
        schema.Rules(), ["en", "de"], CONSENT, bool(check), check, schema.sha256(content), "0",
    )  # fmt: skip
    rows = [
        schema.Assignment(slot, position, page.page_id, tuple(np.roll(page.stimuli, slot)))
        for slot in range(slots)
        for position, page in enumerate(pages)
    ]
    study.key.mkdir(mode=0o700)
    (study.key / "key.json").write_text(content, encoding="utf-8")
    (study.study / "packet.json").write_text(schema.to_json(packet), encoding="utf-8")
    (study.study / "assignments.csv").write_text(schema.write_assignments(rows), encoding="utf-8")
    return study.study


class Server:
    """`magnet-eval study serve` in a process of its own, that can be killed and started again on the same port."""

    def __init__(self, study):
        self.study, self.port, self.process, self.log = study, 0, None, study.with_name("server.log")

    def start(self):
        words = ["study", "serve", f"study={self.study}", f"port={self.port}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "magnet_eval", *words], stderr=log, stdout=log)
        end = time.monotonic() + 60
        while "answers:" not in (text := self.log.read_text()):
            assert self.process.poll() is None and time.monotonic() < end, text
            time.sleep(0.02)
        self.url = text.split("listeners: ")[1].split()[0].rstrip("/")
        self.admin = text.split("progress:")[1].split()[0]
        self.port = int(self.url.rpartition(":")[2])
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(hand_packet):
    """Starts servers in processes of their own; all are ended."""
    started = []

    def start(**options):
        started.append(Server(hand_packet(**options)))
        return started[-1].start()

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def listener(chromium):
    """Opens pages, each in a browser profile of its own; fails if one of them logged an error or left the server."""
    contexts, problems = [], []

    def open_page(url, errors=True, **options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        origin = "/".join(url.split("/")[:3])
        page.on("request", lambda request: request.url.startswith((origin, "blob:")) or problems.append(request.url))
        if errors:
            page.on("console", lambda line: line.type == "error" and problems.append(line.text))
        page.goto(url)
        return page

    yield open_page
    with contextlib.suppress(Exception):
        for context in contexts:
            context.close()
    assert problems == []


@pytest.fixture
def site(hand_packet):
    """Starts servers in this process: their site, with its url."""
    with contextlib.ExitStack() as stack:

        def start(**options):
            site = serving.site_of(hand_packet(**options))
            site.url = stack.enter_context(serving.running(site))
            return site

        yield start
