"""A generator and an embedder without networks: clips are chords whose loudnesses spell the text, plus seeded noise."""

import hashlib
import os
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from magnet_eval.generators import Generation
from magnet_eval.lookup import UserError

RATE = 8000
TONES = np.arange(1, 9) * 250.0  # Hz
CALLS = Counter()  # what has been done, for tests that nothing is done twice


def spelled(text: str) -> np.ndarray:
    """A vector [8] in 0..1 that stands for a text."""
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], dtype=np.uint8) / 255


class Chords:
    """Makes the chord of a text. decoding.noise is its noise, decoding.stop_after ends the process's work (a crash)."""

    sample_rate = RATE

    def __init__(self, model, *args, **kwargs):
        CALLS["generator built"] += 1
        self.settings = dict(model.decoding or {})

    def generate(self, prompts, seeds):
        CALLS["batches"] += 1
        if CALLS["batches"] == int(os.environ.get("FAKE_CRASH_AT", 0)):
            raise KeyboardInterrupt
        time.sleep(float(os.environ.get("FAKE_SECONDS", 0)))
        made = [self.one(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        orders = [np.full((1, 4), seed % 100, np.uint16) for seed in seeds] if self.settings.get("masked") else []
        return Generation(made, 50, 49, iterations=7, network_evaluations=13, stage_seconds={}, fixed_at=orders)

    def one(self, prompt, seed):
        CALLS["clips"] += 1
        if prompt.text == "no memory":
            raise RuntimeError("out of memory")
        if prompt.text == "no sense":
            raise ValueError("a shape that\ndoes not fit")
        if prompt.text == "too much":
            raise MemoryError
        if prompt.text == "not there":
            raise UserError("no audio file")
        if prompt.text == "all NaN":
            return np.full((1, 100), np.nan, dtype=np.float32)
        t = np.arange(int(prompt.seconds * RATE)) / RATE
        noise = np.random.default_rng(seed).standard_normal(len(t))
        chord = spelled(prompt.text) @ np.sin(2 * np.pi * TONES[:, None] * t)
        return ((0.05 * chord + self.settings.get("noise", 0.05) * noise)[None] / 2).astype(np.float32)


class Choir(Chords):
    """Chords that hear one another: each clip's noise depends on its whole batch. One text takes all others along."""

    def generate(self, prompts, seeds):
        together = zlib.crc32(repr([(prompt.text, seed) for prompt, seed in zip(prompts, seeds, strict=True)]).encode())
        return super().generate(prompts, [seed + together for seed in seeds])


class Ear:
    """Hears the loudness of each tone in four parts of a clip; reads texts into the same space."""

    name = "ear"
    version = "1"
    sample_rate = RATE
    files = (Path(__file__),)

    def __init__(self, device="cpu"):
        CALLS["embedder built"] += 1

    def fingerprint(self):
        return hashlib.sha256(self.version.encode()).hexdigest()

    def embed(self, audio):
        CALLS["embedded"] += 1
        parts = np.array_split(np.asarray(audio, dtype=np.float64), 4)
        frames = []
        for part in parts:
            waves = np.exp(-2j * np.pi * TONES[:, None] * np.arange(len(part)) / RATE)
            frames.append(np.abs(waves @ part) / len(part))
        return np.array(frames, dtype=np.float32)

    def embed_text(self, texts):
        CALLS["texts embedded"] += len(texts)
        return np.array([spelled(text) for text in texts], dtype=np.float32)
