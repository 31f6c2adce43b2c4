"""The operators on the CPU, by the Rust core. Nothing is copied on the way."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import DtypeError, InvalidArgumentError
from . import _scratch
from ._ahead import Part, taken
from ._blocks import SHORT, multiply
from ._codes import DTYPES, Weight, weight_of
from ._schemas import LIBRARY, Parts, _convolve

# From so many vectors on a layer is decoded, and torch multiplies (measured from 1 to 512). Below,
# and for the types that are not here, the core is faster, as it multiplies while it decodes. Some
# machines multiply bfloat16 themselves; with 256-bit vectors torch is closer to what they can do.
NEVER = 1 << 62
if SHORT:
    MANY = {torch.bfloat16: 96}
elif torch.backends.cpu.get_cpu_capability() == "AVX2":
    MANY = {torch.float32: 96, torch.float16: 256, torch.bfloat16: 512}
else:
    MANY = {}
# Codes that run along the outputs (a transposed weight, or one stored by input) are added up
# row by row, with more to load and store for each vector. The core adds up in float32: for float64
# that is only good enough where nothing else is asked for.
MANY_TRANSPOSED = {
    torch.float64: 2,
    torch.float32: 48,
    torch.float16: 128,
    torch.bfloat16: 24 if SHORT else 128,
}


def fewest_decoded(weight: Weight, dtype: torch.dtype, transposed: bool) -> int:
    """From how many vectors on a weight is decoded for torch to multiply."""
    many = MANY if transposed is weight.swapped else MANY_TRANSPOSED
    return many.get(dtype, NEVER)


def _named(dtype: torch.dtype) -> str:
    try:
        return DTYPES[dtype]
    except KeyError:
        accepted = "float32, float64, float16 and bfloat16 are accepted"
        raise DtypeError(f"{dtype}: {accepted}") from None


def _whole(weight: Weight, dtype: torch.dtype) -> torch.Tensor:
    """All of a weight, in memory that is to be given back."""
    _named(dtype)
    rows = range(weight.shape[0]) if weight.shape else range(1)
    return taken(weight, Part(rows, dtype)).view(weight.shape)


def decode(parts: Parts, description: str, dtype: torch.dtype) -> torch.Tensor:
    """The weights as a dense tensor."""
    return _scratch.own(_whole(weight_of(parts, description), dtype))


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
    return out


def linear(
    x: torch.Tensor,
    parts: Parts,
    description: str,
    bias: torch.Tensor | None = None,
    transposed: bool = False,
) -> torch.Tensor:
    """x·Wᵀ + b, or x·W + b, without W where there are few vectors."""
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
    # Not of one tuple of lengths, which torch takes half a microsecond longer to read.
    out = x.new_empty(*shape[:-1], outputs)
    batch = out.numel() // outputs if outputs else 0
    if batch >= fewest_decoded(weight, dtype, transposed):
        return multiply(x, weight, bias, transposed)
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
    weight = _whole(weight_of(parts, description), x.dtype)
    if bias is not None:
        bias = bias.to(x.dtype)
    result = _convolve(x, weight, bias, stride, padding, dilation, groups)
    _scratch.give_back(weight)
    return result


for _operator in (decode, embedding, linear, convolution):
    LIBRARY.impl(_operator.__name__, _operator, "CPU")
