"""MAGNeT's masked decoding (Ziv et al., 2024): one codebook after the other, each over a few parallel iterations.

Every iteration hides the least confident spans of the codebook, predicts all of them at once, and scores each span by
the probability of what was drawn. Guidance goes from ``cfg_max`` to ``cfg_min`` with the share of spans hidden, the
temperature linearly to 0. Two schedules of that share: ``code`` (as audiocraft ships it: the last iteration hides one
span) and ``paper`` (as printed: it hides about pi / 2n of them).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magnet_eval import config
from magnet_eval.decoding import MaskedDecoding
from magnet_eval.generators import long
from magnet_eval.generators.graphs import kept
from magnet_eval.generators.rescoring import Rescorer
from magnet_eval.generators.sampling import Choose, chooser, draw, sample, take
from magnet_eval.generators.spans import OverlappingSpans, WholeSpans
from magnet_eval.generators.system import Texts, TextToAudio
from magnet_eval.generators.tokens import Stopwatch, Tokens, guide
from magnet_eval.generators.transformer import LanguageModel
from magnet_eval.generators.wholeclip import WholeClip
from magnet_eval.lookup import UserError

# (codes [B, K, T], own probabilities [B, N], codebook, frames [B, N]) -> [B, N]
Rescore = Callable[[Tensor, Tensor, int, Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """One iteration of a stage."""

    n_hidden: int  # spans (or tokens) to hide
    cfg: float  # guidance scale
    temperature: float


def schedule(n_steps: int, n_units: int, settings: MaskedDecoding) -> list[Step]:
    """The iterations of one stage over ``n_units`` spans (or tokens). Computed in float32, as audiocraft does."""
    if settings.schedule == "code":
        shares = torch.cos(torch.linspace(0, 1, n_steps) * (math.pi * 0.5))
    else:
        shares = torch.cos(torch.arange(n_steps) * (math.pi * 0.5 / n_steps))
    steps = []
    for i, share in enumerate(shares):
        left = (n_steps - 1 - i) / n_steps if settings.anneal_temperature else 1.0
        cfg = float(share) * settings.cfg_max + (1 - float(share)) * settings.cfg_min
        steps.append(Step(max(int(share * n_units), 1), cfg, settings.temperature * left))
    return steps


def frames_together(span_len: int, settings: MaskedDecoding) -> int:
    """Frames that are made as one: a span under ``nonoverlap``, a single one where spans may overlap."""
    return 1 if settings.span_arrangement == "stride1" else span_len


def made_frames(frames: int, span_len: int, settings: MaskedDecoding) -> int:
    """The length rule: ``nonoverlap`` makes whole spans only, so 500 frames asked in spans of 3 become 498."""
    unit = frames_together(span_len, settings)
    return frames // unit * unit


@torch.inference_mode()
def decode(
    lm: LanguageModel,
    text: Tensor,
    settings: MaskedDecoding,
    frames: int,
    choose: Choose,
    *,
    text_mask: Tensor | None = None,
    prompt: Tensor | None = None,
    rescore: Rescore | None = None,
) -> Tokens:
    """Tokens [B, K, made_frames] for conditions ``text`` [B, S, d] (from ``lm.project``; zeros are "no text").

    text_mask [B, S] keeps padding out; None gives padding its attention mass, as audiocraft does. choose: see
    sampling.py. prompt: tokens [B, K, P] that the result starts with. rescore: see rescoring.py.
    Raises UserError where the settings do not fit the model or the length.
    """
    span, n_q = lm.config.span_len, lm.config.n_q
    if len(settings.steps) != n_q:
        raise UserError(f"decoding.steps has {len(settings.steps)} entries; the model has {n_q} codebooks, give {n_q}.")
    made, given = made_frames(frames, span, settings), 0 if prompt is None else prompt.shape[2]
    if not given < made or made < span:
        raise UserError(
            f"{frames} frames with {given} given leave nothing to generate in spans of {span}; ask for more."
        )
    if settings.span_arrangement == "stride1" and span > 1:
        spans: WholeSpans | OverlappingSpans = OverlappingSpans(made, given, span)
    else:
        spans = WholeSpans(made, given, span, settings.span_scoring)
    if prompt is None:
        prompt = torch.empty(len(text), n_q, 0, dtype=torch.long, device=text.device)
    watch = Stopwatch(text.device)
    with kept(lm, WholeClip, len(text), made, text.shape[1]) as whole:
        with watch.stage("codebook 1"):
            whole.cache.listen(text, text_mask)
            whole.codes.fill_(lm.config.mask_token)
            whole.codes[..., :given] = prompt
        net = _Network(whole, exact=settings.sampling == "reference")
        job = _Job(net, spans, settings, choose, rescore, prompt, watch, torch.zeros_like(whole.codes))
        for codebook, n_steps in enumerate(settings.steps):
            with watch.stage(f"codebook {codebook + 1}"):
                job.fill(codebook, schedule(n_steps, spans.n_units - spans.n_given, settings))
        codes = whole.codes.clone()
    evaluations = net.evaluations + (sum(settings.steps) if rescore else 0)
    return Tokens(codes, sum(settings.steps), evaluations, watch.seconds, watch.event_seconds, job.fixed_at)


class _Network:
    """The model under guidance."""

    def __init__(self, whole: WholeClip, *, exact: bool) -> None:
        self.whole, self.codes = whole, whole.codes
        self.exact, self.evaluations = exact, 0

    def logits(self, codebook: int, frames: Tensor, cfg: float) -> Tensor:
        """[B, N, card] of one codebook at frames [B, N]; the unguided half is left out where it has no weight."""
        # At the end of a stage audiocraft's scale is 1 - 4e-7; leaving that half out moves the last bit of the logits.
        guided = self.exact or abs(cfg - 1) > 1e-5
        self.evaluations += 1 + guided
        logits = self.whole.logits(codebook, frames, guided=guided).float()
        return guide(logits, cfg) if guided else logits


@dataclass(frozen=True)
class _Job:
    """What all stages of one call share."""

    net: _Network
    spans: WholeSpans | OverlappingSpans
    settings: MaskedDecoding
    choose: Choose
    rescore: Rescore | None
    prompt: Tensor  # [B, K, P]
    watch: Stopwatch
    fixed_at: Tensor  # [B, K, T]

    def fill(self, codebook: int, steps: Sequence[Step]) -> None:
        """Fills one codebook of the network's codes [B, K, T] in place."""
        codes, config = self.net.codes, self.net.whole.lm.config
        row, fixed_at = codes[:, codebook], self.fixed_at[:, codebook]  # views
        scores = self.spans.start(len(codes), codes.device)
        for iteration, step in enumerate(steps, start=1):
            hidden = frames, really = self.spans.hide(scores, step.n_hidden)
            row.scatter_(1, frames, torch.where(really, config.mask_token, row.gather(1, frames)))
            row[:, : self.prompt.shape[2]] = self.prompt[:, codebook]
            logits = self.net.logits(codebook, frames, step.cfg)
            noise = None
            if not self.settings.greedy:  # that of all frames is drawn, so that it does not depend on what is hidden
                noise = take(draw(self.choose, len(codes), codes.shape[2], config.card, codes.device), frames)
            tokens, probs = sample(logits, step.temperature, self.settings, self.choose, noise)
            before = row.gather(1, frames)
            drawn = before == config.mask_token
            row.scatter_(1, frames, torch.where(drawn, tokens, before))
            fixed_at.scatter_(1, frames, torch.where(drawn, iteration, fixed_at.gather(1, frames)))
            if self.rescore:
                with self.watch.stage("rescorer"):
                    probs = self.rescore(codes, probs, codebook, frames)
            scores = self.spans.score(probs, hidden, drawn)


class MaskedGenerator(TextToAudio):
    """A MAGNeT of the zoo, with a rescorer where its YAML names one."""

    block = {"cpu": 1, "cuda": 8}  # on a CPU larger blocks gain little

    def __init__(self, model: config.Model, device: str, dtype: str, exact: bool) -> None:
        """Raises UserError on missing or damaged weights."""
        super().__init__(model, device, dtype, exact)
        self.lm = self.load("checkpoint")
        self.rescorer = self.load("rescorer") if model.rescorer else None

    def decode(self, texts: Texts, frames: int, seeds: Sequence[int]) -> Tokens:
        """Tokens of one block."""
        settings: MaskedDecoding = self.model.settings()
        rescore = None
        if self.rescorer and self.model.rescorer:
            rescore = Rescorer(self.rescorer, *texts.of(self.rescorer), self.model.rescorer)
        text, text_mask = texts.of(self.lm)
        choose = chooser(self.sampling, seeds, self.device)

        def window(frames: int, prompt: Tensor | None) -> Tokens:
            return decode(self.lm, text, settings, frames, choose, text_mask=text_mask, prompt=prompt, rescore=rescore)

        unit = frames_together(self.lm.config.span_len, settings)
        return long.decode(window, frames, self.lm.config, settings.stride_seconds, unit)
