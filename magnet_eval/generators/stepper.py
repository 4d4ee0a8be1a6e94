"""The network as an autoregressive decoder runs it: one position after the other, over buffers that keep their places.

What ``LanguageModel.forward`` computes of one position, with nothing to set up, look up or concatenate in a step: on
CUDA a step is one recording, on a CPU little beside the weights is read.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from magnet_eval.generators.products import product_of
from magnet_eval.generators.transformer import Cache, LanguageModel, Layer, sinusoids


class LayerSteps:
    """The norms and products of one layer, without the modules around them: calling those is a tenth of a step."""

    def __init__(self, layer: Layer) -> None:
        """Of its weights."""
        cross = layer.cross_attention
        self.norm, self.norm_cross, self.norm_inner = (
            partial(F.layer_norm, normalized_shape=norm.normalized_shape, weight=norm.weight, bias=norm.bias)
            for norm in (layer.norm1, layer.norm_cross, layer.norm2)
        )
        self.own = product_of(layer.self_attn.in_proj_weight)
        self.own_out = product_of(layer.self_attn.out_proj.weight)
        self.ask = product_of(cross.in_proj_weight[: cross.out_proj.in_features])
        self.heard_out = product_of(cross.out_proj.weight)
        self.inner = product_of(layer.linear1.weight)
        self.outer = product_of(layer.linear2.weight)


class Network:
    """A model's layers as ``Stepper`` uses them, laid out once."""

    def __init__(self, lm: LanguageModel) -> None:
        """Of its present weights."""
        self.layers = [LayerSteps(layer) for layer in lm.layers]
        self.heads = product_of(torch.cat([head.weight for head in lm.linears]))


class Stepper:
    """One position of ``told`` rows with a text and ``untold`` ones without, at a time."""

    def __init__(self, lm: LanguageModel, told: int, untold: int, steps: int, text_length: int) -> None:
        """Room for ``steps`` positions."""
        self.lm, self.told, self.rows = lm, told, told + untold
        self.network: Network = lm.kept.get(Network) or lm.kept.setdefault(Network, Network(lm))
        text = torch.zeros(told, text_length, lm.config.dim, device=lm.device, dtype=lm.dtype)
        self.cache = Cache(lm, text, batch=self.rows, steps=steps)
        self.folded = FoldedText(lm, text_length) if told == 1 and text_length <= lm.config.dim // heads(lm) else None
        self.positions = sinusoids(0, steps, lm.config.dim, lm.device).to(lm.dtype)
        self.places = torch.arange(steps, device=lm.device)

    def listen(self, text: Tensor, text_mask: Tensor | None) -> None:
        """Begins anew, with another text [told, S, d] and mask [told, S]."""
        self.cache.listen(text, text_mask)
        if self.folded:
            self.folded.listen(self.lm, self.cache)

    def logits(self, codes: Tensor, at: Tensor, length: int) -> Tensor:
        """[rows, K, card] behind codes [B, K] at position ``at`` [1]; ``length`` positions are looked at.

        That is at + 1, or more where ``at`` is not known before the device gets there.
        """
        lm, cache, n_heads = self.lm, self.cache, heads(self.lm)
        x = sum(emb(codes[:, k]) for k, emb in enumerate(lm.emb)) + self.positions.index_select(0, at)
        x = x.repeat(self.rows // len(x), 1)
        # [1, length]: CUDA's backends look at two dimensions of a mask, one of which may be missing elsewhere
        mask = (self.places[:length] <= at)[None] if x.device.type == "cuda" else None
        past = cache.past[..., :length, :].unbind()
        for index, layer in enumerate(self.network.layers):
            own = layer.own(layer.norm(x)).view(self.rows, 3, n_heads, 1, -1)
            cache.past[index].index_copy_(3, at, own[:, 1:].transpose(0, 1))
            keys, values = past[index]
            seen = F.scaled_dot_product_attention(own[:, 0], keys, values, attn_mask=mask)
            x = layer.own_out.added(seen.view(self.rows, -1), x)
            if self.told:
                told = x[: self.told]
                told.copy_(self._told(index, layer, told))
            x = layer.outer.added(layer.inner.gelu(layer.norm_inner(x)), x)
        return self.network.heads(lm.out_norm(x)).unflatten(1, (lm.config.n_q, -1))

    def _told(self, index: int, layer: LayerSteps, told: Tensor) -> Tensor:
        """Rows [told, d] with what the text says to them."""
        asking = layer.norm_cross(told)
        if self.folded:
            return self.folded.added(index, asking, self.cache.text_mask, told)
        ask = layer.ask(asking).view(self.told, heads(self.lm), 1, -1)
        keys, values = self.cache.text[index]
        heard = F.scaled_dot_product_attention(ask, keys, values, self.cache.text_mask)
        return layer.heard_out.added(heard.view(self.told, -1), told)


class FoldedText:
    """Cross-attention to one text with what surrounds it: d -> d -> heads x S is one product d -> heads x S.

    (x Wq) K' = x (Wq K'), and likewise with values and output projection. For a text of fewer tokens than a head is
    wide there is less to read, and for a single clip, whose products are shared with no other, less to compute.
    """

    def __init__(self, lm: LanguageModel, text_length: int) -> None:
        """Room for a text of ``text_length``."""
        d, n = lm.config.dim, heads(lm) * text_length
        self.ask = torch.zeros(len(lm.layers), n, d, device=lm.device, dtype=lm.dtype)
        self.answer = torch.zeros(len(lm.layers), d, n, device=lm.device, dtype=lm.dtype)
        self.shape = (1, heads(lm), 1, text_length)

    def listen(self, lm: LanguageModel, cache: Cache) -> None:
        """Takes the text of a cache."""
        for index, layer in enumerate(lm.layers):
            k, v = cache.text[index, :, 0].float()  # [heads, S, head width]
            attention, width = layer.cross_attention, k.shape[2]
            ask = attention.in_proj_weight[: lm.config.dim].float().unflatten(0, (-1, width))  # [heads, width, d]
            answer = attention.out_proj.weight.float().unflatten(1, (-1, width)).transpose(0, 1)  # [heads, d, width]
            self.ask[index] = ((k @ ask) * width**-0.5).flatten(0, 1)
            self.answer[index] = (answer @ v.mT).transpose(0, 1).flatten(1)
        self.products = [(product_of(a), product_of(b)) for a, b in zip(self.ask, self.answer, strict=True)]

    def added(self, index: int, asking: Tensor, mask: Tensor | None, told: Tensor) -> Tensor:
        """``told`` [1, d] and what the text says to ``asking`` [1, d]."""
        ask, answer = self.products[index]
        scores = ask(asking).view(self.shape)
        weights = (scores if mask is None else scores + mask).softmax(-1)
        return answer.added(weights.view(1, -1), told)


def heads(lm: LanguageModel) -> int:
    """Attention heads."""
    return lm.config.num_heads
