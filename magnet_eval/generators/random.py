"""Models with random weights at their true size: for measurements of speed, which does not depend on the values.

The shapes of published checkpoints are written down here; any other part gives its own config.json, of which no more is
read. Nothing is downloaded. Text has no tokenizer of its own either: see HashTokenizer.
"""

import dataclasses
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    EncodecConfig,
    EncodecModel,
    MusicgenConfig,
    MusicgenForConditionalGeneration,
    PreTrainedTokenizer,
    T5Config,
    T5EncoderModel,
)

from magnet_eval import zoo
from magnet_eval.generators import loading
from magnet_eval.generators.checkpoints import quiet
from magnet_eval.generators.codec import Codec
from magnet_eval.generators.layouts import read_json
from magnet_eval.generators.text import MAX_TOKENS, TextEncoder
from magnet_eval.generators.transformer import LanguageModel, LMConfig
from magnet_eval.lookup import UserError
from magnet_eval.model import Model

SEED = 0
SCALES = {"small": (1024, 24, 16), "medium": (1536, 48, 24), "large": (2048, 48, 32)}  # width, layers, heads


@dataclass(frozen=True)
class Published:
    """What sets the size of a published checkpoint (Copet et al., 2023; Ziv et al., 2024)."""

    family: str
    scale: str
    seconds: float  # of its training clips
    task: str = "music"


CHECKPOINTS = {
    "facebook/magnet-small-10secs": Published("masked", "small", 10.0),
    "facebook/magnet-medium-10secs": Published("masked", "medium", 10.0),
    "facebook/magnet-small-30secs": Published("masked", "small", 30.0),
    "facebook/magnet-medium-30secs": Published("masked", "medium", 30.0),
    "facebook/audio-magnet-small": Published("masked", "small", 10.0, "sound"),
    "facebook/audio-magnet-medium": Published("masked", "medium", 10.0, "sound"),
    "facebook/hybrid-magnet-small": Published("hybrid", "small", 30.0),
    "facebook/hybrid-magnet-medium": Published("hybrid", "medium", 30.0),
    "facebook/musicgen-small": Published("autoregressive", "small", 30.0),
    "facebook/musicgen-medium": Published("autoregressive", "medium", 30.0),
    "facebook/musicgen-large": Published("autoregressive", "large", 30.0),
    "facebook/audiogen-medium": Published("autoregressive", "medium", 10.0, "sound"),
}
TEXTS = {  # T5's encoders (Raffel et al., 2020)
    "google-t5/t5-base": {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "google-t5/t5-large": {"d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
}
TEXT_OF = {"music": "google-t5/t5-base", "sound": "google-t5/t5-large"}
CODECS = {  # EnCodec as published with MusicGen and with AudioGen: 50 frames per second, 4 codebooks
    "music": {"sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4]},
    "sound": {"sampling_rate": 16000, "upsampling_ratios": [8, 5, 4, 2]},
}
CODEC = {
    "num_filters": 64, "hidden_size": 128, "codebook_size": 2048, "target_bandwidths": [2.2],
    "use_causal_conv": False, "use_conv_shortcut": False, "chunk_length_s": None,
}  # fmt: skip


class HashTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
    """A token per seven letters of a word and per punctuation mark, numbered by its hash: T5's lengths, about."""

    vocab_size: int = 0

    def __init__(self, vocab_size: int) -> None:
        """Ids below ``vocab_size``: 0 is padding, 1 the end of a text."""
        self.vocab_size = vocab_size
        super().__init__(pad_token="<pad>", eos_token="</s>", model_max_length=MAX_TOKENS)

    def get_vocab(self) -> dict[str, int]:
        """The tokens that have an id of their own."""
        return {"<pad>": 0, "</s>": 1}

    def build_inputs_with_special_tokens(self, token_ids_0: list[int], token_ids_1: Any = None) -> list[int]:
        """A text and its end."""
        return [*token_ids_0, 1]

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return re.findall(r"\w{1,7}|[^\w\s]", text)

    def _convert_token_to_id(self, token: str) -> int:
        return self.get_vocab().get(token, 2 + zlib.crc32(token.encode()) % (self.vocab_size - 2))

    def _convert_id_to_token(self, index: int) -> str:
        return {0: "<pad>", 1: "</s>"}.get(index, str(index))


def lm_config(name: str, family: str) -> LMConfig:
    """The shape of a language model. Raises UserError if it is not known, or of another family."""
    if name not in CHECKPOINTS:
        return loading.read_config(_folder(name))
    known = CHECKPOINTS[name]
    if known.family != family:
        raise UserError(f"{name} is {known.family}, not {family}. Set family: {known.family}.")
    dim, layers, heads = SCALES[known.scale]
    shape = LMConfig(
        dim, heads, layers, text_dim=TEXTS[TEXT_OF[known.task]]["d_model"], segment_seconds=known.seconds
    )  # fmt: skip
    return dataclasses.replace(shape, causal=True, span_len=1, subcodes_context=-1) if "auto" in family else shape


def text_config(model: Model) -> T5Config:
    """The shape of a model's text encoder. Raises UserError if it is not known."""
    name = model.text or TEXT_OF[_task(model)]
    return T5Config(**(TEXTS[name] if name in TEXTS else read_json(_folder(name) / "config.json")))


def codec_config(model: Model) -> EncodecConfig:
    """The shape of a model's codec. Raises UserError if it is not known."""
    if model.codec:
        return EncodecConfig(**read_json(_folder(model.codec) / "config.json"))
    return EncodecConfig(**CODEC, **CODECS[_task(model)])


def _task(model: Model) -> str:
    """Whose text encoder and codec a checkpoint goes with."""
    if model.checkpoint not in CHECKPOINTS:
        raise UserError(
            f"weights: random needs text: and codec: in models/{model.name}.yaml; {_known(model.checkpoint)}"
        )
    return CHECKPOINTS[model.checkpoint].task


def _folder(name: str) -> Path:
    """A folder with config.json. Raises UserError if there is none."""
    place = zoo.find(name)
    if not (place / "config.json").is_file():
        raise UserError(_known(name))
    return place


def _known(name: str) -> str:
    return (
        f"the shape of {name} is not known: it is no folder with a config.json, and not among "
        f"{', '.join([*CHECKPOINTS, *TEXTS])}."
    )


@contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    """Layers made in here are on the device and drawn from SEED; what others draw from stays as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), device:
        torch.manual_seed(SEED)
        yield


def language_model(name: str, family: str, device: torch.device, dtype: torch.dtype) -> LanguageModel:
    """A language model; every tensor is drawn where and as it stays, so that no second copy is ever in memory."""
    shape = lm_config(name, family)
    with torch.device("meta"):
        wanted = LanguageModel(shape).state_dict()
    generator = torch.Generator(device).manual_seed(SEED)
    weights = {name: drawn(name, value, generator, dtype) for name, value in wanted.items()}
    return loading.assemble(shape, weights, device, dtype, Path(name))


def drawn(name: str, like: Tensor, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Uniform numbers (quicker than Gaussians) of deviation 1/sqrt(fan in) for a matrix; 1 and 0 for a norm."""
    made = torch.empty(like.shape, dtype=dtype, device=generator.device)
    if like.dim() > 1:
        bound = (3 / like.shape[-1]) ** 0.5
        return made.uniform_(-bound, bound, generator=generator)
    return made.fill_(name.endswith("weight"))


def text_encoder(model: Model, device: torch.device) -> TextEncoder:
    """A model's text encoder."""
    shape = text_config(model)
    with _seeded(device):
        network = T5EncoderModel(shape)
    tokenizer = HashTokenizer(shape.vocab_size)
    return TextEncoder(network.eval().requires_grad_(False), tokenizer, f"random {shape.to_json_string()}")


def codec(model: Model, device: torch.device) -> Codec:
    """A model's codec."""
    with _seeded(device):
        network = EncodecModel(codec_config(model))
        _fill_codebooks(network)
    return Codec(network.eval().requires_grad_(False))


def _fill_codebooks(network: Any) -> None:
    """A new codebook is all zeros."""
    for layer in network.quantizer.layers:
        layer.codebook.embed.normal_()


def musicgen(model: Model, device: torch.device, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Transformers' MusicGen of a model, and its tokenizer by the pipeline's name for it."""
    shape = lm_config(model.checkpoint, "autoregressive")
    decoder = {
        "hidden_size": shape.dim, "num_hidden_layers": shape.num_layers, "num_attention_heads": shape.num_heads,
        "ffn_dim": shape.hidden_scale * shape.dim, "vocab_size": shape.card, "num_codebooks": shape.n_q,
        "bos_token_id": shape.card, "pad_token_id": shape.card,
    }  # fmt: skip
    parts = {"text_encoder": text_config(model).to_dict(), "audio_encoder": codec_config(model).to_dict()}
    with quiet(), _seeded(device):  # the empty token is beyond the vocabulary, and transformers warns of it
        whole = MusicgenConfig(**parts, decoder=decoder)
        network = MusicgenForConditionalGeneration._from_config(whole, dtype=dtype)
        _fill_codebooks(network.audio_encoder)
    return network.eval().requires_grad_(False), {"tokenizer": HashTokenizer(whole.text_encoder.vocab_size)}
