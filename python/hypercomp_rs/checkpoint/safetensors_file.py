"""One safetensors file: its header, and its tensors, read one at a time.

Tensors are read by position, and files are not mapped into memory. So a file that is truncated
while it is read gives an error; with a map it would end the process.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core
from ..errors import FormatError

if TYPE_CHECKING:
    import numpy.typing as npt

# Bytes of the length of the header.
_LENGTH = 8


class Stored(NamedTuple):
    """An entry of a file: its elements are `nbytes` bytes from byte `start` of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


class SafetensorsFile:
    """A file whose header has been read and checked.

    Parameters
    ----------
    path
        The file. It must not change while it is in use.

    Raises
    ------
    FormatError
        It is no such file, is truncated, or has offsets that do not cover it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _about(path), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = _core.header_length(file.read(_LENGTH), size)
            json = file.read(length)
            tensors, self.metadata = _core.read_header(json, size)
        data = _LENGTH + length
        self.stored = {
            name: Stored(name, dtype, tuple(shape), data + start, nbytes)
            for name, dtype, shape, start, nbytes in tensors
        }
        self._descriptor: int | None = None
        self._closing: weakref.finalize[..., Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Only the path. The file is opened, and its header read, where the object is used."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor."""
        stored = self.stored[name]
        return self.read_at(stored.start, stored.nbytes, name)

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """The bytes of a tensor, piece by piece in one buffer."""
        stored = self.stored[name]
        buffer = np.empty(min(size, stored.nbytes), np.uint8).data
        for start in range(0, stored.nbytes, size):
            piece = buffer[: min(size, stored.nbytes - start)]
            self.read_into(piece, stored.start + start, name)
            yield piece

    def read_at(self, start: int, nbytes: int, what: str) -> npt.NDArray[np.uint8]:
        """`nbytes` bytes from byte `start` on, which belong to the tensor `what`."""
        out = np.empty(nbytes, np.uint8)
        self.read_into(out.data, start, what)
        return out

    def read_into(self, out: memoryview, start: int, what: str) -> None:
        """Fill a buffer with the bytes from byte `start` on, which belong to the tensor `what`."""
        done = 0
        while done < len(out):
            # The system reads at most 2 GiB at a time.
            count = self._read(out[done:], start + done)
            if count == 0:
                raise FormatError(
                    f"{self.path}: {what} ends at byte {start + len(out)}, the file at byte "
                    f"{start + done}: it was cut off since it was opened"
                )
            done += count

    def _read(self, out: memoryview, start: int) -> int:
        with self._lock:
            if self._descriptor is None:
                flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self.path, flags)
                # Closed at the latest when this object is deleted.
                self._closing = weakref.finalize(self, os.close, self._descriptor)
            descriptor = self._descriptor
        if hasattr(os, "preadv"):
            return os.preadv(descriptor, [out], start)
        with self._lock:
            os.lseek(descriptor, start, os.SEEK_SET)
            data = os.read(descriptor, len(out))
        out[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file. Reading opens it again. No other thread may be reading."""
        with self._lock:
            if self._closing is not None:
                self._closing()
            self._descriptor = self._closing = None


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    """Add the file's name to errors."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
