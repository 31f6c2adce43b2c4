"""The operators on CUDA devices, by the kernels of ``cuda/`` on torch's memory and current stream.

A weight's planes are read where torch has them. What kernels need beside them (32 bytes for each
row of the weight) is worked out and put on the device at the first call, which therefore must not
be captured by a CUDA graph; later calls only launch. Memory for the time of a call is torch's.
"""

from __future__ import annotations

import atexit
import json
import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from .. import _core
from ..errors import DtypeError, InvalidArgumentError, SlowPathWarning
from ..tensor import CompressedTensor
from ._codes import DTYPES, Kept, described, kept
from ._schemas import LIBRARY, Parts, _convolve, register_autocast

# While the driver is still there: modules are unloaded and contexts released in their order.
atexit.register(_core.close_devices)

# Up to so many vectors are multiplied by the codes, which is one pass over them; for more, a weight
# is decoded once and cuBLAS multiplies with tensor cores.
FEW = 8

# Weights from which on it is worth a warning that all are decoded for a few vectors.
LARGE = 1 << 20
# Weights whose exponent is nearer to 0 than this are normal float32s, whatever their row's scale.
MOST_EXPONENT = 60
# The reasons that this process has been warned of.
_warned: set[str] = set()

# What kernels write and read; float64 is decoded as float32 and widened.
_KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# Numbers of eight bytes in a row of the table of streams, and which of them is the place of the
# stream's first weight in the output (`HcStream` in cuda/launch.h).
_ROW_NUMBERS = 4
_FIRST = 2


def _stream(device: torch.device) -> int:
    """Torch's current stream on a device, without the object around it."""
    number: int = torch._C._cuda_getCurrentRawStream(device.index)
    return number


class DeviceWeight(Kept):
    """A compressed weight as kernels read it."""

    __slots__ = ("_code", "_copies", "_decoded_whole", "_table", "by_input", "prepared", "widens")

    def __init__(self, parts: Sequence[torch.Tensor], description: str) -> None:
        super().__init__(parts, description)
        by_name = dict(zip(described(description).bytes, parts[1:], strict=True))
        self._code = CompressedTensor.from_parts(description, _on_host(by_name))._code
        # What kernels know as the matrix is the transpose of the weight then.
        self.by_input = self._code.swapped
        names = _core.DeviceTensor.planes_of(self._code)
        planes = {name: by_name[name] for name in names if name in by_name}
        # Kernels read words: a slice of a larger tensor may begin anywhere.
        self._copies = {n: p.clone() for n, p in planes.items() if p.data_ptr() % 4}
        lent = {n: self._copies.get(n, plane) for n, plane in planes.items()}
        # A plane of no bytes is no part: at rates of up to a bit there are no cells.
        spans = {name: (plane.data_ptr(), plane.numel()) for name, plane in lent.items()}
        device = parts[0].device
        self.prepared = _core.DeviceTensor(
            self._code,
            device.index or 0,
            _stream(device),
            [spans.get(name, (0, 0)) for name in names],
        )
        self._decoded_whole = False
        # Not taken from `parts` later: nothing here may keep them alive.
        self.widens = _widens(description)
        self._table: torch.Tensor | None = None

    def table(self, device: torch.device) -> torch.Tensor:
        """The streams of each stored row on the device: (rows, streams a row · 4) of int64."""
        if self._table is None:
            table = _core.DeviceTensor.stream_table(self._code).view(np.int64)
            self._table = torch.from_numpy(table.reshape(self.shape[0], -1)).to(device)
        return self._table

    def decoded_whole(self, why: str) -> None:
        """Warn, once for a weight and a reason in this process, that a call decodes all of it."""
        if self._decoded_whole:
            return
        self._decoded_whole = True
        if math.prod(self.shape) >= LARGE and why not in _warned:
            _warned.add(why)
            warnings.warn(
                f"a weight of shape {self.shape} is decoded whole at every call on this CUDA "
                f"device: {why}. Others of that kind are, too (docs/gpu.md, 'The host path')",
                SlowPathWarning,
                stacklevel=2,
            )

    def slow(self, transposed: bool) -> str:
        """Why kernels do not multiply by the codes; empty where they do."""
        if not self.prepared.multiplies:
            return (
                "the kernels multiply by trellis codes of rows of at least 128 weights, without "
                "zeros or exact weights that are kept apart"
            )
        if transposed == self.by_input:
            return ""
        if self.by_input:
            return (
                "it is stored input by input, as calibration stores layers, and the kernels "
                "multiply in the order of the codes"
            )
        return "the product is transposed, and the kernels multiply in the order of the codes"

    def dense(self, dtype: torch.dtype, parts: Parts) -> torch.Tensor:
        """All of the weight, in new memory; in the stored order, so not always C order."""
        device = parts[0].device
        if dtype == torch.float64:
            if self.widens:
                return self.dense(torch.float32, parts).to(dtype)
            self.decoded_whole(
                "kernels write float32, which does not hold what float64 holds of weights that are "
                "stored exactly or are very large or small, so the host decodes it"
            )
            return _decoded_on_host(parts, self._description).to(device)
        name = _named(dtype)
        stored = self.shape[::-1] if self.by_input else self.shape
        out = torch.empty(stored, dtype=dtype, device=device)
        room = _room(self.prepared.decode_workspace(name), device)
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
    """Whether weights decoded to float32 are all that float64 has of them."""
    said = described(description)
    if said.codec == "raw" or "exact" in said.bytes:
        return said.dtype is not torch.float64
    trellis = json.loads(description).get("trellis") or {"exponent": 0}
    return abs(int(trellis["exponent"])) <= MOST_EXPONENT


def _decoded_on_host(parts: Parts, description: str) -> torch.Tensor:
    on_host = {n: p.cpu() for n, p in zip(described(description).bytes, parts[1:], strict=True)}
    c = CompressedTensor.from_parts(description, on_host)
    weights: torch.Tensor = c.decompress(torch.float64)
    return weights


def _on_host(parts: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The parts as the core needs them to prepare a weight: of planes it needs the length alone.

    So those are not copied from the device; their stand-ins are pages that nobody ever touches.
    """
    return {
        name: np.zeros(part.numel(), np.uint8) if name in ("path", "cells") else part.cpu().numpy()
        for name, part in parts.items()
    }


def _named(dtype: torch.dtype) -> str:
    if dtype not in _KERNEL_DTYPES:
        accepted = "float32, float64, float16 and bfloat16 are accepted"
        raise DtypeError(f"{dtype}: {accepted}")
    return DTYPES[dtype]


def _room(nbytes: int, device: torch.device) -> torch.Tensor:
    """Memory for the time of a call: torch reuses it in the order of the stream."""
    return torch.empty(nbytes, dtype=torch.uint8, device=device)


def _together(tensor: torch.Tensor, parts: Parts, name: str) -> None:
    if tensor.device != parts[0].device:
        raise InvalidArgumentError(
            f"{name} is on {tensor.device}, and the compressed weight on {parts[0].device}"
        )


def decode(parts: Parts, description: str, dtype: torch.dtype) -> torch.Tensor:
    """The weights as a dense tensor."""
    return kept(DeviceWeight, parts, description).dense(dtype, parts).contiguous()


def embedding(
    indices: torch.Tensor, parts: Parts, description: str, dtype: torch.dtype
) -> torch.Tensor:
    """The entries along the first axis that are asked for.

    Where every row has streams of its own, the device picks the rows of the table of streams by
    indices that the host never sees, so this neither waits nor decodes anything else. Otherwise all
    rows are decoded.
    """
    if indices.dtype not in (torch.int64, torch.int32):
        raise DtypeError(f"indices have dtype {indices.dtype}: int64 and int32 are accepted")
    _together(indices, parts, "indices")
    weight = kept(DeviceWeight, parts, description)
    device = parts[0].device
    wanted = indices.reshape(-1)
    pieces = weight.prepared.streams_a_row
    if pieces is None or weight.by_input or (dtype == torch.float64 and not weight.widens):
        weight.decoded_whole(
            "rows are looked up by themselves where the kernels can multiply by a table: trellis "
            "codes of rows of at least 128 weights, without zeros or exact weights kept apart"
        )
        rows = weight.dense(dtype, parts).index_select(0, wanted)
        return rows.reshape(*indices.shape, *weight.shape[1:])
    if dtype == torch.float64:
        return embedding(indices, parts, description, torch.float32).to(dtype)
    columns = weight.shape[1]
    out = torch.empty((*indices.shape, columns), dtype=dtype, device=device)
    table = weight.table(device).index_select(0, wanted)
    moved = columns * (torch.arange(len(wanted), device=device) - wanted)
    table.view(len(wanted), pieces, _ROW_NUMBERS)[:, :, _FIRST] += moved[:, None]
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
    """x·Wᵀ + b, or x·W + b; without W where there are few vectors."""
    weight = kept(DeviceWeight, parts, description)
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
    _together(x, parts, "x")
    if bias is not None and bias.dtype != x.dtype:
        bias = bias.to(x.dtype)
    batch = x.numel() // inputs if inputs else 0
    prepared = weight.prepared
    # Codes are multiplied by in the order in which they are stored.
    codes = prepared.multiplies and transposed == weight.by_input
    if not codes or batch > FEW or x.dtype not in _KERNEL_DTYPES:
        # For many vectors that is the faster way, and it is what gradients take.
        if 0 < batch <= FEW and not transposed:
            weight.decoded_whole(weight.slow(transposed) or "the vectors are of float64")
        dense = weight.dense(x.dtype, parts)
        return torch.nn.functional.linear(x, dense.t() if transposed else dense, bias)
    if not x.is_contiguous():
        x = x.contiguous()
    out = x.new_empty((*shape[:-1], outputs))
    room = _room(prepared.product_workspace(batch), x.device)
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
    _together(x, parts, "x")
    weight = kept(DeviceWeight, parts, description).dense(x.dtype, parts)
    if bias is not None:
        bias = bias.to(x.dtype)
    return _convolve(x, weight, bias, stride, padding, dilation, groups)


for _operator in (decode, embedding, linear, convolution):
    LIBRARY.impl(_operator.__name__, _operator, "CUDA")
register_autocast("cuda")
