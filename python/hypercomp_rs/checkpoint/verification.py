"""Whether a compressed model is what it should be: every checksum, every structure, every error."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._integers import checked_threads
from ..errors import FormatError
from ..tensor import CompressedTensor
from .checkpoint import Checkpoint, TensorInfo
from .decoding import DECODED_BYTES, decoded
from .entries import read_compressed
from .opening import open_source
from .run import Progress
from .safetensors_file import SafetensorsFile
from .sensitivity import as_float32
from .shard_writer import PIECE_BYTES, checksums_of
from .slices import SlicedExperts
from .source import DTYPE_BITS, Source

if TYPE_CHECKING:
    import numpy.typing as npt

# The measured ratio may be lower than that of the description by this number of dB. Sums are
# rounded, and the description has a float32.
_TOLERANCE_DB = 0.01


class Verdict(NamedTuple):
    """What was found of one tensor.

    Attributes
    ----------
    name
        Name of the tensor.
    problem
        What is wrong; None if nothing is.
    sqnr_db
        Signal to noise ratio in dB, measured against the source; None without a source.
    checked
        Whether the bytes were compared with a checksum.
    """

    name: str
    problem: str | None
    sqnr_db: float | None
    checked: bool


def verify_checkpoint(
    path: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | Source | None = None,
    threads: int | None = None,
    follow: Callable[[Progress], None] | None = None,
) -> list[Verdict]:
    """Check a compressed model: checksums and structure of every tensor.

    Parameters
    ----------
    path
        A model that :func:`compress_checkpoint` has made.
    against
        The original model. If given, every tensor's error is measured and compared with its
        description, and tensors that are not compressed must have the same bits.
    threads
        Number of threads; None for one per core.
    follow
        Called after each tensor, with a :class:`Progress`.

    Returns
    -------
    list of Verdict
        One for each tensor of the checkpoint or of the source. `problem` is None if nothing is
        wrong.

    Raises
    ------
    FormatError
        A file's header or the index is damaged, so that no tensor can be read.

    Notes
    -----
    Memory: the largest compressed tensor and some pieces of 32 MB.
    """
    threads = checked_threads(threads)
    source = None
    if against is not None:
        source = against if isinstance(against, Source) else open_source(os.fspath(against))
    verdicts = []
    with Checkpoint.open(path) as checkpoint:
        if source is not None:
            source = SlicedExperts.as_in(source, checkpoint)
        sizes = {name: _size(checkpoint, name) for name in checkpoint}
        progress = Progress(0, sum(sizes.values()), 0, len(sizes))
        for name, size in sizes.items():
            verdicts.append(_verdict(checkpoint, name, source, threads))
            progress = progress._replace(
                weights=progress.weights + size, tensors=progress.tensors + 1
            )
            if follow is not None:
                follow(progress)
        for name in source.entries if source is not None else ():
            if name not in checkpoint:
                verdicts.append(Verdict(name, "is missing", None, False))
        if source is not None:
            source.close()
    return verdicts


def _size(checkpoint: Checkpoint, name: str) -> int:
    try:
        return checkpoint.info(name).size
    except FormatError:
        return 0


def _verdict(
    checkpoint: Checkpoint, name: str, source: Source | None, threads: int | None
) -> Verdict:
    try:
        info = checkpoint.info(name)
        shards = checkpoint.source
        file = shards.shards[info.shard]
        wrong = _unlike(info, source)
        checksums = checksums_of(file)
        if info.codec is None:
            crc = checksums.get(name)
            problem = wrong or _plain_problem(file, info, crc, source)
            return Verdict(name, problem, None if source is None else math.inf, crc is not None)
        c = read_compressed(shards, name, verify=True)
        described = shards.compressed[name].description
        crc = checksums.get(described)
        if crc is not None and zlib.crc32(file.read(described).data) != crc:
            return Verdict(name, "checksum mismatch: its description was altered", None, True)
        if source is None or wrong:
            return Verdict(name, wrong, None, True)
        measured = _measured(c, source, name, threads)
        problem = None
        if measured < info.sqnr_db - _TOLERANCE_DB:
            problem = f"has {measured:.3f} dB where its description says {info.sqnr_db:.3f}"
        return Verdict(name, problem, measured, True)
    except FormatError as error:
        return Verdict(name, str(error), None, True)


def _unlike(info: TensorInfo, source: Source | None) -> str | None:
    """How a tensor differs from the source's of the same name before a weight is compared."""
    if source is None:
        return None
    entry = source.entries.get(info.name)
    if entry is None:
        return "is not in the source"
    if (entry.dtype, tuple(entry.shape)) != (info.dtype, info.shape):
        return (
            f"is {info.dtype} of shape {info.shape}, in the source {entry.dtype} of {entry.shape}"
        )
    return None


def _plain_problem(
    file: SafetensorsFile, info: TensorInfo, crc: int | None, source: Source | None
) -> str | None:
    found = 0
    theirs = None if source is None else source.pieces(info.name, PIECE_BYTES)
    for piece in file.pieces(info.name, PIECE_BYTES):
        found = zlib.crc32(piece, found)
        if theirs is not None and bytes(next(theirs)) != bytes(piece):
            return "was kept, and has other bits than in the source"
    if crc is not None and found != crc:
        return "checksum mismatch: its bytes were altered"
    return None


def _measured(c: CompressedTensor, source: Source, name: str, threads: int | None) -> float:
    """Signal to noise against the source, in dB, of the weights before they are rounded."""
    dtype = source.entries[name].dtype
    wide = "float64" if dtype == "F64" else "float32"
    element = DTYPE_BITS[dtype] // 8
    size = DECODED_BYTES // np.dtype(wide).itemsize
    signal = error = 0.0
    theirs = source.pieces(name, size * element)
    for mine, piece in zip(decoded(c, wide, threads), theirs, strict=True):
        weights = _weights(np.frombuffer(piece, np.uint8), dtype)
        signal += float(np.dot(weights, weights))
        lost = weights - mine
        error += float(np.dot(lost, lost))
    if error == 0:
        return math.inf
    return 10 * math.log10(signal / error) if signal else -math.inf


def _weights(data: npt.NDArray[np.uint8], dtype: str) -> npt.NDArray[Any]:
    if dtype == "F64":
        return data.view(np.float64)
    return as_float32(data, dtype).astype(np.float64)
