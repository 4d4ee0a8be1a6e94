"""The shapes of a loaded generator as plain values: all that ``cost`` needs, small enough to send between processes."""

from collections.abc import Sequence
from typing import Any

LM = ("dim", "hidden_scale", "num_heads", "num_layers", "n_q", "card", "text_dim", "subcodes_context")
CODEC = (
    "num_filters", "upsampling_ratios", "hidden_size", "kernel_size", "num_lstm_layers", "compress",
    "residual_kernel_size", "use_conv_shortcut", "num_residual_layers", "audio_channels", "last_kernel_size",
)  # fmt: skip
GUIDED_FROM = 1e-5  # a guidance scale this close to 1 has no unconditional half


def shapes(generator: Any, texts: Sequence[str] = ()) -> dict[str, Any]:
    """Shapes and schedule of a generator, and the tokens of ``texts``; empty where its work is not known.

    Known are the token families and transformers' MusicGen.
    """
    if hasattr(generator, "lm"):
        return _own(generator, texts)
    if getattr(generator, "music", False):
        return _musicgen(generator, texts)
    return {}


def _own(generator: Any, texts: Sequence[str]) -> dict[str, Any]:
    from magnet_eval.generators import long, masked

    settings, codec, lm = generator.model.settings(), generator.codec, generator.lm
    family = generator.model.family
    found = {
        "kind": family,
        "frame_rate": codec.frame_rate,
        "text": _t5(generator.text.model),
        "text_tokens": [len(row) for row in generator.text.tokenize(texts)],
        "lm": _lm(lm),
        "codec": _codec(codec.model),
    }
    unit, over_windows = 1, settings
    if family != "autoregressive":
        over_windows = settings if family == "masked" else settings.masked
        unit = masked.frames_together(lm.config.span_len, over_windows)
        found["steps"] = _schedule(over_windows)
        found["span"] = lm.config.span_len
    if family != "masked":
        beginning = settings if family == "autoregressive" else settings.autoregressive
        found["ar_guided"] = beginning.cfg != 1
    if family == "hybrid":
        span = lm.config.span_len
        found["beginning"] = int(settings.prompt_seconds * lm.config.frame_rate) // span * span
        found["prompter"] = _lm(generator.prompter)
    if getattr(generator, "rescorer", None):
        found["rescorer"] = _lm(generator.rescorer)
    return {
        **found,
        "unit": unit,
        "segment": long.segment_frames(lm.config, unit),
        "stride": long.stride_frames(lm.config, over_windows.stride_seconds, unit),
    }


def _schedule(settings: Any) -> list[list[tuple[float, bool]]]:
    """Iterations of every codebook: the share of units that each hides, and whether it has an unconditional half."""
    from magnet_eval.generators.masked import schedule

    many = 2**30  # a power of two: what float32 holds of a share is kept to the last bit
    reference = settings.sampling == "reference"
    return [
        [(step.n_hidden / many, reference or abs(step.cfg - 1) > GUIDED_FROM) for step in schedule(n, many, settings)]
        for n in settings.steps
    ]


def _musicgen(generator: Any, texts: Sequence[str]) -> dict[str, Any]:
    """MusicGen as transformers has it: the same network under other names, in one window of any length."""
    model, scale = generator.model, generator.settings.get("guidance_scale")
    decoder = model.decoder.config
    if decoder.audio_channels != 1 or model.config.model_type != "musicgen":
        return {}  # stereo tokens, and melodies in front of the text
    lm = {
        "dim": decoder.hidden_size,
        "hidden_scale": decoder.ffn_dim / decoder.hidden_size,
        "num_heads": decoder.num_attention_heads,
        "num_layers": decoder.num_hidden_layers,
        "n_q": decoder.num_codebooks,
        "card": decoder.vocab_size,
        "text_dim": model.text_encoder.config.d_model,
        "dtype": _dtype(model.decoder),
    }
    scale = scale if scale is not None else model.generation_config.guidance_scale
    endless = 2**31
    return {
        "kind": "autoregressive",
        "frame_rate": model.audio_encoder.config.frame_rate,
        "text": _t5(model.text_encoder),
        "text_tokens": [len(row) for row in generator.pipeline.tokenizer(list(texts))["input_ids"]] if texts else [],
        "lm": lm,
        "codec": _codec(model.audio_encoder),
        "ar_guided": scale is not None and scale > 1,
        "unit": 1,
        "segment": endless,
        "stride": endless,
    }


def _dtype(module: Any) -> str:
    return str(next(module.parameters()).dtype).removeprefix("torch.")


def _lm(lm: Any) -> dict[str, Any]:
    return {**{name: getattr(lm.config, name) for name in LM}, "dtype": _dtype(lm)}


def _t5(model: Any) -> dict[str, Any]:
    config = model.config
    return {
        "dim": config.d_model,
        "inner": config.num_heads * config.d_kv,
        "hidden": config.d_ff,
        "layers": config.num_layers,
        "gated": config.is_gated_act,
        "dtype": _dtype(model),
    }


def _codec(model: Any) -> dict[str, Any]:
    return {**{name: getattr(model.config, name) for name in CODEC}, "dtype": _dtype(model)}
