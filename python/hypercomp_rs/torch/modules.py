"""Modules of torch with a compressed weight.

Each is a subclass of the module that it replaces, as those of bitsandbytes are. So libraries that
search a model for linear layers, such as peft, find them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from . import _schemas as _schemas
from .compressed_module import CompressedModule
from .kernels.direct import linear

_COMPUTED: Any = object()


class CompressedLinear(CompressedModule, nn.Linear):
    """``nn.Linear`` with a compressed weight: its products are fused with decoding.

    Accepts vectors of float32, float64, float16 or bfloat16 and returns results of the same dtype,
    whatever the dtype of the model.

    Examples
    --------
    >>> import torch, hypercomp_rs.torch as hct
    >>> dense = torch.nn.Linear(1024, 512)
    >>> layer = hct.CompressedLinear.from_module(dense, bits=5)
    >>> layer
    CompressedLinear(in_features=1024, out_features=512, bias=True, trellis, 5.00 bits)
    >>> x = torch.randn(8, 1024)
    >>> bool((layer(x) - dense(x)).norm() < 0.05 * dense(x).norm())
    True
    """

    dense_class = nn.Linear
    input_axis = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x·Wᵀ + b for x of shape (..., in_features)."""
        # Not `self.bias`, which searches everything else first. That takes 0.4 of the 8
        # microseconds that a call costs beside the product. A bias that a hook computes is no
        # parameter.
        bias = self._parameters.get("bias", _COMPUTED)
        if bias is _COMPUTED:
            bias = self.bias
        return linear(self, x, bias)


class CompressedEmbedding(CompressedModule, nn.Embedding):
    """``nn.Embedding`` with a compressed table. A call decodes only the rows that it looks up."""

    dense_class = nn.Embedding

    @classmethod
    def refusal(cls, module: nn.Module) -> str | None:
        """Why a module cannot be replaced by this one, or None."""
        why = super().refusal(module)
        if why is None and cast(nn.Embedding, module).max_norm is not None:
            return "max_norm writes to the table"
        return why

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        """The rows of these indices, of shape (..., embedding_dim) and the model's dtype."""
        rows: torch.Tensor = torch.ops.hypercomp.embedding.default(
            indices, self.weight_buffers(), self._layout.description, self.dtype
        )
        return rows


class _CompressedConvolution(CompressedModule):
    """The forward pass of convolutions of any number of dimensions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The convolution of x with the decoded weight."""
        module = cast(nn.Conv2d, self)
        padding = module.padding
        if isinstance(padding, str) or module.padding_mode != "zeros":
            mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
            x = nn.functional.pad(x, module._reversed_padding_repeated_twice, mode=mode)
            padding = (0,) * len(module.stride)
        alone = x.dim() == len(module.stride) + 1
        result: torch.Tensor = torch.ops.hypercomp.convolution.default(
            x.unsqueeze(0) if alone else x,
            self.weight_buffers(),
            self._layout.description,
            module.bias,
            module.stride,
            padding,
            module.dilation,
            module.groups,
        )
        return result.squeeze(0) if alone else result


class CompressedConv1d(_CompressedConvolution, nn.Conv1d):
    """``nn.Conv1d`` with a compressed weight, which is decoded for each call."""

    dense_class = nn.Conv1d


class CompressedConv2d(_CompressedConvolution, nn.Conv2d):
    """``nn.Conv2d`` with a compressed weight, which is decoded for each call."""

    dense_class = nn.Conv2d
