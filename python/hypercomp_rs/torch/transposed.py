"""Linear layers with a weight of (inputs, outputs), as experts of GPT-OSS and Llama 4 have it."""

from __future__ import annotations

import torch
from torch import nn

from .compressed_module import CompressedModule
from .kernels.direct import linear


class TransposedLinear(nn.Module):
    """x·W for a weight of shape (in_features, out_features), without bias."""

    weight: torch.Tensor

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.in_features, self.out_features = weight.shape
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x·W for x of shape (..., in_features)."""
        return x @ self.weight

    def reset_parameters(self) -> None:
        """Nothing: whoever makes one has its weight."""

    def extra_repr(self) -> str:
        """Its lengths."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class CompressedTransposedLinear(CompressedModule, TransposedLinear):
    """The same with a compressed weight: products are fused with decoding."""

    dense_class = TransposedLinear
    input_axis = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x·W for x of shape (..., in_features)."""
        return linear(self, x, None, True)
