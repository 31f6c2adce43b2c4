"""A compressed model on disk: a mapping that reads a tensor when it is accessed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tensor import CompressedTensor
from . import configuration
from .entries import read_compressed, read_description, refuse_undescribed
from .plain import array_of
from .report import Report
from .shards import Shards
from .source import FLOATS

if TYPE_CHECKING:
    import numpy.typing as npt


class TensorInfo(NamedTuple):
    """The properties of a tensor that are known without decoding it.

    Attributes
    ----------
    name, shape
        As in the model.
    dtype
        As safetensors files name it, of the weights when they are decoded.
    shard
        The file it is in.
    codec
        "trellis", "raw", …, see :attr:`CompressedTensor.codec`; None if the tensor is not
        compressed.
    nbytes
        Bytes of all its entries.
    sqnr_db
        Signal to quantisation noise ratio in dB; infinite if nothing was lost.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    shard: str
    codec: str | None
    nbytes: int
    sqnr_db: float

    @property
    def size(self) -> int:
        """Number of weights."""
        size = 1
        for axis in self.shape:
            size *= axis
        return size

    @property
    def bits_per_weight(self) -> float:
        """``8 * nbytes / size``; 0 for an empty tensor."""
        return 8 * self.nbytes / self.size if self.size else 0.0


class Checkpoint(Mapping[str, Any]):
    """The tensors of a model that :func:`compress_checkpoint` has made, by name.

    A mapping. A compressed tensor is a :class:`CompressedTensor`, any other a numpy array. A tensor
    is read from its file at each access and is not cached. The object pickles, and several threads
    may read from it. As a context manager it closes the files.

    Parameters
    ----------
    path
        A folder, or an index in one, or one safetensors file. The parts of a compressed tensor may
        be in several shards.

    Attributes
    ----------
    report
        The report of :func:`compress_checkpoint` if it made this object; None otherwise.

    Raises
    ------
    FormatError
        A file is damaged or does not fit the index. The message says which file, and where.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        self.source = Shards(self.path)
        refuse_undescribed(self.source)
        compressed = self.source.compressed
        parts = {
            entry
            for found in compressed.values()
            for entry in (found.description, *found.parts.values())
        }
        # In the order of shards. A compressed tensor belongs to the shard of its description.
        shards: dict[str, tuple[list[str], list[str]]] = {
            shard: ([], []) for shard in self.source.shards
        }
        for name, entry in self.source.entries.items():
            if name not in parts:
                shards[entry.shard][0].append(name)
        for name, found in compressed.items():
            shards[self.source.entries[found.description].shard][1].append(name)
        self._shard_of = {
            name: shard for shard, lists in shards.items() for names in lists for name in names
        }
        self.report: Report | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Open the checkpoint at a path. Reads the headers of its files and no tensor.

        Examples
        --------
        >>> Checkpoint.open("no/such/model")
        Traceback (most recent call last):
        FileNotFoundError: [Errno 2] No such file or directory: 'no/such/model'
        """
        return cls(path)

    def __getitem__(self, name: str) -> CompressedTensor | npt.NDArray[Any]:
        """A tensor.

        Raises
        ------
        FormatError
            Its parts do not fit its description.
        DtypeError
            numpy needs ``ml_dtypes`` for the dtype, and it is not installed.
        """
        if name in self.source.compressed:
            return read_compressed(self.source, name)
        if name not in self._shard_of:
            raise KeyError(name)
        entry = self.source.entries[name]
        return array_of(self.source.read(name), entry.dtype, entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard_of)

    def __len__(self) -> int:
        return len(self._shard_of)

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor of this name. Reads no tensor."""
        return name in self._shard_of

    def __eq__(self, other: object) -> bool:
        """Whether both read the same files; :func:`verify_checkpoint` compares weights."""
        if not isinstance(other, Checkpoint):
            return NotImplemented
        return self._files() == other._files()

    def __hash__(self) -> int:
        return hash(self._files())

    def _files(self) -> tuple[Path, ...]:
        return tuple(path.resolve() for path in self.source.weights_files())

    def info(self, name: str) -> TensorInfo:
        """The properties of a tensor. Reads only its description."""
        shard = self._shard_of[name]
        entries = self.source.entries
        found = self.source.compressed.get(name)
        if found is None:
            entry = entries[name]
            return TensorInfo(
                name, entry.shape, entry.dtype, shard, None, entry.nbytes, float("inf")
            )
        said = read_description(self.source, name)
        nbytes = sum(entries[part].nbytes for part in (found.description, *found.parts.values()))
        dtypes = {numpy_name: dtype for dtype, numpy_name in FLOATS.items()}
        return TensorInfo(
            name,
            said.shape,
            dtypes[said.dtype],
            shard,
            said.codec,
            nbytes,
            said.sqnr_db,
        )

    @property
    def tensors(self) -> list[TensorInfo]:
        """The properties of all tensors. Reads all descriptions."""
        return [self.info(name) for name in self]

    @property
    def config(self) -> dict[str, Any] | None:
        """The contents of ``config.json``; None if there is none."""
        path = self.path / configuration.CONFIG
        return configuration.read_config(path) if path.is_file() else None

    def close(self) -> None:
        """Close the files. Reading opens them again."""
        self.source.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        compressed = len(self.source.compressed)
        return (
            f"Checkpoint({str(self.path)!r}, {len(self)} tensors, {compressed} of them compressed, "
            f"{len(self.source.shards)} shards)"
        )
