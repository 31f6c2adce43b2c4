"""``hypercomp-rs vertices``: an ``.ine`` file in, the vertices of its arrangement out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from .. import arrangement
from ..arrangement import Vertices
from ..representation import HRepresentation, read_ine, vertex_rows


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    default="-",
    help="Where to write; - for standard output.",
)
@click.option("--count", is_flag=True, help="Only the number of vertices.")
@click.option(
    "--method",
    type=click.Choice(["flats", "zero"]),
    default="flats",
    show_default=True,
    help="Search over flats, or over cobases by the Zero rule, which counts those too.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1 << 16),
    help="Threads to search with; one a core unless given.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON, one value a line.")
def vertices(
    file: IO[bytes],
    output: str,
    count: bool,
    method: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Every vertex of the arrangement in FILE, exactly; - for standard input.

    FILE is an H-representation as cddlib and lrslib read it (.ine). The boundary of every
    inequality is a hyperplane of the arrangement, and so is every equation ("linearity"). The
    vertices are written as a V-representation (.ext) while they are found.
    """
    h = read_ine(file)
    found = arrangement.vertices(*h.hyperplanes(), method=method, threads=threads)  # type: ignore[call-overload]
    writer = (JsonLines if as_json else Extreme)(h)
    with _written(output) as out:
        if count:
            writer.count(out, len(found))
        else:
            writer.vertices(out, [found])
    return 0


@contextmanager
def _written(output: str) -> Iterator[IO[bytes]]:
    """The file to write to, or standard output."""
    with click.open_file(output, "wb") as out:
        yield out


class Extreme:
    """Writes as lrs does: a V-representation with comments."""

    def __init__(self, h: HRepresentation) -> None:
        self._h = h

    def count(self, out: IO[bytes], number: int) -> None:
        """A number alone."""
        out.write(b"%d\n" % number)

    def vertices(self, out: IO[bytes], blocks: Iterable[Vertices]) -> None:
        """Blocks of vertices as they come."""
        if self._h.name:
            out.write(self._h.name.encode() + b"\n")
        out.write(b"V-representation\nbegin\n***** %d rational\n" % (self._h.dimension + 1))
        number = 0
        for block in blocks:
            number += len(block)
            for rows in vertex_rows(block):
                out.write(rows)
            out.flush()
        out.write(b"end\n*Totals: vertices=%d\n" % number)


class JsonLines:
    """Writes JSON: a list of strings for each vertex, and an object at the end."""

    def __init__(self, h: HRepresentation) -> None:
        self._h = h

    def count(self, out: IO[bytes], number: int) -> None:
        """An object with the number."""
        self._line(out, {"vertices": number, "dimension": self._h.dimension})

    def vertices(self, out: IO[bytes], blocks: Iterable[Vertices]) -> None:
        """A line for each vertex."""
        number = 0
        for block in blocks:
            number += len(block)
            for rows in vertex_rows(block):
                for row in rows.decode().splitlines():
                    self._line(out, row.split()[1:])
            out.flush()
        self.count(out, number)

    def _line(self, out: IO[bytes], value: Any) -> None:
        out.write(json.dumps(value).encode() + b"\n")
