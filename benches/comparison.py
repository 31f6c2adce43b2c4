"""The comparison of arXiv 2401.16675, run again: Moss, Avis-Fukuda, the Zero rule, and flats.

All four in exact arithmetic on one thread. What each visits: Moss and the two reverse searches
every cobasis, flats every flat. A pivot is a dictionary computed from another; Moss and the
criss-cross rule also pivot back, and the latter tries exchanges that turn out not to be its own.
"""

import functools

from arrangements import braid, catalan, generic, grid, type_b
from baselines import published
from rich.table import Table
from timing import seconds

import hypercomp_rs as hc
from hypercomp_rs.arrangement.rows import Rows
from hypercomp_rs.arrangement.search import Problem

METHODS = {
    "Moss": "moss",
    "Avis-Fukuda, criss-cross": "criss-cross",
    "Zero rule": "zero",
    "flats": "flats",
}


def inputs(short):
    """Simple arrangements first, degenerate ones after."""
    found = {}
    for n, d in ((12, 3), (9, 4), (8, 6)) if short else ((30, 3), (20, 4), (15, 6)):
        found[f"{n} random planes in R^{d}"] = generic(n, d)
    k, n, d, m = (3, 4, 2, 5) if short else (4, 5, 4, 7)
    found[f"grid of {k}^4 points"] = grid(k, 4)
    found[f"Catalan, n = {n}, in R^{n - 1}"] = catalan(n)
    found[f"type B in R^{d}, c = -1..1"] = type_b(d, (-1, 0, 1))
    found[f"braid, n = {m}, in R^{m - 1}"] = braid(m)
    return found


def compare(short):
    """The table, and a line for every input that says which was fastest."""
    table = Table(title="the published searches beside ours, one thread, same arithmetic")
    for heading in ("input", "vertices", "cobases", "search", "visited", "pivots", "ms", "x Moss"):
        table.add_column(heading, justify="left" if heading in ("input", "search") else "right")
    fastest = {}
    for title, (a, b) in inputs(short).items():
        search = Problem(Rows.of(a, b), "zero").search
        calls = {
            name: functools.partial(_run, method, a, b, search) for name, method in METHODS.items()
        }
        visits = {name: call() for name, call in calls.items()}
        visits["flats"] = sum(hc.flats(a, b)), None
        vertices, cobases = len(hc.vertices(a, b)), visits["Zero rule"][0]
        taken = seconds(calls, 1 if short else 3)
        for method, t in taken.items():
            visited, pivots = visits[method]
            first = method == "Moss"
            table.add_row(
                title if first else "",
                f"{vertices:,}" if first else "",
                f"{cobases:,}" if first else "",
                method,
                f"{visited:,}",
                "-" if pivots is None else f"{pivots:,}",
                f"{1e3 * t:.2f}",
                f"{taken['Moss'] / t:.1f}",
            )
        table.add_section()
        fastest.setdefault(min(taken, key=taken.__getitem__), []).append(title)
    lines = [f"fastest: {method} on {', '.join(titles)}" for method, titles in fastest.items()]
    return table, lines


def _run(method, a, b, search):
    """What a search visits, and how often it pivots."""
    if method in ("moss", "criss-cross"):
        _, cobases, pivots = published(search, method)
        return cobases, pivots
    if method == "zero":
        cobases = hc.vertices(a, b, method="zero", threads=1).cobases
        return cobases, max(cobases - 1, 0)
    hc.vertices(a, b, threads=1)
    return None, None
