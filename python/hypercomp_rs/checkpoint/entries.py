"""A compressed tensor as entries of a safetensors file, and back."""

from __future__ import annotations

import glob
import json
import math
import operator
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import FormatError, HypercompError, InvalidArgumentError, NonFiniteError
from ..tensor import CompressedTensor
from .shard_writer import Piecewise
from .shards import Shards
from .source import FLOATS

if TYPE_CHECKING:
    import numpy.typing as npt

DESCRIPTION = "description"
PARTS = ("path", "cells", "scales", "rates", "mask", "exact", "codes", "raw")
# Descriptions have some 700 bytes, and less than this with 64 axes and all parts.
_LONGEST_DESCRIPTION = 1 << 16


def entry_name(tensor: str, part: str) -> str:
    """The name of the entry that holds a part of a tensor, or its description."""
    return f"{tensor}_{part}"


def entries_of(name: str, c: CompressedTensor) -> list[Piecewise]:
    """The entries of a compressed tensor."""
    description, parts = c.to_parts()
    said = np.frombuffer(description.encode(), np.uint8)
    arrays: Mapping[str, npt.NDArray[np.uint8]] = {DESCRIPTION: said, **parts}
    return [_entry(entry_name(name, part), array) for part, array in arrays.items()]


def _entry(name: str, array: npt.NDArray[np.uint8]) -> Piecewise:
    return Piecewise(name, "U8", array.shape, lambda: [array.data])


class Description(NamedTuple):
    """Shape, dtype, codec and error of a compressed tensor, from its description."""

    shape: tuple[int, ...]
    dtype: str
    codec: str
    sqnr_db: float


def read_description(shards: Shards, name: str) -> Description:
    """The description of a tensor. Its parts are not read.

    Raises
    ------
    FormatError
        It is no description of a compressed tensor.
    """
    wrong = FormatError(f"{_at(shards, name)}: no description of a compressed tensor")
    try:
        said = json.loads(_description(shards, name))
        shape = tuple(operator.index(axis) for axis in said["shape"])
        signal, error = float(said["signal"]), float(said["error"])
        if said["dtype"] not in FLOATS.values() or min(shape, default=0) < 0:
            raise wrong
        # Not NaN, and not negative.
        if not (signal >= 0 and error >= 0):
            raise wrong
        ratio = signal / error if error else math.inf
        sqnr_db = 10 * math.log10(ratio) if ratio else -math.inf
        return Description(shape, said["dtype"], str(said["codec"]), sqnr_db)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise wrong from None


def _at(shards: Shards, name: str) -> str:
    """File and name of a compressed tensor, for messages."""
    return f"{shards.place(shards.compressed[name].description)}: {name}"


def _description(shards: Shards, name: str) -> str:
    entry = shards.entries[shards.compressed[name].description]
    if entry.nbytes > _LONGEST_DESCRIPTION:
        raise FormatError(
            f"{_at(shards, name)}: a description of {entry.nbytes} bytes, at most "
            f"{_LONGEST_DESCRIPTION} are read"
        )
    try:
        return shards.read(entry.name).tobytes().decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{_at(shards, name)}: the description: {error}") from None


def read_compressed(shards: Shards, name: str, *, verify: bool = False) -> CompressedTensor:
    """The compressed tensor of this name.

    Raises
    ------
    FormatError
        Entries are missing or have another length than the description says; with `verify`, also if
        a checksum differs. The message names file and tensor.
    """
    description = _description(shards, name)
    parts = {part: shards.read(entry) for part, entry in shards.compressed[name].parts.items()}
    try:
        return CompressedTensor.from_parts(description, parts, verify=verify)
    except HypercompError as error:
        # A tool that splits a model into files may have separated the parts.
        alone = shards.root is None and "missing" in str(error)
        hint = "; it may be in another shard: open the folder" if alone else ""
        raise FormatError(f"{_at(shards, name)}: {error}{hint}") from None


def refuse_undescribed(shards: Shards) -> None:
    """Raise if there are codes without the description that belongs to them.

    Raises
    ------
    FormatError
        The message names the tensor.
    """
    entries = shards.entries
    parts = {n for n, e in entries.items() if e.dtype == "U8" and len(e.shape) == 1}
    for part in parts:
        name = part.removesuffix("_path")
        if name == part or name in shards.compressed:
            continue
        # Codes have scales or rates beside them. A tensor may be called "path" for other reasons.
        if parts & {entry_name(name, other) for other in ("scales", "rates")}:
            hint = "; it may be in another shard: open the folder" if shards.root is None else ""
            raise FormatError(
                f"{shards.place(part)}: {name}: {entry_name(name, DESCRIPTION)} is missing{hint}"
            )


def refuse_taken(names: Iterable[str], compressed: Iterable[str]) -> None:
    """Raise if an entry of a compressed tensor would have the name of another tensor."""
    taken = set(names)
    for name in compressed:
        for part in (DESCRIPTION, *PARTS):
            if entry_name(name, part) in taken:
                raise InvalidArgumentError(
                    f"{name} cannot be compressed: {entry_name(name, part)} is a tensor of its "
                    f"own; {keep_hint(name)}"
                )


def named(error: HypercompError, name: str, where: str = "") -> Any:
    """The same error with the tensor's name, and with a hint what to do.

    `where` is added to the name.
    """
    hint = f"; {keep_hint(name)}" if isinstance(error, NonFiniteError) else ""
    return type(error)(f"{name}{where}: {error}{hint}")


def keep_hint(name: str) -> str:
    """How to keep a tensor without compression, in a form to be pasted to a command line."""
    # A name may contain characters that are special in patterns.
    rule = f"{glob.escape(name)}=keep"
    shell = rule.replace("'", "'\\''")
    return (
        f"--rule '{shell}' before other rules copies it as it is (in Python: "
        f"rules=[{json.dumps(rule, ensure_ascii=False)}])"
    )
