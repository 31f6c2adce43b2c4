"""``hypercomp-rs vertices``: the vertices of the arrangement in an ``.ine`` file.

Options have the same names as in lrs, if lrs has them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import click
import numpy as np

from .. import arrangement
from ..arrangement.enumeration import GLANCE
from ..arrangement.h_representation import read_ine
from ..arrangement.progress import Bar
from ..arrangement.result import Vertices
from ..arrangement.rows import Rows
from ..arrangement.search import WHOLE, Asked, Problem, State, run
from ..errors import InvalidArgumentError
from .writers import Extreme, JsonLines

if TYPE_CHECKING:
    from ..arrangement.enumeration import Matrix, Vector

# The exit code where a limit was reached.
PARTIAL = 3


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "-o",
    "--output",
    type=click.File("wb", lazy=False),
    default="-",
    help="Output file; - is standard output.",
)
@click.option(
    "--within",
    type=click.File("rb"),
    help="Print only the vertices that satisfy the inequalities in this other .ine file.",
)
@click.option(
    "--incidence",
    is_flag=True,
    help="Also print the numbers of the rows that contain each vertex, from 1.",
)
@click.option(
    "--flats", is_flag=True, help="Print only the number of flats of each dimension, from 0 up."
)
@click.option("--count", is_flag=True, help="Print only the number of vertices; faster.")
@click.option(
    "--estimate", is_flag=True, help="Print only an estimate of the number, from random probes."
)
@click.option(
    "--probes",
    type=click.IntRange(2, 1 << 32),
    default=1000,
    show_default=True,
    help="Number of probes for --estimate.",
)
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, help="Seed of the probes.")
@click.option(
    "--method",
    type=click.Choice(["auto", "flats", "zero"]),
    default="auto",
    show_default=True,
    help="Search over flats, or over cobases with the Zero rule; auto takes the faster one.",
)
@click.option(
    "--threads", type=click.IntRange(1, 1 << 16), help="Number of threads.  [default: all]"
)
@click.option("--maxoutput", type=click.IntRange(0), help="Stop after this many vertices.")
@click.option("--time-limit", type=click.FloatRange(0), help="Stop after this many seconds.")
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Begin a search and keep its state in this new file.",
)
@click.option(
    "--restart",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Continue the search in this file, and keep its state there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one value on each line.")
@click.option(
    "--progress/--no-progress",
    default=None,
    help="Progress bar on standard error.  [default: if that is a terminal]",
)
def vertices(
    file: IO[bytes],
    output: IO[bytes],
    within: IO[bytes] | None,
    incidence: bool,
    flats: bool,
    count: bool,
    estimate: bool,
    probes: int,
    seed: int,
    method: str,
    threads: int | None,
    maxoutput: int | None,
    time_limit: float | None,
    checkpoint: Path | None,
    restart: Path | None,
    as_json: bool,
    progress: bool | None,
) -> int:
    """Print every vertex of the arrangement in FILE, exactly; - is standard input.

    FILE is an H-representation of cddlib and lrslib (.ine). The boundary of every inequality is a
    hyperplane of the arrangement, and so is every equation ("linearity"). The output is a
    V-representation (.ext). Vertices are written while they are found; with a limit or a checkpoint
    they are kept in memory, sorted, and written at the end.

    Exit codes: 0 all is done, 1 the system failed, 2 the file or an option is wrong, 3 a limit was
    reached, 130 Ctrl-C.
    """
    limited = maxoutput is not None or time_limit is not None
    kept = _kept(checkpoint, restart)
    if count + estimate + flats > 1:
        raise click.UsageError("--count, --estimate and --flats: give one of them")
    if (count or estimate or flats) and (limited or kept is not None or incidence):
        raise click.UsageError(
            "limits, checkpoints and --incidence cannot be combined with --count, --estimate or "
            "--flats"
        )
    if within is not None and (estimate or flats):
        raise click.UsageError("--within cannot be combined with --estimate or --flats")
    h = read_ine(file)
    inequalities = None if within is None else read_ine(within).inequalities()
    rows_of_file = h.boundary_rows() + 1 if incidence else None
    writer = (JsonLines if as_json else Extreme)(output, h.dimension, h.name, rows_of_file)
    if progress is None:
        progress = sys.stderr.isatty()
    chosen = cast(Asked, method)
    if estimate:
        sizes = arrangement.estimate_vertices(
            *h.hyperplanes(), probes=probes, seed=seed, threads=threads
        )
        writer.estimate(sizes._asdict())
        return 0
    if flats:
        writer.flats(arrangement.flats(*h.hyperplanes(), threads=threads))
        return 0
    if count:
        rows = None if inequalities is None else Rows.of(*inequalities, ("C", "e"))
        problem = Problem(Rows.of(*h.hyperplanes()), chosen, rows)
        found = run(problem.search, [WHOLE], threads=threads, coordinates=False)
        writer.count(found.vertices, found.cobases if problem.method == "zero" else None)
        return 0
    if not limited and kept is None:
        # Converted before anything is written, because bad input raises here.
        a, b = h.hyperplanes()
        with arrangement.iter_vertices(
            a, b, within=inequalities, method=chosen, threads=threads
        ) as stream:
            progress = progress and inequalities is None
            writer.vertices(_followed(stream, a, b, chosen) if progress else stream)
        return 0
    held = arrangement.vertices(
        *h.hyperplanes(),
        within=inequalities,
        method=chosen,
        threads=threads,
        max_vertices=maxoutput,
        time_limit=time_limit,
        checkpoint=kept,
        progress=progress,
    )
    writer.vertices([held], cobases=held.cobases, complete=held.complete)
    return 0 if held.complete else PARTIAL


def _kept(checkpoint: Path | None, restart: Path | None) -> Path | None:
    """The file that keeps the state of the search."""
    if checkpoint is None:
        return restart
    if restart is not None:
        raise click.UsageError("--checkpoint and --restart: give one of them")
    if checkpoint.exists():
        # Continuing or overwriting without being asked could both be wrong.
        raise InvalidArgumentError(f"{checkpoint} exists: continue with --restart, or delete it")
    return checkpoint


def _followed(
    stream: Iterable[Vertices], a: Matrix, b: Vector, method: Asked
) -> Iterator[Vertices]:
    """A stream with a bar."""
    probes = Problem(Rows.of(a, b), method).search.probes(GLANCE, 0)
    number = 0
    with Bar(float(np.mean(probes))) as bar:
        for block in stream:
            yield block
            number += len(block)
            bar.follow(State(vertices=number))
        bar.follow(State(jobs=[], vertices=number))
