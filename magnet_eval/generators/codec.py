"""The neural codec (EnCodec, Défossez et al., 2022) through transformers, and two families that need no language model.

``codec``: the reference clip itself, encoded and decoded: the best that any model over these tokens can do.
``unigram``: tokens drawn independently from the training data's frequencies: what any model has to beat.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from magnet_eval import audio, config
from magnet_eval.generators import Generation, checkpoints, chunked, loading, parts
from magnet_eval.generators.files import reference_of
from magnet_eval.generators.sampling import PerClip
from magnet_eval.generators.tokens import Stopwatch
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt


class Codec:
    """An EncodecModel of any rate, in float32."""

    def __init__(self, model: Any) -> None:
        """model: transformers' EncodecModel."""
        self.model, self.device = model, model.device
        settings = model.config
        self.sample_rate: int = settings.sampling_rate
        self.channels: int = settings.audio_channels
        self.frame_rate = settings.sampling_rate / math.prod(settings.upsampling_ratios)
        self.card: int = settings.codebook_size
        self.n_q = len(self.model.quantizer.layers)

    @classmethod
    def read(cls, place: Path, device: torch.device) -> Self:
        """From a folder or file in any layout of loading.py. Raises UserError if it holds no complete codec."""
        return cls(loading.load_codec(place, device))

    def frames(self, seconds: float) -> int:
        """Token frames that cover ``seconds``."""
        return math.ceil(round(seconds * self.frame_rate, 6))

    @torch.inference_mode()
    def waveforms(self, codes: Tensor, *, one_by_one: bool) -> Tensor:
        """Audio [B, channels, samples] of codes [B, K, T], on the device; one_by_one keeps rows apart to the last bit.

        Long clips are decoded in bounded memory; see chunked.py.
        """
        rows = codes.split(1 if one_by_one else len(codes))
        return torch.cat([chunked.decode(self.model, row) for row in rows])

    def decode(self, codes: Tensor, *, one_by_one: bool) -> list[np.ndarray]:
        """``waveforms`` as an array [channels, samples] for each row."""
        return to_host(self.waveforms(codes, one_by_one=one_by_one))

    @torch.inference_mode()
    def round_trip(self, samples: np.ndarray) -> np.ndarray:
        """[channels, samples] encoded with all codebooks and decoded again, of the same length."""
        values = torch.from_numpy(samples)[None].to(self.device)
        mask = torch.ones(values.shape[0], values.shape[2], dtype=torch.bool, device=self.device)
        encoded = self.model.encode(values, mask, bandwidth=self.model.config.target_bandwidths[-1])
        padding = encoded.last_frame_pad_length  # a codec with segments fills up the last one
        decoded = self.model.decode(encoded.audio_codes, encoded.audio_scales, mask, last_frame_pad_length=padding)[0]
        return decoded[0].float().cpu().numpy()


def to_host(waveforms: Tensor) -> list[np.ndarray]:
    """Audio [B, channels, samples] of a device as one float32 array for each row."""
    return list(waveforms.float().cpu().numpy())


class CodecGenerator:
    """The reference clip, encoded and decoded."""

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError on missing or damaged weights. dtype and exact change nothing: float32, clip by clip."""
        self.device = checkpoints.pick_device(device)
        self.codec = Codec.read(parts.place_of(model, "codec"), self.device)
        self.sample_rate = self.codec.sample_rate

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """See generators.Generator. Raises UserError for a prompt without a reference clip."""
        watch = Stopwatch(self.device)
        clips = []
        for prompt in prompts:
            clip = self._reference(prompt)
            with watch.stage("codec"):
                clips.append(self.codec.round_trip(clip))
        frames = self.codec.frames(prompts[0].seconds)
        return Generation(clips, frames, frames, 0, 0, watch.seconds)

    def _reference(self, prompt: Prompt) -> np.ndarray:
        """The prompt's reference clip in the codec's rate, channels and the prompt's length."""
        samples, rate = audio.read(reference_of(prompt))
        if len(samples) != self.codec.channels:
            samples = np.repeat(audio.mono(samples)[None], self.codec.channels, axis=0)
        samples = audio.resample(samples, rate, self.sample_rate)[:, : round(prompt.seconds * self.sample_rate)]
        return np.ascontiguousarray(samples, dtype=np.float32)


class UnigramGenerator:
    """Tokens drawn one by one from counts [K, card] of the training data (counts.safetensors, key ``counts``)."""

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError on missing or damaged weights."""
        self.device = checkpoints.pick_device(device)
        self.exact = exact
        self.codec = Codec.read(parts.place_of(model, "codec"), self.device)
        self.sample_rate = self.codec.sample_rate
        path = parts.place_of(model, "checkpoint") / "counts.safetensors"
        weights = checkpoints.read_weights(path)
        counts = weights.get("counts", torch.zeros(0))
        if counts.ndim != 2 or counts.shape[1] != self.codec.card:
            raise UserError(f"{path}: counts must be [codebooks, {self.codec.card}], got {list(counts.shape)}.")
        self.counts = counts.double()

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """See generators.Generator."""
        frames, watch = self.codec.frames(prompts[0].seconds), Stopwatch(self.device)
        with watch.stage("tokens"):
            choose = PerClip([torch.Generator().manual_seed(seed) for seed in seeds])
            rows = self.counts.repeat_interleave(frames, 0)[None].expand(len(seeds), -1, -1)
            codes = choose.pick(rows, choose.draw(*rows.shape)).unflatten(1, (-1, frames)).to(self.device)
        with watch.stage("codec"):
            waveforms = self.codec.waveforms(codes, one_by_one=self.exact)
        with watch.stage("write"):
            clips = to_host(waveforms)
        samples = round(prompts[0].seconds * self.sample_rate)
        return Generation([clip[:, :samples] for clip in clips], frames, frames, 0, 0, watch.seconds)
