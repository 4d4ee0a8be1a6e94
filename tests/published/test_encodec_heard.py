"""FAD on each of the three EnCodecs, from files to rows; and weights that hear another rate than a preset gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from published_world import clip, write
from random_weights import random_state
from test_encodec import package_state

from magnet_eval import config, metric_checks, pipeline
from magnet_eval.embedders import encodec_frames
from magnet_eval.embedders.sources import SOURCES
from magnet_eval.embedding import EmbeddingCache, Hearing, Item
from magnet_eval.lookup import UserError
from magnet_eval.metrics import get
from magnet_eval.metrics.published import PUBLISHED
from magnet_eval.progress import silent
from magnet_eval.store import file_hash

CODECS = {"fad_encodec": 75, "fad_encodec_32khz": 50, "fad_encodec_48khz": 150}  # frames a second
METRICS = [m for m in PUBLISHED if m.name in CODECS and not m.preset.endswith("-package")]
N, SECONDS = 3, 1.2


@pytest.fixture(scope="module")
def codecs(world):
    """The three checkpoints in their publishers' formats, with few filters; a system's clips and real ones."""
    from transformers import EncodecConfig, EncodecModel

    folder = world / "models" / "embedders"
    with pytest.MonkeyPatch.context() as patch:
        for channels, settings in encodec_frames.SETTINGS.items():
            patch.setitem(encodec_frames.SETTINGS, channels, settings | {"num_filters": 4})
        for name, channels in (("encodec_24khz", 1), ("encodec_48khz", 2)):
            torch.save(package_state(channels), folder / SOURCES[name].file)
        music = EncodecConfig(
            sampling_rate=32_000, upsampling_ratios=[8, 5, 4, 4], num_filters=4, codebook_size=2048,
            target_bandwidths=[2.2], use_causal_conv=False, use_conv_shortcut=False,
        )  # fmt: skip
        model = EncodecModel(music)
        model.load_state_dict(random_state(model))
        model.save_pretrained(folder / "encodec_32khz")
        for i in range(N):
            write(world / "real" / f"p{i}.wav", clip(i, 44_100, 2, SECONDS), 44_100)
            write(world / "wide" / f"p{i}.wav", clip(50 + i, 44_100, 2, SECONDS), 44_100)
        Path("real/captions.csv").write_text("id,text\n" + "".join(f"p{i},melody {i}\n" for i in range(N)))
        yield world


def protocol(**metrics) -> config.Protocol:
    return config.Protocol(
        version=1,
        name="codecs",
        systems=[config.System("files", "wide", {"folder": "wide"})],
        prompts=config.Prompts(source="folder", path="real", seconds=SECONDS),
        reference=config.Reference(source="folder", path="real"),
        metrics=metrics,
    )


def test_each_codec_is_scored(codecs):
    chosen = {name: config.MetricChoice([m.preset for m in METRICS if m.name == name]) for name in CODECS}
    found = {(row.metric, row.preset): row.value for row in pipeline.run(config.Run(protocol(**chosen))).scores()}
    assert len(set(found.values())) == len(METRICS) == 7
    assert all(np.isfinite(value) and value > 0 for value in found.values())


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name}-{metric.preset}")
def test_frames_a_second_and_who_hears_two_channels(codecs, metric):
    wide, narrow = (codecs / name / "p0.wav" for name in ("wide", "narrow"))
    write(narrow, clip(50, 44_100, 2, SECONDS).mean(axis=0), 44_100)
    items = [Item("p0", file_hash(path), path) for path in (wide, narrow)]
    cache = EmbeddingCache(codecs / "results" / "cache", silent)
    assert cache.ensure(Hearing.of(metric), items) == {}
    frames = [cache.frames(Hearing.of(metric), item) for item in items]
    assert frames[0].shape == frames[1].shape and frames[0].shape[1] == 128
    assert len(frames[0]) == pytest.approx(SECONDS * CODECS[metric.name], abs=1)  # librosa's lengths are rounded up
    stereo = metric.name == "fad_encodec_48khz" and metric.preset != "fadtk-1.1"
    assert np.abs(frames[0] - frames[1]).max() > 0.1 if stereo else np.abs(frames[0] - frames[1]).mean() < 0.01


@pytest.mark.parametrize(
    ("metric", "weights", "rates"),
    [
        ("fad_encodec", "encodec_48khz", "48000 Hz, and this preset gives it 24000"),
        ("fad_encodec", "encodec_32khz", "32000 Hz, and this preset gives it 24000"),
        ("kl_cnn14", "cnn14-16k", "16000 Hz, and this preset gives it 32000"),
    ],
)
def test_weights_of_another_rate_stop_a_run_before_it_generates(codecs, metric, weights, rates):
    chosen = protocol(**{metric: config.MetricChoice(["native"], weights=weights)})
    with pytest.raises(UserError, match=f"metric {metric} .native.: .*{weights} hears {rates} Hz. Leave") as caught:
        metric_checks.check(chosen)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=rates):
        pipeline.run(config.Run(chosen))


def test_a_file_of_another_rate_is_no_score(codecs):
    """What it hears is known when it is read; then nothing is embedded, and nothing kept."""
    file = codecs / "models" / "embedders" / SOURCES["encodec_48khz"].file
    chosen = protocol(fad_encodec=config.MetricChoice(["native"], weights=str(file)))
    metric_checks.check(chosen)
    with pytest.raises(UserError, match=f"{file.name} hears 48000 Hz, and this preset gives it 24000 Hz"):
        pipeline.run(config.Run(chosen))
    assert not Hearing.of(get("fad_encodec")).misfit(24_000) and not Hearing("encodec").misfit(48_000)
