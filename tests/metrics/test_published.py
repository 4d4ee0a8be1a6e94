"""The records of the published metrics: complete, built from the presets' data, and right on planted degradations."""

import dataclasses
import functools

import numpy as np
import pytest

from magnet_eval import metrics
from magnet_eval.embedders import EMBEDDERS
from magnet_eval.embedders.sources import SOURCES
from magnet_eval.lookup import UserError
from magnet_eval.metrics import NEEDS, PRESETS, Metric, published, resampling
from magnet_eval.metrics import estimate as estimates
from magnet_eval.metrics.estimate import difference, estimate
from magnet_eval.metrics.published import PUBLISHED
from magnet_eval.records import Embeddings

WIDTH = {
    "encodec": 128,
    "encodec_package": 128,
    "fad_package": 128,
    "clap_laion": 64,
    "vggish": 128,
    "cnn14": 2575,
    "passt": 1295,
    "clap": 64,
    "audiobox": 4,
}
N = 66
records = pytest.mark.parametrize("metric", PUBLISHED, ids=lambda metric: f"{metric.name}-{metric.preset}")


@pytest.fixture
def few(monkeypatch):
    """Few resamples, for what looks at a value alone or at the order of three numbers."""
    for name, counts in {
        "bootstrap": {"n_resamples": 20},
        "paired_difference": {"n_resamples": 60, "n_permutations": 60},
    }.items():
        monkeypatch.setattr(resampling, name, functools.partial(getattr(resampling, name), **counts))
    monkeypatch.setattr(estimates, "N_SPLITS", 2)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def clips(metric: Metric, damage: float, seed: int = 0, n: int = N, windows: int = 2) -> Embeddings:
    """Frames that belong to one of eight classes, mixed with noise: what a network hears in clips that are damaged."""
    width = WIDTH[metric.embedder]
    centres = 3 * np.random.default_rng(99).standard_normal((8, width))
    draw = np.random.default_rng(seed)
    frames = centres[np.arange(n) % 8][:, None] + 0.5 * draw.standard_normal((n, windows, width))
    frames = (1 - damage) * frames + damage * 3 * draw.standard_normal((n, windows, width))
    if metric.embedder in ("clap", "clap_laion"):
        frames /= np.linalg.norm(frames, axis=-1, keepdims=True)
    ids = tuple(f"clip{i:03}" for i in range(n))
    return Embeddings(
        metric.embedder, ids, frames.reshape(-1, width).astype(np.float32), np.repeat(np.arange(n), windows)
    )


def captions(n: int = N) -> Embeddings:
    """The classes' own directions, as texts."""
    centres = 3 * np.random.default_rng(99).standard_normal((8, WIDTH["clap"]))
    texts = centres[np.arange(n) % 8] / np.linalg.norm(centres[np.arange(n) % 8], axis=1, keepdims=True)
    return Embeddings("clap", tuple(f"clip{i:03}" for i in range(n)), texts.astype(np.float32), np.arange(n))


def against(metric: Metric) -> Embeddings | None:
    if metric.needs == "text":
        return captions()
    return clips(metric, 0.0, seed=1) if metric.has_reference else None


@records
def test_a_record_is_complete(metric: Metric):
    assert metric.needs in NEEDS and metric.better in ("lower", "higher", "")
    assert metric.embedder in EMBEDDERS and metric.options["weights"] in SOURCES
    assert metric.paper and metric.description.endswith(".") and not metric.tiny
    assert PRESETS[metric.name, metric.preset] is metric
    assert len([other for other in PUBLISHED if (other.name, other.preset) == (metric.name, metric.preset)]) == 1


@records
def test_damage_scores_worse(metric: Metric, few):
    if metric.embedder == "audiobox" or metric.needs == "rows":
        pytest.skip("no reference: a rating is the network's own, and noise that is sure of itself is no damage")
    n = 240 if metric.needs == "reference_limit" else N
    sides = [clips(metric, damage, seed=2, n=n) for damage in (0.1, 0.9)]
    scores = [estimate(metric, side, against(metric), rng()).value for side in sides]
    assert (scores[0] < scores[1]) == (metric.better == "lower"), scores


def test_an_inception_score_falls_when_a_model_repeats_itself():
    for preset in ("native", "audioldm_eval-cnn14"):
        metric = metrics.get("is_cnn14", preset)
        whole = clips(metric, 0.1)
        one_class = Embeddings(whole.embedder, whole.clip_ids, np.tile(whole.frames[:2], (N, 1)), whole.owner)
        assert estimate(metric, one_class, None, rng()).value == pytest.approx(1)
        assert estimate(metric, whole, None, rng()).value > 2


@records
def test_a_difference_has_the_sign_of_its_two_scores(metric: Metric, few):
    if not metric.comparable or metric.embedder == "audiobox":
        pytest.skip("no paired test, or no damage to find")
    pair = clips(metric, 0.9, seed=2), clips(metric, 0.1, seed=3)
    found = difference(metric, *pair, against(metric), rng())
    worse, better = (estimate(metric, side, against(metric), rng()).value for side in pair)
    assert found.value == pytest.approx(worse - better, rel=1e-6, abs=1e-9)
    assert found.low < found.value < found.high and 0 < found.p_value <= 1


def test_directions_epsilons_and_pooling_of_the_tools():
    """The same logits score otherwise with every tool; each value by its own formula."""
    native = metrics.get("kl_passt")
    generated, real = clips(native, 0.5, seed=2, n=4), clips(native, 0.0, seed=1, n=4)

    def softmax(frames):
        logits = frames[:, 768:].astype(np.float64)
        return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    def kl(p, q, eps):
        return (p * (np.log(p) - np.log(q + eps))).sum(1).mean()

    mean = [side.frames.reshape(4, 2, -1).mean(1) for side in (generated, real)]
    g, r = softmax(mean[0]), softmax(mean[1])
    g_each, r_each = softmax(generated.frames), softmax(real.frames)
    expected = {
        "native": kl(r, g, 0), "audiocraft-tf": kl(r_each, g_each, 1e-6), "sam-v1": kl(g, r, 1e-6),
        "av-bench": kl(r, g, 0), "audiocraft-tf-sound": kl(r_each, g_each, 1e-6),
    }  # fmt: skip
    for preset, value in expected.items():
        found = estimate(metrics.get("kl_passt", preset), generated, real, rng())
        assert found.value == pytest.approx(value, rel=1e-5), preset
    assert len({round(value, 6) for value in expected.values()}) == 3
    assert metrics.get("kl_passt", "audiocraft-tf-sound").options["weights"] == "passt-10s"
    assert metrics.get("kl_passt", "audiocraft-tf").options["weights"] == "passt-20s"


def test_a_longer_clip_is_cut_to_its_pair():
    metric = metrics.get("kl_passt", "audiocraft-tf")
    long, short = clips(metric, 0.5, n=4, windows=3), clips(metric, 0.0, seed=1, n=4, windows=2)
    cut = Embeddings(
        long.embedder, long.clip_ids, long.frames.reshape(4, 3, -1)[:, :2].reshape(8, -1), np.repeat(np.arange(4), 2)
    )
    assert estimate(metric, long, short, rng()).value == estimate(metric, cut, short, rng()).value


@pytest.mark.parametrize(("name", "tool"), [("fad_vggish", "fadtk-1.1"), ("kad_vggish", "kadtk-1.1")])
def test_half_precision_is_kept_where_the_tool_keeps_it(name, tool, monkeypatch, few):
    half = metrics.get(name, tool)
    system, real = clips(half, 0.3, seed=2), clips(half, 0.0, seed=1)
    monkeypatch.setattr(published, "HALF", ())
    plain = next(m for m in (*published._frechet(), *published._kernel()) if (m.name, m.preset) == (name, tool))
    values = [estimate(metric, system, real, rng()).value for metric in (plain, half)]
    assert values[0] != values[1] and values[0] == pytest.approx(values[1], rel=1e-3)
    rounded = [dataclasses.replace(side, frames=side.frames.astype(np.float16)) for side in (system, real)]
    assert estimate(plain, *rounded, rng()).value == pytest.approx(values[1], rel=1e-9)


def test_clips_of_one_frame_count_as_any_other():
    """fadtk itself has NaN for them."""
    chosen = [metrics.get("fad_vggish", preset) for preset in ("fadtk-1.1", "native")]
    system, real = clips(chosen[0], 0.3, seed=2, windows=1), clips(chosen[0], 0.0, seed=1, windows=1)
    found, native = (m.fn(real.frames)(system.frames, system.owner, np.ones((1, N)))[0] for m in chosen)
    assert found == pytest.approx(native, rel=1e-3)


def test_an_extrapolated_distance_is_below_the_plain_one():
    metric, plain = metrics.get("fad_inf_vggish"), metrics.get("fad_vggish")
    system, real = clips(metric, 0.3, seed=2, n=120), clips(metric, 0.0, seed=1, n=400)
    found = estimate(metric, system, real, rng())
    assert found.low < found.value < found.high
    assert found.value < estimate(plain, system, real, rng()).value


def test_a_preset_of_another_metric_is_refused_by_name():
    with pytest.raises(UserError, match=r"unknown preset of clap_score 'audiocraft'. Did you mean audiocraft-tf"):
        metrics.get("clap_score", "audiocraft")


def test_a_metric_of_ones_own(monkeypatch, tmp_path):
    (tmp_path / "my_metrics.py").write_text(
        "from magnet_eval.metrics import METRICS\nmine = METRICS['clap_tiny']\nother = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert metrics.get("my_metrics:mine") is metrics.METRICS["clap_tiny"]
    with pytest.raises(UserError, match="is no magnet_eval.metrics.Metric, got int"):
        metrics.get("my_metrics:other")


def test_a_package_that_is_not_installed_is_asked_for_before_anything_is_made(monkeypatch):
    from magnet_eval import config, embedders, metric_checks

    monkeypatch.setattr(embedders.importlib.util, "find_spec", lambda name: None)
    protocol = config.Protocol(
        version=1,
        systems=[config.System("magnet-tiny")],
        metrics={"clap_score": config.MetricChoice(["audiocraft-tf-package"])},
    )
    with pytest.raises(UserError, match=r"clap_laion needs a package of the extra reference, laion_clap. Say: make"):
        metric_checks.check(protocol)
