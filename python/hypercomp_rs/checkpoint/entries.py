"""A compressed tensor as entries of a safetensors file, and back."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import FormatError, HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from .safetensors_file import SafetensorsFile
from .shard_writer import Piecewise
from .source import FLOATS

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


class Description(NamedTuple):
    """What a description says of its tensor, as far as it can be told without the parts."""

    shape: tuple[int, ...]
    dtype: str
    codec: str
    sqnr_db: float


def read_description(file: SafetensorsFile, name: str) -> Description:
    """What a tensor's description says; its parts are not read.

    Raises
    ------
    FormatError
        It says something else than descriptions do.
    """
    wrong = FormatError(f"{file.path}: {name}: no description of a compressed tensor")
    try:
        said = json.loads(_description(file, name))
        shape = tuple(operator.index(axis) for axis in said["shape"])
        signal, error = float(said["signal"]), float(said["error"])
        if said["dtype"] not in FLOATS.values() or min(shape, default=0) < 0:
            raise wrong
        # Neither NaN nor a logarithm of what is no ratio.
        if not (signal >= 0 and error >= 0):
            raise wrong
        ratio = signal / error if error else math.inf
        sqnr_db = 10 * math.log10(ratio) if ratio else -math.inf
        return Description(shape, said["dtype"], str(said["codec"]), sqnr_db)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise wrong from None


def _description(file: SafetensorsFile, name: str) -> str:
    stored = file.compressed[name].description
    if stored.nbytes > _LONGEST:
        raise FormatError(
            f"{file.path}: {name}: a description of {stored.nbytes} bytes, at most {_LONGEST} "
            "are read"
        )
    try:
        return file.read(stored.name).tobytes().decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{file.path}: {name}: the description: {error}") from None


def read_compressed(file: SafetensorsFile, name: str, *, verify: bool = False) -> CompressedTensor:
    """The compressed tensor of this name.

    Raises
    ------
    FormatError
        Entries that are missing, of another length than the description says, or, where `verify`
        asks for it, with another checksum; the message names file and tensor.
    """
    description = _description(file, name)
    parts = {part: file.read(s.name) for part, s in file.compressed[name].parts.items()}
    try:
        return CompressedTensor.from_parts(description, parts, verify=verify)
    except HypercompError as error:
        raise FormatError(f"{file.path}: {name}: {error}") from None


def refuse_taken(names: Iterable[str], compressed: Iterable[str]) -> None:
    """Raise where an entry of a compressed tensor would take another tensor's name."""
    taken = set(names)
    for name in compressed:
        for part in (DESCRIPTION, *PARTS):
            if entry_name(name, part) in taken:
                raise InvalidArgumentError(
                    f"{name} cannot be compressed: {entry_name(name, part)} is a tensor of its "
                    f"own; keep it by a rule ({name}=keep)"
                )


def named(error: HypercompError, name: str, hint: str = "") -> Any:
    """The same error with the name of the tensor it is about."""
    return type(error)(f"{name}: {error}{hint}")
