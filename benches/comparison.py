"""The comparison of arXiv 2401.16675, run again: Moss, Avis-Fukuda, the Zero rule, and flats.

All four in exact arithmetic on one thread. What each visits: Moss and the two reverse searches
every cobasis, flats every flat. A pivot is a dictionary computed from another; Moss and the
criss-cross rule also pivot back, and the latter tries exchanges that turn out not to be its own.
"""

import functools

from arrangements import braid, catalan, generic, grid, type_b
from rich.table import Table
from timing import seconds

import hypercomp_rs as hc
from hypercomp_rs import _core
from hypercomp_rs.arrangement import _rows

METHODS = {
    "Moss": "moss",
    "Avis-Fukuda, criss-cross": "criss-cross",
    "Zero rule": "zero",
    "flats": "flats",
}


def inputs(short):
    """Simple arrangements first, degenerate ones after."""
    return {
        "30 random planes in R^3": generic(12 if short else 30, 3),
        "20 random planes in R^4": generic(9 if short else 20, 4),
        "15 random planes in R^6": generic(8 if short else 15, 6),
        "grid 4 x 4 x 4 x 4": grid(3 if short else 4, 4),
        "Catalan, n = 5, in R^4": catalan(4 if short else 5),
        "type B in R^4, c = -1..1": type_b(2 if short else 4, (-1, 0, 1)),
        "braid, n = 7, in R^6": braid(5 if short else 7),
    }


def compare(short):
    """The table, and a line for every input that says which was fastest."""
    table = Table(title="the published searches beside ours, one thread, same arithmetic")
    for heading in ("input", "vertices", "cobases", "search", "visited", "pivots", "ms", "x Moss"):
        table.add_column(heading, justify="left" if heading in ("input", "search") else "right")
    fastest = {}
    for name, (a, b) in inputs(short).items():
        rows = _rows(a, b)
        calls = {
            search: functools.partial(_search, method, a, b, rows)
            for search, method in METHODS.items()
        }
        visits = {search: call() for search, call in calls.items()}
        vertices, cobases = len(hc.vertices(a, b)), visits["Zero rule"][0]
        taken = seconds(calls, 1 if short else 3)
        for search, t in taken.items():
            visited, pivots = visits[search]
            first = search == "Moss"
            table.add_row(
                name if first else "",
                f"{vertices:,}" if first else "",
                f"{cobases:,}" if first else "",
                search,
                f"{visited:,}",
                "-" if pivots is None else f"{pivots:,}",
                f"{1e3 * t:.2f}",
                f"{taken['Moss'] / t:.1f}",
            )
        table.add_section()
        fastest.setdefault(min(taken, key=taken.__getitem__), []).append(name)
    lines = [f"fastest: {search} on {', '.join(names)}" for search, names in fastest.items()]
    return table, lines


def _search(method, a, b, rows):
    """What a search visits, and how often it pivots."""
    if method in ("moss", "criss-cross"):
        _, cobases, pivots = _core.baseline_vertices(*rows, method=method)
        return cobases, pivots
    if method == "zero":
        cobases = hc.vertices(a, b, method="zero", threads=1).cobases
        return cobases, max(cobases - 1, 0)
    hc.vertices(a, b, threads=1)
    return 0, None
