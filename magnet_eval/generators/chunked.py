"""EnCodec's decoder (Défossez et al., 2022) over clips of any length in bounded memory.

The quantiser, the first convolution and the LSTM go over the whole clip: an LSTM remembers all of it, and its output is
hardly longer than the waveform. The upsampling layers, whose tensors are a hundred times that, go over chunks of frames
with as much context as their kernels reach; what the context itself becomes is cut off.
"""

import math
from typing import Any

import torch
from torch import Tensor

CHUNK = 500  # frames; a clip of no more than that is decoded as a whole


def is_exact(config: Any) -> bool:
    """Whether chunks give what the whole clip would: no layer after the LSTM may look at all frames."""
    return config.norm_type == "weight_norm" and config.chunk_length_s is None and not config.normalize


def context(config: Any) -> tuple[int, int]:
    """Frames before and after a chunk that the chunk's samples depend on, through all layers after the LSTM.

    Counted backwards from the samples, at the rate of each layer's input.
    """
    convolutions = [(config.residual_kernel_size - 1) * config.dilation_growth_rate**j + 1
                    for j in range(config.num_residual_layers)]  # fmt: skip
    left, right = padding(config, config.last_kernel_size)
    for ratio in reversed(config.upsampling_ratios):
        for kernel in convolutions:
            before, after = padding(config, kernel)
            left, right = left + before, right + after
        # Transposed convolution: kernel 2 ratio, stride ratio; ``ratio`` samples too many, cut off on both sides.
        cut_right = math.ceil(ratio * config.trim_right_ratio) if config.use_causal_conv else ratio // 2
        cut_left = ratio - cut_right
        left, right = (left - cut_left + 2 * ratio - 1) // ratio, -(-(right + cut_left) // ratio)
    return left, right


def padding(config: Any, kernel: int) -> tuple[int, int]:
    """Samples before and after its place that a convolution of stride 1 looks at."""
    after = 0 if config.use_causal_conv else (kernel - 1) // 2
    return kernel - 1 - after, after


def decode(model: Any, codes: Tensor) -> Tensor:
    """Audio [B, channels, samples] of codes [B, K, T] by a transformers EncodecModel.

    Equal to decoding the whole clip up to rounding (1e-6); to the bit up to one chunk, and where chunks are not exact.
    """
    frames = codes.shape[2]
    if frames <= CHUNK or not is_exact(model.config):
        return model.decode(codes[None], [None])[0]
    convolution, lstm, *upsampling = model.decoder.layers
    states = lstm(convolution(model.quantizer.decode(codes.transpose(0, 1))))
    left, right = context(model.config)
    hop = math.prod(model.config.upsampling_ratios)
    chunks = []
    for start in range(0, frames, CHUNK):
        end, first = min(start + CHUNK, frames), max(start - left, 0)
        chunk = states[..., first : end + right]
        for layer in upsampling:
            chunk = layer(chunk)
        chunks.append(chunk[..., (start - first) * hop : (end - first) * hop].clone())  # a view would keep the context
    return torch.cat(chunks, dim=-1)
