"""The ``Conv1D`` of transformers, which GPT-2 uses: a linear layer with a transposed weight.

A checkpoint stores the weight as (inputs, outputs), and it is compressed in this form, with a scale
and a rate for each input. The product is the transposed one. Imported only if transformers is.
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
