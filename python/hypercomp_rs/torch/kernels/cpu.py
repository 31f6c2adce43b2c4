"""The operators on the CPU, by the Rust core. No argument is copied."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...errors import DtypeError, InvalidArgumentError
from .._codes import DTYPES, Weight, weight_of
from .._schemas import LIBRARY, Parts, _convolve
from . import scratch
from .ahead import Rows, decoded
from .blocks import multiply
from .choice import blocks_from
from .paths import recorder


def _named(dtype: torch.dtype) -> str:
    try:
        return DTYPES[dtype]
    except KeyError:
        accepted = "float32, float64, float16 and bfloat16 are accepted"
        raise DtypeError(f"{dtype}: {accepted}") from None


def _whole(weight: Weight, dtype: torch.dtype) -> torch.Tensor:
    """All of a weight, in scratch memory."""
    _named(dtype)
    rows = range(weight.shape[0]) if weight.shape else range(1)
    return decoded(weight, Rows(rows, dtype)).view(weight.shape)


def decode(parts: Parts, description: str, dtype: torch.dtype) -> torch.Tensor:
    """The weights as a dense tensor."""
    weight = weight_of(parts, description)
    dense = scratch.own(_whole(weight, dtype))
    recorder.add("decode", "cpu", weight.shape, 0, dtype, "whole")
    return dense


def embedding(
    indices: torch.Tensor, parts: Parts, description: str, dtype: torch.dtype
) -> torch.Tensor:
    """The entries along the first axis that are asked for, and no others."""
    if indices.dtype not in (torch.int64, torch.int32):
        raise DtypeError(f"indices have dtype {indices.dtype}: int64 and int32 are accepted")
    weight = weight_of(parts, description)
    wanted = indices.to(torch.int64).reshape(-1).numpy()
    out = torch.empty((*indices.shape, *weight.shape[1:]), dtype=dtype)
    flat = out.view(-1)
    elements = flat.view(torch.uint16) if flat.element_size() == 2 else flat
    weight.code.rows_into(wanted, elements.numpy(), _named(dtype), torch.get_num_threads())
    recorder.add("embedding", "cpu", weight.shape, len(wanted), dtype, "rows")
    return out


def linear(
    x: torch.Tensor,
    parts: Parts,
    description: str,
    bias: torch.Tensor | None = None,
    transposed: bool = False,
) -> torch.Tensor:
    """x·Wᵀ + b, or x·W + b. For few vectors W is never decoded as a whole."""
    weight = weight_of(parts, description)
    if len(weight.shape) != 2:
        raise InvalidArgumentError(
            f"a weight of shape {weight.shape}: a matrix (outputs, inputs) is accepted"
        )
    outputs, inputs = weight.shape
    if transposed:
        outputs, inputs = inputs, outputs
    shape = x.shape
    if not shape or shape[-1] != inputs:
        raise InvalidArgumentError(f"x has shape {tuple(shape)}: (..., {inputs}) is accepted")
    dtype = x.dtype
    name = DTYPES.get(dtype) or _named(dtype)
    if bias is not None:
        if bias.shape != (outputs,):
            raise InvalidArgumentError(
                f"bias has shape {tuple(bias.shape)}: ({outputs},) is accepted"
            )
        if bias.dtype is not dtype or not bias.is_contiguous():
            bias = bias.to(dtype).contiguous()
    # Lengths one by one: torch takes half a microsecond longer to read a tuple of them.
    out = x.new_empty(*shape[:-1], outputs)
    batch = out.numel() // outputs if outputs else 0
    least = blocks_from(weight, dtype, transposed)
    if batch >= least:
        why = f"from {least} vectors on that is faster"
        recorder.add("linear", "cpu", weight.shape, batch, dtype, "blocks", why)
        return multiply(x, weight, bias, transposed)
    if recorder.calls is not None:
        recorder.add("linear", "cpu", weight.shape, batch, dtype, "fused")
    if not x.is_contiguous():
        x = x.contiguous()
    weight.code.linear_at(
        x.data_ptr(),
        batch,
        0 if bias is None else bias.data_ptr(),
        out.data_ptr(),
        name,
        transposed,
        torch.get_num_threads(),
    )
    return out


def convolution(
    x: torch.Tensor,
    parts: Parts,
    description: str,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> torch.Tensor:
    """Torch's convolution with the decoded weight."""
    weight = weight_of(parts, description)
    dense = _whole(weight, x.dtype)
    recorder.add("convolution", "cpu", weight.shape, len(x), x.dtype, "whole")
    if bias is not None:
        bias = bias.to(x.dtype)
    result = _convolve(x, dense, bias, stride, padding, dilation, groups)
    scratch.give_back(dense)
    return result


for _operator in (decode, embedding, linear, convolution):
    LIBRARY.impl(_operator.__name__, _operator, "CPU")
