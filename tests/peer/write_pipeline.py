"""Writes tests/data/pipeline with audiocraft 1.3.0 itself: VENV/bin/python tests/peer/write_pipeline.py OUT

In OUT: checkpoints in audiocraft's published file layout with tiny random weights, written by its own exporters and
read by its own loaders; a tiny T5; and what audiocraft makes of them on a CPU: tokens and waveforms for given texts,
settings and seeds. torch.manual_seed(seed) precedes each run.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import stand_ins  # noqa: F401, audiocraft imports what it puts in place

# isort: split
import audiocraft
import torch
import transformers
from audiocraft.models import AudioGen, MAGNeT, MusicGen, builders, encodec, loaders
from audiocraft.modules import conditioners, transformer
from audiocraft.utils import export
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

log = logging.getLogger("write_pipeline")
HERE = Path(__file__).parent
TEXTS = ["slow waltz for strings", "fast drums and a bright synthesizer over them"]  # lengths differ: padding matters
KEEP = 97  # of a run's waveform every 97th sample is stored; prime to all strides of the codecs
SEED = 1234
TEXT_WIDTH = 24
HUB_CODEC = "facebook/encodec_32khz"  # the name in a pointer

MAGNET = {"decoding_steps": [8, 4, 3, 3]}  # the rest is the class's default
SOUND = {"decoding_steps": [8, 4, 3, 3], "temperature": 3.5, "top_p": 0.8, "max_cfg_coef": 20.0}
MUSICGEN = {"duration": 1, "top_k": 20, "extend_stride": 0.6}  # top_k's default is more than the tokens there are
ONE, TWO = TEXTS[:1], TEXTS
RUNS: dict[str, tuple[type, list[str], dict[str, Any]]] = {
    "musicgen/top_k": (MusicGen, TWO, MUSICGEN),
    "musicgen/top_p_one_text": (MusicGen, ONE, {**MUSICGEN, "top_k": 0, "top_p": 0.9, "cfg_coef": 2.0}),
    "musicgen/greedy": (MusicGen, TWO, {**MUSICGEN, "use_sampling": False}),
    "musicgen/greedy_one_text": (MusicGen, ONE, {**MUSICGEN, "use_sampling": False}),
    # In two steps 1.3.0 ignores cfg_coef and takes the configuration's inference_coef, the same 3 as the default.
    "musicgen/two_step_cfg": (MusicGen, TWO, {**MUSICGEN, "two_step_cfg": True}),
    "musicgen/extended": (MusicGen, TWO, {**MUSICGEN, "duration": 1.7}),
    "musicgen/extended_greedy_one_text": (MusicGen, ONE, {**MUSICGEN, "duration": 2.2, "use_sampling": False}),
    "audiogen/top_k": (AudioGen, TWO, MUSICGEN),
    "audiogen/extended": (AudioGen, TWO, {**MUSICGEN, "duration": 1.3, "extend_stride": 0.2}),
    "magnet/top_p": (MAGNeT, TWO, MAGNET),
    "magnet/top_p_one_text": (MAGNeT, ONE, MAGNET),
    "magnet/stride1": (MAGNeT, TWO, {**MAGNET, "span_arrangement": "stride1"}),
    "magnet/greedy": (MAGNeT, TWO, {**MAGNET, "use_sampling": False}),
    "magnet/greedy_one_text": (MAGNeT, ONE, {**MAGNET, "use_sampling": False}),
    "sound/top_p": (MAGNeT, TWO, SOUND),
    "sound/top_k_one_text": (MAGNeT, ONE, {**SOUND, "top_p": 0.0, "top_k": 10}),
}
CODECS = {"magnet": 32000, "sound": 16000, "encodec": 32000}


def write_text(folder: Path) -> None:
    """A tiny T5 encoder over bytes in transformers' format."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    alphabet = ["<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", model_max_length=64
    )
    fast.save_pretrained(folder)
    config = transformers.T5Config(
        vocab_size=len(alphabet), d_model=TEXT_WIDTH, d_kv=6, d_ff=48, num_layers=2, num_heads=4
    )
    save_halved(transformers.T5EncoderModel(config), folder)


def save_halved(model: Any, folder: Path) -> None:
    """Saves with weights in 16 bits under a configuration that says float32, which is what they are loaded as."""
    model.save_pretrained(folder)
    path = folder / "model.safetensors"
    save_file({name: value.half() for name, value in load_file(path).items()}, path, metadata={"format": "pt"})


def halved(model: nn.Module) -> dict[str, Tensor]:
    """Weights in 16 bits: so are the published language models; the codecs only to keep the files small."""
    return {name: value.half() for name, value in model.state_dict().items()}


def noise_and_sine(samples: int, rate: int) -> Tensor:
    """A test signal [1, 1, samples]."""
    time = torch.arange(samples) / rate
    return (0.3 * torch.sin(2 * torch.pi * 440 * time) + 0.1 * torch.randn(samples))[None, None]


@torch.no_grad()
def enliven_codec(codec: nn.Module, codebooks: list[nn.Module], rate: int) -> None:
    """Weights scaled up, so that the audio follows the codes, and codebooks from the encoder's own output.

    New weights shrink their input layer by layer until the biases drown it; new codebooks are all zeros.
    """
    norms = [weight for name, weight in codec.named_parameters() if name.endswith(("weight_g", "original0"))]
    for weight in norms:
        weight.mul_(1.8)
    residual = codec.encoder(noise_and_sine(4 * rate, rate))[0].T  # [frames, width]
    for codebook in codebooks:
        picked = residual[torch.randperm(len(residual))[: len(codebook.embed)]]
        codebook.embed.copy_(picked + 0.3 * residual.std(0) * torch.randn_like(picked))
        codebook.embed_avg.copy_(codebook.embed)
        codebook.cluster_size.fill_(1)
        codebook.inited.fill_(1)
        residual = residual - codebook.embed[torch.cdist(residual, codebook.embed).argmin(1)]


def write_codec(folder: Path, seed: int, *, resolve: bool, **changes: Any) -> None:
    """compression_state_dict.bin in the full layout."""
    torch.manual_seed(seed)
    config = OmegaConf.merge(OmegaConf.load(HERE / "codec.yaml"), changes)
    if resolve:
        OmegaConf.resolve(config)
    codec = builders.get_compression_model(OmegaConf.merge(config, {"device": "cpu"})).eval()
    enliven_codec(codec, [layer._codebook for layer in codec.quantizer.vq.layers], config.sample_rate)
    with tempfile.NamedTemporaryFile() as file:
        torch.save({"best_state": {"model": halved(codec)}, "xp.cfg": config}, file.name)
        export.export_encodec(file.name, folder / "compression_state_dict.bin")


def write_hub_codec(folder: Path) -> None:
    """A 32 kHz codec in transformers' format, set up as the published one."""
    torch.manual_seed(41)
    config = transformers.EncodecConfig(
        sampling_rate=32000, audio_channels=1, upsampling_ratios=[8, 5, 4, 4], num_filters=2, hidden_size=8,
        codebook_size=64, codebook_dim=8, num_lstm_layers=1, normalize=False, chunk_length_s=None,
        target_bandwidths=[1.2], use_causal_conv=False, use_conv_shortcut=False,
    )  # fmt: skip
    codec = transformers.EncodecModel(config).eval()
    enliven_codec(codec, [layer.codebook for layer in codec.quantizer.layers], 32000)
    save_halved(codec, folder)


@torch.no_grad()
def enliven_lm(lm: nn.Module) -> None:
    """Weights scaled up, so that tokens, text and position all move the logits."""
    for name, weight in lm.named_parameters():
        if name.startswith("emb."):
            weight.mul_(6)
        elif name.startswith("linears."):
            weight.mul_(3)
        elif "cross_attention.in_proj" in name:
            weight.mul_(8)
        elif "cross_attention.out_proj" in name:
            weight.mul_(0.6)  # guidance multiplies the text's part by up to 20: it would drown the rest
        elif name.startswith("transformer.") and weight.dim() == 2:
            weight.mul_(4)


def write_lm(folder: Path, seed: int, **changes: Any) -> None:
    """state_dict.bin."""
    torch.manual_seed(seed)
    config = OmegaConf.merge(OmegaConf.load(HERE / "language_model.yaml"), changes)
    local = OmegaConf.merge(config, {"device": "cpu"})
    if config.lm_model == "transformer_lm_magnet":  # as loaders.load_lm_model_magnet does
        made = {"segment_duration": 1, "span_len": config.masking.span_len}
        local = OmegaConf.merge(local, {"transformer_lm": made})
    lm = builders.get_lm_model(local)
    enliven_lm(lm)
    with tempfile.NamedTemporaryFile() as file:
        torch.save({"best_state": {"model": halved(lm)}, "fsdp_best_state": {}, "xp.cfg": config}, file.name)
        export.export_lm(file.name, folder / "state_dict.bin")


def write_checkpoints(out: Path) -> None:
    """All models. sound and audiogen share a codec."""
    # 1.3.0's exporters read training checkpoints with omegaconf objects in them, which torch >= 2.6 refuses by default.
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    write_codec(out / "magnet", 31, resolve=True)
    write_codec(out / "sound", 32, resolve=False, sample_rate=16000, seanet={"ratios": [8, 5, 4, 2], "lstm": 1})
    write_hub_codec(out / "encodec")
    export.export_pretrained_compression_model(HUB_CODEC, out / "musicgen" / "compression_state_dict.bin")
    magnet = {
        "solver": "magnet",
        "lm_model": "transformer_lm_magnet",
        "efficient_attention_backend": "xformers",
        "codebooks_pattern": {"modeling": "parallel"},
        "masking": {"span_len": 3},
    }
    masked = {
        "causal": False,
        "subcodes_context": 5,
        "compression_model_framerate": 50,
        "segment_duration": 0,
        "span_len": -1,
    }
    small = {"dim": 16, "num_heads": 2, "num_layers": 1}
    sound = {
        "sample_rate": 16000,
        "compression_model_checkpoint": "//reference/bd44a852/checkpoint.th",
        "classifier_free_guidance": {"training_dropout": 0.1},
        "conditioners": {"description": {"t5": {"name": "t5-large", "word_dropout": 0.0}}},
    }
    older = {"args": {"merge_text_conditions_p": 0.25, "drop_desc_p": 0.5}}  # keys that the loaders still take out
    write_lm(out / "magnet", 21, **magnet, transformer_lm=masked)
    write_lm(out / "sound", 22, **{**magnet, **sound, "solver": "audio_magnet"}, transformer_lm={**masked, **small})
    write_lm(out / "musicgen", 23, conditioners=older)
    write_lm(out / "audiogen", 24, **sound, transformer_lm=small)
    del os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"]


def patch(out: Path) -> None:
    """What is on a hub is taken from OUT; two limits that a one-second model would fall foul of are lifted."""
    text = out / "text"
    conditioners.T5Tokenizer = types.SimpleNamespace(
        from_pretrained=lambda name: transformers.AutoTokenizer.from_pretrained(text)
    )
    conditioners.T5EncoderModel = types.SimpleNamespace(
        from_pretrained=lambda name: transformers.T5EncoderModel.from_pretrained(text)
    )
    conditioners.T5Conditioner.MODELS_DIMS = {"t5-base": TEXT_WIDTH, "t5-large": TEXT_WIDTH}
    hub = {HUB_CODEC: out / "encodec"}
    encodec.HFEncodecModel = types.SimpleNamespace(
        from_pretrained=lambda name: transformers.EncodecModel.from_pretrained(hub[name])
    )
    for kind in (MusicGen, AudioGen):  # both set a stride of 18 or 2 s while built, and refuse segments below it
        *defaults, _ = kind.set_generation_params.__defaults__
        kind.set_generation_params.__defaults__ = (*defaults, 0.5)


def load(out: Path, kind: type, name: str) -> Any:
    """A model by audiocraft's own get_pretrained."""
    # MAGNeT's loader sets this for the whole process; MusicGen is meant to run with torch's own attention.
    transformer.set_efficient_attention_backend("torch")
    if (out / name / "compression_state_dict.bin").exists():
        return kind.get_pretrained(str(out / name), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(out / name / "state_dict.bin", folder)
        shutil.copy(out / "sound" / "compression_state_dict.bin", folder)
        return kind.get_pretrained(folder, device="cpu")


def run_models(out: Path, tensors: dict[str, Tensor]) -> dict[str, dict]:
    """Every run's tokens and waveform; returns what was asked of it."""
    cases, models = {}, {}
    for name, (kind, texts, params) in RUNS.items():
        folder = name.split("/")[0]
        if folder not in models:
            models[folder] = load(out, kind, folder)
        model = models[folder]
        model.set_generation_params(**params)
        torch.manual_seed(SEED)
        wav, tokens = model.generate(texts, return_tokens=True)
        assert tokens.max() < model.lm.card, f"{name}: masked tokens are left"
        tensors[f"{name}/tokens"] = tokens.to(torch.int16)
        tensors[f"{name}/wav"] = wav[..., ::KEEP].contiguous()
        cases[name] = {
            "class": kind.__name__, "texts": texts, "seed": SEED, "params": params, "samples": wav.shape[-1]
        }  # fmt: skip
        assert (wav - wav.mean(-1, keepdim=True)).std() > 0.02, f"{name}: nothing to be heard"
        log.info("%-34s tokens %s (%d kinds) std %.3f", name, list(tokens.shape), tokens.unique().numel(), wav.std())
    for folder in ("magnet", "musicgen"):
        together, alone = (tensors[f"{folder}/greedy{end}/tokens"][0] for end in ("", "_one_text"))
        assert not torch.equal(together, alone), f"{folder}: padding does not show; lengthen the second text"
    return cases


@torch.no_grad()
def run_codecs(out: Path, tensors: dict[str, Tensor]) -> dict[str, dict]:
    """Codes and reconstruction of one short signal whose length is no multiple of the hop."""
    torch.manual_seed(51)
    signal = noise_and_sine(3003, 32000)
    tensors["codec/signal"] = signal
    cases = {}
    for folder, rate in CODECS.items():
        # a folder in transformers' format is only read through a pointer
        codec = loaders.load_compression_model(str(out / ("musicgen" if folder == "encodec" else folder)))
        codes, scale = codec.encode(signal)
        assert scale is None and codec.sample_rate == rate and codec.frame_rate == 50
        tensors[f"codec/{folder}/codes"] = codes.to(torch.int16)
        tensors[f"codec/{folder}/wav"] = codec.decode(codes)
        cases[folder] = {"class": type(codec).__name__, "sample_rate": rate, "ratio": rate // 50}
        log.info("codec %-8s codes %s (%d kinds)", folder, list(codes.shape), codes.unique().numel())
    return cases


def main(out: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(11)
    write_text(out / "text")
    patch(out)
    write_checkpoints(out)
    tensors: dict[str, Tensor] = {}
    cases = {
        "versions": {module.__name__: module.__version__ for module in (audiocraft, torch, transformers)},
        "keep": KEEP,
        "runs": run_models(out, tensors),
        "codecs": run_codecs(out, tensors),
    }
    save_file(tensors, out / "vectors.safetensors")
    (out / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger().setLevel(logging.INFO)
    main(Path(sys.argv[1]))
