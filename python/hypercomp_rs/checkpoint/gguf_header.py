"""The header of a GGUF file: metadata of the model, and the positions of its tensors.

The package gguf has a reader, too. But it trusts the counts in a file: for an array with 2**60
declared entries it runs until the memory is full. So the header is read here, and every length is
compared with what is left of the file. The meaning of the numbers and the decoding of tensors are
taken from that package.

The format: docs/gguf.md in the repository of ggml. Versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

from .._extras import imported
from ..errors import FormatError

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# GGML_MAX_DIMS.
_MOST_AXES = 4
_DEEPEST = 8

# The types of numbers and truth values, by their code in the file, for `struct`.
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9

Value = int | float | str


class Stored(NamedTuple):
    """A tensor: `nbytes` bytes from byte `start` of the file, in C order of `shape`.

    `kind` is the type's name: "F16", "Q4_0", …; rows are whole blocks of it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


class Header(NamedTuple):
    """All single values by key, and all tensors by name. Arrays are left out: they hold words."""

    values: Mapping[str, Value]
    tensors: Mapping[str, Stored]


def read_header(path: Path) -> Header:
    """The header of a file.

    Raises
    ------
    FormatError
        No GGUF file; one of another version or byte order; truncated; tensors of an unknown type,
        that overlap, or that lie beyond the end. The message has the place.
    MissingExtraError
        The package gguf is not installed.

    Notes
    -----
    Time in proportion to the header, memory to the names in it; no tensor is read.
    """
    with path.open("rb") as file:
        file.seek(0, 2)
        cursor = _Cursor(file, path, file.tell())
        tensor_count, value_count = cursor.opening()
        values: dict[str, Value] = {}
        for _ in range(value_count):
            key = cursor.string("a key")
            value = cursor.value(cursor.u32(), key)
            if value is not None:
                values[key] = value
        infos = [cursor.tensor() for _ in range(tensor_count)]
        return Header(values, _placed(cursor, infos, values))


class _Cursor:
    """Reads on from where it is, and nothing beyond the end."""

    def __init__(self, file: IO[bytes], path: Path, size: int) -> None:
        self.file, self.path, self.size = file, path, size
        self.at = 0
        file.seek(0)

    def wrong(self, says: str) -> FormatError:
        return FormatError(f"{self.path}: byte {self.at}: {says}")

    def room(self, count: int, nbytes: int, what: str) -> int:
        """`count` things of at least `nbytes` each, if what is left can hold them."""
        if count * nbytes > self.size - self.at:
            raise self.wrong(
                f"{what} is of {count} x {nbytes} bytes, and {self.size - self.at} are left"
            )
        return count

    def take(self, nbytes: int, what: str) -> bytes:
        taken = self.file.read(self.room(nbytes, 1, what))
        if len(taken) != nbytes:
            raise self.wrong(f"{what} was cut off while it was read")
        self.at += nbytes
        return taken

    def skip(self, nbytes: int) -> None:
        self.at += nbytes
        self.file.seek(self.at)

    def u32(self) -> int:
        return int.from_bytes(self.take(4, "a number"), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8, "a number"), "little")

    def string(self, what: str) -> str:
        raw = self.take(self.u64(), what)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.wrong(f"{what} is no UTF-8: {error.reason}") from None

    def opening(self) -> tuple[int, int]:
        """The numbers of tensors and values."""
        if self.size < 24 or self.take(4, "the magic") != MAGIC:
            raise FormatError(f"{self.path} is no GGUF file: it does not begin with GGUF")
        version = self.u32()
        if version not in _VERSIONS:
            order = " (big-endian)" if version & 0xFFFF == 0 and version else ""
            raise FormatError(
                f"{self.path} is of version {version}{order}: little-endian files of version 2 and "
                "3 are accepted"
            )
        # A tensor takes 24 bytes at least, a value 13.
        tensors = self.room(self.u64(), 24, "the list of tensors")
        return tensors, self.room(self.u64(), 13, "the list of values")

    def value(self, kind: int, key: str, depth: int = 0) -> Value | None:
        """A single value, or None for an array, which is passed over."""
        if kind in _SCALARS:
            raw = self.take(struct.calcsize(_SCALARS[kind]), key)
            number: int | float = struct.unpack("<" + _SCALARS[kind], raw)[0]
            return number
        if kind == _STRING:
            return self.string(key)
        if kind != _ARRAY:
            raise self.wrong(f"{key} is of type {kind}, which is unknown")
        if depth == _DEEPEST:
            raise self.wrong(f"{key} is an array nested more than {_DEEPEST} deep")
        inner, count = self.u32(), self.u64()
        if inner in _SCALARS:
            width = struct.calcsize(_SCALARS[inner])
            self.skip(self.room(count, width, key) * width)
        else:
            for _ in range(self.room(count, 8 if inner == _STRING else 12, key)):
                if inner == _STRING:
                    self.skip(self.room(self.u64(), 1, key))
                else:
                    self.value(inner, key, depth + 1)
        return None

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """A tensor's name, shape in C order, type and offset."""
        name = self.string("a tensor's name")
        axes = self.u32()
        if axes > _MOST_AXES:
            raise self.wrong(f"{name} has {axes} axes: {_MOST_AXES} are accepted")
        shape = tuple(self.u64() for _ in range(axes))[::-1]
        return name, shape, self.u32(), self.u64()


def _placed(
    cursor: _Cursor,
    infos: list[tuple[str, tuple[int, ...], int, int]],
    values: Mapping[str, Value],
) -> dict[str, Stored]:
    """The tensors, with what they take and where."""
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
        raise FormatError(f"{cursor.path}: general.alignment is {alignment!r}: 1 to 2**20 are read")
    data = -(-cursor.at // alignment) * alignment
    found: dict[str, Stored] = {}
    for name, shape, kind, offset in infos:
        stored = _stored(cursor, name, shape, kind, data + offset)
        if name in found:
            raise FormatError(f"{cursor.path}: {name} is there twice")
        found[name] = stored
    end, before = data, "the header"
    for stored in sorted(found.values(), key=lambda stored: (stored.start, stored.nbytes)):
        if stored.start < end:
            raise FormatError(f"{cursor.path}: {stored.name} begins within {before}")
        end, before = stored.start + stored.nbytes, stored.name
    return found


def _stored(cursor: _Cursor, name: str, shape: tuple[int, ...], kind: int, start: int) -> Stored:
    gguf = imported("gguf", "gguf", "a GGUF file")
    try:
        of = gguf.GGMLQuantizationType(kind)
        block, nbytes = gguf.GGML_QUANT_SIZES[of]
    except (ValueError, KeyError):
        raise FormatError(f"{cursor.path}: {name} is of type {kind}, which is unknown") from None
    if shape and shape[-1] % block:
        raise FormatError(
            f"{cursor.path}: {name} has rows of {shape[-1]}, and {of.name} has blocks of {block}"
        )
    # Python's integers: no product of what a file says overflows.
    stored = Stored(name, of.name, shape, start, math.prod(shape) // block * nbytes)
    if start + stored.nbytes > cursor.size:
        raise FormatError(
            f"{cursor.path}: {name} ends at byte {start + stored.nbytes}, the file at byte "
            f"{cursor.size}"
        )
    return stored
