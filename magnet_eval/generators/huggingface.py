"""The ``transformers`` family: MusicGen (Copet et al., 2023) and whatever else transformers turns text into audio with.

``decoding`` holds its own argument names: those of ``generate``, or of ``forward`` for models that do not generate.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magnet_eval import config
from magnet_eval.generators import Generation, checkpoints, peers
from magnet_eval.generators.parts import place_of
from magnet_eval.records import Prompt

log = logging.getLogger(__name__)
MUSICGEN = ("musicgen", "musicgen_melody")  # their processors are for melodies, and one needs torchaudio: text only
DEFAULTS = {"do_sample": True, "guidance_scale": 3.0}  # MusicGen's own, where a folder has no generation_config.json
OURS = {"num_return_sequences"}  # follows from the prompts, as does the length of what MusicGen makes
LENGTH = {"max_length", "max_new_tokens"}
PARTS = {"bark": ("semantic_", "coarse_", "fine_")}  # settings of a part alone have its name in front


class TransformersGenerator:
    """Any model of transformers' text-to-audio pipeline, with its own sampling and its own defaults."""

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError on missing or damaged files, and on settings that the model does not take."""
        from transformers import AutoModelForTextToWaveform, TextToAudioPipeline

        self.zoo_model, self.exact = model, exact
        self.device = checkpoints.pick_device(device)
        number = checkpoints.pick_dtype(dtype)
        if model.weights:
            from magnet_eval.generators import random

            self.model, reader = random.musicgen(model, self.device, number)
        else:
            folder = place_of(model, "checkpoint")
            self.model = checkpoints.load_transformers(AutoModelForTextToWaveform, folder, self.device, number)
            reader = _reader(folder, self.model)
        self.music = self.model.config.model_type in MUSICGEN
        self.settings = self._settings(model.settings())
        with peers.one_line(f"{model.checkpoint} cannot be run by transformers"):
            self.pipeline = TextToAudioPipeline(model=self.model, device=self.device, **reader)
        self.sample_rate: int = self.pipeline.sampling_rate
        self.meter = self._meter()

    def _settings(self, given: dict[str, Any]) -> dict[str, Any]:
        """The model's defaults where they are needed, and the zoo's settings over them."""
        from transformers import GenerationConfig

        if not self.model.can_generate():
            peers.check_settings(given, peers.arguments(self.model.forward), f"{type(self.model).__name__}.forward")
            return given
        names = set(GenerationConfig().to_dict()) | peers.arguments(self.model.generate)
        parts = PARTS.get(self.model.config.model_type, ())
        allowed = (names | {part + name for part in parts for name in names}) - OURS - (LENGTH if self.music else set())
        peers.check_settings(given, allowed, f"{type(self.model).__name__}.generate")
        own = self.model.generation_config
        missing = {name: value for name, value in DEFAULTS.items() if self.music and getattr(own, name, None) is None}
        return {**missing, **given}

    def _meter(self) -> peers.Meter:
        if not self.music:
            return peers.Meter(self.device, "generate", {})
        codec, decoder = self.model.audio_encoder, self.model.decoder
        codec.float()  # as in the other families: half precision is for the language model
        meter = peers.Meter(self.device, "text", {"tokens": decoder, "codec": codec.decoder})
        meter.count(decoder, lambda output: output.logits.shape[0] // decoder.num_codebooks)
        return meter

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """See generators.Generator. Raises UserError where transformers refuses the settings."""
        frames, steps = self._frames(prompts[0].seconds)
        audio = peers.clips(lambda group, _: self._make(group, steps), prompts, seeds, self)
        # What transformers 5 computes twice (the first step) counts as it is paid for: twice.
        passes = self.meter.rows // len(prompts)
        return Generation(audio, frames, frames, steps, passes, self.meter.seconds)

    def _frames(self, seconds: float) -> tuple[int, int]:
        """Token frames of ``seconds`` and the steps to make them: the delay pattern takes one more per codebook."""
        if not self.music:
            return 0, 0
        if 0 < self.zoo_model.seconds < seconds:
            log.warning(
                "%s was trained on %g s and makes %g s in one go: transformers has no sliding window",
                self.zoo_model.name, self.zoo_model.seconds, seconds,
            )  # fmt: skip
        frames = math.ceil(round(seconds * self.model.audio_encoder.config.frame_rate, 6))
        decoder = self.model.decoder.config
        return frames, frames + decoder.num_codebooks // decoder.audio_channels - 1

    def _make(self, prompts: list[Prompt], steps: int) -> Sequence[Any]:
        """One call for all prompts: audio [channels, samples] or [samples] of each."""
        padding = {"padding": True} if len(prompts) > 1 else {}
        length = {"max_new_tokens": steps} if self.music else {}
        kind = "generate_kwargs" if self.model.can_generate() else "forward_params"
        settings = {"generate_kwargs": {}, "forward_params": {}, kind: {**self.settings, **length}}
        with peers.one_line(f"transformers refuses to run {self.zoo_model.checkpoint}"):
            inputs = self.pipeline.preprocess([prompt.text for prompt in prompts], **padding)
            audio = self.pipeline.postprocess(self.pipeline.forward(inputs, **settings))["audio"]
        return audio if len(prompts) > 1 else [audio]


def _reader(folder: Path, model: Any) -> dict[str, Any]:
    """The tokenizer or processor of a folder, by the pipeline's name for it. Raises UserError if it is incomplete."""
    from transformers import AutoProcessor, AutoTokenizer, PreTrainedTokenizerBase

    kind = AutoTokenizer if model.config.model_type in MUSICGEN else AutoProcessor
    with peers.one_line(f"{folder} has no usable tokenizer or processor"):
        reader = kind.from_pretrained(folder, local_files_only=True)
    tokenizer = getattr(reader, "tokenizer", reader)
    peers.check_vocabulary(tokenizer, getattr(model.config.get_text_config(encoder=True), "vocab_size", None), folder)
    return {"tokenizer" if isinstance(reader, PreTrainedTokenizerBase) else "processor": reader}
