"""What lies in the folders of a study, and its reading and writing. The nouns of a listening test.

    STUDY/             all that a listener may see: packet.json, assignments.csv, stimuli/*.wav, strings/, the page
    STUDY.key/         never served: key.json (what each stimulus is), plan.json (what was decided beforehand)
    STUDY.responses/   answers.sqlite, ratings.jsonl
    STUDY.analysis/    what they say
    STUDY.rehearsal/   as STUDY.responses, of synthetic raters; STUDY.rehearsal.analysis/ what they say

Conventions: ids are a letter, an underscore and 8 of a-z0-9, so that no parser takes one for a number; times in
seconds, rates in Hz, levels in LUFS, dBTP and dB.
"""

import csv
import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from magnet_eval.lookup import UserError, check
from magnet_eval.study.folders import Folders
from magnet_eval.typed import typed

SCHEMA_VERSION = 1
PROTOCOLS = {  # what each shows on a page
    "multi_nr": "all systems side by side, without a reference (in the manner of ITU-R BS.2132)",
    "mushra": "all systems beside an open reference, with a hidden one and anchors (ITU-R BS.1534-3)",
    "ab": "two systems, the better one or a tie",
    "acr": "one clip a page (absolute category rating, ITU-T P.800)",
}
ROLES = ("system", "reference", "gold", "anchor35", "anchor70", "repeat")
ID = re.compile(r"[a-z]_[a-z0-9]{8}")
T = TypeVar("T")


@dataclass(frozen=True)
class Dimension:
    """One question and its scale."""

    id: str  # ovl, rel, ...
    question: dict[str, str]  # by language
    scale: list[float]  # its ends, low and high
    step: float
    labels: dict[str, list[str]]  # by language: five, from the low end to the high one
    show_prompt: bool  # whether the listener reads what the clips were made from


@dataclass(frozen=True)
class Pass:
    """One sitting: every page of it asks the same question."""

    pass_id: str  # p1, p2, ...
    dimension: str  # id of a dimension


@dataclass(frozen=True)
class Page:
    """One screen."""

    page_id: str
    pass_id: str
    prompt_text: str  # "" where the pass does not show it
    stimuli: list[str]  # ids, sorted: the order on screen is a slot's
    reference: str | None = None  # id of the open reference, which is not rated
    training: bool = False  # its answers count for nothing


@dataclass(frozen=True)
class AudioFacts:
    """What every stimulus has in common."""

    rate: int
    channels: int
    seconds: float
    n_samples: int  # of each channel
    lufs: float  # integrated loudness (BS.1770)
    peak_dbtp: float  # of the loudest true peak among all stimuli


@dataclass(frozen=True)
class Rules:
    """What a listener must have done before the next page."""

    min_plays: int = 1  # times that every stimulus was heard to its end


@dataclass(frozen=True)
class HeadphoneTrial:
    """Three noises, in one of which only headphones let a pitch be heard. No blinding secret."""

    file: str  # in stimuli/
    answer: int  # 1, 2 or 3: which one


@dataclass(frozen=True)
class Packet:
    """STUDY/packet.json: all that the page knows."""

    study_id: str
    title: str
    protocol: str  # one of PROTOCOLS
    dimensions: list[Dimension]
    passes: list[Pass]  # in order
    pages: list[Page]  # sorted by id
    audio: AudioFacts
    rules: Rules
    languages: list[str]
    consent: dict[str, str]  # by language
    headphone_check: bool
    headphones: list[HeadphoneTrial]
    key_sha256: str  # of key.json: nobody can change the key after the answers came in
    tool_version: str
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuses unknown protocols, and ids that are none or that lead nowhere."""
        check("protocol", self.protocol, PROTOCOLS)
        dimensions = {dimension.id for dimension in self.dimensions}
        passes = {one.pass_id for one in self.passes}
        for one in self.passes:
            check(f"dimension of pass {one.pass_id}", one.dimension, dimensions)
        ids = [page.page_id for page in self.pages] + [name for page in self.pages for name in stimuli_of(page)]
        for page in self.pages:
            check(f"pass of page {page.page_id}", page.pass_id, passes)
        for name in ids:
            if not ID.fullmatch(name):
                raise UserError(f"packet.json: {name!r} is no id; ids look like s_k3f9qd2m. Prepare the study again.")
        if len(set(ids)) < len(ids):
            raise UserError("packet.json: an id is there twice. Prepare the study again.")

    def dimension_of(self, page: Page) -> Dimension:
        """The question of a page."""
        name = next(one.dimension for one in self.passes if one.pass_id == page.pass_id)
        return next(dimension for dimension in self.dimensions if dimension.id == name)


@dataclass(frozen=True)
class Assignment:
    """One row of STUDY/assignments.csv: one page of one slot (the place of one listener), in order of presentation."""

    slot: int
    position: int  # from 0, over all passes
    page_id: str
    stimuli: tuple[str, ...]  # in their order on screen


@dataclass(frozen=True)
class Stimulus:
    """What one stimulus is: an entry of STUDY.key/key.json."""

    system: str  # its label; the role's name for what no system made. A repeat has that of the clip it repeats
    prompt_id: str
    role: str  # one of ROLES
    page_id: str
    source: str  # path of the audio that it was made from
    sha256: str  # of that file
    gain_db: float
    offset: int  # samples of the source that were cut at its start; below 0: zeros put there
    repeat_of: str | None = None  # id of the stimulus of which it is a repeat

    def __post_init__(self) -> None:
        """Refuses unknown roles."""
        check("role", self.role, ROLES)


@dataclass(frozen=True)
class Key:
    """STUDY.key/key.json: what unblinds the study."""

    study_id: str
    salt: str  # ids are hashes with it: who has it and the runs can make them again
    seed: int  # of the selection and of all orders
    plan_sha256: str  # of plan.json, which the packet's hash of the key commits to as well
    stimuli: dict[str, Stimulus]  # by id
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Plan:
    """STUDY.key/plan.json: what was decided before the first answer."""

    study_id: str
    protocol: str
    dimensions: list[str]
    systems: list[str]
    tests: list[str]
    alpha: float
    margin: float  # in points of the scale: systems that differ by less count as equivalent
    exclusions: list[str]  # names of screening rule sets
    raters: int
    prompts: int
    prompts_per_rater: int
    left_out: list[str] = field(default_factory=list)  # prompts that were asked to be left out
    runs: list[str] = field(default_factory=list)  # run folders
    schema_version: int = SCHEMA_VERSION


def stimuli_of(page: Page) -> list[str]:
    """Ids of all stimuli of a page, the open reference included."""
    return [*page.stimuli, *([page.reference] if page.reference else [])]


def to_json(thing: Any) -> str:
    """A packet, key or plan as the text of its file."""
    return json.dumps(dataclasses.asdict(thing), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def sha256(text: str | bytes) -> str:
    """Sha256 (hex)."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def read_packet(folders: Folders) -> Packet:
    """STUDY/packet.json. Raises UserError, naming the file, if it is not there or is none."""
    return _read(Packet, folders.study / "packet.json")


def read_plan(folders: Folders) -> Plan:
    """STUDY.key/plan.json. Raises UserError, naming the file, if it is not there or is none."""
    return _read(Plan, folders.key / "plan.json")


def read_key(folders: Folders, packet: Packet | None = None) -> Key:
    """STUDY.key/key.json. Raises UserError if it is not there, is none, or not the one that the packet commits to."""
    path = folders.key / "key.json"
    packet = packet or read_packet(folders)
    if path.is_file() and sha256(path.read_bytes()) != packet.key_sha256:
        raise UserError(
            f"{path} is not the key that {folders.study.name}/packet.json was made with: its sha256 is another. "
            "It was changed, or belongs to another packet; bring the original back."
        )
    return _read(Key, path)


def write_assignments(rows: Iterable[Assignment]) -> str:
    """The text of assignments.csv."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["slot", "position", "page_id", "stimuli"])
    writer.writerows([row.slot, row.position, row.page_id, " ".join(row.stimuli)] for row in rows)
    return file.getvalue()


def read_assignments(folders: Folders) -> list[Assignment]:
    """STUDY/assignments.csv in order. Raises UserError, naming the line, if it is not there or a row is none."""
    path = folders.study / "assignments.csv"
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines)
            return [_assignment(row, f"{path}, line {rows.line_num}") for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}. Prepare the study again.") from error


def _assignment(row: dict[str, str], where: str) -> Assignment:
    try:
        stimuli = tuple(row["stimuli"].split())
        return Assignment(int(row["slot"]), int(row["position"]), row["page_id"], stimuli)
    except (KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{where} is no assignment (slot,position,page_id,stimuli). Prepare the study again."
        ) from error


def _read(kind: type[T], path: Path) -> T:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise UserError(f"it has schema_version {version}; this magnet-eval reads {SCHEMA_VERSION}.")
        return typed(kind, values)
    except OSError as error:
        raise UserError(f"no {path}: {error.strerror}. Prepare a study first: magnet-eval study prepare.") from error
    except ValueError as error:  # not JSON, or, as a UserError, not what it should be
        raise UserError(f"{path} is damaged: {error}") from error
