"""The ``diffusers`` family: AudioLDM 2 (Liu et al., 2023), Stable Audio (Evans et al., 2024) and their like.

``decoding`` holds the argument names of the pipeline's own call. Needs the extra ``diffusers``.
"""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from magnet_eval import config
from magnet_eval.generators import Generation, checkpoints, peers
from magnet_eval.generators.parts import place_of
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt

SECONDS = ("audio_length_in_s", "audio_end_in_s", "audio_duration_s", "audio_duration")  # as pipelines call the length
OURS = {"prompt", "generator", "output_type", "return_dict", *SECONDS}  # follow from the prompts
TOKENIZERS = {"tokenizer": "text_encoder", "tokenizer_2": "text_encoder_2"}


class DiffusersGenerator:
    """A text-to-audio pipeline of diffusers, with its own defaults. Stereo stays stereo."""

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError on missing packages or files, and on settings that the pipeline does not take."""
        self.zoo_model, self.exact = model, exact
        self.device = checkpoints.pick_device(device)
        folder = place_of(model, "checkpoint")
        self.pipeline = _load(folder, checkpoints.pick_dtype(dtype)).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        call, name = self.pipeline.__call__, type(self.pipeline).__name__
        names = peers.arguments(call)
        self.seconds = next((name for name in SECONDS if name in names), "")
        if not self.seconds or "prompt" not in names:
            raise UserError(f"{folder} holds a {name}, which makes no audio from text.")
        self.settings = model.settings()
        peers.check_settings(self.settings, names - OURS, name)
        steps = inspect.signature(call).parameters["num_inference_steps"].default
        self.steps: int = self.settings.get("num_inference_steps", steps)
        self.sample_rate = self._sample_rate()
        self.meter = self._meter()

    def _sample_rate(self) -> int:
        parts = [getattr(self.pipeline, part, None) for part in ("vocoder", "vae")]
        for place in (*(part.config for part in parts if part is not None), self.pipeline):
            for name in ("sampling_rate", "sample_rate"):
                if isinstance(getattr(place, name, None), int):
                    return getattr(place, name)
        raise UserError(f"{self.zoo_model.checkpoint} does not say its sample rate.")

    def _meter(self) -> peers.Meter:
        network = getattr(self.pipeline, "unet", None) or getattr(self.pipeline, "transformer", None)
        decoder = getattr(self.pipeline.vae, "decoder", None)
        meter = peers.Meter(self.device, "text", {"denoising": network, "codec": decoder})
        if network is not None:
            meter.count(network, lambda output: len(output[0]))
        return meter

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """See generators.Generator. Raises UserError where the pipeline refuses the settings or the length."""
        audio = peers.clips(self._make, prompts, seeds, self)
        return Generation(audio, 0, 0, self.steps, self.meter.rows // len(prompts), self.meter.seconds)

    def _make(self, prompts: list[Prompt], seeds: list[int]) -> Sequence[Any]:
        """One call for all prompts: audio [channels, samples] or [samples] of each."""
        # On the CPU, so that the noise is the same on every device.
        noise = [torch.Generator().manual_seed(seed) for seed in seeds]
        with peers.one_line(f"diffusers refuses to run {self.zoo_model.checkpoint}"):
            made = self.pipeline(
                [prompt.text for prompt in prompts],
                generator=noise if len(noise) > 1 else noise[0],
                **{self.seconds: prompts[0].seconds},
                **self.settings,
            ).audios
        # Of several waveforms per prompt the first is the one that the pipeline itself ranks best.
        return list(made[:: self.settings.get("num_waveforms_per_prompt", 1)])


def _load(folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline of a folder. Raises UserError if diffusers is not installed or the folder is incomplete."""
    try:
        import diffusers
    except ImportError as error:
        raise UserError("family diffusers needs a package: pip install 'magnet-eval[diffusers]'") from error

    checkpoints.check_folder(folder, "model_index.json")
    with peers.one_line(f"{folder} cannot be read as a diffusers pipeline"):
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            folder,
            local_files_only=True,
            dtype=dtype,
            low_cpu_mem_usage=diffusers.utils.is_accelerate_available(),
            **_language_model(folder, dtype),
        )
    for tokenizer, encoder in TOKENIZERS.items():
        if hasattr(pipeline, tokenizer):
            settings = getattr(pipeline, encoder).config
            settings = getattr(settings, "text_config", settings)
            peers.check_vocabulary(getattr(pipeline, tokenizer), settings.vocab_size, folder / tokenizer)
    return pipeline


def _language_model(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """AudioLDM 2's GPT-2 as a class that the pipeline can use.

    Published indexes name GPT2Model, which since transformers 4.50 has none of the methods of generation.
    """
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    if index.get("language_model") != ["transformers", "GPT2Model"]:
        return {}
    from transformers import GPT2LMHeadModel

    part = checkpoints.load_transformers(GPT2LMHeadModel, folder / "language_model", torch.device("cpu"), dtype)
    return {"language_model": part}
