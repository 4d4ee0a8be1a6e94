"""The network as MAGNeT runs it: all frames of a clip at once, logits of one codebook at the hidden frames only.

What ``LanguageModel.forward`` computes and nobody looks at is left out: other codebooks' heads, frames that are not
hidden in what comes after the last layer's attention, the text's keys and values of every iteration, a first layer of
the unguided half (which is the guided one's until it hears the text), and all that a dense mask would throw away.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from magnet_eval.generators.graphs import Graphs
from magnet_eval.generators.transformer import Cache, LanguageModel, Layer, sinusoids

WINDOW = 32  # keys of a block of queries, at least; a multiple of 8, which CUDA's attention wants of a mask


@dataclass(frozen=True)
class Blocks:
    """Local attention by blocks: queries that lie side by side share one window of keys.

    A clip is filled up to whole blocks, so that where a clip lies in its batch changes no bit of it.
    """

    context: int  # frames that a frame sees to either side
    block: int  # queries
    frames: int  # of a clip, filled up
    mask: Tensor  # bool [blocks of a clip, 1, block, window]

    @classmethod
    def of(cls, frames: int, context: int, device: torch.device) -> "Blocks":
        """For clips of ``frames``; a negative context sees everything and is no matter of blocks."""
        block = min(max(WINDOW, math.ceil(4 * context / 8) * 8) - 2 * context, frames)
        n = math.ceil(frames / block)
        first = torch.arange(n, device=device)[:, None] * block
        queries = (first + torch.arange(block, device=device))[..., None]
        keys = (first + torch.arange(-context, block + context, device=device))[:, None]
        seen = ((queries - keys).abs() <= context) & (keys >= 0) & (keys < frames)
        mask = seen | (queries >= frames)  # frames that fill up look at anything
        return cls(context, block, n * block, mask[:, None])

    def attend(self, rows: Tensor, clips: int, num_heads: int) -> Tensor:
        """[clips x frames, d] of rows [context + clips x frames + context, 3 d]: queries, keys and values.

        The windows are views of them; what lies before and behind the clips is masked, but has to be finite.
        """
        n, width = clips * self.frames // self.block, rows.shape[1]
        d, window = width // 3, self.mask.shape[-1]
        strides = (self.block * width, d // num_heads, width, 1)  # block, head, frame, entry

        def view(length: int, start: int) -> Tensor:
            return rows.as_strided((n, num_heads, length, d // num_heads), strides, start)

        q, k, v = view(self.block, self.context * width), view(window, d), view(window, 2 * d)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask.repeat(clips, 1, 1, 1))
        return out.transpose(1, 2).reshape(-1, d)


class WholeClip:
    """A model over ``batch`` clips of ``frames`` with texts of ``text_length``, and the buffers that this takes."""

    def __init__(self, lm: LanguageModel, batch: int, frames: int, text_length: int) -> None:
        """Sets up for one shape. The text is given to its ``cache``."""
        self.lm, self.batch, self.frames = lm, batch, frames
        config, like = lm.config, {"device": lm.device, "dtype": lm.dtype}
        self.codes = torch.zeros(batch, config.n_q, frames, dtype=torch.long, device=lm.device)
        self.positions = sinusoids(0, frames, config.dim, lm.device).to(lm.dtype)
        self.blocks = Blocks.of(frames, config.subcodes_context, lm.device) if config.subcodes_context >= 0 else None
        self.edge = self.blocks.context if self.blocks else 0
        self.pitch = self.blocks.frames if self.blocks else frames
        self.rows = torch.zeros(2 * self.edge + 2 * batch * self.pitch, 3 * config.dim, **like)
        self.cache = Cache(lm, torch.zeros(batch, text_length, config.dim, **like))
        self.graphs = Graphs(lm.device)

    def logits(self, codebook: int, frames: Tensor, *, guided: bool) -> Tensor:
        """[B, N, card] of one codebook of ``self.codes`` at frames [B, N]; [2B, ...], unguided half last, if guided."""
        local = codebook > 0 and self.blocks is not None
        if self.lm.device.type == "cuda":  # N changes from step to step, the shapes of a recording do not
            key = local, guided, self.cache.text_mask is None
            x = self.graphs.run(key, lambda: self._trunk(local, guided, None))
            x = self._at(x, frames, guided)
        else:
            x = self._trunk(local, guided, frames)
        return self.lm.linears[codebook](self.lm.out_norm(x)).unflatten(0, (-1, frames.shape[1]))

    def _at(self, x: Tensor, frames: Tensor, guided: bool) -> Tensor:
        """Rows of x [clips x pitch, d] at frames [B, N] of every clip: [clips x N, d]."""
        clips = self.batch * (1 + guided)
        first = torch.arange(0, len(x), len(x) // clips, device=x.device)[:, None]
        return x[(first + frames.repeat(1 + guided, 1)).flatten()]

    def _trunk(self, local: bool, guided: bool, frames: Tensor | None) -> Tensor:
        """[clips x N, d] behind the last layer, at ``frames`` or, if these are None, at all (filled up if local)."""
        x = sum(emb(self.codes[:, k]) for k, emb in enumerate(self.lm.emb)) + self.positions
        x = F.pad(x, (0, 0, 0, self.pitch - self.frames if local else 0)).flatten(0, 1)  # [clips x pitch, d]
        for index, layer in enumerate(self.lm.layers):
            heard = self._attend(layer, x, local)
            if index == 0 and guided:  # until here both halves are the same
                x, heard = x.repeat(2, 1), heard.repeat(2, 1)
            if index == len(self.lm.layers) - 1 and frames is not None:
                x, heard = self._at(x, frames, guided), self._at(heard, frames, guided)
            x = torch.addmm(x, heard, layer.self_attn.out_proj.weight.t())
            self._add_text(layer, index, x[: len(x) // (1 + guided)])
            inner = torch.ops.aten.gelu_(layer.linear1(layer.norm2(x)))
            x.addmm_(inner, layer.linear2.weight.t())
        return x

    def _attend(self, layer: Layer, x: Tensor, local: bool) -> Tensor:
        """Self-attention [clips x pitch, d] without its output projection."""
        attention, rows = layer.self_attn, self.rows[: len(x) + 2 * self.edge]
        own = rows[self.edge : self.edge + len(x)]
        torch.mm(layer.norm1(x), attention.in_proj_weight.t(), out=own)
        if local and self.blocks:
            return self.blocks.attend(rows, len(x) // self.pitch, attention.num_heads)
        q, k, v = own.view(-1, self.frames, 3, attention.num_heads, x.shape[1] // attention.num_heads).unbind(2)
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return out.transpose(1, 2).reshape(len(x), -1)

    def _add_text(self, layer: Layer, index: int, told: Tensor) -> None:
        """Adds in place what the text says to rows ``told`` [B x N, d]."""
        attention = layer.cross_attention
        q = attention.queries(layer.norm_cross(told).unflatten(0, (self.batch, -1)))
        k, v = self.cache.text[index]
        heard = F.scaled_dot_product_attention(q, k, v, self.cache.text_mask)
        told.addmm_(heard.transpose(1, 2).reshape(len(told), -1), attention.out_proj.weight.t())
