"""The output of ``hypercomp-rs vertices``: in the format of lrs, or as JSON.

Blocks of vertices are written and flushed as they arrive, so that a pipe gets them at once.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from ..arrangement.result import Vertices
from ..arrangement.v_representation import vertex_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Bytes of incidences that are held in memory before a temporary file takes them.
HELD_BYTES = 1 << 24


class Writer(ABC):
    """Writes the answers of ``hypercomp-rs vertices``."""

    def __init__(
        self,
        out: IO[bytes],
        dimension: int,
        name: str,
        rows: npt.NDArray[np.intp] | None = None,
    ) -> None:
        """`rows`: the numbers in the file of the rows of A, if incidences are asked for."""
        self.out = out
        self.dimension = dimension
        self.name = name
        self.rows = rows

    @abstractmethod
    def count(self, number: int, cobases: int | None) -> None:
        """A number of vertices."""

    @abstractmethod
    def estimate(self, sizes: Mapping[str, float]) -> None:
        """The fields of an estimate."""

    @abstractmethod
    def flats(self, counts: Sequence[int]) -> None:
        """The number of flats of each dimension, from 0 up."""

    @abstractmethod
    def vertices(
        self, blocks: Iterable[Vertices], *, cobases: int | None = None, complete: bool = True
    ) -> None:
        """All blocks, and the totals at the end."""

    def _incidence(self, block: Vertices) -> Iterator[list[int]]:
        """The rows of the file that contain each vertex."""
        starts, rows = block.incidence()
        numbers = rows if self.rows is None else self.rows[rows]
        for first, last in itertools.pairwise(starts.tolist()):
            yield numbers[first:last].tolist()


def _lines(block: Vertices) -> Iterator[bytes]:
    """The row of each vertex in a V-representation, without its end."""
    for rows in vertex_rows(block):
        yield from rows.splitlines()


class Extreme(Writer):
    """A V-representation with comments, as lrs writes it."""

    def count(self, number: int, cobases: int | None) -> None:
        """The number alone."""
        self.out.write(b"%d\n" % number)

    def estimate(self, sizes: Mapping[str, float]) -> None:
        """A line for each size, with its standard error, and for each search."""
        for what in ("vertices", "cobases"):
            line = f"{what:<9}{sizes[what]:.6g} ± {sizes[f'{what}_error']:.2g}\n"
            self.out.write(line.encode())
        for what, key in (("flats", "seconds"), ("zero", "zero_seconds")):
            self.out.write(f"{what:<9}{sizes[key]:.3g} s\n".encode())

    def flats(self, counts: Sequence[int]) -> None:
        """A line for each dimension."""
        for dimension, count in enumerate(counts):
            self.out.write(b"dimension %d: %d\n" % (dimension, count))

    def vertices(
        self, blocks: Iterable[Vertices], *, cobases: int | None = None, complete: bool = True
    ) -> None:
        """Rows between ``begin`` and ``end``, and the totals in a comment."""
        if self.name:
            self.out.write(self.name.encode() + b"\n")
        # Incidences follow the rows, as comments: programs that read the file know no others there.
        with tempfile.SpooledTemporaryFile(HELD_BYTES) as kept:
            self.out.write(b"V-representation\nbegin\n***** %d rational\n" % (self.dimension + 1))
            number = 0
            for block in blocks:
                number += len(block)
                for rows in vertex_rows(block):
                    self.out.write(rows)
                if self.rows is not None:
                    for through in self._incidence(block):
                        kept.write(f"* {len(through)} : {' '.join(map(str, through))}\n".encode())
                self.out.flush()
            totals = f"*Totals: vertices={number}"
            if cobases is not None:
                totals += f" bases={cobases}"
            if not complete:
                totals += " (partial: a limit was reached)"
            self.out.write(b"end\n")
            if self.rows is not None:
                self.out.write(b"*incidence of each vertex: number of rows : their numbers\n")
                kept.seek(0)
                shutil.copyfileobj(kept, self.out)
        self.out.write(f"{totals}\n".encode())


class JsonLines(Writer):
    """JSON: a list of strings for each vertex, and an object at the end."""

    def count(self, number: int, cobases: int | None) -> None:
        """An object with the numbers."""
        self._line(self._totals(number, cobases))

    def estimate(self, sizes: Mapping[str, float]) -> None:
        """An object with the fields of the estimate."""
        self._line({"dimension": self.dimension, **sizes})

    def flats(self, counts: Sequence[int]) -> None:
        """An object with the numbers."""
        self._line({"dimension": self.dimension, "flats": list(counts)})

    def vertices(
        self, blocks: Iterable[Vertices], *, cobases: int | None = None, complete: bool = True
    ) -> None:
        """A line for each vertex, and the totals."""
        number = 0
        for block in blocks:
            number += len(block)
            if self.rows is not None:
                for line, through in zip(_lines(block), self._incidence(block), strict=True):
                    point = line.decode().split()[1:]
                    self._line({"vertex": point, "incidence": through})
                continue
            for rows in vertex_rows(block):
                lines = (row.split()[1:] for row in rows.decode().splitlines())
                self.out.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            self.out.flush()
        self._line({**self._totals(number, cobases), "complete": complete})

    def _totals(self, number: int, cobases: int | None) -> dict[str, Any]:
        totals: dict[str, Any] = {"vertices": number, "dimension": self.dimension}
        if cobases is not None:
            totals["cobases"] = cobases
        return totals

    def _line(self, value: Any) -> None:
        self.out.write(json.dumps(value).encode() + b"\n")
