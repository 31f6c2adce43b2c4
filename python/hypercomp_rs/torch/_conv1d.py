"""The ``Conv1D`` of transformers, which GPT-2 is made of: a linear layer, its weight transposed.

A checkpoint has the weight as (inputs, outputs), and so it is compressed, with a scale and a rate
for each input; the product is the transposed one. Imported only where transformers is.
"""

from __future__ import annotations

import torch
from transformers.pytorch_utils import Conv1D

from .compressed_module import CompressedModule
from .kernels.direct import linear


class CompressedConv1D(CompressedModule, Conv1D):
    """transformers' ``Conv1D`` with a compressed weight."""

    dense_class = Conv1D
    input_axis = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x·W + b for x of shape (..., inputs)."""
        return linear(self, x, self.bias, True)
