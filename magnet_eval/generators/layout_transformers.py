"""transformers' layout: EnCodec, T5, and MusicGen, whose one folder holds text encoder, language model and codec."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from magnet_eval.generators.checkpoints import load_transformers, read_folder
from magnet_eval.generators.layouts import HINT, MUSICGEN, model_type, read_json
from magnet_eval.generators.transformer import LMConfig
from magnet_eval.lookup import UserError
from magnet_eval.typed import typed

PARTS = {"text": "text_encoder", "codec": "audio_encoder"}  # role -> its prefix, and its block in config.json
NAMES = (  # transformers' parts of a parameter's name -> ours
    ("model.decoder.embed_tokens.", "emb."), ("model.decoder.layers.", "transformer.layers."),
    ("model.decoder.layer_norm.", "out_norm."), ("lm_heads.", "linears."), (".fc1.", ".linear1."),
    (".fc2.", ".linear2."),
    (".encoder_attn_layer_norm.", ".norm_cross."), (".encoder_attn.", ".cross_attention."),
    (".self_attn_layer_norm.", ".norm1."), (".final_layer_norm.", ".norm2."),
)  # fmt: skip
PROJECTION = "condition_provider.conditioners.description.output_proj."


def read_language_model(folder: Path, frame_rate: float, seconds: float) -> tuple[LMConfig, dict[str, Tensor]]:
    """Shape and tensors of MusicGen's language model; ``seconds`` is its training length, which no file here says."""
    said = read_json(folder / "config.json")
    if said["model_type"] != "musicgen":
        raise UserError(f"{folder} is a {said['model_type']}, whose text is prepended. Use family: transformers.")
    block, text = _block(folder, "decoder"), _block(folder, "text_encoder")
    if block.get("audio_channels", 1) != 1 or block.get("activation_function", "gelu") != "gelu":
        raise UserError(f"{folder}: only mono models with gelu are known here. Use family: transformers for this one.")
    try:
        fields = {
            "dim": block["hidden_size"],
            "num_heads": block["num_attention_heads"],
            "num_layers": block["num_hidden_layers"],
            "hidden_scale": block["ffn_dim"] // block["hidden_size"],
            "n_q": block["num_codebooks"],
            "card": block["vocab_size"],
            "text_dim": text["d_model"],
            "causal": True,
            "span_len": 1,
            "subcodes_context": -1,
            "frame_rate": frame_rate,
            "segment_seconds": seconds,
        }
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise UserError(f"{folder}/config.json does not describe a MusicGen: no {error}. {HINT}") from error
    shape = typed(LMConfig, fields, f"{folder}/config.json")
    if shape.text_dim == shape.dim:
        raise UserError(
            f"{folder}: its text is not projected, which this loader does not know. Use family: transformers."
        )
    return shape, our_names(read_folder(folder, "decoder."), read_folder(folder, "enc_to_dec_proj."))


def _block(folder: Path, name: str) -> dict[str, Any]:
    block = read_json(folder / "config.json").get(name)
    if not isinstance(block, dict):
        raise UserError(f"{folder}/config.json has no block {name}. {HINT}")
    return block


def our_names(decoder: dict[str, Tensor], projection: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters under our names, with query, key and value in one. Both arguments are emptied on the way.

    Of an incomplete checkpoint what is there; ``fill`` names what is not.
    """
    weights = {PROJECTION + name: projection.pop(name) for name in list(projection)}
    for name in [name for name in decoder if name.endswith("embed_positions.weights")]:
        del decoder[name]  # sines, made anew
    for name in list(decoder):
        if name not in decoder:
            continue
        if ".q_proj." in name:
            parts = [decoder.pop(name.replace(".q_proj.", f".{part}_proj."), None) for part in "qkv"]
            if all(part is not None for part in parts):
                weights[our_name(name).replace(".q_proj.weight", ".in_proj_weight")] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            weights[our_name(name)] = decoder.pop(name)
    return weights


def our_name(name: str) -> str:
    """Our name of one parameter of transformers' MusicGen decoder."""
    for theirs, ours in NAMES:
        name = name.replace(theirs, ours)
    return name


def load_part(kind: Any, role: str, folder: Path, device: torch.device) -> Any:
    """The text encoder or the codec as transformers' class ``kind``: a folder of its own, or out of a MusicGen."""
    if model_type(folder) not in MUSICGEN:
        return load_transformers(kind, folder, device)
    prefix = PARTS[role]
    fields = {name: value for name, value in _block(folder, prefix).items() if name != "model_type"}
    return load_transformers(kind, folder, device, fields=fields, weights=read_folder(folder, f"{prefix}."))
