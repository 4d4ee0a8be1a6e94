"""The layout of the published MAGNeT, MusicGen and AudioGen checkpoints, as audiocraft exports them.

``state_dict.bin`` holds the language model (``best_state``) and ``compression_state_dict.bin`` the codec, either in
full or as a pointer to a codec in transformers' layout. Both carry ``xp.cfg``, the training configuration as YAML text,
which is trusted over anything that is written elsewhere. The language model's parameter names are ours.
"""

import logging
import math
import re
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from magnet_eval.generators.checkpoints import read_pickled
from magnet_eval.generators.layouts import HINT
from magnet_eval.generators.transformer import LMConfig
from magnet_eval.lookup import UserError
from magnet_eval.typed import typed

log = logging.getLogger(__name__)
REFERENCE = re.compile(r"\$\{([\w.]+)\}")  # the only interpolation that is followed
TEXT_PROJECTION = "condition_provider.conditioners.description.output_proj.weight"
KNOWN = {  # what the network of transformer.py has; a checkpoint that says otherwise is another network
    "transformer_lm.norm_first": True, "transformer_lm.bias_ff": False, "transformer_lm.bias_attn": False,
    "transformer_lm.bias_proj": False, "transformer_lm.positional_embedding": "sin",
    "transformer_lm.activation": "gelu", "transformer_lm.norm": "layer_norm", "transformer_lm.layer_scale": None,
    "transformer_lm.qk_layer_norm": False, "transformer_lm.qk_layer_norm_cross": False, "transformer_lm.kv_repeat": 1,
    "transformer_lm.past_context": None, "fuser.cross_attention_pos_emb": False,
    "conditioners.description.t5.normalize_text": False,
    "fuser.cross": ["description"], "fuser.prepend": [], "fuser.sum": [], "fuser.input_interpolate": [],
    "conditioners.description.model": "t5", "interleave_stereo_codebooks.use": False,
}  # fmt: skip
KNOWN_CODEC = {
    "compression_model": "encodec", "encodec.autoencoder": "seanet", "encodec.quantizer": "rvq",
    "seanet.activation": "ELU", "seanet.activation_params.alpha": 1.0, "seanet.disable_norm_outer_blocks": 0,
    "seanet.decoder.final_activation": None,
}  # fmt: skip
FAMILIES = {"masked": ("transformer_lm_magnet", "parallel"), "autoregressive": ("transformer_lm", "delay")}


class Settings:
    """The values of an ``xp.cfg`` by dotted key, plain references to other keys followed."""

    def __init__(self, content: Any, path: Path) -> None:
        """content: what was in the file. Raises UserError if that is no checkpoint of this layout."""
        text = content.get("xp.cfg") if isinstance(content, dict) else None
        try:
            self.tree = yaml.safe_load(text) if isinstance(text, str) else None
        except yaml.YAMLError as error:
            raise UserError(f"{path}: xp.cfg is no YAML: {' '.join(str(error).split())[:200]}. {HINT}") from error
        if not isinstance(self.tree, dict):
            found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
            raise UserError(
                f"{path} is no checkpoint of audiocraft: no configuration xp.cfg in it, only {found[:100]}."
            )
        self.path = path

    def get(self, key: str, *default: Any) -> Any:
        """The value of a dotted key, or ``default``. Raises UserError if it is not there and there is none."""
        value = self._raw(key, default)
        for _ in range(8):  # references to references
            found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if not found:
                return value
            value = self._raw(found[1], default)
        raise UserError(f"{self.path}: {key} in xp.cfg refers to itself. {HINT}")

    def _raw(self, key: str, default: tuple[Any, ...]) -> Any:
        block: Any = self.tree
        for part in key.split("."):
            if not isinstance(block, dict) or part not in block:
                if default:
                    return default[0]
                raise UserError(f"{self.path}: xp.cfg has no {key}. {HINT}")
            block = block[part]
        return block

    def check(self, known: dict[str, Any]) -> None:
        """Raises UserError where a value differs from the ``known`` one; what is not said is taken as known."""
        for key, expected in known.items():
            got = self.get(key, expected)
            if got != expected:
                raise UserError(
                    f"{self.path}: xp.cfg has {key}: {got}, this loader knows {expected} only. "
                    "If transformers or audiocraft runs it, use family: transformers or family: audiocraft."
                )


def text_encoder_name(path: Path) -> str:
    """The hub id of the text encoder that a language model was trained with, e.g. google-t5/t5-base."""
    settings = Settings(read_pickled(path, mapped=True), path)
    settings.check({"conditioners.description.model": "t5"})
    name = str(settings.get("conditioners.description.t5.name"))
    return name if "/" in name else f"google-t5/{name}"


def read_language_model(path: Path, family: str, frame_rate: float) -> tuple[LMConfig, dict[str, Tensor]]:
    """Shape and tensors of a language model. Raises UserError if ``family`` cannot run it.

    frame_rate: of its codec, which a checkpoint of MusicGen does not say.
    """
    content = read_pickled(path)
    settings = Settings(content, path)
    settings.check(KNOWN)
    check_family(settings, family)
    weights = content.pop("best_state", None)
    if not isinstance(weights, dict) or not isinstance(weights.get(TEXT_PROJECTION), Tensor):
        raise UserError(f"{path}: best_state has no {TEXT_PROJECTION}; it is no text-to-audio language model. {HINT}")
    masked = family != "autoregressive"
    fields = {
        "dim": settings.get("transformer_lm.dim"),
        "num_heads": settings.get("transformer_lm.num_heads"),
        "num_layers": settings.get("transformer_lm.num_layers"),
        "hidden_scale": settings.get("transformer_lm.hidden_scale", 4),
        "n_q": settings.get("transformer_lm.n_q"),
        "card": settings.get("transformer_lm.card"),
        "text_dim": weights[TEXT_PROJECTION].shape[-1],
        "causal": settings.get("transformer_lm.causal"),
        "span_len": settings.get("masking.span_len") if masked else 1,
        "subcodes_context": settings.get("transformer_lm.subcodes_context") if masked else -1,
        "frame_rate": frame_rate,
        "segment_seconds": settings.get("dataset.segment_duration"),
    }
    shape = typed(LMConfig, fields, f"{path}: xp.cfg")
    if not masked:
        for key, value in (("delays", list(range(shape.n_q))), ("flatten_first", 0), ("empty_initial", 0)):
            settings.check({f"codebooks_pattern.delay.{key}": value})
    # Written without audiocraft's own attention, the projections lie one level deeper.
    return shape, {name.replace(".mha.", "."): weights.pop(name) for name in list(weights)}


def check_family(settings: Settings, family: str) -> None:
    """Raises UserError unless models of ``family`` decode as this checkpoint was trained to."""
    kind, pattern = settings.get("lm_model"), settings.get("codebooks_pattern.modeling")
    if family == "hybrid":
        if "hybrid" not in str(kind) or pattern != "parallel":
            raise UserError(
                f"{settings.path}: xp.cfg has lm_model: {kind} and codebooks_pattern: {pattern}. How a hybrid "
                "decodes from these was never published; take a two-model hybrid (prompter:) instead."
            )
        log.warning("%s: a hybrid's decoding was never published; this is this suite's own", settings.path)
        return
    if (kind, pattern) != FAMILIES[family]:
        right = next((name for name, known in FAMILIES.items() if known == (kind, pattern)), None)
        hint = f"Set family: {right}." if right else "No family here decodes that."
        raise UserError(f"{settings.path}: xp.cfg has lm_model: {kind} and codebooks_pattern: {pattern}. {hint}")


def pointer(path: Path) -> str:
    """The hub id of the codec that a pointer names; "" for a file that is a codec itself."""
    content = read_pickled(path, mapped=True)
    name = content.get("pretrained", "") if isinstance(content, dict) else ""
    return str(name).removeprefix("//pretrained/")


def read_codec(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A codec that is no pointer: the fields of transformers' EncodecConfig, and its tensors."""
    content = read_pickled(path)
    settings = Settings(content, path)
    settings.check(KNOWN_CODEC)
    weights = content.pop("best_state", None)
    if not isinstance(weights, dict):
        raise UserError(f"{path}: there is no best_state in it, only {', '.join(content)}. {HINT}")
    try:
        fields = codec_fields(settings)
    except (TypeError, ZeroDivisionError) as error:
        raise UserError(f"{path}: a value in xp.cfg is of the wrong kind: {error}. {HINT}") from error
    return fields, {codec_name(name): value for name, value in weights.items()}


def codec_fields(settings: Settings) -> dict[str, Any]:
    """The fields of transformers' EncodecConfig."""
    rate, ratios = settings.get("encodec.sample_rate"), settings.get("seanet.ratios")
    bits = settings.get("rvq.n_q") * math.log2(settings.get("rvq.bins"))  # per frame
    return {
        "sampling_rate": rate,
        "audio_channels": settings.get("encodec.channels"),
        "normalize": settings.get("encodec.renormalize", False),
        "use_causal_conv": settings.get("encodec.causal", False),
        "upsampling_ratios": ratios,
        "hidden_size": settings.get("seanet.dimension"),
        "codebook_dim": settings.get("seanet.dimension"),
        "num_filters": settings.get("seanet.n_filters"),
        "num_residual_layers": settings.get("seanet.n_residual_layers"),
        "norm_type": settings.get("seanet.norm"),
        "kernel_size": settings.get("seanet.kernel_size"),
        "last_kernel_size": settings.get("seanet.last_kernel_size"),
        "residual_kernel_size": settings.get("seanet.residual_kernel_size"),
        "dilation_growth_rate": settings.get("seanet.dilation_base"),
        "pad_mode": settings.get("seanet.pad_mode"),
        "compress": settings.get("seanet.compress"),
        "use_conv_shortcut": not settings.get("seanet.true_skip"),
        "num_lstm_layers": settings.get("seanet.lstm"),
        "trim_right_ratio": settings.get("seanet.decoder.trim_right_ratio", 1.0),
        "codebook_size": settings.get("rvq.bins"),
        # a hair more, so that rounding down finds all codebooks
        "target_bandwidths": [rate / math.prod(ratios) * bits / 1000 * (1 + 1e-9)],
    }


def codec_name(name: str) -> str:
    """Transformers' name of a codec's parameter."""
    name = name.replace("encoder.model.", "encoder.layers.").replace("decoder.model.", "decoder.layers.")
    name = name.replace("quantizer.vq.layers.", "quantizer.layers.").replace("._codebook.", ".codebook.")
    name = name.replace(".conv.conv.", ".conv.").replace(".convtr.convtr.", ".conv.")
    return name.replace(".weight_g", ".parametrizations.weight.original0").replace(
        ".weight_v", ".parametrizations.weight.original1"
    )
