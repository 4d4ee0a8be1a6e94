"""Audio while it is being made: what decodes step by step is heard chunk by chunk.

Tokens come step by step (autoregressive decoding, and a hybrid's beginning); EnCodec's decoder goes along, with its
LSTM's state carried over and as many frames of lookahead as its convolutions reach: 4 (80 ms) for the published codecs,
none for a causal one. All chunks together are what the whole clip's decoding gives, up to rounding.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from magnet_eval.generators import chunked
from magnet_eval.generators.codec import to_host
from magnet_eval.generators.system import Texts, TextToAudio
from magnet_eval.generators.tokens import Steps, Tokens, drained
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt


class Decoder:
    """EnCodec's decoder over a clip whose frames arrive one after the other."""

    def __init__(self, model: Any) -> None:
        """model: transformers' EncodecModel. Raises UserError if it needs the whole clip."""
        if not chunked.is_exact(model.config):
            raise UserError("this codec looks at the whole clip, so nothing of it can be streamed.")
        self.model = model
        self.convolution, self.lstm, *self.upsampling = model.decoder.layers
        self.near = chunked.padding(model.config, model.config.kernel_size)  # of the first convolution, in frames
        self.far = chunked.context(model.config)  # of all layers after the LSTM, in frames
        self.hop = math.prod(model.config.upsampling_ratios)
        self.lookahead = self.near[1] + self.far[1]  # frames
        # Reflection at the clip's start takes from as many frames as a kernel looks back.
        mirrored = model.config.pad_mode == "reflect"
        self.start = sum(self.near) + sum(self.far) + 1 if mirrored else 0  # frames
        self.memory: tuple[Tensor, Tensor] | None = None  # of the LSTM
        self.states = torch.empty(1, self.lstm.lstm.hidden_size, 0, device=model.device)  # the last few after the LSTM
        self.n_states = self.n_decoded = 0  # frames

    def ready(self, frames: int, end: int) -> bool:
        """Whether the audio up to frame ``end`` follows from the first ``frames``, with more to come."""
        return frames >= max(end + self.lookahead, self.start)

    @torch.inference_mode()
    def __call__(self, codes: Tensor, end: int) -> Tensor:
        """Audio [1, channels, samples] of the frames before ``end`` that are new, by the codes [1, K, T] so far.

        Those that ``ready`` asks for, or all of the clip.
        """
        self._advance(codes, min(max(end + self.far[1], self.start - self.near[1]), codes.shape[2]))
        begin = self.n_states - self.states.shape[2]
        first = max(self.n_decoded - self.far[0], 0)
        audio = self.states[..., first - begin :]
        for layer in self.upsampling:
            audio = layer(audio)
        audio = audio[..., (self.n_decoded - first) * self.hop : (end - first) * self.hop]
        self.n_decoded = end
        self.states = self.states[..., max(end - self.far[0], 0) - begin :]
        return audio

    def _advance(self, codes: Tensor, end: int) -> None:
        """The states up to frame ``end``, unless they are there already."""
        if end <= self.n_states:
            return
        first = max(self.n_states - self.near[0], 0)
        codes = codes[..., first : end + self.near[1]]
        new = self.convolution(self.model.quantizer.decode(codes.transpose(0, 1)))
        new = new[..., self.n_states - first : end - first].permute(2, 0, 1)
        remembered, self.memory = self.lstm.lstm(new, self.memory)
        self.states = torch.cat([self.states, (remembered + new).permute(1, 2, 0)], dim=2)
        self.n_states = end


class StreamingTextToAudio(TextToAudio):
    """What decodes step by step; each family gives its own ``steps``."""

    @abstractmethod
    def steps(self, texts: Texts, frames: int, seeds: Sequence[int]) -> Steps:
        """Tokens of one block, step by step."""

    def decode(self, texts: Texts, frames: int, seeds: Sequence[int]) -> Tokens:
        """Tokens of one block."""
        return drained(self.steps(texts, frames, seeds))

    @torch.inference_mode()
    def stream(self, prompt: Prompt, seed: int, chunk_seconds: float) -> Iterator[np.ndarray]:
        """The clip that ``generate`` makes of a prompt, in float32 chunks [channels, samples], each as soon as may be.

        chunk_seconds: of every chunk but the last; to whole frames. Raises UserError unless it is above 0, and for a
        codec that needs the whole clip.
        """
        if not chunk_seconds > 0:
            raise UserError(f"chunk_seconds must be above 0, got {chunk_seconds:g}. Try 0.5.")
        chunk = max(round(chunk_seconds * self.codec.frame_rate), 1)
        left = round(prompt.seconds * self.sample_rate)
        for audio in self._chunks(self._begin(prompt, seed), chunk):
            yield to_host(audio[..., :left])[0]
            left -= audio.shape[-1]

    def _begin(self, prompt: Prompt, seed: int) -> Steps:
        """The decoding of a block that is this prompt throughout; without ``exact`` of the prompt alone."""
        hidden, mask = self.text.encode([prompt.text], one_by_one=self.exact)
        (block, padded), *_ = self.blocks(mask)
        return self.steps(
            self.texts(hidden, mask, block, padded), self.codec.frames(prompt.seconds), [seed] * len(block)
        )

    def _chunks(self, steps: Steps, size: int) -> Iterator[Tensor]:
        """Audio [1, channels, samples] of ``size`` frames each, of the first clip of a block."""
        decoder = Decoder(self.codec.model)
        while True:
            try:
                done, read = next(steps)
            except StopIteration as end:
                codes = end.value.codes[:1]
                break
            if decoder.ready(done, decoder.n_decoded + size):
                yield decoder(read()[:1], decoder.n_decoded + size)
        while decoder.n_decoded < codes.shape[2]:
            yield decoder(codes, min(decoder.n_decoded + size, codes.shape[2]))
