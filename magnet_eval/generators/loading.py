"""A model's parts from wherever they lie, in whichever layout: language model, text encoder, codec."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from magnet_eval.generators import layout_audiocraft, layout_transformers, layouts
from magnet_eval.generators.checkpoints import fill, load_transformers, read_weights
from magnet_eval.generators.layouts import HINT, WEIGHTS, check_folder, read_json
from magnet_eval.generators.transformer import LanguageModel, LMConfig, config_from_dict
from magnet_eval.lookup import UserError

DEFAULT_SECONDS = 30.0  # the training length of every published MusicGen


def load_language_model(
    place: Path, device: torch.device, dtype: torch.dtype, *, family: str, frame_rate: float, seconds: float = 0.0
) -> LanguageModel:
    """The language model of a folder or file, ready to generate. Raises UserError on missing or wrong weights.

    frame_rate (of the codec) and seconds (trained on): for layouts that do not say; ``family`` has to suit the rest.
    """
    published = layouts.lm_file(place)
    if published:
        shape, weights = layout_audiocraft.read_language_model(published, family, frame_rate)
    elif layouts.model_type(place) in layouts.MUSICGEN:
        if family != "autoregressive":
            raise UserError(f"{place} is a MusicGen; set family: autoregressive.")
        shape, weights = layout_transformers.read_language_model(place, frame_rate, seconds or DEFAULT_SECONDS)
    else:
        file = place if place.suffix == ".safetensors" else place / WEIGHTS
        shape, weights = read_config(file.parent), read_weights(file)
    return assemble(shape, weights, device, dtype, published or place)


def assemble(
    shape: LMConfig, weights: dict[str, Tensor], device: torch.device, dtype: torch.dtype, place: Path
) -> LanguageModel:
    """A network of this shape around ``weights`` (emptied on the way). Raises UserError where they differ."""
    with torch.device("meta"):
        lm = LanguageModel(shape)
    fill(lm, weights, device, dtype, place)
    return lm.eval().requires_grad_(False)


def read_config(folder: Path) -> LMConfig:
    """The network's shape from config.json. Raises UserError if that is no JSON or lacks a field."""
    fields = read_json(folder / "config.json")
    try:
        return config_from_dict(fields)
    except UserError as error:
        reason = str(error).rstrip(".")
        raise UserError(f"{folder / 'config.json'} does not describe a language model: {reason}. {HINT}") from error


def load_text_encoder(folder: Path, device: torch.device) -> Any:
    """Transformers' T5EncoderModel of a folder. Raises UserError if it is not complete."""
    from transformers import T5EncoderModel

    check_folder(folder, "config.json")
    return layout_transformers.load_part(T5EncoderModel, "text", folder, device)


def load_codec(place: Path, device: torch.device) -> Any:
    """Transformers' EncodecModel of a folder or file. Raises UserError if it is not complete."""
    from transformers import EncodecModel

    published = layouts.codec_file(place)
    if not published:
        check_folder(place, "config.json")
        return layout_transformers.load_part(EncodecModel, "codec", place, device)
    fields, weights = layout_audiocraft.read_codec(published)
    return load_transformers(EncodecModel, published, device, fields=fields, weights=weights)
