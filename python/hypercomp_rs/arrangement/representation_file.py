"""Files of cddlib and lrslib as tables of exact numbers.

``docs/files.md`` describes the formats, and what is done where the two programs differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from .. import _core
from ..errors import FormatError, InvalidArgumentError, TooLargeError
from .rows import Table

# Where a file is: a path, or an open binary file.
Source = str | os.PathLike[str] | IO[bytes]


def read_table(source: Source, *, points: bool) -> tuple[Table, list[int], bool, str, list[str]]:
    """The rows of a file as one table; linearity, ``nonnegative``, the name and the options."""
    with opened(source, "rb") as file:
        data = file.read()
        where = getattr(file, "name", None)
    if not isinstance(data, bytes):
        raise InvalidArgumentError(f"source gives {type(data).__name__}: open it in binary mode")
    try:
        columns, entries, linearity, nonnegative, name, options = _core.read_representation(
            data, points=points
        )
    except (FormatError, TooLargeError) as error:
        if not isinstance(where, str):
            raise
        raise type(error)(f"{where}: {error}") from None
    if isinstance(entries, np.ndarray):
        table = Table(entries.reshape(-1, columns), None)
    elif isinstance(entries, tuple):
        numerators, denominators = entries
        table = Table(numerators.reshape(-1, columns), denominators.reshape(-1, columns))
    else:
        pairs = np.empty((len(entries), 2), object)
        pairs[:] = entries
        table = Table(pairs[:, 0].reshape(-1, columns), pairs[:, 1].reshape(-1, columns))
    return table, linearity, nonnegative, name, options


def name_lines(name: str) -> list[str]:
    """The line for a name. An error if a reader would not take that line as a name."""
    if not name:
        return []
    # Ask the reader whether it takes the line as a name.
    header = f"{name}\nH-representation\nbegin\n0 1 rational\nend\n".encode(errors="replace")
    try:
        read = _core.read_representation(header, points=False)[4]
    except FormatError:
        read = ""
    if read != name or len(name.splitlines()) > 1:
        raise InvalidArgumentError(
            f"name={name!r}: one line is accepted that begins with no option, * or #"
        )
    return [name]


@contextmanager
def opened(source: Source, mode: str) -> Iterator[IO[bytes]]:
    """Open the file at a path, and close it at the end. An open file is left open."""
    if isinstance(source, str | os.PathLike):
        with open(source, mode) as file:
            yield file
    elif hasattr(source, "read" if "r" in mode else "write"):
        yield source
    else:
        raise InvalidArgumentError(f"{type(source).__name__}: a path or a binary file is accepted")
