"""The arrangement engine against its bars, each beside a baseline in the same run.

``--short`` takes small inputs and one round, and judges nothing. In full, the exit status is 1
where a bar is missed. One thread but where it says otherwise; times are medians of rounds in which
all take turns, and include the coordinates. One thread is timed by the time of its process, so that
a busy machine does not count; two threads by the clock on the wall, beside two processes apart.
"""

import argparse
import dataclasses
import functools
import pathlib
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import process_time

from arrangements import braid, generic, type_b, unbalanced, with_long_entries
from baselines import published
from comparison import compare
from peers import every_subset, lrs, sage
from rich.console import Console
from rich.table import Table
from timing import seconds

import hypercomp_rs as hc
from hypercomp_rs.arrangement.rows import Rows
from hypercomp_rs.arrangement.search import Problem


@dataclasses.dataclass
class Bar:
    """What was asked, and what was measured."""

    input: str
    asked: str
    measured: str
    baseline: str
    ratio: str
    met: bool | None


def nanoseconds(t, count):
    return f"{1e9 * t / count:.0f} ns"


def speed(short):
    """Nanoseconds a vertex, and what entries of 18 digits cost."""
    n, d, m = (15, 3, 12) if short else (60, 5, 50)
    inputs = {
        f"{n} random planes in R^4": (generic(n, 4), "60 ns a vertex"),
        f"type B in R^{d}, c = -2..2": (type_b(d, (-2, -1, 0, 1, 2)), "0.5 s"),
        f"{m} random planes in R^5": (generic(m, 5), "0.3 s"),
    }
    for name, ((a, b), asked) in inputs.items():
        moved = with_long_entries(a, b)
        find = functools.partial(hc.vertices, a, b, threads=1)
        find_long = functools.partial(hc.vertices, *moved, threads=1)
        found = find()
        assert len(found) == len(find_long()), "a change of coordinates keeps the vertices"
        # numpy would solve 234 million systems for type B.
        degenerate = name.startswith("type B")
        peer = "floats, no proof" if degenerate else "numpy, all subsets"
        other = functools.partial(hc.vertices, a, b, exact=False, threads=1)
        if not degenerate:
            other = functools.partial(every_subset, a, b)
        taken = seconds({"flats": find, "other": other}, 1 if short else 5, clock=process_time)
        calls = {"short": find, "moved": find_long}
        if not degenerate:
            # Type B with other entries would not be degenerate.
            other_a, other_b = generic(*a.shape, 10**18)
            calls["random"] = functools.partial(hc.vertices, other_a, other_b, threads=1)
        long = seconds(calls, 1 if short else 5, clock=process_time)
        t, each = taken["flats"], taken["flats"] / len(found)
        per_vertex = asked.endswith("vertex")
        yield Bar(
            f"{name}: {len(found):,} vertices",
            f"<= {asked}",
            f"{nanoseconds(t, len(found))}, {t:.3f} s",
            f"{peer}: {taken['other']:.3f} s",
            f"{taken['other'] / t:.1f} x",
            1e9 * each <= 60 if per_vertex else t <= float(asked.split()[0]),
        )
        for kind, title in {
            "moved": "  the same seen from elsewhere, entries of 18 digits",
            "random": "  as many, of random entries of 18 digits",
        }.items():
            if kind in long:
                yield Bar(
                    title,
                    "<= 6 x the time",
                    f"{nanoseconds(long[kind], len(found))}, {long[kind]:.3f} s",
                    f"short entries: {long['short']:.3f} s",
                    f"{long[kind] / long['short']:.1f} x",
                    long[kind] <= 6 * long["short"],
                )


def zero_rule(short):
    """Nanoseconds a cobasis."""
    a, b = generic(9 if short else 24, 5)
    search = Problem(Rows.of(a, b), "zero").search
    calls = {
        "residues": functools.partial(hc.vertices, a, b, method="zero", threads=1),
        "fractions": functools.partial(published, search, "fractions"),
    }
    cobases = calls["residues"]().cobases
    taken = seconds(calls, 1 if short else 3, clock=process_time)
    ratio = taken["fractions"] / taken["residues"]
    each = nanoseconds(taken["residues"], cobases)
    name = f"Zero rule, {len(a)} random planes in R^5: {cobases:,} cobases"
    baseline = f"big fractions: {nanoseconds(taken['fractions'], cobases)}"
    met = 1e9 * taken["residues"] / cobases <= 1000
    yield Bar(name, "<= 1000 ns a cobasis", each, baseline, f"{ratio:.0f} x", met)
    yield Bar("  the same", ">= 30 x fractions", f"{ratio:.0f} x", baseline, "", ratio >= 30)
    peer = lrs(15 if short else 40, 5)
    if peer is None:
        yield Bar("  one cell of 40 planes in R^5", "-", "-", "lrs: not installed", "", None)
    else:
        t, bases = peer
        ratio = (t / bases) / (taken["residues"] / cobases)
        baseline = f"lrs, a basis of one cell: {nanoseconds(t, bases)}"
        yield Bar("  a basis of a polytope in R^5", "-", each, baseline, f"{ratio:.1f} x", None)


# Below this, two processes that share nothing do not have two cores to themselves.
BUSY = 1.9


def threads(short):
    """Two threads against one, and beside two processes: what the machine can give just now."""
    n, m = (12, 20) if short else (50, 200)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for name, (a, b) in {
            f"{n} random planes in R^5": generic(n, 5),
            f"{m + 2} planes, all below one flat": unbalanced(m),
        }.items():
            calls = {
                "one": functools.partial(search, a, b, 1),
                "two": functools.partial(search, a, b, 2),
                "apart": functools.partial(_apart, pool, a, b),
            }
            # The processes start and import before they are timed.
            calls["apart"]()
            taken = seconds(calls, 1 if short else 9)
            ratio, attainable = taken["one"] / taken["two"], 2 * taken["one"] / taken["apart"]
            busy = attainable < BUSY
            yield Bar(
                f"two threads, {name}",
                ">= 1.85 x",
                f"{taken['two']:.3f} s",
                f"one {taken['one']:.3f} s; apart {attainable:.2f} x" + ", busy" * busy,
                f"{ratio:.2f} x",
                None if busy else ratio >= 1.85,
            )


def search(a, b, threads):
    return len(hc.vertices(a, b, threads=threads))


def _apart(pool, a, b):
    """The same search in two processes at once."""
    for done in [pool.submit(search, a, b, 1) for _ in range(2)]:
        done.result()


# The peak that the kernel keeps for the program: ru_maxrss would begin with that of its parent.
MEMORY = """
import pathlib, re, sys
sys.path.insert(0, {folder!r})
from arrangements import generic
import hypercomp_rs as hc

def peak():
    return int(re.search("VmHWM:\\s*(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])

a, b = generic({n}, 5)
hc.vertices(*generic(8, 3), threads=1)
before = peak()
if {stream}:
    found = sum(len(block) for block in hc.iter_vertices(a, b, threads=1))
else:
    found = len(hc.vertices(a, b, threads=1))
print(found, peak() - before)
"""


def memory(short):
    """Peak memory of a stream, in a process of its own."""
    folder = str(pathlib.Path(__file__).parent)
    n = 15 if short else 50
    if not pathlib.Path("/proc/self/status").exists():
        yield Bar("stream in R^5", "<= 50 MB", "-", "measured on Linux only", "", None)
        return

    def peak(stream):
        code = MEMORY.format(folder=folder, n=n, stream=stream)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        found, kilobytes = map(int, done.stdout.split())
        return found, kilobytes / 1024

    (found, streamed), (_, held) = peak(True), peak(False)
    yield Bar(
        f"stream of {found:,} vertices in R^5",
        "<= 50 MB",
        f"{streamed:.0f} MB",
        f"held at once: {held:.0f} MB",
        f"{held / max(streamed, 1):.1f} x",
        streamed <= 50,
    )


def against_sage(short):
    """SageMath's own method for arrangements."""
    a, b = generic(10 if short else 36, 3 if short else 4)
    peer = sage(a, b)
    name = f"{len(a)} random planes in R^{a.shape[1]}"
    if peer is None:
        return [Bar(name, ">= 1000 x", "-", "SageMath: not installed (make bench-env)", "", None)]
    find = functools.partial(hc.vertices, a, b, threads=1)
    found = find()
    assert len(found) == peer[1], "SageMath finds as many"
    t = seconds({"flats": find}, 1 if short else 9, clock=process_time)["flats"]
    ratio = peer[0] / t
    baseline = f"SageMath: {nanoseconds(peer[0], len(found))} a vertex"
    measured = f"{nanoseconds(t, len(found))}, {t:.4f} s"
    return [Bar(name, ">= 1000 x", measured, baseline, f"{ratio:,.0f} x", ratio >= 1000)]


# Seconds that SageMath gets for one input, beyond which a ratio is a lower bound.
PATIENCE = 600


def beyond_vertices(short):
    """Regions and characteristic polynomials, beside SageMath's."""
    n, m, d = (12, 4, 3) if short else (25, 7, 5)
    inputs = {
        f"regions of {n} random planes in R^4": (generic(n, 4), "regions", 200),
        f"regions of the braid arrangement of {m} coordinates": (braid(m), "regions", 200),
        f"characteristic polynomial of type B in R^{d}, c = -2..2": (
            type_b(d, (-2, -1, 0, 1, 2)),
            "characteristic_polynomial",
            1000,
        ),
    }
    for name, ((a, b), method, asked) in inputs.items():
        find = functools.partial(getattr(hc, method), a, b, threads=1)
        found = find()
        size = len(found) if method == "regions" else sum(map(abs, found))
        t = seconds({"ours": find}, 1 if short else 5, clock=process_time)["ours"]
        peer = sage(a, b, method, 20 if short else PATIENCE)
        if peer is None:
            missing = "SageMath: not installed (make bench-env)"
            yield Bar(name, f">= {asked} x", f"{t:.4f} s", missing, "", None)
            continue
        taken, theirs = peer
        assert theirs in (None, size), "SageMath finds as many"
        ratio, more = taken / t, "> " if theirs is None else ""
        yield Bar(
            f"{name}: {size:,}",
            f">= {asked} x",
            f"{t:.4f} s",
            f"SageMath: {more}{taken:.2f} s",
            f"{more}{ratio:,.0f} x",
            # A bound from a run that was cut off can only meet the bar.
            True if ratio >= asked else None if more else False,
        )
    a, b = generic(12 if short else 50, 4)
    calls = {
        "regions": functools.partial(hc.regions, a, b, threads=1),
        "vertices": functools.partial(hc.vertices, a, b, threads=1),
    }
    count = len(calls["regions"]())
    taken = seconds(calls, 1 if short else 5, clock=process_time)
    each = 1e6 * taken["regions"] / count
    yield Bar(
        f"regions of {len(a)} random planes in R^4: {count:,}",
        "<= 3 us a region",
        f"{each:.2f} us",
        f"their vertices: {taken['vertices']:.3f} s",
        f"{taken['regions'] / taken['vertices']:.0f} x",
        each <= 3,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="small inputs, one round")
    short = parser.parse_args().short
    console = Console(width=None if Console().is_terminal else 160)
    table = Table(title="vertices" + (", shortened inputs" if short else ""))
    for heading in ("input", "asked", "measured", "baseline", "ratio", ""):
        table.add_column(heading, justify="right" if heading == "ratio" else "left")
    missed = []
    for part in (speed, zero_rule, threads, memory, against_sage, beyond_vertices):
        for bar in part(short):
            print(f"{bar.input}: {bar.measured}", file=sys.stderr)
            verdict = "" if short or bar.met is None else "met" if bar.met else "missed"
            table.add_row(bar.input, bar.asked, bar.measured, bar.baseline, bar.ratio, verdict)
            if bar.met is False:
                missed.append(bar.input.strip())
        table.add_section()
    console.print(table)
    comparison, lines = compare(short)
    console.print(comparison)
    for line in lines:
        console.print(line, highlight=False)
    if missed and not short:
        sys.exit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
