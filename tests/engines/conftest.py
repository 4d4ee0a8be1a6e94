"""A small world for engines: two stub systems over twelve captions, run to the end or to an interruption."""

import json
from pathlib import Path

import pytest

from magnet_eval import config, pipeline

TESTS = Path(__file__).resolve().parents[1]
N_PROMPTS = 12
FAMILIES = {"plain": "pipeline_fakes:Chords", "choir": "pipeline_fakes:Choir"}


@pytest.fixture
def fakes_on_path(monkeypatch):
    for folder in (TESTS, TESTS / "engines"):
        monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def world(fakes_on_path, tmp_path, monkeypatch):
    """run(name, engine, workers) -> what lies in the run folder afterwards: its path and its files but the manifest."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name, family in FAMILIES.items():
        padding = {"padding": "reference"} if name == "choir" else {}
        (tmp_path / "models" / f"{name}.yaml").write_text(json.dumps({"family": family, **padding}))
    texts = [f"melody number {i}" for i in range(N_PROMPTS)]
    texts[5] = "no memory"  # fails, as does its whole batch where batches are whole
    write_captions(tmp_path, texts)

    def run(name, engine="local", workers=1, systems=("plain", "choir"), **settings):
        protocol = config.Protocol(
            version=1,
            name="fake",
            systems=[config.System(system) if isinstance(system, str) else system for system in systems],
            prompts=config.Prompts(source="jsonl", path="captions.jsonl", seconds=0.25),
            generation=config.Generation(batch=2, device="cpu"),
        )
        chosen = config.Run(protocol=protocol, results=name, engine=engine, workers=workers, **settings)
        folder = pipeline.generate(chosen)
        return folder, contents(folder.path), folder.failures()

    return run


def write_captions(home, texts):
    rows = [json.dumps({"id": f"p{i:02}", "text": text}) for i, text in enumerate(texts)]
    (home / "captions.jsonl").write_text("\n".join(rows))


def contents(path):
    """Every file of a run folder but those that tell of times and processes."""
    files = (file for file in path.rglob("*") if file.is_file() and file.name not in ("manifest.json", ".lock"))
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def deadly(world, tmp_path):
    """A system that is killed by one caption: once, or every time it is asked for it."""
    (tmp_path / "models" / "fragile.yaml").write_text(json.dumps({"family": "engine_fakes:Fragile"}))
    write_captions(tmp_path, ["deadly" if i == 3 else f"melody number {i}" for i in range(N_PROMPTS)])

    def system(once):
        return config.System("fragile", "fragile", {"decoding.scar": str(tmp_path / "scar")} if once else {})

    return system
