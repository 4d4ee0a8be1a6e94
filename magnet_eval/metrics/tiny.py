"""Metrics that run offline on any machine, judged by the small networks that come with the package.

No name or label here is that of a published metric, because the networks differ.
"""

from magnet_eval.metrics.alignment import cosine_score
from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.metrics.divergence import bernoulli_kl
from magnet_eval.metrics.kernel import kernel_of_clips
from magnet_eval.metrics.manifold import manifold
from magnet_eval.metrics.record import Metric

TINY = (
    Metric(
        name="fad_musicnn_tiny",
        label="FAD-musicnn",
        fn=frechet_of_clips,
        embedder="musicnn",
        columns=slice(0, 200),
        needs="reference_set",
        better="lower",
        preset="musicnn-mtt-v1",
        paper="Kilgour et al., 2019 (arXiv:1812.08466), on musicnn embeddings (Pons and Serra, 2019, arXiv:1909.06654)",
        description="Fréchet distance between the 200-d musicnn embeddings of the clips and of real music.",
        best=0.0,
        covariance=True,
        tiny=True,
    ),
    Metric(
        name="kad_musicnn_tiny",
        label="KAD-musicnn",
        fn=kernel_of_clips,
        embedder="musicnn",
        columns=slice(0, 200),
        needs="reference_set",
        better="lower",
        preset="musicnn-mtt-v1",
        paper="Chung et al., 2025 (arXiv:2502.15602), on musicnn embeddings (Pons and Serra, 2019, arXiv:1909.06654)",
        description="Kernel distance (MMD) between the 200-d musicnn embeddings of the clips and of real music.",
        best=None,  # unbiased: a set against itself is below 0
        tiny=True,
    ),
    Metric(
        name="kl_mtt_tiny",
        label="KL-MTT",
        fn=bernoulli_kl,
        embedder="musicnn",
        columns=slice(200, 250),
        needs="reference_pairs",
        better="lower",
        preset="musicnn-mtt-v1",
        paper="KL of audio tags after Kreuk et al., 2022 (arXiv:2209.15352), on musicnn's 50 MagnaTagATune tags",
        description="Divergence of the 50 musicnn tags of each clip from those of the real clip with its caption.",
        best=0.0,
        unit="nats",
        tiny=True,
    ),
    Metric(
        name="coverage_musicnn_tiny",
        label="Coverage-musicnn",
        fn=lambda generated, reference: manifold(generated, reference).coverage,
        embedder="musicnn",
        columns=slice(0, 200),
        needs="reference_rows",
        better="higher",
        preset="musicnn-mtt-v1",
        paper="Naeem et al., 2020 (arXiv:2002.09797), on musicnn embeddings (Pons and Serra, 2019, arXiv:1909.06654)",
        description="Share of real clips that have a generated one nearby: it falls when a model repeats itself.",
        best=1.0,
        tiny=True,
    ),
    Metric(
        name="clap_tiny",
        label="CLAP-tiny",
        fn=cosine_score,
        embedder="clap_tiny",
        needs="text",
        better="higher",
        preset="clap-tiny-v1",
        paper="text-audio cosine after Wu et al., 2023 (arXiv:2211.06687), by a small network of this project",
        description="Cosine of each clip and its caption in the tiny text-audio model.",
        best=1.0,
        tiny=True,
    ),
)
