"""The core's object for the buffers of a compressed weight: made once, and never of what is gone.

An operator is handed tensors, and the core works with an object that knows how to read them. Making
it unpacks the scales and rates of all rows, so it is kept from call to call. Kept for the tensors
themselves, by weak references and not by their addresses: a module that dies takes its planes with
it, and a new one at the same address is another. It is made anew when a tensor has been written to
(torch counts that), given other memory (``.data = …``, ``share_memory_()``), or replaced.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

import torch

from .._core import TensorCode
from ..errors import FormatError
from ..tensor import CompressedTensor

# What a state dict calls the description of a compressed tensor, after the tensor's own name.
DESCRIPTION = "description"
DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


class Description(NamedTuple):
    """What the JSON of a compressed tensor says of its shape and its parts."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    codec: str
    bytes: dict[str, int]

    @property
    def nbytes(self) -> int:
        """Length of all parts."""
        return sum(self.bytes.values())


@lru_cache(maxsize=1 << 14)
def described(description: str) -> Description:
    """What a description says; the core checks it against the parts when these are there.

    Raises
    ------
    FormatError
        It is no description.
    """
    try:
        said = json.loads(description)
        parts = {str(name): int(part["bytes"]) for name, part in sorted(said["parts"].items())}
        dtype = {name: dtype for dtype, name in DTYPES.items()}[said["dtype"]]
        shape = tuple(int(length) for length in said["shape"])
        return Description(shape, dtype, str(said["codec"]), parts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(
            f"the description of a compressed tensor: {type(error).__name__}: {error}"
        ) from None


def description_bytes(description: str) -> torch.Tensor:
    """A description as a state dict keeps it: (bytes,) of uint8."""
    return torch.frombuffer(bytearray(description.encode()), dtype=torch.uint8)


def description_text(buffer: torch.Tensor) -> str:
    """A description from what a state dict keeps.

    Raises
    ------
    FormatError
        It is no text.
    """
    try:
        return bytes(buffer.cpu().numpy()).decode()
    except (UnicodeDecodeError, TypeError) as error:
        raise FormatError(f"the description of a compressed tensor: {error}") from None


class Kept:
    """What was made of a weight's tensors, as long as they are what they were."""

    __slots__ = ("__weakref__", "_anchor", "_description", "_state", "shape")

    def __init__(self, parts: Sequence[torch.Tensor], description: str) -> None:
        self.shape = described(description).shape
        self._description = description
        self._state = [(part.data_ptr(), part.numel(), _version(part)) for part in parts]
        # Read by the callback, which must not hold what it is to let go.
        key = id(parts[0])
        self._anchor = weakref.ref(parts[0], lambda ref: _forget(key, ref))

    def is_of(self, parts: Sequence[torch.Tensor], description: str) -> bool:
        """Whether it was made of these tensors, and of what they hold now."""
        if self._anchor() is not parts[0] or len(parts) != len(self._state):
            return False
        if description != self._description:
            return False
        for part, (address, size, version) in zip(parts, self._state):  # noqa: B905 - as many
            if part.data_ptr() != address or part.numel() != size:
                return False
            if part._version != version if version >= 0 else not part.is_inference():
                return False
        return True


class Weight(Kept):
    """A compressed weight as the core reads it."""

    __slots__ = ("_lent", "code", "last_shape", "noted", "swapped")

    def __init__(self, parts: Sequence[torch.Tensor], description: str) -> None:
        super().__init__(parts, description)
        names = described(description).bytes
        # A view of its own: an array of the tensor itself would keep it alive, and this with it.
        lent = {name: part.detach() for name, part in zip(names, parts[1:], strict=True)}
        self.code: TensorCode = CompressedTensor.from_parts(description, lent)._code
        # Whether the codes of a matrix run along its first axis.
        self.swapped = self.code.swapped
        # So that no other memory comes to lie where these are.
        self._lent = lent
        # Of products with it: see `_direct.py`.
        self.last_shape: torch.Size | None = None
        self.noted: Any = None


def _version(part: torch.Tensor) -> int:
    # A tensor made in inference mode counts nothing, and nobody can write to it outside.
    return -1 if part.is_inference() else part._version


_weights: dict[int, Kept] = {}

_K = TypeVar("_K", bound=Kept)


def kept(kind: type[_K], parts: Sequence[torch.Tensor], description: str) -> _K:
    """What this kind makes of a weight's buffers: made once, and anew when they have changed.

    The buffers are the description's bytes and the parts by name, all on one device.

    Raises
    ------
    FormatError
        The parts are not those of the description.
    """
    made = _weights.get(id(parts[0]))
    if made is None or not made.is_of(parts, description):
        made = _weights[id(parts[0])] = kind(parts, description)
    # A device has one kind, and tensors at one address are on one device.
    return cast(_K, made)


def weight_of(parts: Sequence[torch.Tensor], description: str) -> Weight:
    """The weight on the CPU whose buffers these are. See :func:`kept`."""
    return kept(Weight, parts, description)


def weight_made(anchor: torch.Tensor) -> Weight | None:
    """What was made of the buffers of which this is the first, whatever they hold now."""
    made = _weights.get(id(anchor))
    return made if type(made) is Weight and made._anchor() is anchor else None


def _forget(key: int, anchor: weakref.ref[torch.Tensor]) -> None:
    made = _weights.get(key)
    # Another tensor may have the same place by now.
    if made is not None and made._anchor is anchor:
        del _weights[key]
