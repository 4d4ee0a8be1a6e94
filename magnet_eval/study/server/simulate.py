"""Synthetic raters who take part through the real server, so that a whole study can be rehearsed.

A score is mean + rater + prompt + effect of the system + system x prompt + rater x system + residual: crossed random
effects, all normal and independent, cut to the scale (the model that study plan reckons with).
"""

import http.client
import json
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from magnet_eval.lookup import UserError, check
from magnet_eval.progress import Progress
from magnet_eval.study.options import SimulateOptions
from magnet_eval.study.schema import Dimension, Folders, Key, Packet, Page
from magnet_eval.study.server.submission import Answer

MEAN = 55.0  # points of 100 of a system without an effect
ROLES = {"reference": 38.0, "gold": 33.0, "anchor70": -15.0, "anchor35": -32.0}  # points from the mean
SAME = 6.0  # points by which two sounds of a pair must differ to be told apart
AT_ONCE = 4  # raters
PATIENCE = 60.0  # seconds in which a server has to come up again


class Client:
    """One listener's connection. Tries again, as the page does, while the server is away or busy."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        """To http://HOST:PORT."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise UserError(f"url must be http://HOST:PORT of study serve, got {url!r}.")
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)
        self.patience = patience

    def send(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The server's answer. Raises UserError if it refuses, or is away for too long."""
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{path}/{body.get('t_client', '')}"}
        end = time.monotonic() + self.patience
        while True:
            try:
                self.connection.request(method, path, content, headers)
                response = self.connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.connection.close()
                if time.monotonic() > end:
                    raise UserError(
                        f"no answer from {self.connection.host}: {error}. Is study serve running?"
                    ) from error
                time.sleep(0.2)
                continue
            if response.status == 200:
                return answer
            if response.status != 429 and response.status < 500 or time.monotonic() > end:
                raise UserError(f"the server refused {method} {path}: {answer.get('error', response.status)}.")
            time.sleep(float(response.headers.get("Retry-After") or 0.5))


@dataclass(frozen=True)
class Ears:
    """What one rater makes of a stimulus: points of 100, by dimension."""

    key: Key
    packet: Packet
    chosen: SimulateOptions
    rater: int
    careless: bool

    def points(self, stimulus_id: str, dimension: str) -> float:
        """The score before it is cut to the scale."""
        what, options = self.key.stimuli[stimulus_id], self.chosen
        if self.careless:
            return float(self._draw("careless", stimulus_id).uniform(0, 100))
        rater = f"rater {self.rater}"
        residual = options.residual_sd * self._normal(rater, stimulus_id)
        leniency = options.rater_sd * self._normal(rater, dimension)
        if what.system in ROLES:  # plainly better or worse; raters agree about them
            return MEAN + ROLES[what.system] + (leniency + residual) / 4
        return (
            MEAN
            + (options.effects or {}).get(what.system, 0.0)
            + leniency
            + options.item_sd * self._normal(what.prompt_id, dimension)
            + options.system_item_sd * self._normal(what.system, what.prompt_id, dimension)
            + options.rater_system_sd * self._normal(rater, what.system, dimension)
            + residual
        )

    def _normal(self, *names: str) -> float:
        return float(self._draw(*names).standard_normal())

    def _draw(self, *names: str) -> np.random.Generator:
        # The same names give the same draw, whoever asks and in whatever order.
        words = [self.chosen.seed, *b"\0".join(name.encode() for name in names)]
        return np.random.default_rng(words)


def checked(url: str, folders: Folders) -> str:
    """The address of a server of the rehearsal. Raises UserError if people are asked there."""
    url = url.rstrip("/")
    if Client(url).send("GET", "/api/study", {}).get("rehearsal") is not True:
        raise UserError(
            f"{url} collects the answers of people, among which synthetic ones would be lost. "
            f"Serve the rehearsal instead: magnet-eval study serve study={folders}."
        )
    return url


def clear(folders: Folders) -> None:
    """Removes the answers to an earlier rehearsal, and the ratings that were made of them."""
    for path in [*folders.responses.glob("answers.sqlite*"), *folders.responses.glob("ratings.jsonl")]:
        path.unlink()


def simulate(packet: Packet, key: Key, chosen: SimulateOptions, url: str, progress: Progress) -> list[str]:
    """Lets the raters take part, a few at a time; their sessions. Raises UserError if an effect's system is unknown."""
    systems = {what.system for what in key.stimuli.values() if what.role == "system"}
    for name in chosen.effects or {}:
        check("system", name, systems)
    raters = [Ears(key, packet, chosen, rater, rater < chosen.careless) for rater in range(chosen.raters)]
    sessions = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for session in pool.map(lambda ears: take_part(Client(url), ears), raters):
            sessions.append(session)
            progress("raters", len(sessions), len(raters))
    return sessions


def take_part(client: Client, ears: Ears) -> str:
    """One rater from consent to completion code; the session."""
    packet = ears.packet
    total = len(packet.headphones) if packet.headphone_check else None
    facts = {
        "language": packet.languages[0],
        "headphones_total": total,
        "headphones_correct": total,
        "sample_rate": packet.audio.rate,
    }
    begun = client.send("POST", "/api/session", facts)
    pages = {page.page_id: page for page in packet.pages}
    for number, row in enumerate(begun["order"]):
        body = answers_to(pages[row["page_id"]], row["stimuli"], ears) | {"page_no": number}
        client.send("PUT", f"/api/session/{begun['session']}/page/{row['page_id']}", body)
    client.send("POST", f"/api/session/{begun['session']}/finish", {})
    return begun["session"]


def answers_to(page: Page, stimuli: list[str], ears: Ears) -> dict[str, Any]:
    """What the rater sends for one page."""
    dimension, seconds = ears.packet.dimension_of(page), ears.packet.audio.seconds
    points = [ears.points(name, dimension.id) for name in stimuli]
    scores = preference(points) if ears.packet.protocol == "ab" else [on_scale(one, dimension) for one in points]
    times = ears.packet.rules.min_plays
    answers = [
        Answer(name, score, True, times, times * seconds, True, position)
        for position, (name, score) in enumerate(zip(stimuli, scores, strict=True))
    ]
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"scores": [vars(answer) for answer in answers], "comment": "", "t_client": now}


def on_scale(points: float, dimension: Dimension) -> float:
    """Points of 100 on the dimension's scale, in its steps and within its ends."""
    low, high = dimension.scale
    value = low + (high - low) * min(max(points, 0.0), 100.0) / 100
    return float(min(max(low + round((value - low) / dimension.step) * dimension.step, low), high))


def preference(points: list[float]) -> list[float]:
    """The scores of a pair: 100 for the better one, 50 each where they are too close."""
    first, second = points
    if abs(first - second) < SAME:
        return [50.0, 50.0]
    return [100.0, 0.0] if first > second else [0.0, 100.0]
