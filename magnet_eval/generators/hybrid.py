"""Hybrid MAGNeT (Ziv et al., 2024): the first seconds autoregressively, then the rest by masked decoding.

One jointly trained model takes both roles (the paper's hybrid), or two models over the same codec take one each (a
"two-model hybrid", to be labelled so): causal attention and delay pattern first, then the parallel pattern with the
first seconds as prompt.
"""

from collections.abc import Sequence

from torch import Tensor

from magnet_eval import config
from magnet_eval.decoding import HybridDecoding
from magnet_eval.generators import autoregressive, long, masked
from magnet_eval.generators.sampling import Choose, chooser
from magnet_eval.generators.streaming import StreamingTextToAudio
from magnet_eval.generators.system import Texts
from magnet_eval.generators.tokens import Steps, Tokens, drained
from magnet_eval.generators.transformer import LanguageModel

Conditions = tuple[Tensor, Tensor | None]  # text [B, S, d] by the model's own ``project``, text_mask [B, S]


def decode(
    prompter: LanguageModel,
    prompter_text: Conditions,
    lm: LanguageModel,
    text: Conditions,
    settings: HybridDecoding,
    frames: int,
    choose: Choose,
) -> Tokens:
    """Tokens [B, K, made frames]; ``prompter`` and ``lm`` are the same model, or two over the same codec.

    The first part is whole spans, ``prompt_seconds`` rounded down to them, at most the whole clip.
    Raises UserError where the settings do not fit the model or the length.
    """
    return drained(steps(prompter, prompter_text, lm, text, settings, frames, choose))


def steps(
    prompter: LanguageModel,
    prompter_text: Conditions,
    lm: LanguageModel,
    text: Conditions,
    settings: HybridDecoding,
    frames: int,
    choose: Choose,
) -> Steps:
    """``decode``: the first part step by step, the rest at once."""
    span = lm.config.span_len
    made = masked.made_frames(frames, span, settings.masked)
    given = min(int(settings.prompt_seconds * lm.config.frame_rate) // span * span, made)
    if given == 0:
        return masked.decode(lm, text[0], settings.masked, frames, choose, text_mask=text[1])
    first = yield from autoregressive.steps(
        prompter, prompter_text[0], settings.autoregressive, given, choose, text_mask=prompter_text[1]
    )
    if given == made:
        return first
    rest = masked.decode(lm, text[0], settings.masked, frames, choose, text_mask=text[1], prompt=first.codes)
    return Tokens(
        rest.codes,
        first.iterations + rest.iterations,
        first.network_evaluations + rest.network_evaluations,
        {**first.seconds, **rest.seconds},
        {**first.event_seconds, **rest.event_seconds},
        rest.fixed_at,
    )


class HybridGenerator(StreamingTextToAudio):
    """A hybrid of the zoo; ``prompter`` in its YAML makes it a two-model hybrid."""

    block = {"cpu": 4, "cuda": 8}

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError on missing or damaged weights."""
        super().__init__(model, device, dtype, exact)
        self.lm = self.load("checkpoint")
        self.prompter = self.load("prompter") if model.prompter else self.lm

    def setting_of_sampling(self) -> str:
        """That of the masked part; the two parts share their random numbers."""
        return self.model.settings().masked.sampling

    def steps(self, texts: Texts, frames: int, seeds: Sequence[int]) -> Steps:
        """Tokens of one block, step by step; windows after the first are masked throughout."""
        choose = chooser(self.sampling, seeds, self.device)
        settings: HybridDecoding = self.model.settings()
        text, beginning = texts.of(self.lm), texts.of(self.prompter)

        def window(frames: int, prompt: Tensor | None) -> Steps:
            if prompt is None:
                return (yield from steps(self.prompter, beginning, self.lm, text, settings, frames, choose))
            return masked.decode(self.lm, text[0], settings.masked, frames, choose, text_mask=text[1], prompt=prompt)

        unit = masked.frames_together(self.lm.config.span_len, settings.masked)
        return long.steps(window, frames, self.lm.config, settings.masked.stride_seconds, unit)
