"""Odd clips: found by kind, counted, said once, and never left out."""

import hashlib
import logging

import numpy as np
import pytest

from magnet_eval import audio, inspection
from magnet_eval.records import Clip, Prompt

RATE = 16_000


@pytest.fixture
def world(tmp_path):
    """Clips by name: a tone, silence, clipping, half the length, the tone again, and a MAGNeT's whole spans."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    made = {
        "tone": tone, "silence": 0 * tone, "clipped": np.clip(100 * tone, -1, 1), "half": tone[:RATE], "again": tone,
        "spans": tone[: int(2 * RATE * 48 / 50)] * 0.5,
    }  # fmt: skip
    clips = []
    for name, samples in made.items():
        path = tmp_path / f"{name}.wav"
        audio.write(path, samples, RATE)
        frames = (50, 48) if name == "spans" else (0, 0)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        clips.append(Clip(name, "system", path.name, RATE, len(samples), 0, sha256, "", *frames))
    return tmp_path, clips, {name: Prompt(name, name, 2.0) for name in made}


def test_every_kind_is_found_and_nothing_else(world):
    root, clips, prompts = world
    found = {(fault.kind, fault.clips) for fault in inspection.inspect(root, root / "cache", clips, prompts)}
    assert found == {
        ("silent", ("silence",)), ("clipped", ("clipped",)), ("short", ("half",)), ("duplicate", ("tone", "again")),
    }  # fmt: skip
    line = inspection.summary(inspection.inspect(root, root / "cache", clips, prompts), len(clips))
    assert line == "5 of 6 clips are odd: 2 duplicate, 1 silent, 1 clipped, 1 short"
    assert inspection.summary([], 6) == ""


def test_clips_are_read_once_and_a_damaged_cache_is_made_anew(world, monkeypatch):
    root, clips, prompts = world
    first = inspection.inspect(root, root / "cache", clips, prompts)
    (cached,) = (root / "cache").glob("*.json")
    monkeypatch.setattr(audio, "read", lambda path: pytest.fail("read again"))
    assert inspection.inspect(root, root / "cache", clips, prompts) == first
    monkeypatch.undo()
    cached.write_text("{")
    assert inspection.inspect(root, root / "cache", clips, prompts) == first


def test_a_lost_clip_is_somebody_elses_failure(world):
    root, clips, prompts = world
    (root / "silence.wav").unlink()
    kinds = [fault.kind for fault in inspection.inspect(root, root / "cache", clips, prompts)]
    assert "silent" not in kinds and "clipped" in kinds


def test_a_run_says_what_is_odd_and_scores_it_all_the_same(world, caplog, tmp_path, monkeypatch):
    from magnet_eval import config, scoring
    from magnet_eval.progress import silent
    from magnet_eval.store import RunFolder

    root, clips, prompts = world
    folder = RunFolder(tmp_path / "run-v1")
    folder.write_prompts(list(prompts.values()))
    for clip in clips:
        target = folder.audio("system", clip.prompt_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / clip.path).read_bytes())
    moved = [
        Clip(c.prompt_id, "system", f"system/audio/{c.prompt_id}.wav", RATE, c.n_samples, 0, c.sha256, "")
        for c in clips
    ]
    folder.write_clips("system", moved)
    protocol = config.Protocol(version=1, name="run", systems=[config.System("magnet-tiny", "system")])
    with caplog.at_level(logging.WARNING):
        scoring.score(protocol, folder, silent)
    assert "system: 6 of 6 clips are odd" in caplog.text
    assert {fault["kind"] for fault in folder.manifest()["checks"]["system"]["faults"]} >= {"silent", "duplicate"}
