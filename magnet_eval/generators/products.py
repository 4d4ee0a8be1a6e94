"""Matrix products of a few rows with weights that are read whole for them: what a step of a decoder consists of.

On a CPU in 16 bits torch's own product of two rows takes as long as in 32 bits; with the weights laid out beforehand
for oneDNN it takes half of that, which is what half of the bytes should.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


class Product:
    """A linear layer without a bias."""

    def __init__(self, weight: Tensor) -> None:
        """weight: [outer, inner]."""
        self.weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, outer] of x [rows, inner]."""
        return F.linear(x, self.weight)

    def gelu(self, x: Tensor) -> Tensor:
        """The same behind a GELU."""
        return torch.ops.aten.gelu_(self(x))

    def added(self, x: Tensor, to: Tensor) -> Tensor:
        """The same on top of ``to`` [rows, outer]."""
        return torch.addmm(to, x, self.weight.t())


class PackedProduct(Product):
    """One whose weights lie as oneDNN wants them; what comes behind is part of the product."""

    def __init__(self, weight: Tensor) -> None:
        """weight: [outer, inner], copied."""
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight))

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, outer] of x [rows, inner]."""
        return torch.ops.mkldnn._linear_pointwise.default(x, self.weight, None, "none", [], "")

    def gelu(self, x: Tensor) -> Tensor:
        """The same behind a GELU."""
        return torch.ops.mkldnn._linear_pointwise.default(x, self.weight, None, "gelu", [], "none")

    def added(self, x: Tensor, to: Tensor) -> Tensor:
        """The same on top of ``to`` [rows, outer]."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, to, self.weight, None, "add")


def product_of(weight: Tensor) -> Product:
    """The faster one of the two for a few rows."""
    small = weight.dtype in (torch.bfloat16, torch.float16)
    if weight.device.type == "cpu" and small and torch.backends.mkldnn.is_available():
        return PackedProduct(weight)
    return Product(weight)
