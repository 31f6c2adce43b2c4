"""A compressed model on disk: its tensors by name, each read when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import FormatError
from ..tensor import CompressedTensor
from . import configuration
from .entries import read_compressed, read_description
from .plain import array_of
from .safetensors_file import SafetensorsFile
from .shards import Shards
from .source import FLOATS

if TYPE_CHECKING:
    import numpy.typing as npt


class TensorInfo(NamedTuple):
    """What is known of a tensor without decoding it.

    Attributes
    ----------
    name, shape
        As in the model.
    dtype
        As safetensors files name it, of the weights when they are decoded.
    shard
        The file it is in.
    codec
        "trellis", "raw", …, see :attr:`CompressedTensor.codec`; None for one that is kept as it is.
    nbytes
        Bytes of all its entries.
    sqnr_db
        Signal to quantisation noise in dB; infinite where nothing was lost.
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

    A mapping: a compressed tensor is a :class:`CompressedTensor`, any other a numpy array. Each is
    read from its file when it is asked for, and not kept. Picklable, and safe to read from several
    threads. A context manager that gives the files back.

    Parameters
    ----------
    path
        A folder, or one safetensors file.

    Raises
    ------
    FormatError
        A file that is damaged, or an index that does not fit it; the message says which and where.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        self.source = Shards(self.path)
        self._places: dict[str, SafetensorsFile] = {}
        for file in self.source.shards.values():
            parts = {
                stored.name
                for found in file.compressed.values()
                for stored in (found.description, *found.parts.values())
            }
            for name in [*(n for n in file.stored if n not in parts), *file.compressed]:
                if name in self._places:
                    raise FormatError(f"{path}: {name} is in two shards")
                self._places[name] = file

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """The checkpoint at a path; reads the headers of its files and no tensor.

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
            A dtype that numpy has only by ``ml_dtypes``, and this is not installed.
        """
        file = self._places[name]
        if name in file.compressed:
            return read_compressed(file, name)
        stored = file.stored[name]
        return array_of(file.read(name), stored.dtype, stored.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def info(self, name: str) -> TensorInfo:
        """What is known of a tensor without reading more than its description."""
        file = self._places[name]
        found = file.compressed.get(name)
        if found is None:
            stored = file.stored[name]
            return TensorInfo(
                name,
                stored.shape,
                stored.dtype,
                file.path.name,
                None,
                stored.nbytes,
                float("inf"),
            )
        said = read_description(file, name)
        nbytes = sum(stored.nbytes for stored in (found.description, *found.parts.values()))
        dtypes = {numpy_name: dtype for dtype, numpy_name in FLOATS.items()}
        return TensorInfo(
            name,
            said.shape,
            dtypes[said.dtype],
            file.path.name,
            said.codec,
            nbytes,
            said.sqnr_db,
        )

    @property
    def tensors(self) -> list[TensorInfo]:
        """All tensors; reads all descriptions."""
        return [self.info(name) for name in self]

    @property
    def config(self) -> dict[str, Any] | None:
        """``config.json``, where there is one."""
        path = self.path / configuration.CONFIG
        return configuration.read_config(path) if path.is_file() else None

    def close(self) -> None:
        """Give the files back; reading opens them again."""
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
        compressed = sum(len(file.compressed) for file in self.source.shards.values())
        return (
            f"Checkpoint({str(self.path)!r}, {len(self)} tensors, {compressed} of them compressed, "
            f"{len(self.source.shards)} shards)"
        )
