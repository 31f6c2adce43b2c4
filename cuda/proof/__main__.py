"""The proof of the kernels on a CPU: ``python -m proof`` from cuda/, or ``make prove-gpu``.

Builds the image anew and compares it, runs every case by every prover, plants the bugs, and prints
the budgets and the roofline, which it also writes into docs/gpu.md. Leaves with 1 at the first part
that fails, after the whole part.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import compile_kernels as kernels
import numpy as np

from . import budget, cases, mutations, tile_cases
from .runners import Interpreter, compile_host, run_host

SEEDS = (0, 1, 2026)
# Threads of the system are slow to make: cases whose grids are small, of every kind.
THREADED = (
    "every rate, W = 10",
    "shape (3, 129)",
    "no transform",
    "product, batch 3",
    "h = 8",
    "winding, K = 2",
    "tiles, every rate, W = 8",
    "product of tiles, batch 3",
)


def _bits(results: dict[int, np.ndarray]) -> bytes:
    return b"".join(results[number].tobytes() for number in sorted(results))


@cache
def _all_cases() -> list:
    return [*cases.everything(), *tile_cases.everything()]


@cache
def _interpreter(path: str) -> Interpreter:
    return Interpreter(Path(path).read_text())


def prove_case(number: int, folder: str) -> tuple[str, list[str], int, float]:
    """Run a case by all provers: its name, complaints, instructions interpreted, seconds."""
    start, case, place = time.time(), _all_cases()[number], Path(folder)
    results = {f"fibers, seed {s}": run_host(place / "host-plain", case, s) for s in SEEDS}
    results["AddressSanitizer"] = run_host(place / "host-address", case, 3)
    if any(text in case.name for text in THREADED):
        results["ThreadSanitizer"] = run_host(place / "host-thread", case)
    interpreter = _interpreter(str(place / "kernels.ptx"))
    before = interpreter.executed
    results["PTX"] = interpreter.run(case)
    complaints = [
        f"{name}: {what}" for name, got in results.items() for what in case.complaints(got)
    ]
    first = next(iter(results.values()))
    for name, got in results.items():
        if _bits(got) != _bits(first):
            complaints.append(f"{case.name}: {name} gives other bits than fibers in order")
    return case.name, complaints, interpreter.executed - before, time.time() - start


def prove_mutation(number: int) -> list[str]:
    """Lines on what finds a planted bug."""
    mutation, lines = mutations.MUTATIONS[number], []
    with tempfile.TemporaryDirectory() as folder:
        for prover in mutation.provers:
            what = mutations.found_by(mutation, prover, Path(folder), kernels.compile_ptx)
            lines.append(
                f"{'found' if what else 'MISSED'} by {prover}: {mutation.name}: {what or ''}"
            )
    return lines


def _say(text: str) -> None:
    print(text, flush=True)


def image_is_fresh(folder: Path) -> tuple[list[str], dict[int, str]]:
    """Build the image and compare it with the one that is kept."""
    ptx = kernels.compile_ptx()
    (folder / "kernels.ptx").write_text(ptx)
    assembled = kernels.assemble_all(ptx)
    image, stamp = kernels.packed(ptx, {a: cubin for a, (cubin, _) in assembled.items()})
    kept = json.loads((kernels.IMAGE / "stamp.json").read_text())
    same = kept == stamp and (kernels.IMAGE / "kernels.fatbin").read_bytes() == image
    complaints = (
        [] if same else ["cuda/image is not what these sources give: run cuda/compile_kernels.py"]
    )
    return complaints, {a: log for a, (_, log) in assembled.items()}


def run_cases(pool: ProcessPoolExecutor, folder: Path) -> list[str]:
    """Every case by every prover."""
    for done in [pool.submit(compile_host, b, folder) for b in ("plain", "address", "thread")]:
        done.result()
    count, complaints, executed = len(_all_cases()), [], 0
    for name, wrong, instructions, seconds in pool.map(
        prove_case, range(count), [str(folder)] * count
    ):
        _say(f"  {'WRONG' if wrong else 'ok':5} {seconds:5.1f} s  {name}")
        complaints += wrong
        executed += instructions
    _say(f"  {count} cases, {executed / 1e6:.0f} million PTX instructions interpreted")
    return complaints


def plant_bugs(pool: ProcessPoolExecutor) -> list[str]:
    """Every mutation."""
    missed = []
    for lines in pool.map(prove_mutation, range(len(mutations.MUTATIONS))):
        for line in lines:
            _say("  " + line[:160])
            if line.startswith("MISSED"):
                missed.append(line)
    return missed


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    jobs = parser.parse_args().jobs
    if not kernels.compilers():
        sys.exit("NVIDIA's compilers are missing: pip install '.[cuda-build]'")
    start, complaints = time.time(), []
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(jobs) as pool:
        folder = Path(name)
        _say("The image, built anew")
        wrong, logs = image_is_fresh(folder)
        complaints += wrong
        _say("Every case, by fibers in three orders, sanitizers and the interpreter of PTX")
        complaints += run_cases(pool, folder)
        _say("Planted bugs")
        complaints += plant_bugs(pool)
        _say("Budgets\n")
        tables, wrong = budget.report(logs)
        complaints += wrong
        _say(tables)
        if budget.write(budget.DOCUMENT, tables):
            _say(f"\n{budget.DOCUMENT.name} has these tables now")
    _say(f"\n{time.time() - start:.0f} s")
    if complaints:
        sys.exit("NOT PROVED:\n" + "\n".join(complaints))
    _say("Proved, as far as docs/gpu.md says.")


if __name__ == "__main__":
    main()
