"""Compressed tensors of a checkpoint, as the loader of transformers takes any tensor.

The loader knows a checkpoint as names and tensors that are read when they are indexed with ``...``.
Here the entries of a compressed tensor become one such tensor, by the name that it had in the dense
checkpoint. So all that transformers does with names (it strips prefixes, renames, merges experts)
is done with the names that it was written for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch

from ...errors import FormatError
from ...tensor import CompressedTensor
from .._codes import DESCRIPTION, described, description_text


class Codes(NamedTuple):
    """A compressed tensor that was read.

    Attributes
    ----------
    description
        What the codes say, in JSON.
    buffers
        The description's bytes and the parts in the order of their names, of uint8 each.
    dtype
        What the weights are decoded to.
    """

    description: str
    buffers: list[torch.Tensor]
    dtype: torch.dtype


class LazyWeight:
    """A compressed tensor of a checkpoint, which is read when it is used.

    Parameters
    ----------
    name
        Of the tensor in the dense checkpoint.
    description
        What the codes say, in JSON.
    entries
        The entries of the checkpoint, description first: tensors, or slices of safetensors files.
    """

    def __init__(self, name: str, description: str, entries: list[Any]) -> None:
        self.name = name
        self.description = description
        self.used = False
        """Whether the loader has asked for it."""
        self.as_codes = False
        """Whether the loader is given the codes; otherwise it is given dense weights."""
        self.misfit = False
        """Whether the model has another shape, so that the loader is to see no more than ours."""
        self._entries = entries

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes of the dense tensor."""
        return described(self.description).shape

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the codes."""
        return described(self.description).nbytes

    def __getitem__(self, index: Any) -> LazyWeight:
        """All of it; the loader asks for no part, unless it shards tensors over devices."""
        if index is not Ellipsis:
            raise FormatError(
                f"{self.name}: compressed weights cannot be split over devices by tensor "
                "parallelism; device_map is accepted"
            )
        return self

    def to(self, *, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor | Codes:
        """The codes on a device, or the weights that they are decoded to."""
        self.used = True
        said = described(self.description)
        dtype = dtype or said.dtype
        if self.misfit:
            return torch.empty(said.shape, dtype=dtype, device="meta")
        buffers = [entry[...] for entry in self._entries]
        if self.as_codes:
            return Codes(self.description, [b.to(device=device) for b in buffers], dtype)
        parts = dict(zip(said.bytes, buffers[1:], strict=True))
        try:
            weights = CompressedTensor.from_parts(self.description, parts).decompress(dtype)
        except FormatError as error:
            raise FormatError(f"{self.name}: {error}") from None
        return cast(torch.Tensor, weights).to(device=device)

    def entries(self, name: str) -> dict[str, Any]:
        """Its entries in a checkpoint that calls it so."""
        keys = (DESCRIPTION, *described(self.description).bytes)
        return {f"{name}_{key}": e for key, e in zip(keys, self._entries, strict=True)}


def grouped(entries: Mapping[str, Any]) -> tuple[dict[str, Any], list[LazyWeight]]:
    """A checkpoint by the names of its tensors, and those of them that are compressed.

    Parameters
    ----------
    entries
        Tensors, or slices of safetensors files, by the names of the entries.

    Raises
    ------
    FormatError
        A description that is none, or parts that are not there; the message names the tensor.
    """
    found = []
    rest = dict(entries)
    for key in entries:
        if not key.endswith(f"_{DESCRIPTION}") or not _is_bytes(entries[key]):
            continue
        name = key.removesuffix(f"_{DESCRIPTION}")
        try:
            description = description_text(entries[key][...])
            keys = [key, *(f"{name}_{part}" for part in described(description).bytes)]
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from None
        missing = [part for part in keys if part not in rest]
        if missing:
            raise FormatError(f"{name}: {', '.join(missing)} is missing from the checkpoint")
        if name in entries:
            raise FormatError(f"{name}: the checkpoint has it compressed and dense")
        found.append(LazyWeight(name, description, [rest.pop(part) for part in keys]))
    return {**rest, **{stored.name: stored for stored in found}}, found


def _is_bytes(entry: Any) -> bool:
    """Whether an entry is a 1-D array of bytes, as a description is."""
    if hasattr(entry, "get_dtype"):
        return entry.get_dtype() == "U8" and len(entry.get_shape()) == 1
    is_there = isinstance(entry, torch.Tensor) and not entry.is_meta
    return is_there and entry.dtype == torch.uint8 and entry.dim() == 1
