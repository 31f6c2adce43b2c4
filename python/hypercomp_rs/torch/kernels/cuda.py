"""The operators on CUDA devices, by the kernels of ``cuda/`` on torch's memory and current stream.

Kernels read a weight's planes from torch's own tensors. They also need a table of 32 bytes for each
row of the weight. The host computes the table and copies it to the device at the first call, so a
CUDA graph must not capture that call. Later calls only launch kernels. Memory that is needed during
a call is torch's.
"""

from __future__ import annotations

import atexit
import json
import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from ... import _core
from ...errors import DtypeError, InvalidArgumentError, SlowPathWarning
from ...tensor import CompressedTensor
from .._codes import DTYPES, CachedWeight, cached, described
from .._schemas import LIBRARY, Parts, _convolve, register_autocast
from .choice import (
    CUDA_DTYPES,
    CUDA_WARN_FROM_ELEMENTS,
    CUDA_WIDENS_BELOW_EXPONENT,
    fused_to_on_cuda,
    why_not_fused_on_cuda,
)
from .paths import Way, recorder

# Before the driver is unloaded: modules are unloaded and contexts released in the right order.
atexit.register(_core.close_devices)

# The reasons for a slow path that this process has already warned of.
_warned: set[str] = set()

# The table of streams has a row of 64-bit numbers for each stream: how many, and which of them is
# the place of the stream's first weight in the output (`HcStream` in cuda/launch.h).
_STREAM_NUMBERS = 4
_STREAM_FIRST = 2


def _stream(device: torch.device) -> int:
    """The handle of torch's current stream on a device."""
    number: int = torch._C._cuda_getCurrentRawStream(device.index)
    return number


class DeviceWeight(CachedWeight):
    """A compressed weight on a device, prepared for the kernels."""

    __slots__ = ("_code", "_copies", "_decoded_whole", "_table", "by_input", "prepared", "widens")

    def __init__(self, parts: Sequence[torch.Tensor], description: str) -> None:
        super().__init__(parts, description)
        by_name = dict(zip(described(description).bytes, parts[1:], strict=True))
        self._code = CompressedTensor.from_parts(description, _on_host(by_name))._code
        # If so, the matrix of the kernels is the transpose of the weight.
        self.by_input = self._code.swapped
        names = _core.DeviceTensor.planes_of(self._code)
        planes = {name: by_name[name] for name in names if name in by_name}
        # Kernels read words of 4 bytes, and a slice of a larger tensor may begin at any byte.
        self._copies = {n: p.clone() for n, p in planes.items() if p.data_ptr() % 4}
        lent = {n: self._copies.get(n, plane) for n, plane in planes.items()}
        # An empty plane is not among the parts: at rates of up to one bit there are no cells.
        spans = {name: (plane.data_ptr(), plane.numel()) for name, plane in lent.items()}
        device = parts[0].device
        self.prepared = _core.DeviceTensor(
            self._code,
            device.index or 0,
            _stream(device),
            [spans.get(name, (0, 0)) for name in names],
        )
        self._decoded_whole = False
        # Computed now, as nothing here may keep `parts` alive for later.
        self.widens = _widens(description)
        self._table: torch.Tensor | None = None

    def table(self, device: torch.device) -> torch.Tensor:
        """The streams of each stored row on the device: (rows, streams a row · 4) of int64."""
        if self._table is None:
            table = _core.DeviceTensor.stream_table(self._code).view(np.int64)
            self._table = torch.from_numpy(table.reshape(self.shape[0], -1)).to(device)
        return self._table

    def decoded_whole(self, why: str) -> None:
        """Warn that a call decodes all of the weight: once for each reason in this process."""
        if self._decoded_whole:
            return
        self._decoded_whole = True
        if math.prod(self.shape) >= CUDA_WARN_FROM_ELEMENTS and why not in _warned:
            _warned.add(why)
            warnings.warn(
                f"a weight of shape {self.shape} is decoded whole at every call on this CUDA "
                f"device: {why}. So are other weights of that kind (docs/gpu.md, 'The host path')",
                SlowPathWarning,
                stacklevel=2,
            )

    def way(self, dtype: torch.dtype) -> Way:
        """Whether kernels decode the weight to this dtype, or the host does."""
        return "host" if dtype == torch.float64 and not self.widens else "whole"

    def dense(self, dtype: torch.dtype, parts: Parts) -> torch.Tensor:
        """All of the weight, in new memory and in the stored order, which is not always C order."""
        device = parts[0].device
        if dtype == torch.float64:
            if self.widens:
                return self.dense(torch.float32, parts).to(dtype)
            self.decoded_whole(
                "kernels write float32, which cannot represent weights that are stored exactly in "
                "float64 or are very large or small, so the host decodes it"
            )
            return _decoded_on_host(parts, self._description).to(device)
        name = _named(dtype)
        stored = self.shape[::-1] if self.by_input else self.shape
        out = torch.empty(stored, dtype=dtype, device=device)
        room = _workspace(self.prepared.decode_workspace(name), device)
        self.prepared.decode_into(
            name,
            0,
            out.numel(),
            (out.data_ptr(), out.nbytes),
            (room.data_ptr(), room.nbytes),
            _stream(device),
        )
        return out.t() if self.by_input else out


def _widens(description: str) -> bool:
    """Whether weights decoded to float32 have the values that they have in float64."""
    said = described(description)
    if said.codec == "raw" or "exact" in said.bytes:
        return said.dtype is not torch.float64
    trellis = json.loads(description).get("trellis") or {"exponent": 0}
    return abs(int(trellis["exponent"])) <= CUDA_WIDENS_BELOW_EXPONENT


def _decoded_on_host(parts: Parts, description: str) -> torch.Tensor:
    on_host = {n: p.cpu() for n, p in zip(described(description).bytes, parts[1:], strict=True)}
    c = CompressedTensor.from_parts(description, on_host)
    weights: torch.Tensor = c.decompress(torch.float64)
    return weights


def _on_host(parts: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The parts as the core needs them to prepare a weight: of planes it needs only the lengths.

    So planes are not copied from the device. Empty arrays of the same lengths replace them; their
    pages are never accessed, and so take no memory.
    """
    return {
        name: np.zeros(part.numel(), np.uint8) if name in ("path", "cells") else part.cpu().numpy()
        for name, part in parts.items()
    }


def _named(dtype: torch.dtype) -> str:
    if dtype not in CUDA_DTYPES:
        accepted = "float32, float64, float16 and bfloat16 are accepted"
        raise DtypeError(f"{dtype}: {accepted}")
    return DTYPES[dtype]


def _workspace(nbytes: int, device: torch.device) -> torch.Tensor:
    """Memory for the duration of a call. Torch reuses it in the order of the stream."""
    return torch.empty(nbytes, dtype=torch.uint8, device=device)


def _check_same_device(tensor: torch.Tensor, parts: Parts, name: str) -> None:
    if tensor.device != parts[0].device:
        raise InvalidArgumentError(
            f"{name} is on {tensor.device}, and the compressed weight on {parts[0].device}"
        )


def decode(parts: Parts, description: str, dtype: torch.dtype) -> torch.Tensor:
    """The weights as a dense tensor."""
    weight = cached(DeviceWeight, parts, description)
    recorder.add("decode", "cuda", weight.shape, 0, dtype, weight.way(dtype))
    return weight.dense(dtype, parts).contiguous()


def embedding(
    indices: torch.Tensor, parts: Parts, description: str, dtype: torch.dtype
) -> torch.Tensor:
    """The entries along the first axis that are asked for.

    If every row has streams of its own, the device selects rows of the table of streams by the
    indices. The host does not read the indices, so it does not wait for the device, and no other
    row is decoded. Otherwise all rows are decoded.
    """
    if indices.dtype not in (torch.int64, torch.int32):
        raise DtypeError(f"indices have dtype {indices.dtype}: int64 and int32 are accepted")
    _check_same_device(indices, parts, "indices")
    weight = cached(DeviceWeight, parts, description)
    device = parts[0].device
    wanted = indices.reshape(-1)
    pieces = weight.prepared.streams_a_row
    if pieces is None or weight.by_input or (dtype == torch.float64 and not weight.widens):
        why = (
            "rows are looked up by themselves where the kernels can multiply by a table: trellis "
            "codes of rows of at least 128 weights, without zeros or exact weights kept apart"
        )
        weight.decoded_whole(why)
        recorder.add("embedding", "cuda", weight.shape, len(wanted), dtype, weight.way(dtype), why)
        rows = weight.dense(dtype, parts).index_select(0, wanted)
        return rows.reshape(*indices.shape, *weight.shape[1:])
    if dtype == torch.float64:
        return embedding(indices, parts, description, torch.float32).to(dtype)
    recorder.add("embedding", "cuda", weight.shape, len(wanted), dtype, "rows")
    columns = weight.shape[1]
    out = torch.empty((*indices.shape, columns), dtype=dtype, device=device)
    table = weight.table(device).index_select(0, wanted)
    moved = columns * (torch.arange(len(wanted), device=device) - wanted)
    table.view(len(wanted), pieces, _STREAM_NUMBERS)[:, :, _STREAM_FIRST] += moved[:, None]
    weight.prepared.decode_rows_into(
        _named(dtype),
        (table.data_ptr(), table.nbytes),
        (out.data_ptr(), out.nbytes),
        _stream(device),
    )
    return out


def linear(
    x: torch.Tensor,
    parts: Parts,
    description: str,
    bias: torch.Tensor | None = None,
    transposed: bool = False,
) -> torch.Tensor:
    """x·Wᵀ + b, or x·W + b. For few vectors W is never decoded as a whole."""
    weight = cached(DeviceWeight, parts, description)
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
    _check_same_device(x, parts, "x")
    if bias is not None and bias.dtype != x.dtype:
        bias = bias.to(x.dtype)
    batch = x.numel() // inputs if inputs else 0
    prepared = weight.prepared
    fused_to = fused_to_on_cuda(prepared.by_tensor_cores, x.dtype)
    why = why_not_fused_on_cuda(
        prepared.multiplies, weight.by_input, transposed, x.dtype, batch, fused_to
    )
    if why:
        # No warning for many vectors, where this is the faster way, nor for transposed products,
        # which are those of gradients.
        if 0 < batch <= fused_to and not transposed:
            weight.decoded_whole(why)
        way = weight.way(x.dtype)
        recorder.add("linear", "cuda", weight.shape, batch, x.dtype, way, why)
        dense = weight.dense(x.dtype, parts)
        return torch.nn.functional.linear(x, dense.t() if transposed else dense, bias)
    recorder.add("linear", "cuda", weight.shape, batch, x.dtype, "fused")
    if not x.is_contiguous():
        x = x.contiguous()
    out = x.new_empty((*shape[:-1], outputs))
    room = _workspace(prepared.product_workspace(batch), x.device)
    prepared.multiply_into(
        DTYPES[x.dtype],
        batch,
        (x.data_ptr(), inputs),
        (out.data_ptr(), outputs),
        (room.data_ptr(), room.nbytes),
        _stream(x.device),
    )
    return out if bias is None else out.add_(bias)


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
    _check_same_device(x, parts, "x")
    weight = cached(DeviceWeight, parts, description)
    way = weight.way(x.dtype)
    recorder.add("convolution", "cuda", weight.shape, len(x), x.dtype, way)
    dense = weight.dense(x.dtype, parts)
    if bias is not None:
        bias = bias.to(x.dtype)
    return _convolve(x, dense, bias, stride, padding, dilation, groups)


for _operator in (decode, embedding, linear, convolution):
    LIBRARY.impl(_operator.__name__, _operator, "CUDA")
register_autocast("cuda")
