"""The network as an autoregressive decoder runs it: one position after the other, over buffers that keep their places.

What ``LanguageModel.forward`` computes of one position, with nothing to set up, look up or concatenate in a step: on
CUDA a step is one recording, on a CPU little beside the weights is read.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from magnet_eval.generators.products import product_of
from magnet_eval.generators.transformer import Cache, LanguageModel, Layer, sinusoids


class Linears:
    """The products of one layer."""

    def __init__(self, layer: Layer) -> None:
        """Of its weights."""
        cross = layer.cross_attention
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
        self.linears = [Linears(layer) for layer in lm.layers]
        self.heads = [product_of(head.weight) for head in lm.linears]


class Stepper:
    """One position of ``told`` rows with a text and ``untold`` ones without, at a time."""

    def __init__(self, lm: LanguageModel, told: int, untold: int, steps: int, text_length: int) -> None:
        """Room for ``steps`` positions. The text is given to its ``cache``."""
        self.lm, self.told, self.rows = lm, told, told + untold
        if "network" not in lm.kept:
            lm.kept["network"] = Network(lm)
        self.network: Network = lm.kept["network"]
        text = torch.zeros(told, text_length, lm.config.dim, device=lm.device, dtype=lm.dtype)
        self.cache = Cache(lm, text, batch=self.rows, steps=steps)
        self.positions = sinusoids(0, steps, lm.config.dim, lm.device).to(lm.dtype)
        self.places = torch.arange(steps, device=lm.device)

    def logits(self, codes: Tensor, at: Tensor, length: int) -> Tensor:
        """[rows, K, card] behind codes [B, K] at position ``at`` [1]; ``length`` positions are looked at.

        That is at + 1, or more where ``at`` is not known before the device gets there.
        """
        lm, cache, heads = self.lm, self.cache, self.lm.config.num_heads
        x = sum(emb(codes[:, k]) for k, emb in enumerate(lm.emb)) + self.positions.index_select(0, at)
        x = x.repeat(self.rows // len(x), 1)
        mask = self.places[:length] <= at if x.device.type == "cuda" else None
        past = cache.past[..., :length, :]
        for index, (layer, linears) in enumerate(zip(lm.layers, self.network.linears, strict=True)):
            own = linears.own(layer.norm1(x)).view(self.rows, 3, heads, 1, -1)
            cache.past[index].index_copy_(3, at, own[:, 1:].transpose(0, 1))
            seen = F.scaled_dot_product_attention(own[:, 0], past[index, 0], past[index, 1], attn_mask=mask)
            x = linears.own_out.added(seen.view(self.rows, -1), x)
            if self.told:
                told = x[: self.told]
                ask = linears.ask(layer.norm_cross(told)).view(self.told, heads, 1, -1)
                heard = F.scaled_dot_product_attention(ask, cache.text[index, 0], cache.text[index, 1], cache.text_mask)
                told.copy_(linears.heard_out.added(heard.view(self.told, -1), told))
            x = linears.outer.added(linears.inner.gelu(layer.norm2(x)), x)
        x = lm.out_norm(x)
        return torch.stack([head(x) for head in self.network.heads], dim=1)
