"""Writes a safetensors file from tensors in pieces, so that no tensor is in memory whole."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .. import _core
from .._durable import AtomicFile, written
from ..errors import CancelledError, FormatError
from .safetensors_file import SafetensorsFile

# Bytes that are read and written at a time: enough that system calls take no time, and little
# memory.
PIECE_BYTES = 1 << 25
# The entry of a file's metadata with the format of its compressed tensors, and with checksums of
# all entries that are no parts of compressed tensors.
METADATA = "hypercomp"
FORMAT = 1


class Piecewise(NamedTuple):
    """A tensor to be written.

    Attributes
    ----------
    name, dtype, shape
        For the header.
    pieces
        Returns the bytes in order. A piece may be overwritten when the next one is requested.
    checksum
        Whether the file's metadata gets a checksum of it. The checksums of the parts of compressed
        tensors are in the description.
    """

    name: str
    dtype: str
    shape: Sequence[int]
    pieces: Callable[[], Iterable[memoryview]]
    checksum: bool = False


def write_shard(
    path: Path,
    tensors: Iterable[Piecewise],
    metadata: Mapping[str, str],
    *,
    compressed: bool = True,
    stop: threading.Event | None = None,
) -> int:
    """Write a file atomically. Returns the number of bytes of its tensors.

    The checksums are in the header, which comes before the tensors. They have a fixed length. So
    the header is first written with zeros, and again at the end.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    checksums = {name: 0 for name, tensor in by_name.items() if tensor.checksum}
    layout = [(t.name, t.dtype, t.shape) for t in by_name.values()]

    def header() -> tuple[bytes, list[tuple[str, str, list[int], int, int]]]:
        # Some readers require this entry in any metadata.
        said = {"format": "pt", **metadata}
        if compressed:
            sums = {name: f"{value:08x}" for name, value in sorted(checksums.items())}
            said[METADATA] = json.dumps({"format": FORMAT, "crc32": sums})
        return _core.write_header(layout, said)

    with written(path) as file:
        start, placed = header()
        file.write(start)
        for name, _, _, _, nbytes in placed:
            crc = _write_tensor(file, by_name[name], nbytes, stop)
            if name in checksums:
                checksums[name] = crc
        if checksums:
            file.seek(0)
            file.write(header()[0])
    return sum(nbytes for *_, nbytes in placed)


def _write_tensor(
    file: AtomicFile, tensor: Piecewise, nbytes: int, stop: threading.Event | None
) -> int:
    crc = done = 0
    for piece in tensor.pieces():
        if stop is not None and stop.is_set():
            raise CancelledError("stopped by the caller")
        file.write(piece)
        done += piece.nbytes
        if tensor.checksum:
            crc = zlib.crc32(piece, crc)
    if done != nbytes:
        raise FormatError(f"{tensor.name}: {done} bytes came where {nbytes} were announced")
    return crc


def checksums_of(file: SafetensorsFile) -> Mapping[str, int]:
    """The checksums of entries that are no parts of compressed tensors; empty if the file has none.

    Raises
    ------
    FormatError
        Metadata of another form, or of a later format.
    """
    said = file.metadata.get(METADATA)
    if said is None:
        return {}
    wrong = FormatError(f"{file.path}: metadata {METADATA!r} is none of format {FORMAT}")
    try:
        read = json.loads(said)
        if read["format"] != FORMAT:
            raise wrong
        return {str(name): int(value, 16) for name, value in read["crc32"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise wrong from None
