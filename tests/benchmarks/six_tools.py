"""Scores the same clips by the conventions of every preset, on one network, and writes results/measured/six_tools.md.

The network is musicnn for all, so that what differs is each tool's way alone: level, resampler, 16 bits, padding,
windows, what is stored, and the direction, epsilon and pooling of the KL. Clips are 32 of magnet-tiny, real ones the
embedded reference set, all as 32 kHz files. python tests/benchmarks/six_tools.py
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from magnet_eval import audio, config, embedders, pipeline, stats
from magnet_eval.environment import environment
from magnet_eval.front import prepare
from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.metrics.divergence import softmax_kl
from magnet_eval.metrics.published import on_kept
from magnet_eval.metrics.resampling import bootstrap
from magnet_eval.numerics import DIVERGENCES, FRONTS, OPTIONS, Front
from magnet_eval.prompts import read_reference

ROOT = Path(__file__).resolve().parents[2]
RATE, FILE_RATE, SEED = 16_000, 32_000, 0
QUIETER = 10 ** (-12 / 20)
WINDOWS = {"window": 16_000, "hop": 8_000}  # OpenL3's, which no embedder here has
WHY = {
    "native": "No change of level; windows of 0.96 s end to end; KL(reference || generated) without epsilon.",
    "audiocraft-tf": "Generated clips, not real ones, are brought to -14 LUFS and clamped; those of an RMS below 0.002 "
    "are left as they are, here 8 of the quiet copy. Windows of 1 s every 0.5 s, each file at full scale, so that its "
    "Fréchet distance hears almost no level; its KL holds loud clips against real ones as they are.",
    "audioldm_eval-cnn14": "The mean is subtracted; torchaudio's resampler; epsilon 1e-6.",
    "sam-v1": "Both sides at a peak of -1 dBFS, so that it hears no level; windows of 1 s every 0.5 s; "
    "KL(generated || reference).",
    "av-bench": "The mean is subtracted; torchaudio's resampler; for the KL clips of 5 s are filled with zeros to 10, "
    "and both sides share the silence.",
    "fadtk-1.1": "16 bits, a long Kaiser resampler, frames stored in half precision: none of it shows. No KL.",
    "frechet-audio-distance-0.3": "resampy's resampler, which hardly shows in clips made at 16 kHz. No KL.",
}
Clip = tuple[np.ndarray, bool]  # samples [C, T] at FILE_RATE; whether they are generated


@dataclass(frozen=True)
class Row:
    """One preset's (value, low, high) of each score; None where the tool has no such score."""

    fad: tuple[float, float, float]
    quiet_fad: tuple[float, float, float]
    kl: tuple[float, float, float] | None
    quiet_kl: tuple[float, float, float] | None


class Ear:
    """musicnn behind a preset's front and windows."""

    def __init__(self, preset: str) -> None:
        self.preset, self.embedder = preset, embedders.build("musicnn")

    def samples(self, clip: Clip, network: str) -> np.ndarray:
        """A clip at 16 kHz as the preset's way to a network gives it, mono."""
        front: Front = replace(FRONTS[self.preset, network], rate=RATE)
        return audio.mono(prepare(clip[0], FILE_RATE, front, generated=clip[1]))

    def windows(self, clip: Clip) -> np.ndarray:
        """One embedding for each window of the preset's Fréchet distance: [n, 200]."""
        network = "vggish" if (self.preset, "vggish") in FRONTS else "openl3"
        options = OPTIONS.get((self.preset, network), WINDOWS)
        samples = self.samples(clip, network)
        if options.get("positive_peak"):
            samples = samples / samples.max()
        parts = np.lib.stride_tricks.sliding_window_view(samples, options["window"])[:: options["hop"]]
        return np.concatenate([self.embedder.embed(part) for part in parts.copy()])[:, :200]

    def logits(self, clip: Clip) -> np.ndarray:
        """What the tags' probabilities were made from, of each patch: [n, 50]."""
        network = "passt" if (self.preset, "passt") in FRONTS else "cnn14"
        tags = self.embedder.embed(self.samples(clip, network))[:, 200:].astype(np.float64)
        return np.log(tags) - np.log1p(-tags)


def frechet(ear: Ear, clips: list[Clip], real: np.ndarray) -> tuple[float, float, float]:
    """Fréchet distance of clips from the real clips' windows, with its interval."""
    of_clips = on_kept(frechet_of_clips, ear.preset)
    frames = [ear.windows(clip) for clip in clips]
    owner = np.repeat(np.arange(len(frames)), [len(part) for part in frames])
    return bootstrap(of_clips(real), np.concatenate(frames), owner, np.random.default_rng(SEED))


def divergence(ear: Ear, clips: list[Clip], pairs: list[Clip]) -> tuple[float, float, float] | None:
    """Mean KL of the pairs, with its interval."""
    if ear.preset not in DIVERGENCES:
        return None
    rule, scores = DIVERGENCES[ear.preset], []
    for clip, real in zip(clips, pairs, strict=True):
        sides = ear.logits(clip), ear.logits(real)
        if rule.pooling == "logits":
            sides = tuple(side.mean(axis=0, keepdims=True) for side in sides)
        scores.append(softmax_kl(*sides, direction=rule.direction, epsilon=rule.epsilon).mean())
    return stats.bootstrap_mean(np.array(scores), np.random.default_rng(SEED))


def load(path: Path, generated: bool) -> Clip:
    """A 16 kHz clip as the 32 kHz file that a tool would be given."""
    return audio.resample(audio.load_mono(path, RATE), RATE, FILE_RATE)[None], generated


def table(folder: Path) -> Iterator[tuple[str, Row]]:
    """Each preset and its row. Makes the clips in ``folder`` first."""
    chosen = [config.System("magnet-tiny")]
    run = config.Run(config.load_protocol("quickstart"), systems=chosen, results=str(folder))
    made = pipeline.generate(run)
    references = {prompt.id: prompt.reference for prompt in made.prompts()}
    records = made.clips("magnet-tiny")
    clips = [load(made.path / clip.path, True) for clip in records]
    pairs = [load(Path(references[clip.prompt_id]), False) for clip in records]
    real = [load(Path(prompt.reference), False) for prompt in read_reference(run.protocol.reference)]
    quiet = [(samples * np.float32(QUIETER), generated) for samples, generated in clips]
    for preset in WHY:
        ear = Ear(preset)
        known = np.concatenate([ear.windows(clip) for clip in real])
        distances = (frechet(ear, side, known) for side in (clips, quiet))
        yield preset, Row(*distances, *(divergence(ear, side, pairs) for side in (clips, quiet)))


def shown(found: tuple[float, float, float] | None, digits: int) -> str:
    """A score and its interval."""
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*found, d=digits) if found else ""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = dict(table(Path(folder)))
    known = environment()
    hardware = known["hardware"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB"
    lines = [
        "# Same audio, six tools (tiny)",
        "",
        f"`python tests/benchmarks/six_tools.py`, Python {known['python']}, "
        f"torch {known['packages']['torch']}; {machine}",
        "",
        "32 clips of magnet-tiny against 200 real ones, all of 5 s, in 32 kHz mono files. musicnn stands for every "
        "tool's network: these are no scores of the tools, but what their ways of hearing clips and comparing them do "
        "to one score. The KL takes musicnn's 50 tags for exclusive classes, as the tools do with AudioSet's. "
        "Brackets: 95 % intervals over clips. The copy at -12 dB has the same clips at a quarter of their level.",
        "",
        "| preset | FAD | FAD at -12 dB | KL | KL at -12 dB |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| `{preset}` | {shown(row.fad, 1)} | {shown(row.quiet_fad, 1)} | {shown(row.kl, 2)} | "
            f"{shown(row.quiet_kl, 2)} |"
            for preset, row in rows.items()
        ),
        "",
        *(f"- `{preset}`: {why}" for preset, why in WHY.items()),
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured" / "six_tools.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
