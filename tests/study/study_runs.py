"""Run folders of short noises to prepare studies from, without any model."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from magnet_eval import audio
from magnet_eval.config import Protocol, System
from magnet_eval.records import Clip, Prompt
from magnet_eval.store import RunFolder, file_hash

RATE = 16000
SYSTEMS = ("alpha-net", "beta-net", "gamma-net")
STYLES = ("waltz", "march")


def make_run(folder: Path, *, systems=SYSTEMS, prompts=6, seconds=1.0, rate=RATE, real=True) -> RunFolder:
    """A finished run: each clip is coloured noise of its own level; each prompt has a real clip."""
    run = RunFolder(folder)
    ids = [f"prompt-{number:02}" for number in range(prompts)]
    rng = np.random.default_rng(0)
    for name in ids if real else ():
        audio.write(folder / "real" / f"{name}.wav", noise(rng, seconds, rate, 0.05), rate)
    run.write_prompts(
        Prompt(
            name,
            f"a {STYLES[i % 2]}, number {i}",
            seconds,
            {"style": STYLES[i % 2]},
            str(folder / "real" / f"{name}.wav") if real else "",
        )
        for i, name in enumerate(ids)
    )
    protocol = Protocol(1, [System(name) for name in systems], name="noises")
    run.update_manifest(protocol=asdict(protocol), systems={name: {} for name in systems}, n_prompts=prompts)
    for index, system in enumerate(systems):
        for name in ids:
            put_clip(run, system, name, noise(rng, seconds, rate, 0.02 * (index + 1)), rate)
    return run


def put_clip(run: RunFolder, system: str, prompt: str, samples: np.ndarray, rate: int = RATE) -> Path:
    """A clip, on record as well, in place of an earlier one."""
    path = run.audio(system, prompt)
    audio.write(path, samples, rate)
    clips = run.all_clips(system)
    clip = Clip(prompt, system, f"{system}/audio/{prompt}.wav", rate, samples.shape[-1], 1, file_hash(path), "key")
    run.write_clips(system, (clips | {prompt: clip}).values())
    return path


def noise(rng: np.random.Generator, seconds: float, rate: int, level: float, channels: int = 1) -> np.ndarray:
    """Noise with a little less in the highs, [channels, T]."""
    white = rng.standard_normal((channels, round(seconds * rate)))
    return (level * (white + np.roll(white, 1, axis=-1))).astype(np.float32)
