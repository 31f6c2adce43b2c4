"""The operators ``torch.ops.hypercomp``: schemas, fake implementations, gradients, autocast.

There are four: ``decode``, ``embedding``, ``linear`` and ``convolution``. A compressed weight is
passed in two forms. ``parts`` are the buffers of a module: the description's bytes first, then the
parts in the order of their names, each of uint8. ``description`` is the same JSON as text, which a
compiler needs before there is data.

Every operator is pure: no result shares memory with an argument. The weight has no gradient. The
gradients of the other arguments are computed as follows:

* ``linear``: y = x·Wᵀ + b, so the gradient of x is g·W, which is ``linear`` with the transposed
  weight;
* ``convolution``: torch's own gradient. The weight is decoded again instead of being kept since the
  forward pass.

Implementations are registered by `kernels/cpu.py` and `kernels/cuda.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ._codes import described

LIBRARY = torch.library.Library("hypercomp", "DEF")

LIBRARY.define(
    "decode(Tensor[] parts, str description, ScalarType dtype) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LIBRARY.define(
    "embedding(Tensor indices, Tensor[] parts, str description, ScalarType dtype) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LIBRARY.define(
    "linear(Tensor x, Tensor[] parts, str description, Tensor? bias=None, "
    "bool transposed=False) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LIBRARY.define(
    "convolution(Tensor x, Tensor[] parts, str description, Tensor? bias, SymInt[] stride, "
    "SymInt[] padding, SymInt[] dilation, SymInt groups) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)

Parts = Sequence[torch.Tensor]


@torch.library.register_fake("hypercomp::decode", lib=LIBRARY)
def _(parts: Parts, description: str, dtype: torch.dtype) -> torch.Tensor:
    return parts[0].new_empty(described(description).shape, dtype=dtype)


@torch.library.register_fake("hypercomp::embedding", lib=LIBRARY)
def _(indices: torch.Tensor, parts: Parts, description: str, dtype: torch.dtype) -> torch.Tensor:
    below = described(description).shape[1:]
    return parts[0].new_empty((*indices.shape, *below), dtype=dtype)


@torch.library.register_fake("hypercomp::linear", lib=LIBRARY)
def _(
    x: torch.Tensor,
    parts: Parts,
    description: str,
    bias: torch.Tensor | None = None,
    transposed: bool = False,
) -> torch.Tensor:
    outputs, inputs = described(description).shape
    if transposed:
        outputs, inputs = inputs, outputs
    torch._check(
        x.shape[-1] == inputs, lambda: f"x has shape {tuple(x.shape)}: (..., {inputs}) is accepted"
    )
    return x.new_empty((*x.shape[:-1], outputs))


@torch.library.register_fake("hypercomp::convolution", lib=LIBRARY)
def _(
    x: torch.Tensor,
    parts: Parts,
    description: str,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> torch.Tensor:
    weight = x.new_empty(described(description).shape)
    return _convolve(x, weight, bias, stride, padding, dilation, groups)


def _convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> torch.Tensor:
    """Torch's own convolution of a dense weight."""
    unmoved = [0] * len(stride)
    result: torch.Tensor = torch.ops.aten.convolution.default(
        x, weight, bias, stride, padding, dilation, False, unmoved, groups
    )
    return result


def _keep_for_linear(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, parts, ctx.description, bias, ctx.transposed = inputs
    ctx.bias = bias is not None
    ctx.save_for_backward(*parts)


def _linear_backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    # Read once, as the saved tensors of a checkpointed layer can be unpacked only once.
    parts = list(ctx.saved_tensors)
    of_x = of_bias = None
    if ctx.needs_input_grad[0]:
        of_x = torch.ops.hypercomp.linear.default(
            gradient, parts, ctx.description, None, not ctx.transposed
        )
    if ctx.bias and ctx.needs_input_grad[3]:
        of_bias = gradient.flatten(0, -2).sum(0) if gradient.dim() > 1 else gradient
    return of_x, [None] * len(parts), None, of_bias, None


torch.library.register_autograd(
    "hypercomp::linear", _linear_backward, setup_context=_keep_for_linear, lib=LIBRARY
)


def _keep_for_convolution(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, parts, ctx.description, bias, *ctx.geometry = inputs
    ctx.bias = None if bias is None else list(bias.shape)
    ctx.save_for_backward(x, *parts)


def _convolution_backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    x, *parts = ctx.saved_tensors
    stride, padding, dilation, groups = ctx.geometry
    weight = torch.ops.hypercomp.decode.default(parts, ctx.description, x.dtype)
    wanted = [ctx.needs_input_grad[0], False, ctx.bias is not None and ctx.needs_input_grad[3]]
    of_x, _, of_bias = torch.ops.aten.convolution_backward.default(
        gradient,
        x,
        weight,
        ctx.bias,
        stride,
        padding,
        dilation,
        False,
        [0] * len(stride),
        groups,
        wanted,
    )
    return of_x, [None] * len(parts), None, of_bias, None, None, None, None


torch.library.register_autograd(
    "hypercomp::convolution",
    _convolution_backward,
    setup_context=_keep_for_convolution,
    lib=LIBRARY,
)


def _cast(x: Any, dtype: torch.dtype) -> Any:
    """Cast an argument as autocast does for torch's own matrix products."""
    cast = isinstance(x, torch.Tensor) and x.is_floating_point() and x.dtype != torch.float64
    return x.to(dtype) if cast else x


def register_autocast(device: str) -> None:
    """Run products on a device type in autocast's dtype, as torch's own ``linear`` does."""
    key = getattr(torch._C.DispatchKey, f"Autocast{device.upper()}")
    below = torch._C.DispatchKeySet(key)

    def linear(
        x: torch.Tensor,
        parts: Parts,
        description: str,
        bias: torch.Tensor | None = None,
        transposed: bool = False,
    ) -> torch.Tensor:
        dtype = torch.get_autocast_dtype(device)
        with torch._C._ExcludeDispatchKeyGuard(below):
            product: torch.Tensor = torch.ops.hypercomp.linear.default(
                _cast(x, dtype), parts, description, _cast(bias, dtype), transposed
            )
            return product

    def convolution(
        x: torch.Tensor,
        parts: Parts,
        description: str,
        bias: torch.Tensor | None,
        *geometry: Any,
    ) -> torch.Tensor:
        dtype = torch.get_autocast_dtype(device)
        with torch._C._ExcludeDispatchKeyGuard(below):
            result: torch.Tensor = torch.ops.hypercomp.convolution.default(
                _cast(x, dtype), parts, description, _cast(bias, dtype), *geometry
            )
            return result

    LIBRARY.impl("linear", linear, f"Autocast{device.upper()}")
    LIBRARY.impl("convolution", convolution, f"Autocast{device.upper()}")


register_autocast("cpu")

for _name in ("decode", "embedding", "linear", "convolution"):
    _operator = getattr(torch.ops.hypercomp, _name).default
    # From torch 2.15 on, `torch.library.custom_op` does the same: arguments pass between kernels in
    # Python without conversion. That saves a microsecond per call.
    if hasattr(_operator, "_enable_pyobj_dispatch"):
        _operator._enable_pyobj_dispatch(True)
