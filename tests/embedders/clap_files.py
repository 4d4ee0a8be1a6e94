"""CLAP as its publishers lay it out, with random weights: a .pt of laion-clap, and a byte-level roberta-base."""

import json
from pathlib import Path

import numpy as np
import torch
from random_weights import random_tensor
from tokenizers import pre_tokenizers

TEXTS = ["slow waltz for strings", "dogs bark in the rain, far away", "techno"]
VOCABULARY = ("<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "<mask>")
TINY = {"width": 96, "depths": (2, 2, 6, 2), "heads": (4, 8, 16, 32), "text": 768, "joint": 512}  # HTSAT-tiny
SMALL = {"width": 16, "depths": (1, 1, 2, 1), "heads": (1, 2, 2, 4), "text": 64, "joint": 32}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def statistics(name, width):
    running = {f"{name}.{part}": (width,) for part in ("running_mean", "running_var")}
    return {**norm(name, width), **running, f"{name}.num_batches_tracked": ()}


def audio_shapes(width, depths, heads, fused):
    """Names and shapes of audio_branch, but for the layers that no embedding passes through."""
    shapes = {**statistics("bn0", 64), "patch_embed.proj.weight": (width, 1, 4, 4), "patch_embed.proj.bias": (width,)}
    shapes |= norm("patch_embed.norm", width)
    if fused:
        shapes |= {"patch_embed.mel_conv2d.weight": (width, 1, 4, 12), "patch_embed.mel_conv2d.bias": (width,)}
        for part, first in (("local_att", 0), ("global_att", 1)):
            for at, (inputs, outputs) in ((first, (width, width // 4)), (first + 3, (width // 4, width))):
                name = f"patch_embed.fusion_model.{part}"
                shapes |= {f"{name}.{at}.weight": (outputs, inputs, 1, 1), f"{name}.{at}.bias": (outputs,)}
                shapes |= statistics(f"{name}.{at + 1}", outputs)
    for i, (depth, n_heads) in enumerate(zip(depths, heads, strict=True)):
        for block in (f"layers.{i}.blocks.{j}" for j in range(depth)):
            shapes |= {
                **norm(f"{block}.norm1", width), f"{block}.attn.relative_position_bias_table": (225, n_heads),
                f"{block}.attn.relative_position_index": (64, 64), **linear(f"{block}.attn.qkv", width, 3 * width),
                **linear(f"{block}.attn.proj", width, width), **norm(f"{block}.norm2", width),
                **linear(f"{block}.mlp.fc1", width, 4 * width), **linear(f"{block}.mlp.fc2", 4 * width, width),
            }  # fmt: skip
        if i < len(depths) - 1:
            shapes |= {f"layers.{i}.downsample.reduction.weight": (2 * width, 4 * width)}
            shapes |= norm(f"layers.{i}.downsample.norm", 4 * width)
            width *= 2
    return shapes | norm("norm", width)


def text_shapes(width):
    """Names and shapes of text_branch, one layer."""
    layer = "encoder.layer.0"
    return {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), width),
        "embeddings.token_type_embeddings.weight": (1, width),
        "embeddings.position_embeddings.weight": (514, width),
        **norm("embeddings.LayerNorm", width),
        **{key: shape for part in ("query", "key", "value")
           for key, shape in linear(f"{layer}.attention.self.{part}", width, width).items()},
        **linear(f"{layer}.attention.output.dense", width, width),
        **norm(f"{layer}.attention.output.LayerNorm", width),
        **linear(f"{layer}.intermediate.dense", width, 64), **linear(f"{layer}.output.dense", 64, width),
        **norm(f"{layer}.output.LayerNorm", width), **linear("pooler.dense", width, width),
    }  # fmt: skip


def clap_state(width, depths, heads, text, joint, fused=False):
    """The parameters that embeddings come from, under laion-clap's names."""
    last = width * 2 ** (len(depths) - 1)
    shapes = {
        **{f"audio_branch.{name}": shape for name, shape in audio_shapes(width, depths, heads, fused).items()},
        **{f"text_branch.{name}": shape for name, shape in text_shapes(text).items()},
        **linear("text_projection.0", text, joint), **linear("text_projection.2", joint, joint),
        **linear("audio_projection.0", last, joint), **linear("audio_projection.2", joint, joint),
    }  # fmt: skip
    state = {name: random_tensor(name, shape) for name, shape in shapes.items()}
    grid = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")).flatten(1)
    steps = grid[:, :, None] - grid[:, None, :] + 7
    for name in state:
        if name.endswith("relative_position_index"):
            state[name] = steps[0] * 15 + steps[1]
        elif name.endswith(("qkv.weight", "query.weight", "key.weight")):
            state[name] *= 2  # so that different sounds and texts get different vectors
    state |= {f"logit_scale_{side}": torch.tensor(2.6593) for side in "at"}
    state["audio_branch.bn0.running_mean"] -= 40  # dB, so that its input is near 0 and 1
    state["audio_branch.bn0.running_var"] *= 400
    return state


def save_pt(path: Path, state, unused=None):
    """A file as LAION publishes it: names under module., layers that nothing here uses, and an optimiser's state."""
    names = ("audio_branch.spectrogram_extractor.stft.conv_real.weight", "audio_branch.logmel_extractor.melW",
             "audio_branch.tscam_conv.bias", "audio_branch.head.weight", "audio_branch.layers.0.blocks.1.attn_mask",
             "text_transform.sequential.0.weight", "audio_transform.sequential.3.bias")  # fmt: skip
    whole = {**(unused or {name: torch.zeros(1) for name in names}), **state}
    whole["text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    optimizer = {"state": {0: {"step": np.float64(7)}}, "param_groups": [{"lr": np.float32(1e-4)}]}
    content = {"epoch": 15, "name": "clap", "optimizer": optimizer}
    torch.save({**content, "state_dict": {f"module.{name}": value for name, value in whole.items()}}, path)
    return path


def save_tokenizer(folder: Path):
    """roberta-base's tokenizer, of single bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(VOCABULARY)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    kind = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind))
    return folder


def save_roberta(folder: Path):
    """roberta-base as laion-clap builds its text tower from: tokenizer, sizes, and weights that it then replaces."""
    from transformers import RobertaConfig, RobertaModel

    sizes = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 64}
    config = RobertaConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, **sizes
    )  # fmt: skip
    RobertaModel(config).save_pretrained(save_tokenizer(folder))
    return folder
