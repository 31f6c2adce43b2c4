"""Where a model's tensors come from: what every reader of a file format offers.

A reader names its tensors with shape and dtype, reads one at a time, and says which other files
belong to the model. It is sent to other processes, so it pickles as its path and opens its files
where it is used.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

# Bits of an element, by the names that safetensors files give to dtypes.
DTYPE_BITS: Mapping[str, int] = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}

# The dtypes that the codec takes, as it and numpy call them.
FLOATS: Mapping[str, str] = {
    "F32": "float32",
    "F64": "float64",
    "F16": "float16",
    "BF16": "bfloat16",
}


class Entry(NamedTuple):
    """A tensor of a source.

    Attributes
    ----------
    name
        As the state dict has it.
    dtype
        As safetensors files name it: "F32", "BF16", "I64", …; a key of ``DTYPE_BITS``.
    shape
        Lengths of the axes.
    shard
        Name of the file of the result that the tensor is to be in, e.g. ``model.safetensors``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * DTYPE_BITS[self.dtype] // 8


class Source(ABC):
    """The tensors of a model, read one at a time.

    Picklable: what is open (files, memory maps) stays behind. Safe to read from several threads.
    Opening one reads no tensor, and a tensor that is not asked for is never read.
    """

    path: Path

    @property
    @abstractmethod
    def entries(self) -> Mapping[str, Entry]:
        """All tensors by name, shard by shard, in the order in which they lie on the disk."""

    @abstractmethod
    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor: its elements in C order, little-endian; 1-D, of its ``nbytes``.

        New memory that the caller owns.

        Raises
        ------
        FormatError
            The file is not what it was when it was opened, or not what it says it is.
        """

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """The same bytes piece by piece, each of about `size` bytes; a piece lasts till the next.

        This reads the whole tensor first; a format that can read a part of it need not.
        """
        whole = self.read(name).data
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    def sample(self, name: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """The bytes of these entries along the first axis, in rising order.

        This reads the whole tensor; a format in which rows lie apart need not.
        """
        rows_of = self.read(name).reshape(self.entries[name].shape[0], -1)
        return np.ascontiguousarray(rows_of[list(rows)]).reshape(-1)

    @property
    def root(self) -> Path | None:
        """The folder whose other files belong to the model; None where it is one file."""
        return self.path if self.path.is_dir() else None

    @property
    def index(self) -> str | None:
        """The name that the result's index of shards is to have; None where it needs none.

        Where the source has one its result has one, even of a single shard: programs look for the
        shards by it.
        """
        shards = {entry.shard for entry in self.entries.values()}
        return "model.safetensors.index.json" if len(shards) > 1 else None

    def files(self) -> Mapping[str, Path]:
        """Other files of the model to be copied, by their place in its folder (POSIX paths)."""
        return {}

    def passed_over(self) -> Sequence[str]:
        """Files beneath `root` that are neither read nor copied: the same weights again."""
        return ()

    def notes(self) -> Sequence[str]:
        """What a user is to know of how the source is read; each names its file."""
        return ()

    def metadata(self, shard: str) -> Mapping[str, str]:
        """What a shard says beside its tensors; ``__metadata__`` of a safetensors file."""
        return {"format": "pt"}

    @abstractmethod
    def weights_files(self) -> Sequence[Path]:
        """The files that tensors are read from."""

    def fingerprint(self) -> dict[str, Any]:
        """What tells this source from another one, or from itself after a change; JSON.

        Names, sizes and times of the files, and all names, shapes and dtypes.
        """
        found = []
        for path in self.weights_files():
            status = path.stat()
            found.append([path.name, status.st_size, status.st_mtime_ns])
        tensors = [[e.name, e.dtype, list(e.shape), e.shard] for e in self.entries.values()]
        return {"files": found, "tensors": tensors}

    def close(self) -> None:
        """Give back what is open; reading opens it again."""
        return None
