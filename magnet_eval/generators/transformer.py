"""The transformer behind every token generator: MAGNeT, MusicGen and their hybrid differ only in masks and decoding.

Conventions: B clips, K codebooks, T token frames, S text tokens, d model width. Token ``card`` is the mask (or empty)
token. Boolean masks say True where a query may look. Parameter names are audiocraft's, so its checkpoints load by name.

Backbone of MusicGen (Copet et al., 2023) and MAGNeT (Ziv et al., 2024).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from magnet_eval.typed import typed

KeysValues = tuple[Tensor, Tensor]  # each [B, heads, length, head width]


@dataclass(frozen=True)
class LMConfig:
    """Shape of a language model over codec tokens, and what it was trained for."""

    dim: int  # model width d
    num_heads: int
    num_layers: int
    hidden_scale: int = 4  # feed-forward width / d
    n_q: int = 4  # codebooks K
    card: int = 2048  # tokens per codebook; token ``card`` itself is the mask
    text_dim: int = 768  # width of the text encoder
    causal: bool = False  # attention where the caller passes no mask
    span_len: int = 3  # frames per masked span
    subcodes_context: int = 5  # frames that codebooks after the first may look to either side; -1: all
    frame_rate: float = 50.0  # token frames per second
    segment_seconds: float = 10.0  # length of the training clips

    @property
    def mask_token(self) -> int:
        """The id that stands for a token not yet known."""
        return self.card


class Cache:
    """Keys and values that later calls reuse: the text's (always), and earlier steps' (where ``steps`` > 0)."""

    @torch.no_grad()
    def __init__(
        self, lm: "LanguageModel", text: Tensor, text_mask: Tensor | None = None, *, batch: int = 0, steps: int = 0
    ) -> None:
        """Room for ``steps`` positions of ``batch`` rows, taken at once so that no call copies the past."""
        self.lm = lm
        config, n = lm.config, len(lm.layers)
        head = config.dim // config.num_heads
        self.text = text.new_empty(n, 2, len(text), config.num_heads, text.shape[1], head)
        self.past = text.new_empty(n, 2, batch, config.num_heads, steps, head)
        self.room = text.new_empty(len(text), 1, 1, text.shape[1])  # of the mask; recordings know its place
        self.listen(text, text_mask)

    @torch.no_grad()
    def listen(self, text: Tensor, text_mask: Tensor | None) -> None:
        """Begins anew, with another text [B, S, d] and mask [B, S] of the same size."""
        self.length = 0
        for layer, kept in zip(self.lm.layers, self.text, strict=True):
            for old, new in zip(kept, layer.cross_attention.keys_values(text), strict=True):
                old.copy_(new)
        self.text_mask: Tensor | None = None  # what is added to scores: [B, 1, 1, S]
        if text_mask is not None:
            self.text_mask = self.room.zero_().masked_fill_(~visible(text_mask), -math.inf)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        """Keeps one layer's new keys and values; returns all so far."""
        if not self.past.numel():
            return keys, values
        end = self.length + keys.shape[2]
        kept = self.past[layer]
        kept[0][:, :, self.length : end] = keys
        kept[1][:, :, self.length : end] = values
        return kept[0][:, :, :end], kept[1][:, :, :end]

    def advance(self, positions: int) -> None:
        """Called once per forward pass, after all layers have appended."""
        if self.past.numel():
            self.length += positions


class Attention(nn.Module):
    """Multi-head attention without biases; ``in_proj_weight`` holds query, key and value rows in this order."""

    def __init__(self, dim: int, num_heads: int) -> None:
        """Leaves ``in_proj_weight`` for the language model to initialise."""
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, heads, length, head width]

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of self-attention."""
        q, k, v = F.linear(x, self.in_proj_weight).chunk(3, dim=-1)
        return self._heads(q), self._heads(k), self._heads(v)

    def queries(self, x: Tensor) -> Tensor:
        """Of cross-attention."""
        return self._heads(F.linear(x, self.in_proj_weight[: x.shape[-1]]))

    def keys_values(self, source: Tensor) -> KeysValues:
        """Of cross-attention."""
        k, v = F.linear(source, self.in_proj_weight[source.shape[-1] :]).chunk(2, dim=-1)
        return self._heads(k), self._heads(v)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
        """[B, heads, T, head width] queries to the layer's output [B, T, d]."""
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Pre-norm self-attention, cross-attention to the text, feed-forward."""

    def __init__(self, config: LMConfig) -> None:
        """One layer of a model of this shape."""
        super().__init__()
        d = config.dim
        self.self_attn = Attention(d, config.num_heads)
        self.cross_attention = Attention(d, config.num_heads)
        self.linear1 = nn.Linear(d, config.hidden_scale * d, bias=False)
        self.linear2 = nn.Linear(config.hidden_scale * d, d, bias=False)
        self.norm1, self.norm_cross, self.norm2 = (nn.LayerNorm(d) for _ in range(3))

    def add_text(self, x: Tensor, text: KeysValues, text_mask: Tensor | None) -> Tensor:
        """Adds what the text says. Rows of x beyond the text's have no text and stay as they are."""
        rows = len(text[0])
        if rows == 0:
            return x
        told, untold = x[:rows], x[rows:]
        heard = self.cross_attention.attend(self.cross_attention.queries(self.norm_cross(told)), *text, text_mask)
        return torch.cat([told + heard, untold]) if len(untold) else told + heard

    def add_features(self, x: Tensor) -> Tensor:
        """Adds the feed-forward block's output."""
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


def sinusoids(start: int, length: int, dim: int, device: torch.device) -> Tensor:
    """Position embedding [length, dim], cosines first; frequencies 10000^(-j / (dim/2 - 1)), as audiocraft has it."""
    positions = torch.arange(start, start + length, device=device, dtype=torch.float32)[:, None]
    steps = torch.arange(dim // 2, device=device, dtype=torch.float32)
    phase = positions / 10000.0 ** (steps / (dim // 2 - 1))
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


class LanguageModel(nn.Module):
    """Codec tokens and a text in, logits of every token out."""

    def __init__(self, config: LMConfig) -> None:
        """Random weights; see checkpoints.py for trained ones."""
        super().__init__()
        self.config = config
        d = config.dim
        description = nn.ModuleDict({"output_proj": nn.Linear(config.text_dim, d)})
        self.condition_provider = nn.ModuleDict({"conditioners": nn.ModuleDict({"description": description})})
        self.emb = nn.ModuleList(nn.Embedding(config.card + 1, d) for _ in range(config.n_q))
        self.transformer = nn.ModuleDict({"layers": nn.ModuleList(Layer(config) for _ in range(config.num_layers))})
        self.out_norm = nn.LayerNorm(d)
        self.linears = nn.ModuleList(nn.Linear(d, config.card, bias=False) for _ in range(config.n_q))
        self.kept: dict[Any, Any] = {}  # what decoders keep between calls, see graphs.py and products.py
        self._initialise()

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's."""
        return self.transformer["layers"]

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.out_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.out_norm.weight.dtype

    @torch.no_grad()
    def _initialise(self) -> None:
        """Gaussian weights of deviation 1/sqrt(fan in), smaller by sqrt(2 depth) inside the layers."""
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                depth = int(name.split(".")[2]) + 1 if name.startswith("transformer.layers.") else 0.5
                std = 1 / math.sqrt(2 * depth * weight.shape[1])
                nn.init.trunc_normal_(weight, std=std, a=-3 * std, b=3 * std)

    def project(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Text encoder states [B, S, text_dim] to conditions [B, S, d]; zero where ``mask`` [B, S] is False."""
        projected = self.condition_provider["conditioners"]["description"]["output_proj"](hidden)
        return projected * mask[..., None].to(projected.dtype)

    def forward(
        self,
        codes: Tensor,
        text: Tensor,
        text_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        codebook: int | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Logits [B, K, T, card] for codes [B, K, T]; [B, 1, T, card] where one ``codebook`` is asked for.

        text: conditions [B', S, d] from ``project``, B' <= B; rows beyond B' are unconditional (the same as a text of
        zeros, cheaper). text_mask: [B', S], None lets padding keep its attention mass, as audiocraft does.
        attention_mask: [T, keys] or [B, 1, T, keys]; None means causal or full, as the config says.
        cache: of this text; codes are then the positions that follow those it holds.
        """
        start = cache.length if cache else 0
        x = sum(emb(codes[:, k]) for k, emb in enumerate(self.emb))
        x = x + sinusoids(start, codes.shape[2], self.config.dim, codes.device).to(x.dtype)
        causal = attention_mask is None and self.config.causal and codes.shape[2] > 1
        if text_mask is not None:
            text_mask = visible(text_mask)
        for index, layer in enumerate(self.layers):
            q, k, v = layer.self_attn.queries_keys_values(layer.norm1(x))
            if cache:
                k, v = cache.append(index, k, v)
            x = x + layer.self_attn.attend(q, k, v, attention_mask, causal)
            x = layer.add_text(x, cache.text[index] if cache else layer.cross_attention.keys_values(text), text_mask)
            x = layer.add_features(x)
        if cache:
            cache.advance(codes.shape[2])
        x = self.out_norm(x)
        heads = self.linears if codebook is None else [self.linears[codebook]]
        return torch.stack([head(x) for head in heads], dim=1)


def visible(text_mask: Tensor) -> Tensor:
    """What of a text may be looked at: [B, 1, 1, S] of its mask [B, S].

    A text without a single token is all zeros and may be looked at, for a softmax over nothing is NaN.
    """
    return (text_mask | ~text_mask.any(-1, keepdim=True))[:, None, None]


def local_mask(frames: int, context: int, device: torch.device | str = "cpu") -> Tensor | None:
    """Which frames see which [T, T]: those at most ``context`` apart; None (all) where it is negative."""
    if context < 0:
        return None
    steps = torch.arange(frames, device=device)
    return (steps[:, None] - steps).abs() <= context


def causal_mask(frames: int, device: torch.device | str = "cpu") -> Tensor:
    """Which frames see which [T, T]: themselves and those before."""
    return torch.ones(frames, frames, dtype=torch.bool, device=device).tril()


def config_from_dict(fields: dict[str, object]) -> LMConfig:
    """The config among the ``fields`` of a config.json; other keys are not the network's. Raises UserError if wrong."""
    names = {field.name for field in dataclasses.fields(LMConfig)}
    return typed(LMConfig, {key: value for key, value in fields.items() if key in names})
