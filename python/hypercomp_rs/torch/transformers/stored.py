"""Compressed tensors of a checkpoint in a form that the loader of transformers accepts.

For the loader, a checkpoint is a mapping from names to tensors that are read when they are indexed
with ``...``. Here the entries of a compressed tensor become one such tensor, with its name in the
dense checkpoint. So the renaming of transformers (stripped prefixes, merged experts, …) applies to
the names that it was written for.
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
    """The codes of a compressed tensor, read from the files.

    Attributes
    ----------
    description
        The description in JSON.
    buffers
        The description's bytes and the parts in the order of their names, each of uint8.
    dtype
        The dtype that the weights are decoded to.
    """

    description: str
    buffers: list[torch.Tensor]
    dtype: torch.dtype


class LazyWeight:
    """A compressed tensor of a checkpoint. It is read when it is used.

    Parameters
    ----------
    name
        Of the tensor in the dense checkpoint.
    description
        The description in JSON.
    entries
        The entries of the checkpoint, description first: tensors, or slices of safetensors files.
    """

    def __init__(self, name: str, description: str, entries: list[Any]) -> None:
        self.name = name
        self.description = description
        self.used = False
        """Whether the loader has used it."""
        self.as_codes = False
        """Whether the loader gets the codes. Otherwise it gets dense weights."""
        self.misfit = False
        """Whether the model has another shape.

        Then the loader gets an empty tensor of this shape.
        """
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
        """The whole tensor.

        The loader asks for parts only in tensor parallelism, which is refused.
        """
        if index is not Ellipsis:
            raise FormatError(
                f"{self.name}: compressed weights cannot be split over devices by tensor "
                "parallelism; device_map is accepted"
            )
        return self

    def to(self, *, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor | Codes:
        """The codes or the decoded weights, on a device."""
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
        """Its entries in a checkpoint in which it has this name."""
        keys = (DESCRIPTION, *described(self.description).bytes)
        return {f"{name}_{key}": e for key, e in zip(keys, self._entries, strict=True)}


def grouped(entries: Mapping[str, Any]) -> tuple[dict[str, Any], list[LazyWeight]]:
    """A checkpoint with one entry for each tensor, and the list of compressed tensors.

    Parameters
    ----------
    entries
        Tensors, or slices of safetensors files, by the names of the entries.

    Raises
    ------
    FormatError
        A description is invalid, or parts are missing. The message names the tensor.
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
