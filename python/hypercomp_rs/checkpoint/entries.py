"""A compressed tensor as entries of a safetensors file, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError, HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from .safetensors_file import SafetensorsFile
from .shard_writer import Piecewise

if TYPE_CHECKING:
    import numpy.typing as npt

DESCRIPTION = "description"
PARTS = ("path", "cells", "scales", "rates", "mask", "exact", "codes", "raw")
# A description has some 700 bytes; a shape of 64 axes and all parts have less than this.
_LONGEST = 1 << 16


def entry_name(tensor: str, part: str) -> str:
    """The name of the entry that holds a part of a tensor, or its description."""
    return f"{tensor}_{part}"


def entries_of(name: str, c: CompressedTensor) -> list[Piecewise]:
    """What is stored of a compressed tensor."""
    description, parts = c.to_parts()
    said = np.frombuffer(description.encode(), np.uint8)
    arrays: Mapping[str, npt.NDArray[np.uint8]] = {DESCRIPTION: said, **parts}
    return [_entry(entry_name(name, part), array) for part, array in arrays.items()]


def _entry(name: str, array: npt.NDArray[np.uint8]) -> Piecewise:
    return Piecewise(name, "U8", array.shape, lambda: [array.data])


def read_compressed(file: SafetensorsFile, name: str, *, verify: bool = False) -> CompressedTensor:
    """The compressed tensor of this name.

    Raises
    ------
    FormatError
        Entries that are missing, of another length than the description says, or, where `verify`
        asks for it, with another checksum; the message names file and tensor.
    """
    found = file.compressed[name]
    if found.description.nbytes > _LONGEST:
        raise FormatError(
            f"{file.path}: {name}: a description of {found.description.nbytes} bytes, "
            f"at most {_LONGEST} are read"
        )
    try:
        description = file.read(found.description.name).tobytes().decode()
        parts = {part: file.read(stored.name) for part, stored in found.parts.items()}
        return CompressedTensor.from_parts(description, parts, verify=verify)
    except UnicodeDecodeError as error:
        raise FormatError(f"{file.path}: {name}: the description: {error}") from None
    except HypercompError as error:
        raise FormatError(f"{file.path}: {name}: {error}") from None


def refuse_taken(names: Iterable[str], compressed: Iterable[str]) -> None:
    """Raise where an entry of a compressed tensor would take another tensor's name."""
    taken = set(names)
    for name in compressed:
        for part in (DESCRIPTION, *PARTS):
            if entry_name(name, part) in taken:
                raise InvalidArgumentError(
                    f"{name} cannot be compressed: {entry_name(name, part)} is a tensor of its own; "
                    f"keep it by a rule ({name}=keep)"
                )


def named(error: HypercompError, name: str, hint: str = "") -> Any:
    """The same error with the name of the tensor it is about."""
    return type(error)(f"{name}: {error}{hint}")
