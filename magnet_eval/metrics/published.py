"""Metrics on the networks of the published numbers; a preset reproduces one tool's numerics (see numerics.py).

Where a tool has a fault, the preset has it too, and its description in numerics.py says so. ``native`` is what this
suite holds to be right; it compares with no published table.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from magnet_eval.metrics.alignment import mean_cosine
from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.metrics.divergence import sigmoid_kl, softmax_kl
from magnet_eval.metrics.extrapolate import by_clips
from magnet_eval.metrics.inception import PUBLISHED as ALDM_SPLITS
from magnet_eval.metrics.inception import inception_score
from magnet_eval.metrics.kernel import CONVENTIONS, kernel_of_clips
from magnet_eval.metrics.manifold import manifold
from magnet_eval.metrics.mauve import mauve
from magnet_eval.metrics.record import Metric
from magnet_eval.numerics import DIVERGENCES, EMBEDDERS, FRONTS, HALF, OPTIONS

FRAMES = {
    "encodec": slice(None),
    "encodec_32khz": slice(None),
    "encodec_48khz": slice(None),
    "vggish": slice(None),
    "cnn14": slice(0, 2048),
    "passt": slice(0, 768),
    "clap": slice(None),
}
LOGITS = {"cnn14": slice(2048, 2575), "passt": slice(768, 1295)}
NETWORKS = {  # network -> its name in labels, and its paper
    "vggish": ("VGGish", "VGGish (Hershey et al., 2017, arXiv:1609.09430)"),
    "cnn14": ("PANNs", "PANNs Cnn14 (Kong et al., 2020, arXiv:1912.10211)"),
    "passt": ("PaSST", "PaSST (Koutini et al., 2021, arXiv:2110.05069)"),
    "clap": ("CLAP", "LAION-CLAP (Wu et al., 2023, arXiv:2211.06687)"),
    "encodec": ("EnCodec", "EnCodec (Défossez et al., 2022, arXiv:2210.13438)"),
    "encodec_32khz": ("EnCodec-32k", "EnCodec as trained for MusicGen (Copet et al., 2023, arXiv:2306.05284)"),
    "encodec_48khz": ("EnCodec-48k", "EnCodec, the stereo model (Défossez et al., 2022, arXiv:2210.13438)"),
}
# Presets in which the tool's own package hears the clip (extra ``reference``): tool's preset, embedder, weights.
PACKAGE_FAD = ("frechet-audio-distance-0.3", "fad_package")
PACKAGE_WEIGHTS = {
    "vggish": "harritaylor_torchvggish_master", "clap": "630k-audioset-best", "encodec": "encodec_24khz",
    "encodec_48khz": "encodec_48khz",
}  # fmt: skip
FAD = "Fréchet audio distance (Kilgour et al., 2019, arXiv:1812.08466)"
KAD = "Kernel audio distance (Chung et al., 2025, arXiv:2502.15602)"
KL = "KL of AudioSet classes after Kreuk et al., 2022 (arXiv:2209.15352)"
MAUVE_SEED = 0


def heard(network: str, preset: str) -> dict[str, Any]:
    """The fields of a record that say how a clip gets to a network under a preset."""
    key = preset, network
    embedder = EMBEDDERS.get(network, network)
    return {"preset": preset, "embedder": embedder, "front": FRONTS[key], "options": OPTIONS[key]}


def on_kept(fn: Callable[..., Any], preset: str) -> Callable[..., Any]:
    """A set's score on frames as a preset's tool keeps them: some in half precision."""
    if preset not in HALF:
        return fn

    def to(reference: np.ndarray) -> Callable[..., np.ndarray]:
        scores = fn(reference.astype(np.float16).astype(np.float32))
        return lambda frames, owner, weights: scores(frames.astype(np.float16).astype(np.float32), owner, weights)

    return to


def _frechet() -> Iterator[Metric]:
    tools = {
        "vggish": ("native", "audiocraft-tf", "audioldm_eval-cnn14", "av-bench", "fadtk-1.1",
                   "frechet-audio-distance-0.3"),
        "cnn14": ("native", "audioldm_eval-cnn14", "av-bench"),
        "passt": ("native", "av-bench"),
        "clap": ("native", "fadtk-1.1", "frechet-audio-distance-0.3"),
        "encodec": ("native", "fadtk-1.1", "frechet-audio-distance-0.3"),
        "encodec_32khz": ("native",),
        "encodec_48khz": ("native", "fadtk-1.1", "frechet-audio-distance-0.3"),
    }  # fmt: skip
    for network, presets in tools.items():
        for preset in presets:
            yield _fad(network, preset)
    for network, weights in PACKAGE_WEIGHTS.items():
        tool, embedder = PACKAGE_FAD
        by = {"preset": f"{tool}-package", "embedder": embedder, "options": {"weights": weights}}
        yield _fad(network, tool, **by)
    for network in ("encodec", "encodec_48khz"):
        yield _fad(network, "native", preset="encodec-0.1-package", embedder="encodec_package")
    yield Metric(
        name="fad_inf_vggish",
        label="FAD∞-VGGish",
        fn=lambda reference: partial(by_clips, frechet_of_clips(reference)),
        needs="reference_limit",
        better="lower",
        paper=f"{FAD}, extrapolated (Chong and Forsyth, 2020, arXiv:1911.07023; Gui et al., 2023, arXiv:2311.01616)",
        description="FAD-VGGish extrapolated to infinitely many clips, which takes away the bias of few.",
        best=0.0,
        covariance=True,
        comparable=False,
        **heard("vggish", "native"),
    )


def _fad(network: str, tool: str, **other: Any) -> Metric:
    shown, paper = NETWORKS[network]
    return Metric(
        name=f"fad_{network}",
        label=f"FAD-{shown}",
        fn=on_kept(frechet_of_clips, tool),
        columns=FRAMES[network],
        needs="reference_set",
        better="lower",
        paper=f"{FAD}, on {paper}",
        description=f"Fréchet distance between the {shown} embeddings of the clips and of real audio.",
        best=0.0,
        covariance=True,
        **{**heard(network, tool), **other},
    )


def _kernel() -> Iterator[Metric]:
    tools = [("vggish", "native"), ("passt", "native"), ("clap", "native"), ("vggish", "kadtk-1.1")]
    for network, preset in tools:
        shown, paper = NETWORKS[network]
        yield Metric(
            name=f"kad_{network}",
            label=f"KAD-{shown}",
            fn=on_kept(partial(kernel_of_clips, convention=CONVENTIONS[preset]), preset),
            columns=FRAMES[network],
            needs="reference_set",
            better="lower",
            paper=f"{KAD}, on {paper}",
            description=f"Kernel distance between the {shown} embeddings of the clips and of real audio.",
            best=None,  # unbiased: a set against itself is below 0
            comparable=preset != "kadtk-1.1",  # its bandwidth is another one for every system
            # kadtk is a branch of fadtk and hears as that does
            **{**heard(network, "fadtk-1.1" if preset == "kadtk-1.1" else preset), "preset": preset},
        )


def _divergences() -> Iterator[Metric]:
    tools = {"passt": ("native", "audiocraft-tf", "audiocraft-tf-sound", "sam-v1", "av-bench"),
             "cnn14": ("native", "audioldm_eval-cnn14", "av-bench")}  # fmt: skip
    for network, presets in tools.items():
        for preset in presets:
            yield _kl(network, preset)
    yield _kl(
        "cnn14", "audioldm_eval-cnn14", name="kl_sigmoid_cnn14", label="KL-sigmoid-PANNs", kl=sigmoid_kl, best=None,
        description="audioldm_eval's sum over 527 tags, the half of their absence missing, so that it can be negative.",
    )  # fmt: skip


def _kl(network: str, tool: str, *, kl: Callable[..., np.ndarray] = softmax_kl, **other: Any) -> Metric:
    shown, paper = NETWORKS[network]
    rule = DIVERGENCES[tool]
    known = {
        "name": f"kl_{network}",
        "label": f"KL-{shown}",
        "best": 0.0 if rule.epsilon == 0 else -rule.epsilon * 527,
        "description": f"KL divergence of {shown}'s 527 classes between each clip and the real one with its caption.",
        **heard(network, tool),
    }
    return Metric(
        fn=partial(kl, direction=rule.direction, epsilon=rule.epsilon),
        columns=LOGITS[network],
        needs="reference_segments" if rule.pooling == "segments" else "reference_pairs",
        better="lower",
        unit="nats",
        paper=f"{KL}, by {paper}",
        **{**known, **other},
    )


def _text() -> Iterator[Metric]:
    named = {preset: heard("clap", preset) for preset in
             ("native", "audiocraft-tf", "sam-v1", "av-bench", "frechet-audio-distance-0.3")}  # fmt: skip
    package = {"preset": "audiocraft-tf-package", "embedder": "clap_laion"}  # by laion-clap itself, as audiocraft does
    for how in (*named.values(), {**named["audiocraft-tf"], **package}):
        yield Metric(
            name="clap_score",
            label="CLAP score",
            fn=mean_cosine,
            needs="text",
            better="higher",
            paper=f"text-audio cosine by {NETWORKS['clap'][1]}; which checkpoint decides: see the preset",
            description="Cosine of each clip and its caption in CLAP, mean over the clip's windows.",
            best=1.0,
            **how,
        )


def _spread() -> Iterator[Metric]:
    for part in ("density", "coverage"):
        yield Metric(
            name=f"{part}_clap",
            label=f"{part.title()}-CLAP",
            fn=partial(_manifold_part, part),
            needs="reference_rows",
            better="higher",
            paper=f"Naeem et al., 2020 (arXiv:2002.09797), on {NETWORKS['clap'][1]}",
            description="Whether clips lie where real ones do (density), and wherever real ones do (coverage).",
            best=1.0 if part == "coverage" else None,
            **heard("clap", "native"),
        )
    yield Metric(
        name="mauve_clap",
        label="MAUVE-CLAP",
        fn=lambda rows, reference: mauve(rows, reference, np.random.default_rng(MAUVE_SEED)),
        needs="reference_rows",
        better="higher",
        paper=f"Pillutla et al., 2021 (arXiv:2102.01454); Huang et al., 2025 (arXiv:2503.16669); {NETWORKS['clap'][1]}",
        description="How much the clusters of the clips' CLAP embeddings overlap with those of real audio.",
        best=1.0,
        **heard("clap", "native"),
    )
    for preset, splits in (("native", {}), ("audioldm_eval-cnn14", ALDM_SPLITS)):
        yield Metric(
            name="is_cnn14",
            label="IS-PANNs",
            fn=partial(_inception, splits),
            columns=LOGITS["cnn14"],
            needs="rows",
            better="higher",
            paper=f"Salimans et al., 2016 (arXiv:1606.03498), by {NETWORKS['cnn14'][1]}",
            description="Inception score: how sure PANNs is of each clip, and how much its answers differ.",
            best=None,
            **heard("cnn14", preset),
        )


def _manifold_part(part: str, generated: np.ndarray, reference: np.ndarray) -> float:
    return float(getattr(manifold(generated, reference), part))


def _inception(splits: dict[str, Any], rows: np.ndarray) -> float:
    return inception_score(rows, **splits)[0]


def _aesthetics() -> Iterator[Metric]:
    named = {"ce": "content enjoyment", "cu": "content usefulness", "pc": "production complexity",
             "pq": "production quality"}  # fmt: skip
    for column, (axis, meaning) in enumerate(named.items()):
        yield Metric(
            name=f"audiobox_{axis}",
            label=f"Audiobox {axis.upper()}",
            fn=lambda rows: rows[:, 0],
            embedder="audiobox",
            columns=slice(column, column + 1),
            needs="clip",
            better="" if axis == "pc" else "higher",  # a simple piece is no worse
            preset="native",
            paper="Tjandra et al., 2025 (arXiv:2502.05139)",
            description=f"{meaning.capitalize()} of each clip, about 1 to 10, as Audiobox Aesthetics predicts it.",
            best=None,
            options={"weights": "audiobox"},
        )


def _all() -> Iterable[Metric]:
    for family in (_frechet, _kernel, _divergences, _text, _spread, _aesthetics):
        yield from family()


PUBLISHED: tuple[Metric, ...] = tuple(_all())
