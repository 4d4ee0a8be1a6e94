"""Presets on the way from files to scores: what one tool hears and another does not, and how much of a long clip."""

from pathlib import Path

import numpy as np
import pytest
from published_world import clip, write

from magnet_eval import audio, config, metrics, pipeline
from magnet_eval.embedding import EmbeddingCache, Hearing, Item
from magnet_eval.metrics.published import PUBLISHED
from magnet_eval.numerics import FRONTS
from magnet_eval.progress import silent
from magnet_eval.store import file_hash

OWN = [m for m in PUBLISHED if not m.preset.endswith("-package") and m.embedder != "encodec"]  # what the world has
VGGISH = [preset for preset, network in FRONTS if network == "vggish"]
RATE, SECONDS, N = 44_100, 3.0, 4
GAIN = np.float32(10 ** (-12 / 20))
FRAMES = {  # of 30 s: metric with its preset -> windows
    "fad_vggish": {"audiocraft-tf": 59, "av-bench": 10, "": 31},  # av-bench hears 10 s
    "fad_inf_vggish": {"": 31},
    "kad_vggish": {"": 31},
    "fad_passt": {"av-bench": 1, "": 3},
    "kad_passt": {"": 3},
    "kl_passt": {"audiocraft-tf": 2, "sam-v1": 1, "av-bench": 1, "": 3},  # of 20 s; means; 10 s
    "fad_clap": {"native": 3, "fadtk-1.1": 30, "": 1},
    "clap_score": {"native": 3, "sam-v1": 3, "": 1},
    "kad_clap": {"": 3},
    "density_clap": {"": 3},
    "coverage_clap": {"": 3},
    "mauve_clap": {"": 3},
}


@pytest.fixture(scope="module")
def scored(world):
    """Value by metric, preset and system: a stereo clip, 12 dB below, channels swapped; real clips are other ones."""
    made = {"plain": lambda x: x, "quiet": lambda x: GAIN * x, "swapped": lambda x: x[::-1]}
    for i in range(N):
        write(world / "real" / f"p{i}.wav", clip(i, RATE, 2, SECONDS), RATE)
        for system, change in made.items():
            write(world / system / f"p{i}.wav", change(clip(50 + i, RATE, 2, SECONDS)), RATE)
    Path("real/captions.csv").write_text("id,text\n" + "".join(f"p{i},melody {i}\n" for i in range(N)))
    rows = [*rows_of("fad_vggish", [*made]), *rows_of("kl_passt", ["plain"]), *rows_of("kl_cnn14", ["plain"])]
    assert {row.n for row in rows} == {N}
    return {(row.metric, row.preset, row.system): row.value for row in rows}


def rows_of(metric, systems):
    """Each system's row of a metric in all its presets."""
    protocol = config.Protocol(
        version=1,
        name="heard",
        systems=[config.System("files", label, {"folder": label}) for label in systems],
        prompts=config.Prompts(source="folder", path="real", seconds=SECONDS),
        reference=config.Reference(source="folder", path="real"),
        metrics={metric: config.MetricChoice([own.preset for own in OWN if own.name == metric])},
    )
    return [row for row in pipeline.run(config.Run(protocol)).scores() if not row.versus]


@pytest.mark.parametrize("metric", ["fad_vggish", "kl_passt", "kl_cnn14"])
def test_every_preset_gives_a_number_of_its_own(scored, metric):
    values = {preset: value for (name, preset, label), value in scored.items() if (name, label) == (metric, "plain")}
    assert len(values) == len([m for m in OWN if m.name == metric])
    assert len({float(f"{value:.6g}") for value in values.values()}) == len(values)


@pytest.mark.parametrize("preset", VGGISH)
def test_audiocraft_alone_is_deaf_to_level(scored, preset):
    plain, quiet = (scored["fad_vggish", preset, system] for system in ("plain", "quiet"))
    if preset == "audiocraft-tf":  # but for the 16 bits that the clips are kept in
        assert quiet == pytest.approx(plain, rel=0.01)
    else:
        assert abs(quiet - plain) > 0.2 * plain


@pytest.mark.parametrize("preset", VGGISH)
def test_audioldm_eval_alone_hears_the_first_channel(scored, preset):
    plain, swapped = (scored["fad_vggish", preset, system] for system in ("plain", "swapped"))
    if preset == "audioldm_eval-cnn14":
        assert abs(swapped - plain) > 0.02 * plain
    else:
        assert swapped == pytest.approx(plain, rel=1e-3)


@pytest.fixture(scope="module")
def long_clips(world):
    """Embeds two stereo clips of 30 s at 44.1 kHz as a metric hears them: generated, real."""
    items = []
    for i, generated in enumerate((True, False)):
        path = world / "long" / f"{i}.wav"
        write(path, clip(i, RATE, 2, 30.0), RATE)
        items.append(Item("p", file_hash(path), path, generated))
    cache = EmbeddingCache(world / "results" / "cache", silent)
    return lambda metric: [cache.embeddings(Hearing.of(metric), [item]) for item in ensured(cache, metric, items)]


def ensured(cache, metric, items):
    assert cache.ensure(Hearing.of(metric), items) == {}
    return items


@pytest.mark.parametrize("metric", OWN, ids=lambda metric: f"{metric.name}-{metric.preset}")
def test_a_clip_of_30_s_is_heard_in_the_presets_windows(long_clips, metric):
    generated, real = (side.frames[:, metric.columns] for side in long_clips(metric))
    of_metric = FRAMES.get(metric.name, {"": 1})
    assert len(generated) == len(real) == of_metric.get(metric.preset, of_metric[""])
    assert generated.shape[1] > 0 and np.isfinite(generated).all()
    if metric.needs == "reference_segments":  # each segment is a pair of its own
        assert metric.fn(generated, real).shape == (len(real),)
        assert not np.allclose(generated[0], generated[1])


def test_only_the_first_10_s_or_seeded_10_s_are_heard_of_a_long_clip(world):
    """av-bench takes the first, audiocraft's CLAP any: here those that follow from the clip itself, each time."""
    cache = EmbeddingCache(world / "results" / "cache", silent)
    whole = np.concatenate([clip(seed, RATE, 1, 10.0) for seed in (3, 4, 5)], axis=1)
    items = []
    for name, samples in (("whole", whole), ("first", whole[:, : 10 * RATE])):
        path = world / "long" / f"{name}.wav"
        audio.write(path, samples, RATE)
        items.append(Item(name, file_hash(path), path, generated=True))
    found = {}
    for preset in ("av-bench", "audiocraft-tf"):
        hearing = Hearing.of(metrics.get("clap_score", preset))
        cache.ensure(hearing, items)
        found[preset] = [cache.frames(hearing, item) for item in items]
        assert np.array_equal(cache.compute(hearing, [items[0]])[0], found[preset][0])
    apart = {preset: np.linalg.norm(sides[0] - sides[1]) for preset, sides in found.items()}
    assert apart["av-bench"] < 0.1 * apart["audiocraft-tf"]
