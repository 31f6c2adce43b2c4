"""The cache from the buffers of a compressed weight to the core's object that reads them.

An operator gets tensors, and the core works with an object that has parsed them. To make the
object takes the scales and rates of all rows, so it is cached from call to call. The cache refers
weakly to the tensors themselves and not to their addresses: it keeps no weight alive, and a new
tensor at an old address is not mistaken for the old one. An object is made anew when a tensor was
written to (torch counts that), was given other memory (``.data = …``, ``share_memory_()``), or was
replaced.
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

# The name of a compressed tensor's description in a state dict, after the tensor's own name and
# "_".
DESCRIPTION = "description"
DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


class Description(NamedTuple):
    """Shape, dtype, codec and the bytes of each part, from the JSON of a compressed tensor."""

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
    """A description, parsed. The core checks it against the parts when it decodes them.

    Raises
    ------
    FormatError
        The text is no description.
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
    """A description from the bytes that a state dict keeps.

    Raises
    ------
    FormatError
        The bytes are no text.
    """
    try:
        return bytes(buffer.cpu().numpy()).decode()
    except (UnicodeDecodeError, TypeError) as error:
        raise FormatError(f"the description of a compressed tensor: {error}") from None


class CachedWeight:
    """An object made from a weight's tensors, valid as long as these do not change."""

    __slots__ = ("__weakref__", "_anchor", "_description", "_state", "shape")

    def __init__(self, parts: Sequence[torch.Tensor], description: str) -> None:
        self.shape = described(description).shape
        self._description = description
        self._state = [(part.data_ptr(), part.numel(), _version(part)) for part in parts]
        # For the callback, which must not hold the tensor itself.
        key = id(parts[0])
        self._anchor = weakref.ref(parts[0], lambda ref: _forget(key, ref))

    def is_of(self, parts: Sequence[torch.Tensor], description: str) -> bool:
        """Whether it was made from these tensors with their present contents."""
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


class Weight(CachedWeight):
    """A compressed weight on the CPU, prepared for the core."""

    __slots__ = ("_lent", "call_cache", "code", "last_shape", "swapped")

    def __init__(self, parts: Sequence[torch.Tensor], description: str) -> None:
        super().__init__(parts, description)
        names = described(description).bytes
        # Views: an array of a tensor itself would keep the tensor alive, and so this object.
        lent = {name: part.detach() for name, part in zip(names, parts[1:], strict=True)}
        self.code: TensorCode = CompressedTensor.from_parts(description, lent)._code
        # Whether the codes of a matrix run along its first axis, as in a weight stored by input.
        self.swapped = self.code.swapped
        # Keeps the memory, so that no other tensor gets these addresses.
        self._lent = lent
        # The last products with it: see `kernels/direct.py`.
        self.last_shape: torch.Size | None = None
        self.call_cache: Any = None


def _version(part: torch.Tensor) -> int:
    # A tensor made in inference mode does not count changes, and cannot be written to outside of
    # it.
    return -1 if part.is_inference() else part._version


_weights: dict[int, CachedWeight] = {}

_K = TypeVar("_K", bound=CachedWeight)


def cached(kind: type[_K], parts: Sequence[torch.Tensor], description: str) -> _K:
    """The object of this class for a weight's buffers: made once, and anew when they have changed.

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
    """The weight on the CPU whose buffers these are. See :func:`cached`."""
    return cached(Weight, parts, description)


def weight_made(anchor: torch.Tensor) -> Weight | None:
    """The cached weight whose first buffer this is, if any.

    Changes since then are not looked for.
    """
    made = _weights.get(id(anchor))
    return made if type(made) is Weight and made._anchor() is anchor else None


def _forget(key: int, anchor: weakref.ref[torch.Tensor]) -> None:
    made = _weights.get(key)
    # Another tensor may have the same place by now.
    if made is not None and made._anchor is anchor:
        del _weights[key]
