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
import torch.nn.functional as F
from torch import Tensor

from magnet_eval import config
from magnet_eval.decoding import MaskedDecoding
from magnet_eval.generators import long
from magnet_eval.generators.rescoring import Rescorer
from magnet_eval.generators.sampling import Choose, chooser, sample
from magnet_eval.generators.system import Texts, TextToAudio
from magnet_eval.generators.tokens import Stopwatch, Tokens, guide
from magnet_eval.generators.transformer import Cache, LanguageModel, local_mask
from magnet_eval.lookup import UserError

FIXED = -1e4  # score of what is never hidden again; any real score is higher
Rescore = Callable[[Tensor, Tensor, int], Tensor]  # (codes [B, K, T], own probabilities [B, T], codebook) -> [B, T]


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


class WholeSpans:
    """``nonoverlap``: the codebook is cut into spans, hidden and scored as a whole. Spans of 1 are single tokens."""

    def __init__(self, frames: int, prompt: int, span_len: int, scoring: str) -> None:
        """For ``frames`` of which the first ``prompt`` are given."""
        self.span_len = span_len
        self.scoring = scoring
        self.n_units = frames // span_len
        self.n_given = prompt // span_len

    def start(self, batch: int, device: torch.device) -> Tensor:
        """First scores [B, spans]: everything is hidden but what the prompt gives."""
        scores = torch.zeros(batch, self.n_units, device=device)
        scores[:, : self.n_given] = FIXED
        return scores

    def hide(self, scores: Tensor, n_hidden: int) -> Tensor:
        """The frames [B, T] of the ``n_hidden`` spans with the highest scores."""
        spans = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(n_hidden).indices, True)
        return spans.repeat_interleave(self.span_len, 1)

    def score(self, probs: Tensor, hidden: Tensor, drawn: Tensor) -> Tensor:
        """Scores [B, spans] of the probabilities [B, T]; ``hidden`` frames were hidden, ``drawn`` ones filled in."""
        spans = probs.unflatten(1, (-1, self.span_len))
        if self.span_len == 1:
            scores, open_ = -spans[..., 0].log(), drawn
        else:
            # A span that the prompt covers in part is scored as a whole, given tokens included, as audiocraft does.
            scores = 1 - spans.amax(-1) if self.scoring == "max" else -spans.log().sum(-1)
            open_ = hidden[:, :: self.span_len]
        return scores.masked_fill(~open_, FIXED)


class OverlappingSpans:
    """``stride1``: a span may start anywhere; tokens are scored alone, spans by the product of their tokens."""

    def __init__(self, frames: int, prompt: int, span_len: int) -> None:
        """For ``frames`` of which the first ``prompt`` are given."""
        self.span_len = span_len
        self.frames = frames
        self.n_given = prompt
        self.n_units = frames

    def start(self, batch: int, device: torch.device) -> Tensor:
        """First scores [B, T]."""
        scores = torch.zeros(batch, self.frames, device=device)
        scores[:, : self.n_given] = FIXED
        return scores

    def hide(self, scores: Tensor, n_hidden: int) -> Tensor:
        """Frames [B, T] of the least probable spans, as many as together hide about ``n_hidden`` frames."""
        length = self.span_len
        order = scores.unfold(1, length, 1).sum(-1).argsort(dim=1, descending=True, stable=True)  # [B, starts]
        rank = order.argsort(1)  # of each start
        edge = F.pad(rank, (length - 1, length - 1), value=self.frames)
        first = edge.unfold(1, length, 1).amin(-1)  # [B, T]: the best rank of the spans over each frame
        frames = torch.zeros_like(scores, dtype=torch.long).scatter_add_(1, first, torch.ones_like(first))
        covered = frames.cumsum(1)  # [B, u]: frames hidden by u + 1 spans
        n_spans = [_count(row, max(n_hidden, length), length) for row in covered.tolist()]
        return first < torch.tensor(n_spans, device=scores.device)[:, None]

    def score(self, probs: Tensor, hidden: Tensor, drawn: Tensor) -> Tensor:
        """Scores [B, T] of the probabilities [B, T] of what was drawn."""
        return (-probs.log()).masked_fill(~drawn, FIXED)


def _count(covered: Sequence[int], target: int, span_len: int) -> int:
    """How many spans hide about ``target`` frames; ``covered[u - 1]`` is what u of them hide.

    A bisection that ends on the last count it tried, one to either side of the target: kept as in audiocraft, whose
    tokens depend on it.
    """
    low, high = target // span_len, target - span_len + 1
    middle = chosen = round((low + high) / 2)
    while low < middle < high:
        chosen = middle
        if covered[chosen - 1] > target:
            high = chosen
        else:
            low = chosen
        middle = round((low + high) / 2)
    return chosen


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
    codes = torch.full((len(text), n_q, made), lm.config.mask_token, device=text.device)
    if prompt is not None:
        codes[..., :given] = prompt
    net = _Network(lm, text, text_mask, made, exact=settings.sampling == "reference")
    watch = Stopwatch(text.device)
    job = _Job(net, spans, settings, choose, rescore, codes[..., :given].clone())
    with watch.stage("tokens"):
        for codebook, n_steps in enumerate(settings.steps):
            job.fill(codes, codebook, schedule(n_steps, spans.n_units - spans.n_given, settings))
    evaluations = net.evaluations + (sum(settings.steps) if rescore else 0)
    return Tokens(codes, sum(settings.steps), evaluations, watch.seconds)


class _Network:
    """The model under guidance, with the text's keys and values computed once."""

    def __init__(self, lm: LanguageModel, text: Tensor, text_mask: Tensor | None, frames: int, *, exact: bool) -> None:
        self.lm, self.text, self.text_mask, self.exact = lm, text, text_mask, exact
        self.cache = Cache(lm, text)
        self.local = local_mask(frames, lm.config.subcodes_context, text.device)
        self.evaluations = 0

    def logits(self, codes: Tensor, codebook: int, cfg: float) -> Tensor:
        """[B, T, card] of one codebook; the unguided half is left out where it has no weight."""
        # At the end of a stage audiocraft's scale is 1 - 4e-7; leaving that half out moves the last bit of the logits.
        guided = self.exact or abs(cfg - 1) > 1e-5
        self.evaluations += 1 + guided
        mask = self.local if codebook else None
        both = torch.cat([codes, codes]) if guided else codes
        logits = self.lm(both, self.text, self.text_mask, mask, codebook, self.cache)[:, 0].float()
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

    def fill(self, codes: Tensor, codebook: int, steps: Sequence[Step]) -> None:
        """Fills one codebook of ``codes`` [B, K, T] in place."""
        mask_token = self.net.lm.config.mask_token
        row = codes[:, codebook]  # a view
        scores = self.spans.start(len(codes), codes.device)
        for step in steps:
            hidden = self.spans.hide(scores, step.n_hidden)
            row.masked_fill_(hidden, mask_token)
            row[:, : self.prompt.shape[2]] = self.prompt[:, codebook]
            logits = self.net.logits(codes, codebook, step.cfg)
            tokens, probs = sample(logits, step.temperature, self.settings, self.choose)
            drawn = row == mask_token
            row.copy_(torch.where(drawn, tokens, row))
            if self.rescore:
                probs = self.rescore(codes, probs, codebook)
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
