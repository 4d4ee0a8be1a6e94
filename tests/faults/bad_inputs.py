"""More than forty mistakes that users make: words, YAML, captions, audio, models, run folders, places.

Each is done to a world (see faults_world.py) in which the clips of protocol stub are finished, and is refused in one
line that holds every text of ``says``. Finished clips are then still there.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Bad:
    """A mistake: what is typed, how the world is spoilt before, and what the line must hold."""

    name: str
    words: str
    says: tuple[str, ...]
    spoil: Callable[[Path], object] = lambda home: None


def put(name: str, content: str | bytes) -> Callable[[Path], object]:
    """Writes a file of the world."""

    def spoil(home: Path) -> None:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def protocol(**changes: object) -> Callable[[Path], object]:
    """Writes protocols/bad.yaml: the stub's with changes."""

    def spoil(home: Path) -> None:
        known = json.loads((home / "protocols" / "stub.yaml").read_text())
        (home / "protocols" / "bad.yaml").write_text(json.dumps(known | changes))

    return spoil


def captions(content: str | bytes, name: str = "bad.jsonl") -> Callable[[Path], object]:
    """Writes a captions file and protocols/bad.yaml over it."""

    def spoil(home: Path) -> None:
        put(name, content)(home)
        protocol(prompts={"source": "jsonl", "path": name, "seconds": 0.1})(home)

    return spoil


def manifest(**fields: object) -> Callable[[Path], object]:
    """Changes fields of the run's manifest."""

    def spoil(home: Path) -> None:
        path = home / "results" / "stub-v1" / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return spoil


def row(**cells: object) -> str:
    return json.dumps({"id": "a", "text": "a bell"} | cells) + "\n"


def reference(home: Path) -> None:
    (home / "empty").mkdir()
    protocol(reference={"source": "folder", "path": "empty"})(home)


NAN = np.full(8, np.nan, np.float32).tobytes()
RUN, GENERATE, BAD = "run protocol=stub", "generate protocol=stub", "generate protocol=bad"
BAD_INPUTS = [
    Bad("a misspelt verb", "genrate protocol=stub", ("'genrate'", "Did you mean generate")),
    Bad("a misspelt option", "generate protcol=stub", ("'protcol'", "Did you mean protocol")),
    Bad("a protocol that is not there", "generate protocol=stb", ("unknown protocol 'stb'", "stub")),
    Bad("a flag of another tool", "generate --seed=1", ("'--seed=1'", "seed=")),
    Bad("a seed that is no number", f"{GENERATE} seed=one", ("seed must be a whole number", "'one'")),
    Bad("a seed below zero", f"{GENERATE} seed=-1", ("seed", "-1")),
    Bad("no clips at a time", f"{GENERATE} batch=0", ("batch", "0")),
    Bad("an unknown device", f"{GENERATE} device=gpu", ("unknown device 'gpu'", "cpu")),
    Bad("an unknown system", f"{GENERATE} systems=[stub9]", ("unknown system 'stub9'", "stub1")),
    Bad("half a bracket", f"{GENERATE} systems=[stub0", ("[stub0", "quotes")),
    Bad("no seconds", f"{GENERATE} protocol.prompts.seconds=0",
        ("prompts.seconds must be between 0.1 and 600", "got 0")),
    Bad("an unknown format", "report protocol=stub format=docx", ("unknown format 'docx'", "html")),
    Bad("a metric that is not there", "run protocol=bad", ("fad_vgish", "Did you mean fad_vggish"),
        protocol(metrics={"fad_vgish": {}})),
    Bad("YAML that is none", BAD, ("bad.yaml", "no YAML"), put("protocols/bad.yaml", "version: [1\nsystems: {")),
    Bad("YAML of another kind", BAD,
        ("bad.yaml", "must be a mapping"), put("protocols/bad.yaml", "- just\n- a list\n")),
    Bad("YAML in another encoding", BAD, ("bad.yaml", "no YAML"), put("protocols/bad.yaml", b"title: \xff\xfe\x00")),
    Bad("YAML that would make an object", BAD, ("bad.yaml", "no YAML"),
        put("protocols/bad.yaml", "version: !!python/object/apply:os.system ['touch harm']\nsystems: [stub0]\n")),
    Bad("YAML nested without end", BAD, ("bad.yaml", "recursion"), put("protocols/bad.yaml", "a: " + "[" * 5000)),
    Bad("a folder in place of a protocol", BAD, ("bad.yaml", "Is a directory"),
        lambda home: (home / "protocols" / "bad.yaml").mkdir()),
    Bad("a protocol with an unknown key", BAD, ("unknown key 'sytems'", "systems"), protocol(sytems=["stub0"])),
    Bad("a protocol without systems", BAD, ("systems is empty",), protocol(systems=[])),
    Bad("two systems of one label", BAD, ("two systems are labelled 'stub0'",), protocol(systems=["stub0", "stub0"])),
    Bad("a label that leaves the folder", BAD, ("'../out' is no folder name",),
        protocol(systems=[{"model": "stub0", "label": "../out"}])),
    Bad("a model family that is not there", BAD, ("unknown family 'maskd'", "masked"),
        lambda home: (put("models/bad.yaml", "family: maskd\n")(home), protocol(systems=["bad"])(home))),
    Bad("a model without its checkpoint", BAD, ("nowhere",), lambda home: (
        put("models/bad.yaml", "family: masked\ncheckpoint: nowhere\ntext: nowhere\ncodec: nowhere\n")(home),
        protocol(systems=["bad"])(home))),
    Bad("captions that are not there", BAD, ("no captions file gone.jsonl",),
        protocol(prompts={"source": "jsonl", "path": "gone.jsonl"})),
    Bad("captions without a row", BAD, ("prompt list", "is empty"), captions("")),
    Bad("a torn line of captions", BAD, ("bad.jsonl, line 2 is no JSON",), captions(row() + '{"id": "b", "te')),
    Bad("captions nested without end", BAD, ("bad.jsonl, line 1 is no JSON",), captions("[" * 100_000)),
    Bad("half a character", BAD, ("prompt 'a'", "ud800", "no character"), captions('{"id": "a", "text": "\\ud800"}')),
    Bad("a caption without text", BAD, ("bad.jsonl, line 1 needs a text",), captions('{"id": "a"}\n')),
    Bad("an empty caption", BAD, ("prompt 'a'", "empty"), captions(row(text="  "))),
    Bad("an id twice", BAD, ("prompt id 'a' occurs 2 times",), captions(row() + row())),
    Bad("an id that leaves the folder", BAD, ("'../../etc/passwd' cannot name a file",),
        captions(row(id="../../etc/passwd"))),
    Bad("captions that are no text", BAD, ("cannot read bad.jsonl", "UTF-8"), captions(b"\x89PNG\r\n\x1a\n\x00\xff")),
    Bad("a CSV without the columns", BAD, ("bad.csv, line 2 needs a text",), captions("who,what\na,b\n", "bad.csv")),
    Bad("a CSV with a NUL", BAD, ("prompt 'a'", "control character"), captions(b"id,text\na,a \x00 bell\n", "bad.csv")),
    Bad("audio of a caption that is not there", BAD, ("names the audio 'gone.wav'",), captions(row(file="gone.wav"))),
    Bad("real clips that are not there", "run protocol=bad", ("there is no folder nowhere",),
        protocol(reference={"source": "folder", "path": "nowhere"})),
    Bad("a folder of real clips without any", "run protocol=bad", ("empty holds neither",), reference),
    Bad("a damaged manifest", RUN, ("manifest.json is damaged", "Remove it and run again; clips are kept"),
        put("results/stub-v1/manifest.json", '{"protocol": {')),
    Bad("a manifest of another kind", RUN, ("manifest.json is damaged",), put("results/stub-v1/manifest.json", "[]")),
    Bad("pruned is a list", "prune run=results/stub-v1 yes=true", ("manifest.json is damaged (its pruned",),
        manifest(pruned=[])),
    Bad("a system is a number", "score protocol=stub", ("manifest.json is damaged (its systems",),
        manifest(systems={"stub0": 3})),
    Bad("an engine that is a function", f"{GENERATE} engine=os:getcwd", ("engine 'os:getcwd' cannot be made", "local")),
    Bad("an engine that reads", f"{GENERATE} engine=json:loads", ("engine 'json:loads' cannot be made",)),
    Bad("an engine that makes none", f"{GENERATE} engine=builtins:str", ("'builtins:str' makes no engine",)),
    Bad("an engine without a module", f"{GENERATE} engine=:x", ("engine ':x' cannot be imported",)),
    Bad("a label that is the manifest", BAD, ("'manifest.json' is no folder name",),
        protocol(systems=[{"model": "stub0", "label": "manifest.json"}])),
    Bad("a label that is the scores", BAD, ("'Scores.jsonl' is no folder name",),
        protocol(systems=[{"model": "stub0", "label": "Scores.jsonl"}])),
    Bad("a label that is the cache", BAD, ("'cache' is no folder name",),
        protocol(systems=[{"model": "stub0", "label": "cache"}])),
    Bad("another seed for the judges", "score protocol=stub seed=7",
        ("not those asked for", "generation.seed=0 (now 7)", "of stub0", "of stub1", "magnet-eval generate")),
    Bad("other seconds for the judges", "score protocol=stub protocol.prompts.seconds=0.2",
        ("not those asked for", "prompts.seconds=0.1 (now 0.2)")),
    Bad("results that are a file", f"{GENERATE} results=captions.jsonl",
        ("cannot write captions.jsonl", "results=FOLDER")),
    Bad("a folder that is no run", "report run=real", ("real is no run folder",)),
    Bad("nothing to compare", "compare", ("compare needs runs=",)),
    Bad("nothing to score", "score protocol=stub results=elsewhere",
        ("holds no clip to score", "magnet-eval generate")),
]  # fmt: skip
