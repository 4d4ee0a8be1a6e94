"""The leak check: whether anything in STUDY/ tells a listener, or who reads the browser's traffic, what made a clip.

Whatever is not known to be harmless is a leak: other files, sizes, headers, levels or times, texts with a word of the
key in them. It says all that it finds, not only the first.
"""

import json
import re
import stat
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from magnet_eval.lookup import UserError
from magnet_eval.store import file_hash
from magnet_eval.study import schema
from magnet_eval.study.packet import levels, sounds
from magnet_eval.study.packet.questions import read_questions
from magnet_eval.study.schema import ROLES, Folders, Key, Packet

PAGE = Path(__file__).parents[1] / "page"
OWN = ("packet.json", "assignments.csv", "SHA256SUMS")
HEADER = 44  # bytes of a WAV file that says its format and nothing else
OFF = 0.1  # LU that a file's loudness may be off
SHORT = 3  # letters below which a word of the key is not looked for: it would be found everywhere
PART = 4  # letters from which on a part of a label is looked for
FIELD = "audio music noise song sound speech text voice"  # what studies are about, and labels as well: tells nothing
SHOWN = 10  # problems in a message


@dataclass(frozen=True)
class Checked:
    """What a packet without leaks has."""

    n_stimuli: int
    n_bytes: int  # of each
    lufs: tuple[float, float]  # lowest and highest
    peak_dbtp: float  # highest
    n_words: int  # of the key, looked for everywhere


def check(folders: Folders) -> Checked:
    """What was checked. Raises UserError with all that leaks, or that does not fit together."""
    packet = schema.read_packet(folders)
    key = schema.read_key(folders, packet)
    words = secrets_of(key, schema.read_plan(folders).runs)
    sums = {path: file_hash(path) for path in files_of(folders.study) if path.is_file()}
    problems = [
        *of_key(folders, key, packet),
        *of_files(folders, packet, sums),
        *of_design(folders, packet),
        *of_words(folders, packet, words),
        *of_labels(packet, key),
        *of_headers(folders, packet),
    ]
    if problems:  # levels can be measured in files that are none
        raise _found(folders, problems)
    stimuli = [path_of(folders, name) for name in key.stimuli]
    measured = loudness_of({sums[path]: path for path in stimuli}, packet)
    if problems := list(of_levels(measured, packet)):
        raise _found(folders, problems)
    lufs = [level.lufs for level in measured.values()]
    peak = max(level.dbtp for level in measured.values())
    return Checked(len(stimuli), stimuli[0].stat().st_size, (min(lufs), max(lufs)), peak, len(words))


def secrets_of(key: Key, runs: Iterable[str]) -> set[str]:
    """Words that no listener may come across."""
    found = {key.salt, str(key.seed), *(Path(run).name for run in runs)}
    for entry in key.stimuli.values():
        source = Path(entry.source)
        found |= {entry.system, entry.prompt_id, entry.sha256, entry.source, source.name, source.stem}
    found = {word for word in found if len(word) >= SHORT and not (word.isdecimal() and len(word) < 2 * SHORT)}
    return found - {"reference"} | set(ROLES) - {"system", "reference", "repeat"}


def files_of(folder: Path) -> list[Path]:
    """Everything in a folder and below, but folders, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def path_of(folders: Folders, name: str) -> Path:
    """The file of a stimulus."""
    return folders.study / "stimuli" / f"{name}.wav"


def of_key(folders: Folders, key: Key, packet: Packet) -> Iterator[str]:
    """Whether the key is shut, unchanged and of this packet."""
    if stat.S_IMODE(folders.key.stat().st_mode) & 0o077:
        yield f"{folders.key} can be read by others; type chmod 700 {folders.key}"
    if schema.sha256((folders.key / "plan.json").read_bytes()) != key.plan_sha256:
        yield f"{folders.key / 'plan.json'} was changed since the packet was made"
    shown = {name for page in packet.pages for name in schema.stimuli_of(page)}
    for name in sorted(shown ^ set(key.stimuli)):
        yield f"{name} is in {'the packet, not in the key' if name in shown else 'the key, not in the packet'}"


def of_files(folders: Folders, packet: Packet, sums: dict[Path, str]) -> Iterator[str]:
    """Whether there is what should be and nothing else, unchanged, of one date."""
    page = {path.relative_to(PAGE).as_posix() for path in files_of(PAGE)}
    heard = {f"{name}.wav" for one in packet.pages for name in schema.stimuli_of(one)}
    expected = {*OWN, *page, *(f"stimuli/{name}" for name in heard | {trial.file for trial in packet.headphones})}
    found = {path.relative_to(folders.study).as_posix(): path for path in files_of(folders.study)}
    for name in sorted(expected - set(found)):
        yield f"{name} is missing"
    for name in sorted(set(found) - expected):
        yield f"{name} does not belong there"
    lines = found["SHA256SUMS"].read_text(encoding="utf-8").splitlines() if "SHA256SUMS" in found else []
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name, path in found.items():
        if path.is_symlink():
            yield f"{name} is a link"
        elif name != "SHA256SUMS" and listed.get(name) != sums[path]:
            yield f"{name} is not as SHA256SUMS says"
        if path.lstat().st_mtime != sounds.MTIME:
            yield f"{name} has a date of its own; copy packets with their dates (cp -p, zip)"


def of_design(folders: Folders, packet: Packet) -> Iterator[str]:
    """Whether orders tell nothing and prompts are shown only where they should be."""
    ids = [page.page_id for page in packet.pages]
    if ids != sorted(ids):
        yield "pages in packet.json are not in the order of their ids"
    pages = {page.page_id: page for page in packet.pages}
    for page in packet.pages:
        if page.stimuli != sorted(page.stimuli):
            yield f"stimuli of page {page.page_id} are not in the order of their ids"
        if page.prompt_text and not packet.dimension_of(page).show_prompt:
            yield f"page {page.page_id} shows its prompt, which its question hides"
    for row in schema.read_assignments(folders):
        if row.page_id not in pages or sorted(row.stimuli) != pages[row.page_id].stimuli:
            yield f"slot {row.slot}, position {row.position} of assignments.csv is no page of packet.json"


def of_words(folders: Folders, packet: Packet, words: set[str]) -> Iterator[str]:
    """Whether a word of the key is in a name or a text. Files of the page as they were shipped cannot have any."""
    alternatives = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    secret = re.compile(rf"(?<![a-z0-9])(?:{alternatives})(?![a-z0-9])", re.IGNORECASE)
    for path in files_of(folders.study):
        name = path.relative_to(folders.study).as_posix()
        shipped = PAGE / name
        if path.suffix == ".wav" or (shipped.is_file() and shipped.read_bytes() == path.read_bytes()):
            texts = [name]
        elif name == "packet.json":
            texts = [name, *strings(json.loads(path.read_text(encoding="utf-8")))]
        else:
            texts = [name, path.read_text(encoding="utf-8", errors="replace")]
        for word in sorted({match[0] for text in texts for match in secret.finditer(text)}):
            yield f"{name} has {word!r} in it, a word of the key"


def of_labels(packet: Packet, key: Key) -> Iterator[str]:
    """Whether a text of this study has a part of a system's label: MAGNeT, of magnet-small.

    Words of the prompts and of the field, and those that every study says, tell nothing, whatever systems are called.
    """
    parts = vocabulary(entry.system for entry in key.stimuli.values() if entry.role == "system")
    shipped = [json.loads(path.read_text(encoding="utf-8")) for path in (PAGE / "strings").iterdir()]
    shipped.append(asdict(read_questions()))
    parts -= vocabulary([FIELD, *strings(shipped), *(page.prompt_text for page in packet.pages)])
    questions = [text for one in packet.dimensions for text in one.question.values()]
    for name, texts in {"title": [packet.title], "question": questions, "consent": packet.consent.values()}.items():
        for part in sorted(parts & vocabulary(texts)):
            yield f"the {name} has {part!r} in it, a part of a system's label; say it in other words"


def vocabulary(texts: Iterable[str]) -> set[str]:
    """The words of PART letters and more, in lower case."""
    return {word.lower() for text in texts for word in re.findall(rf"[^\W\d_]{{{PART},}}", text)}


def strings(value: Any) -> Iterator[str]:
    """All texts in a JSON value, but those of prompts, which are what they are."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name != "prompt_text":
                yield from strings(one)


def of_headers(folders: Folders, packet: Packet) -> Iterator[str]:
    """Whether all files have one length, rate and number of channels, and nothing in them but samples."""
    facts = packet.audio
    heard = sorted(path_of(folders, name) for page in packet.pages for name in schema.stimuli_of(page))
    for path in (path for path in heard if path.is_file()):
        yield from _of_header(path, header(facts.rate, facts.channels, facts.n_samples))
    trials = [folders.study / "stimuli" / trial.file for trial in packet.headphones]
    sizes = Counter(path.stat().st_size for path in trials if path.is_file())
    for path in (path for path in trials if path.is_file()):
        n_samples = (sizes.most_common(1)[0][0] - HEADER) // 4
        yield from _of_header(path, header(facts.rate, 2, n_samples))


def header(rate: int, channels: int, n_samples: int) -> bytes:
    """The first HEADER bytes of a 16-bit WAV file with nothing but samples in it."""
    n_bytes = 2 * channels * n_samples
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    return b"RIFF" + struct.pack("<I", n_bytes + HEADER - 8) + b"WAVEfmt " + form + b"data" + struct.pack("<I", n_bytes)


def _of_header(path: Path, expected: bytes) -> Iterator[str]:
    size = HEADER + struct.unpack("<I", expected[-4:])[0]
    if path.stat().st_size != size:
        yield f"{path.name} has {path.stat().st_size} bytes, {size} are right"
    else:
        with path.open("rb") as file:
            if file.read(HEADER) != expected:
                yield f"{path.name} has another header: its rate or channels differ, or it carries metadata"


def loudness_of(files: dict[str, Path], packet: Packet) -> dict[str, levels.Level]:
    """The level of each file by its name; ``files`` by hash, so that none is measured twice."""

    def level(path: Path) -> levels.Level:
        samples = np.frombuffer(path.read_bytes()[HEADER:], "<i2").reshape(-1, packet.audio.channels).T
        return levels.measure(samples / np.float32(32768), packet.audio.rate, path.name)

    with ThreadPoolExecutor() as pool:  # filters and resampler run beside each other
        return dict(zip((path.name for path in files.values()), pool.map(level, files.values()), strict=True))


def of_levels(measured: dict[str, levels.Level], packet: Packet) -> Iterator[str]:
    """Whether all are equally loud and none passes the peak limit."""
    for name, level in measured.items():
        if abs(level.lufs - packet.audio.lufs) > OFF:
            yield f"{name} has {level.lufs:.1f} LUFS, the packet says {packet.audio.lufs:.1f}"
        if level.dbtp > levels.PEAK:
            yield f"{name} peaks at {level.dbtp:.2f} dBTP, allowed is {levels.PEAK:g}"


def _found(folders: Folders, problems: list[str]) -> UserError:
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    listed = "; ".join(problems[:SHOWN]) + more
    return UserError(f"{folders.study} is not fit for listeners: {len(problems)} problems. {listed}.")
