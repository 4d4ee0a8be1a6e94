"""LAION's CLAP checkpoints (.pt) as transformers' ClapModel: the parameters' names, and sizes read off their shapes.

The published files hold {epoch, name, optimizer, state_dict: {module.<parameter>: tensor}} and no configuration. Layers
that no embedding passes through are left out by name; whatever else has no counterpart is an error.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from magnet_eval.embedders.network import fill
from magnet_eval.generators.checkpoints import load_transformers, read_pickled
from magnet_eval.lookup import UserError

# Front ends and classifiers of the audio tower, masks that transformers computes, and layers used in training alone.
UNUSED = re.compile(
    r"audio_branch\.(spectrogram_extractor|logmel_extractor|tscam_conv|head)\.|.*\.attn_mask$|(audio|text)_transform\."
)
RENAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^text_branch\.", "text_model."),
        (r"^audio_branch\.bn0\.", "audio_branch.batch_norm."),
        (r"^audio_branch\.", "audio_model.audio_encoder."),
        (r"\.norm1\.", ".layernorm_before."),
        (r"\.norm2\.", ".layernorm_after."),
        (r"\.attn\.proj\.", ".attention.output.dense."),
        (r"\.attn\.", ".attention.self."),
        (r"\.mlp\.fc1\.", ".intermediate.dense."),
        (r"\.mlp\.fc2\.", ".output.dense."),
        (r"_projection\.0\.", "_projection.linear1."),
        (r"_projection\.2\.", "_projection.linear2."),
    )
)
BLOCK = re.compile(r"audio_branch\.layers\.(\d+)\.blocks\.\d+\.attn\.relative_position_bias_table")
TEXT_LAYER = "text_branch.encoder.layer.{}.intermediate.dense.weight"
HEAD = 64  # RoBERTa's width of an attention head
# The optimiser's state beside the weights holds NumPy numbers, which run no code when they are read.
NUMBERS = [
    *(
        (type(np.float64(0)).__reduce__(np.float64(0))[0], f"numpy.{core}.multiarray.scalar")
        for core in ("core", "_core")
    ),
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("i4", "i8", "f4", "f8", "?")},
]


def load(place: Path, device: str) -> nn.Module:
    """Transformers' ClapModel of a published .pt or of a folder in transformers' layout, ready for inference.

    Raises UserError if it is missing, damaged or another model.
    """
    from transformers import ClapConfig, ClapModel

    if place.is_dir():
        return load_transformers(ClapModel, place, torch.device(device))
    state = read(place)
    try:
        fields = config_of(state)
    except (KeyError, ValueError) as error:
        raise UserError(f"{place} holds no CLAP with an HTSAT and a RoBERTa tower: {error} is not in it.") from error
    with torch.device("meta"):
        model = ClapModel(ClapConfig(**fields))
    return fill(model, renamed(state), place, device)


def read(path: Path) -> dict[str, Tensor]:
    """The parameters in a published file under laion-clap's names. Raises UserError if there are none."""
    with torch.serialization.safe_globals(NUMBERS):
        content = read_pickled(path, mapped=True)  # two thirds of it are the optimiser's
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    state = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise UserError(f"{path} holds no parameters of a network. Get the publisher's file again.")
    return state


def is_fused(state: dict[str, Tensor]) -> bool:
    """Whether a checkpoint hears long clips as four mixed views (feature fusion)."""
    return any(".fusion_model." in name for name in state)


def config_of(state: dict[str, Tensor]) -> dict[str, Any]:
    """The fields of ClapConfig that fit a checkpoint. Raises KeyError or ValueError if it has another shape."""
    heads = [(int(match[1]), state[name].shape[1]) for name in state if (match := BLOCK.match(name))]
    layers = sorted({layer for layer, _ in heads})
    width = state["audio_branch.patch_embed.proj.weight"].shape[0]
    vocabulary, text_width = state["text_branch.embeddings.word_embeddings.weight"].shape
    n_text_layers = next(n for n in range(1000) if TEXT_LAYER.format(n) not in state)
    joint = state["text_projection.0.weight"].shape[0]
    audio = {
        "patch_embeds_hidden_size": width,
        "hidden_size": state["audio_projection.0.weight"].shape[1],
        "depths": [sum(at == layer for at, _ in heads) for layer in layers],
        "num_attention_heads": [dict(heads)[layer] for layer in layers],
        "num_hidden_layers": len(layers),
        "projection_dim": joint,
        "enable_fusion": is_fused(state),
        "fusion_type": "aff_2d" if is_fused(state) else None,
    }
    text = {
        "vocab_size": vocabulary,
        "hidden_size": text_width,
        "num_hidden_layers": n_text_layers,
        "num_attention_heads": text_width // HEAD,
        "intermediate_size": state[TEXT_LAYER.format(0)].shape[0],
        "max_position_embeddings": state["text_branch.embeddings.position_embeddings.weight"].shape[0],
        "layer_norm_eps": 1e-5,  # roberta-base's; transformers' default for CLAP is 1e-12
        "projection_dim": joint,
    }
    return {"audio_config": audio, "text_config": text, "projection_dim": joint}


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters under transformers' names; query, key and value, one matrix in laion-clap, are three there."""
    result = {}
    for name, value in state.items():
        if UNUSED.match(name):
            continue
        for pattern, replacement in RENAMES:
            name = pattern.sub(replacement, name)
        if ".qkv." in name:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                result[name.replace("qkv", part)] = rows
        else:
            result[name] = value
    # Both are constants; files written beside a newer transformers lack the first, all lack the second.
    positions = torch.arange(state["text_branch.embeddings.position_embeddings.weight"].shape[0])[None]
    result["text_model.embeddings.position_ids"] = positions
    result["text_model.embeddings.token_type_ids"] = torch.zeros_like(positions)
    return result
