"""WavLM Base (Chen et al., 2021, arXiv:2110.13900): speech features by a transformer, with its own parameter names.

Only what inference needs: the output of each layer, averaged over the frames that hold audio.
"""

import math

import torch
from torch import Tensor, nn

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
CHANNELS, DIM, DEPTH, HEADS, INNER = 512, 768, 12, 12, 3072
NEAR_FRAMES, NEAR_GROUPS = 128, 16  # of the convolution that tells where a frame is
BUCKETS, FARTHEST = 320, 800  # of relative positions: as many for what is before as for what is after


class Features(nn.Module):
    """Seven convolutions that make a frame of 320 samples."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        widths = (1, *[CHANNELS] * (len(KERNELS) - 1))
        convolutions = [
            nn.Conv1d(width, CHANNELS, kernel, stride, bias=False)
            for width, kernel, stride in zip(widths, KERNELS, STRIDES, strict=True)
        ]
        first = nn.Sequential(convolutions[0], nn.Identity(), nn.GroupNorm(CHANNELS, CHANNELS), nn.GELU())
        others = [nn.Sequential(convolution, nn.GELU()) for convolution in convolutions[1:]]
        self.conv_layers = nn.ModuleList([first, *others])

    def forward(self, audio: Tensor) -> Tensor:
        """[B, T] -> [B, frames, channels]."""
        x = audio[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class Nearby(nn.Module):
    """A convolution over 128 frames, whose weights are a direction and a length for each tap."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        self.weight_g = nn.Parameter(torch.empty(1, 1, NEAR_FRAMES))
        self.weight_v = nn.Parameter(torch.empty(DIM, DIM // NEAR_GROUPS, NEAR_FRAMES))
        self.bias = nn.Parameter(torch.empty(DIM))

    def forward(self, x: Tensor) -> Tensor:
        """[B, frames, dim] -> the same; the even kernel's extra frame at the end is cut off."""
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        near = nn.functional.conv1d(x.transpose(1, 2), weight, self.bias, padding=NEAR_FRAMES // 2, groups=NEAR_GROUPS)
        return nn.functional.gelu(near[..., :-1]).transpose(1, 2)


def buckets(frames: int, device: torch.device) -> Tensor:
    """Which bucket the position of one frame relative to another is in: [frames, frames], logarithmic far away."""
    position = torch.arange(frames, device=device)
    relative = position[None] - position[:, None]
    half, exact, far = BUCKETS // 2, BUCKETS // 4, relative.abs()
    scaled = torch.log(far.float() / exact) / math.log(FARTHEST / exact) * (half - exact)
    beyond = (exact + scaled.clamp(min=0).long()).clamp(max=half - 1)
    return (relative > 0).long() * half + torch.where(far < exact, far, beyond)


class Attention(nn.Module):
    """Self-attention with a bias by relative position, which each frame scales for itself."""

    def __init__(self, first: bool) -> None:
        """first: the layer that holds the biases of all layers."""
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.v_proj, self.out_proj = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.grep_linear = nn.Linear(DIM // HEADS, 8)
        self.grep_a = nn.Parameter(torch.empty(1, HEADS, 1, 1))
        if first:
            self.relative_attention_bias = nn.Embedding(BUCKETS, HEADS)

    def forward(self, x: Tensor, bias: Tensor, absent: Tensor) -> Tensor:
        """[B, frames, dim], biases [heads, frames, frames] and the frames without audio [B, frames] -> [B, ...]."""

        def heads(values: Tensor) -> Tensor:
            return values.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # [B, heads, frames, width]

        first, second = self.grep_linear(heads(x)).unflatten(-1, (2, 4)).sum(-1).sigmoid().split(1, dim=-1)
        scaled = (first * (second * self.grep_a - 1) + 2) * bias
        scaled = scaled.masked_fill(absent[:, None, None], -math.inf)
        mixed = nn.functional.scaled_dot_product_attention(
            heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x)), attn_mask=scaled
        )
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and dense layers, each added and normalised behind."""

    def __init__(self, first: bool) -> None:
        """first: see Attention."""
        super().__init__()
        self.self_attn = Attention(first)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.fc1, self.fc2 = nn.Linear(DIM, INNER), nn.Linear(INNER, DIM)

    def forward(self, x: Tensor, bias: Tensor, absent: Tensor) -> Tensor:
        """As Attention."""
        x = self.self_attn_layer_norm(x + self.self_attn(x, bias, absent))
        return self.final_layer_norm(x + self.fc2(nn.functional.gelu(self.fc1(x))))


class Encoder(nn.Module):
    """Positions, and twelve layers."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        self.pos_conv = nn.Sequential(Nearby())
        self.layer_norm = nn.LayerNorm(DIM)
        self.layers = nn.ModuleList(Layer(n == 0) for n in range(DEPTH))

    def forward(self, x: Tensor, absent: Tensor) -> list[Tensor]:
        """[B, frames, dim] -> what goes into the first layer, and what comes out of each."""
        x = x.masked_fill(absent[..., None], 0)
        results = [self.layer_norm(x + self.pos_conv(x))]
        bias = self.layers[0].self_attn.relative_attention_bias(buckets(x.shape[1], x.device)).permute(2, 0, 1)
        for layer in self.layers:
            results.append(layer(results[-1], bias, absent))
        return results


class WavLM(nn.Module):
    """Convolutions and transformer."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        self.mask_emb = nn.Parameter(torch.empty(DIM))  # in the files; for training
        self.feature_extractor = Features()
        self.layer_norm = nn.LayerNorm(CHANNELS)
        self.post_extract_proj = nn.Linear(CHANNELS, DIM)
        self.encoder = Encoder()

    def forward(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """[B, T] with zeros behind ``lengths`` [B] samples -> means over time of the 13 layers [B, 13, dim]."""
        x = self.post_extract_proj(self.layer_norm(self.feature_extractor(audio)))
        starts = torch.arange(x.shape[1], device=x.device) * math.prod(STRIDES)
        absent = starts[None] >= lengths[:, None]
        present = (~absent)[..., None].to(x.dtype)
        return torch.stack([(y * present).sum(1) / present.sum(1) for y in self.encoder(x, absent)], dim=1)
