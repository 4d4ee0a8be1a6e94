"""Which frames a masked iteration hides: whole spans, or spans that may start anywhere (Ziv et al., 2024).

An arrangement keeps scores [B, units], higher where less certain; ``hide`` picks frames [B, N] by them, N known
beforehand, and ``score`` makes the next ones from the probabilities of what was drawn there. Nothing here waits for the
device.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

FIXED = -1e4  # score of what is never hidden again; any real score is higher
Hidden = tuple[Tensor, Tensor]  # frames [B, N], and which of them are hidden indeed: bool [B, N]


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

    def hide(self, scores: Tensor, n_hidden: int) -> Hidden:
        """The frames of the ``n_hidden`` spans with the highest scores."""
        spans = scores.topk(n_hidden).indices
        frames = spans[..., None] * self.span_len + torch.arange(self.span_len, device=scores.device)
        return frames.flatten(1), torch.ones_like(frames, dtype=torch.bool).flatten(1)

    def score(self, probs: Tensor, hidden: Hidden, drawn: Tensor) -> Tensor:
        """Scores [B, spans] of the probabilities [B, N] at the hidden frames; ``drawn`` says which were filled in."""
        frames = hidden[0]
        if self.span_len == 1:
            scores, spans = (-probs.log()).masked_fill(~drawn, FIXED), frames
        else:
            # A span that the prompt covers in part is scored as a whole, given tokens included, as audiocraft does.
            of_spans = probs.unflatten(1, (-1, self.span_len))
            scores = 1 - of_spans.amax(-1) if self.scoring == "max" else -of_spans.log().sum(-1)
            spans = frames[:, :: self.span_len] // self.span_len
        return probs.new_full((len(probs), self.n_units), FIXED).scatter_(1, spans, scores)


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

    def hide(self, scores: Tensor, n_hidden: int) -> Hidden:
        """Frames of the least probable spans, as many as together hide about ``n_hidden`` frames.

        That may be up to a span more than asked; where it is less, other frames fill up. All frames where all are
        asked for, as a stage begins: some that no span hides have no token yet.
        """
        length, target = self.span_len, max(n_hidden, self.span_len)
        order = scores.unfold(1, length, 1).sum(-1).argsort(dim=1, descending=True, stable=True)  # [B, starts]
        rank = order.argsort(1)  # of each start
        edge = F.pad(rank, (length - 1, length - 1), value=self.frames)
        first = edge.unfold(1, length, 1).amin(-1)  # [B, T]: the best rank of the spans over each frame
        frames = torch.zeros_like(scores, dtype=torch.long).scatter_add_(1, first, torch.ones_like(first))
        covered = frames.cumsum(1)  # [B, u]: frames hidden by u + 1 spans
        hidden = first < n_spans(covered, target, length)
        n_chosen = self.frames if n_hidden == self.frames - self.n_given else target + length
        chosen = hidden.byte().argsort(dim=1, descending=True, stable=True)[:, :n_chosen]
        return chosen, hidden.gather(1, chosen)

    def score(self, probs: Tensor, hidden: Hidden, drawn: Tensor) -> Tensor:
        """Scores [B, T] of the probabilities [B, N] of what was drawn."""
        scores = (-probs.log()).masked_fill(~drawn, FIXED)
        return probs.new_full((len(probs), self.frames), FIXED).scatter_(1, hidden[0], scores)


def n_spans(covered: Tensor, target: int, span_len: int) -> Tensor:
    """How many spans [B, 1] hide about ``target`` frames; ``covered[:, u - 1]`` is what u of them hide.

    A bisection that ends on the last count it tried, one to either side of the target: kept as in audiocraft, whose
    tokens depend on it. It takes as many steps as the worst case needs, so that nobody has to ask whether it is done.
    """
    low = torch.full_like(covered[:, :1], target // span_len)
    high = torch.full_like(low, target - span_len + 1)
    middle = chosen = _middle(low, high)
    for _ in range(math.ceil(math.log2(target + 1)) + 1):
        inside = (low < middle) & (middle < high)
        chosen = torch.where(inside, middle, chosen)
        over = covered.gather(1, chosen - 1) > target
        high = torch.where(inside & over, chosen, high)
        low = torch.where(inside & ~over, chosen, low)
        middle = _middle(low, high)
    return chosen


def _middle(low: Tensor, high: Tensor) -> Tensor:
    return ((low + high) / 2).round().long()  # halves to the even side, as Python rounds
