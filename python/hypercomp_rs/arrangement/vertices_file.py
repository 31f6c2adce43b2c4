"""Vertices in files of numpy's format ``.npz``: coordinates, rows, and what is left of a search."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import _core
from .._durable import written
from ..errors import FormatError, InvalidArgumentError
from .rows import Rows
from .search import Job, Method, Problem

if TYPE_CHECKING:
    import numpy.typing as npt

# Of the names and contents of the arrays.
VERSION = 1

Contents = tuple["Problem", "npt.NDArray[np.uint64]", "int | None", "tuple[Job, ...] | None"]


def save(
    path: str | os.PathLike[str],
    problem: Problem,
    words: npt.NDArray[np.uint64],
    cobases: int | None,
    jobs: tuple[Job, ...] | None,
) -> None:
    """Write a result to a file, which is complete or absent."""
    arrays = {"words": words}
    header: dict[str, Any] = {
        "version": VERSION,
        "dimension": problem.dimension,
        "method": problem.method,
        "asked": problem.asked,
        "shuffled": bool(problem.shuffled),
        "limbs": problem.search.limbs,
        "cobases": cobases,
        "jobs": jobs,
        "within": problem.within is not None,
    }
    for name, rows in (("rows", problem.rows), ("within", problem.within)):
        if rows is not None:
            arrays |= _arrays(name, rows)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with written(_path(path)) as file:
        # The system may write a part of a large piece; a buffered file writes the rest.
        buffered = io.BufferedWriter(cast(io.RawIOBase, file.file))
        np.savez(buffered, **cast(dict[str, Any], arrays))
        buffered.flush()
        buffered.detach()


def load(path: str | os.PathLike[str]) -> Contents:
    """What :func:`save` was given.

    Raises
    ------
    FormatError
        The file is not one of these, or damaged.
    """
    path = _path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _contents(arrays)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(
            f"{path} is no file of Vertices.save, or a damaged one: {error}"
        ) from error


def _path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise InvalidArgumentError(f"path is a {type(path).__name__}: a path is accepted")
    return Path(path)


def _arrays(name: str, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """Rows as arrays: numbers, or numerators and denominators as text, which has any length."""
    entries = rows.entries
    if isinstance(entries, np.ndarray):
        return {name: entries}
    return {name: np.frombuffer(_core.rational_rows(entries), np.uint8)}


def _rows(name: str, arrays: dict[str, npt.NDArray[Any]], dimension: int) -> Rows:
    entries = arrays[name]
    if entries.dtype in (np.int64, np.float64):
        if entries.ndim != 2 or entries.shape[1] != dimension + 1:
            raise ValueError(f"{name} have shape {entries.shape} in {dimension} dimensions")
        if not np.isfinite(entries).all():
            raise ValueError(f"{name} are not finite")
        return Rows(np.ascontiguousarray(entries), dimension)
    lines = [line.split() for line in entries.tobytes().decode("ascii").splitlines()]
    normals = [line[:-1] for line in lines]
    read = Rows.of(normals, [line[-1] for line in lines])
    if read.dimension != dimension:
        raise ValueError(f"{name} are of {read.dimension} dimensions and not {dimension}")
    return read


def _contents(arrays: dict[str, npt.NDArray[Any]]) -> Contents:
    header = json.loads(arrays["header"].tobytes())
    if header["version"] != VERSION:
        raise ValueError(f"version {header['version']} is unknown")
    dimension, asked, method = header["dimension"], header["asked"], header["method"]
    if asked not in ("auto", "flats", "zero") or method not in ("flats", "zero"):
        raise ValueError(f"method {method!r} is unknown")
    within = _rows("within", arrays, dimension) if header["within"] else None
    problem = Problem(_rows("rows", arrays, dimension), asked, within)
    problem.go_on_as(cast(Method, method), bool(header["shuffled"]))
    words, limbs = arrays["words"], problem.search.limbs
    stride = (dimension + 1) * limbs
    if words.dtype != np.uint64 or words.ndim != 2 or words.shape[1] != stride:
        raise ValueError(f"coordinates have shape {words.shape} and dtype {words.dtype}")
    jobs = header["jobs"]
    if jobs is not None:
        jobs = tuple(([int(x) for x in node], int(first), int(last)) for node, first, last in jobs)
    cobases = header["cobases"]
    return problem, words, None if cobases is None else int(cobases), jobs
