"""``Source``: the base class of readers of models in all file formats.

A reader lists its tensors with shape and dtype, reads one at a time, and lists the other files of
the model. It is sent to other processes, so it pickles as its path, and opens its files in the
process that uses it.
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

# Bits of an element, by the names of dtypes in safetensors files.
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

# The dtypes that the codec accepts: the name in safetensors files, and that of the codec and numpy.
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
        The name in the state dict.
    dtype
        The name in safetensors files: "F32", "BF16", "I64", …; a key of ``DTYPE_BITS``.
    shape
        Lengths of the axes.
    shard
        Name of the file of the result that gets the tensor, such as ``model.safetensors``.
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

    A source pickles without its open files and memory maps. Several threads may read from it.
    Opening a source reads no tensor, and only tensors that are requested are read.
    """

    path: Path

    @property
    @abstractmethod
    def entries(self) -> Mapping[str, Entry]:
        """All tensors by name, shard by shard, in their order on the disk."""

    @abstractmethod
    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor: its elements in C order, little-endian, in new memory: (nbytes,).

        Raises
        ------
        FormatError
            The file has changed since it was opened, or is damaged.
        """

    def pieces(self, name: str, size: int) -> Iterator[memoryview]:
        """The same bytes in pieces of about `size` bytes. A piece is valid until the next one.

        This method of the base class reads the whole tensor. Override it if the format allows less.
        """
        whole = self.read(name).data
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    def sample(self, name: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """The bytes of these entries along the first axis, in rising order.

        This method of the base class reads the whole tensor. Override it if the format allows less.
        """
        rows_of = self.read(name).reshape(self.entries[name].shape[0], -1)
        return np.ascontiguousarray(rows_of[list(rows)]).reshape(-1)

    @property
    def root(self) -> Path | None:
        """The folder whose other files belong to the model; None if the model is one file."""
        return self.path if self.path.is_dir() else None

    @property
    def index(self) -> str | None:
        """The name of the result's index of shards; None if it needs none.

        If the source has an index, the result has one, even for a single shard, because programs
        look for the shards through it.
        """
        shards = {entry.shard for entry in self.entries.values()}
        return "model.safetensors.index.json" if len(shards) > 1 else None

    def files(self) -> Mapping[str, Path]:
        """Other files of the model to be copied, by their path in its folder (POSIX)."""
        return {}

    def passed_over(self) -> Sequence[str]:
        """Files beneath `root` with the same weights again: neither read nor copied."""
        return ()

    def notes(self) -> Sequence[str]:
        """What a user should know about how the source is read. Each note names a file."""
        return ()

    def metadata(self, shard: str) -> Mapping[str, str]:
        """The metadata of a shard: ``__metadata__`` of a safetensors file."""
        return {"format": "pt"}

    @abstractmethod
    def weights_files(self) -> Sequence[Path]:
        """The files that tensors are read from."""

    def fingerprint(self) -> dict[str, Any]:
        """A JSON object that is different for another source, and after a change of this one.

        It has names, sizes and times of the files, and the names, shapes and dtypes of all tensors.
        """
        found = []
        for path in self.weights_files():
            status = path.stat()
            found.append([path.name, status.st_size, status.st_mtime_ns])
        tensors = [[e.name, e.dtype, list(e.shape), e.shard] for e in self.entries.values()]
        return {"files": found, "tensors": tensors}

    def close(self) -> None:
        """Close all files. Reading opens them again."""
        return None
