"""The ``audiocraft`` family: MAGNeT, MusicGen and AudioGen as an installed audiocraft runs them, to put beside ours.

``decoding`` holds the argument names of its ``set_generation_params``. It picks the number format itself: float32 on
a CPU, float16 on a GPU.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magnet_eval import config
from magnet_eval.generators import Generation, checkpoints, peers
from magnet_eval.generators.layout_audiocraft import Settings
from magnet_eval.generators.layouts import CODEC_FILE, LM_FILE
from magnet_eval.generators.parts import place_of
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt

DTYPE = {"cpu": "float32", "cuda": "float16"}
INSTALL = (
    "It pins torch 2.1: pip install --no-deps audiocraft==1.3.0, then the packages that it imports; "
    "tests/peer/README.md has a recipe."
)


class AudiocraftGenerator:
    """A published checkpoint under audiocraft's own classes, with its own sampling and its own defaults."""

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError on missing packages or files, and on settings that the class does not take."""
        self.zoo_model, self.exact = model, exact
        self.device = checkpoints.pick_device(device)
        if dtype != DTYPE[self.device.type]:
            raise UserError(
                f"audiocraft computes in {DTYPE[self.device.type]} on {self.device.type}, got dtype {dtype}. "
                f"Say dtype={DTYPE[self.device.type]} (for all systems of a run), or leave {model.name} out."
            )
        folder = place_of(model, "checkpoint")
        name = class_name(folder, model.task)
        kind = getattr(_audiocraft(), name)
        self.settings = model.settings()
        peers.check_settings(self.settings, peers.arguments(kind.set_generation_params) - {"duration"}, name)
        # The choice holds for the whole process: without xformers' attention MAGNeT's local masks are not kept to.
        self.attention = "xformers" if name == "MAGNeT" else "torch"
        self._choose_attention()
        with peers.one_line(f"audiocraft refuses to load {model.checkpoint}"):
            self.model = kind.get_pretrained(str(folder), device=str(self.device))
            self.model.set_generation_params(**self.settings)
        self._check_text(folder)
        self.fixed_length = name == "MAGNeT"
        self.sample_rate: int = self.model.sample_rate
        modules = dict(self.model.compression_model.named_modules())
        decoder = modules.get("decoder", modules.get("model.decoder"))
        self.meter = peers.Meter(self.device, "text", {"tokens": self.model.lm, "codec": decoder})
        self.meter.count(self.model.lm, len)
        self.frames_made = 0

    def _choose_attention(self) -> None:
        from audiocraft.modules import transformer

        transformer.set_efficient_attention_backend(self.attention)

    def _check_text(self, folder: Path) -> None:
        """Raises UserError if T5's tokenizer is empty, which transformers says nothing about where it has no files."""
        conditioner = self.model.lm.condition_provider.conditioners["description"]
        if hasattr(conditioner, "t5_tokenizer"):
            peers.check_vocabulary(conditioner.t5_tokenizer, conditioner.t5.config.vocab_size, folder)

    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Generation:
        """See generators.Generator. Raises UserError where audiocraft refuses the settings or the length."""
        self._choose_attention()
        seconds = prompts[0].seconds
        with peers.one_line(f"audiocraft refuses {seconds:g} s"):
            if self.fixed_length:
                self.model.duration = seconds
            else:
                self.model.set_generation_params(duration=seconds, **self.settings)
        audio = peers.clips(self._make, prompts, seeds, self)
        calls = len(prompts) if self.exact else 1
        halves = 2 if self.settings.get("two_step_cfg") else 1
        return Generation(
            audio,
            frames_asked=math.ceil(round(seconds * self.model.frame_rate, 6)),
            frames_made=self.frames_made,
            iterations=self.meter.passes // calls // halves,
            network_evaluations=self.meter.rows // len(prompts),
            stage_seconds=self.meter.seconds,
        )

    def _make(self, prompts: list[Prompt], seeds: list[int]) -> Sequence[Any]:
        """One call for all prompts: audio [channels, samples] of each."""
        with peers.one_line(f"audiocraft refuses to run {self.zoo_model.checkpoint}"):
            audio, tokens = self.model.generate([prompt.text for prompt in prompts], return_tokens=True)
        self.frames_made = tokens.shape[-1]
        return list(audio)


def class_name(folder: Path, task: str) -> str:
    """The class of audiocraft that runs a checkpoint. Raises UserError if its files are not there or could run code."""
    path = folder / LM_FILE
    # Ours reads tensors and plain values only; audiocraft's own loader, on the torch it pins, would read anything.
    kind = Settings(checkpoints.read_pickled(path, mapped=True), path).get("lm_model")
    checkpoints.read_pickled(folder / CODEC_FILE, mapped=True)
    if kind == "transformer_lm_magnet":
        return "MAGNeT"
    if kind != "transformer_lm":
        raise UserError(f"{path}: xp.cfg has lm_model: {kind}, which audiocraft 1.3.0 does not have.")
    return "AudioGen" if task == "sound" else "MusicGen"


def _audiocraft() -> Any:
    """The module of audiocraft's classes. Raises UserError if it cannot be imported."""
    try:
        import audiocraft.models
    except ImportError as error:
        raise UserError(f"family audiocraft needs audiocraft, which cannot be imported: {error}. {INSTALL}") from error
    return audiocraft.models
