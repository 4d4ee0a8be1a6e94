"""Checkpoints in audiocraft's layout: names and sizes of the published ones, and every fault as one line."""

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from magnet_eval import config
from magnet_eval.generators import layout_audiocraft, loading
from magnet_eval.generators.codec import Codec

DATA = Path(__file__).parents[1] / "data" / "pipeline"
CPU, META = torch.device("cpu"), torch.device("meta")
AR = "autoregressive"
HYBRID = "transformer_lm_hybrid_magnet"
LM, CODEC = "state_dict.bin", "compression_state_dict.bin"
SCALES = {"small": (1024, 24, 16), "medium": (1536, 48, 24), "large": (2048, 48, 32)}  # width, layers, heads
WIDTHS = {"t5-base": 768, "t5-large": 1024}
TOTALS = {
    ("small", "t5-base"): 420_371_456, ("small", "t5-large"): 420_633_600,
    ("medium", "t5-base"): 1_838_737_920, ("medium", "t5-large"): 1_839_131_136,
    ("large", "t5-base"): 3_256_956_928, ("large", "t5-large"): 3_257_481_216,
}  # fmt: skip


def published_shapes(dim: int, layers: int, text_width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a published checkpoint."""
    projection = "condition_provider.conditioners.description.output_proj"
    shapes = {f"{projection}.weight": (dim, text_width), f"{projection}.bias": (dim,)}
    for k in range(4):
        shapes |= {f"emb.{k}.weight": (2049, dim), f"linears.{k}.weight": (2048, dim)}
    shapes |= {f"out_norm.{part}": (dim,) for part in ("weight", "bias")}
    for i in range(layers):
        layer = f"transformer.layers.{i}"
        for attention in ("self_attn", "cross_attention"):
            shapes[f"{layer}.{attention}.in_proj_weight"] = (3 * dim, dim)
            shapes[f"{layer}.{attention}.out_proj.weight"] = (dim, dim)
        shapes[f"{layer}.linear1.weight"], shapes[f"{layer}.linear2.weight"] = (4 * dim, dim), (dim, 4 * dim)
        for norm in ("norm1", "norm_cross", "norm2"):
            shapes |= {f"{layer}.{norm}.{part}": (dim,) for part in ("weight", "bias")}
    return shapes


def read(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def configured(path: Path, **changes) -> Path:
    """The file with other values in its xp.cfg, by dotted key; None takes a key out."""
    content = read(path)
    settings = yaml.safe_load(content["xp.cfg"])
    for key, value in changes.items():
        *parents, last = key.split(".")
        block = settings
        for parent in parents:
            block = block.setdefault(parent, {})
        block[last] = value
        if value is None:
            del block[last]
    torch.save({**content, "xp.cfg": yaml.safe_dump(settings)}, path)
    return path


def rewritten(path: Path, **changes) -> None:
    """The file with other entries; None takes one out."""
    content = {**read(path), **changes}
    torch.save({name: value for name, value in content.items() if value is not None}, path)


def with_weights(path: Path, **changes: torch.Tensor | None) -> None:
    """The file with other tensors; None takes one out."""
    weights = {**read(path)["best_state"], **changes}
    rewritten(path, best_state={name: value for name, value in weights.items() if value is not None})


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the reference's MAGNeT."""
    return Path(shutil.copytree(DATA / "magnet", tmp_path / "magnet"))


# Sizes and names


@pytest.mark.parametrize(("scale", "text"), TOTALS)
@pytest.mark.parametrize("family", ["masked", "autoregressive"])
def test_names_and_sizes_of_the_published_checkpoints(tmp_path, family, scale, text):
    """The real reader on a file of the real shapes; one number stands for each tensor's all, so it takes no room."""
    dim, layers, heads = SCALES[scale]
    shapes = published_shapes(dim, layers, WIDTHS[text])
    path = Path(shutil.copy(DATA / ("magnet" if family == "masked" else "musicgen") / LM, tmp_path))
    rewritten(path, best_state={name: torch.zeros(()).expand(shape) for name, shape in shapes.items()})
    sizes = {"dim": dim, "num_layers": layers, "num_heads": heads, "card": 2048}
    changes = {f"transformer_lm.{key}": value for key, value in sizes.items()}
    configured(path, **changes, **{"dataset.segment_duration": 30, "conditioners.description.t5.name": text})
    assert path.stat().st_size < 500_000
    lm = loading.load_language_model(tmp_path, META, torch.float32, family=family, frame_rate=50.0)
    assert {name: tuple(value.shape) for name, value in lm.state_dict().items()} == shapes
    assert len(shapes) == 12 * layers + 12 and (scale != "small" or len(shapes) == 300)
    assert sum(weight.numel() for weight in lm.parameters()) == TOTALS[scale, text]
    assert (lm.config.dim // lm.config.num_heads, lm.config.segment_seconds) == (64, 30.0)
    assert (lm.config.causal, lm.config.span_len) == ((False, 3) if family == "masked" else (True, 1))
    assert layout_audiocraft.text_encoder_name(path) == f"google-t5/{text}"


OWN_SIZES = {"musicgen-melody-transformers"}  # no cross-attention; see tests of the family transformers
PUBLISHED = [
    name for name in config.list_models()
    if config.load_model(name).parameters and not config.load_model(name).tiny and name not in OWN_SIZES
]  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_zoo_names_these_sizes(name):
    entry = config.load_model(name)
    (scale,) = (scale for scale in SCALES if f"-{scale}" in name)
    second = entry.prompter or entry.rescorer
    text = "t5-large" if entry.task == "sound" else "t5-base"
    assert entry.text in (f"google-t5/{text}", "")
    assert entry.parameters == TOTALS[scale, text] * (2 if second else 1)


def test_the_zoo_is_whole():
    sizes = [f"{kind}-{scale}" for kind in ("magnet", "audio-magnet", "hybrid-magnet") for scale in ("small", "medium")]
    names = sizes[2:] + [f"{name}-{length}secs" for name in sizes[:2] for length in (10, 30)]
    names += ["musicgen-small", "musicgen-medium", "musicgen-large", "musicgen-melody-transformers", "audiogen-medium"]
    names += [f"{kind}-{scale}-30secs" for kind in ("two-model-hybrid", "rescored-magnet") for scale in SCALES][:2]
    assert set(names) <= set(config.list_models())
    for name in names:
        entry = config.load_model(name)
        assert entry.licence == "CC-BY-NC-4.0" and entry.checkpoint.startswith("facebook/")
        assert entry.sample_rate == (16_000 if entry.task == "sound" else 32_000)


def test_names_of_attention_written_without_audiocrafts_own(folder):
    weights = read(folder / LM)["best_state"]
    deeper = {re.sub(r"(_attn|_attention)\.", r"\1.mha.", name): value for name, value in weights.items()}
    assert len(deeper.keys() - weights.keys()) == 8
    rewritten(folder / LM, best_state=deeper)
    loaded = loading.load_language_model(folder, CPU, torch.float32, family="masked", frame_rate=50.0)
    assert all(torch.equal(value, weights[name].float()) for name, value in loaded.state_dict().items())


# Faults of a language model

MELODY = {"fuser.cross": [], "fuser.prepend": ["self_wav", "description"]}
STEREO = {"interleave_stereo_codebooks.use": True, "transformer_lm.n_q": 8}
LOOP = {"transformer_lm.dim": "${sizes.a}", "sizes.a": "${sizes.b}", "sizes.b": "${sizes.a}"}
SETTINGS = {  # source, family, changes to xp.cfg, what is said
    "a key is missing": ("magnet", "masked", {"transformer_lm.card": None}, "xp.cfg has no transformer_lm.card"),
    "no family": ("magnet", "masked", {"lm_model": None}, "xp.cfg has no lm_model"),
    "a reference to nothing": ("magnet", "masked", {"transformer_lm.dim": "${width}"}, "xp.cfg has no width"),
    "a reference to itself": ("magnet", "masked", LOOP, "transformer_lm.dim in xp.cfg refers to itself"),
    "a word for a number": ("magnet", "masked", {"transformer_lm.dim": "x"}, "dim must be a whole number, got 'x'"),
    "words for seconds": ("magnet", "masked", {"dataset.segment_duration": "x"}, "seconds must be a number, got 'x'"),
    "a list for a number": ("musicgen", AR, {"transformer_lm.n_q": [4]}, "n_q must be a whole number, got [4]"),
    "nothing for a number": ("magnet", "masked", {"masking": {"span_len": None}}, "span_len must be a whole number"),
    "a melody model": ("musicgen", AR, MELODY, "use family: transformers"),
    "its fuser": ("musicgen", AR, {"fuser.prepend": ["description"]}, "fuser.prepend: ['description']"),
    "stereo": ("musicgen", AR, STEREO, "interleave_stereo_codebooks.use: True"),
    "biases": ("magnet", "masked", {"transformer_lm.bias_ff": True}, "bias_ff: True, this loader knows False"),
    "other positions": ("magnet", "masked", {"transformer_lm.positional_embedding": "rope"}, "embedding: rope"),
    "positions in the text": (
        "magnet", "masked", {"fuser.cross_attention_pos_emb": True}, "pos_emb: True, this loader knows False",
    ),
    "texts changed first": (
        "magnet", "masked", {"conditioners.description.t5.normalize_text": True}, "normalize_text: True",
    ),
    "a bounded past": ("musicgen", AR, {"transformer_lm.past_context": 50}, "past_context: 50"),
    "another text encoder": ("magnet", "masked", {"conditioners.description.model": "clap"}, "description.model: clap"),
    "MAGNeT as MusicGen": ("magnet", AR, {}, "and codebooks_pattern: parallel. Set family: masked."),
    "MusicGen as MAGNeT": ("musicgen", "masked", {}, "and codebooks_pattern: delay. Set family: autoregressive."),
    "MusicGen as hybrid": ("musicgen", "hybrid", {}, "take a two-model hybrid"),
    "a hybrid with delays": ("musicgen", "hybrid", {"lm_model": HYBRID}, "never published; take a two-model hybrid"),
    "a hybrid as MAGNeT": ("magnet", "masked", {"lm_model": HYBRID}, "No family here decodes that"),
    "a model of no name": ("magnet", "hybrid", {"lm_model": 3}, "lm_model: 3"),
    "other delays": ("musicgen", AR, {"codebooks_pattern.delay.delays": [0, 0, 1, 1]}, "loader knows [0, 1, 2, 3]"),
    "a flat beginning": ("musicgen", AR, {"codebooks_pattern.delay.flatten_first": 2}, "flatten_first: 2"),
    "another pattern": ("musicgen", AR, {"codebooks_pattern.modeling": "unroll"}, "No family here decodes that"),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_a_configuration_that_cannot_be_run_is_refused(refusal, tmp_path, name):
    source, family, changes, words = SETTINGS[name]
    path = configured(Path(shutil.copy(DATA / source / LM, tmp_path)), **changes)
    said = refusal(tmp_path, family, codec=str(DATA / "encodec"))
    assert str(path) in said and words in said


def test_references_are_followed(tmp_path):
    path = Path(shutil.copy(DATA / "magnet" / LM, tmp_path))
    configured(path, **{"transformer_lm.dim": "${sizes.width}", "sizes": {"width": "${first}"}, "first": 24})
    lm = loading.load_language_model(path, CPU, torch.float32, family="masked", frame_rate=50.0)
    assert lm.config.dim == 24


PROJECTION = layout_audiocraft.TEXT_PROJECTION
NO_TEXT = f"best_state has no {PROJECTION}"
OBJECT = "!!python/object/apply:os.getcwd []"
CONTENT = {
    "no configuration": (lambda path: rewritten(path, **{"xp.cfg": None}), "no configuration xp.cfg in it, only best"),
    "no YAML": (lambda path: rewritten(path, **{"xp.cfg": "a: [b\nc: }"}), "xp.cfg is no YAML"),
    "no mapping": (lambda path: rewritten(path, **{"xp.cfg": "- a\n- b"}), "no configuration xp.cfg"),
    "a Python object": (lambda path: rewritten(path, **{"xp.cfg": OBJECT}), "xp.cfg is no YAML"),
    "a list": (lambda path: torch.save([1, 2], path), "no configuration xp.cfg in it, only list"),
    "a tensor": (lambda path: torch.save(torch.ones(2), path), "no configuration xp.cfg in it, only Tensor"),
    "no state": (lambda path: rewritten(path, best_state=None), NO_TEXT),
    "no text": (lambda path: with_weights(path, **{PROJECTION: None}), NO_TEXT),
    "text of no width": (lambda path: with_weights(path, **{PROJECTION: torch.ones(24)}), PROJECTION),
    "a tensor short": (lambda path: with_weights(path, **{"out_norm.bias": None}), "tensor out_norm.bias is nothing"),
    "a tensor more": (
        lambda path: with_weights(path, more=torch.ones(2)),
        "tensor more is (2,), its configuration asks",
    ),
    "another shape": (lambda path: with_weights(path, **{"emb.0.weight": torch.ones(64, 24)}), "asks for (65, 24)"),
    "no tensor": (lambda path: with_weights(path, **{"out_norm.bias": [1.0] * 24}), "out_norm.bias is no tensor"),
    "the codec": (lambda path: shutil.copy(DATA / "sound" / CODEC, path), "has no conditioners.description.t5.name"),
}


@pytest.mark.parametrize("name", CONTENT)
def test_a_file_with_the_wrong_content_is_refused(refusal, folder, name):
    damage, words = CONTENT[name]
    damage(folder / LM)
    said = refusal(folder)
    assert str(folder / LM) in said and words in said


# Codecs

CODECS = {
    "another activation": ({"seanet.activation": "SiLU"}, "seanet.activation: SiLU, this loader knows ELU only"),
    "another quantizer": ({"encodec.quantizer": "no_quant"}, "encodec.quantizer: no_quant"),
    "another model": ({"compression_model": "dac"}, "compression_model: dac"),
    "a key is missing": ({"seanet.ratios": None}, "xp.cfg has no seanet.ratios"),
    "other ratios": ({"seanet.ratios": [8, 5, 4, 5]}, "EncodecModel"),
    "a word for a number": ({"rvq.bins": "many"}, "a value in xp.cfg is of the wrong kind"),
    "a word for a size": ({"seanet.kernel_size": "wide"}, "wide"),
    "ratios of words": ({"seanet.ratios": ["a"]}, "a value in xp.cfg is of the wrong kind"),
}


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_that_cannot_be_run_is_refused(refusal, folder, name):
    changes, words = CODECS[name]
    configured(folder / CODEC, **changes)
    said = refusal(folder)
    assert str(folder / CODEC) in said and words in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"best_state": None}, "there is no best_state in it"), ({"xp.cfg": None}, "no configuration xp.cfg")],
)
def test_a_codec_with_the_wrong_content_is_refused(refusal, folder, changes, words):
    rewritten(folder / CODEC, **changes)
    said = refusal(folder)
    assert str(folder / CODEC) in said and words in said


def test_a_codec_with_fewer_codebooks_than_the_model_is_refused(refusal, folder):
    configured(folder / CODEC, **{"rvq.n_q": 2})
    above = [
        name
        for name in read(folder / CODEC)["best_state"]
        if name.startswith(("quantizer.vq.layers.2.", "quantizer.vq.layers.3."))
    ]
    with_weights(folder / CODEC, **dict.fromkeys(above))
    assert f"{folder} makes 4 codebooks, its codec has 2. Set codec:" in refusal(folder)


def test_a_codec_with_a_tensor_short_is_refused(refusal, folder):
    with_weights(folder / CODEC, **{"quantizer.vq.layers.0._codebook.embed": None})
    assert "quantizer.layers.0.codebook.embed" in refusal(folder)


def test_a_pointer_to_a_codec_that_is_not_here_says_how_to_get_it(refusal, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    said = refusal(DATA / "musicgen", "autoregressive")
    assert "codec facebook/encodec_32khz: not here" in said
    assert "hf download facebook/encodec_32khz --include '*.json' --include model.safetensors" in said
    assert said.count("hf download") == 1  # what is missing, and nothing else


@pytest.mark.parametrize(("name", "rate"), [("magnet", 32_000), ("sound", 16_000)])
def test_a_codec_alone_is_a_file_too(name, rate):
    codec = Codec.read(DATA / name / CODEC, CPU)
    assert (codec.sample_rate, codec.frame_rate) == (rate, 50)
