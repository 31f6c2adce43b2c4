"""What others take for the same, each in a process of its own; None where it is not installed.

SageMath and lrs are under the GPL: they are run beside this package and never linked or shipped.
"""

import itertools
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

import hypercomp_rs as hc

ROOT = pathlib.Path(__file__).parent.parent
# Made by `make bench-env`: Sage's packages bring dozens of others.
BENCH_PYTHON = ROOT / ".venv-bench/bin/python"

SAGE = """
import json, sys, time
from sage.all__sagemath_polyhedra import QQ
from sage.geometry.hyperplane_arrangement.arrangement import HyperplaneArrangements
rows = json.load(sys.stdin)
names = tuple(f"x{i}" for i in range(len(rows[0]) - 1))
planes = HyperplaneArrangements(QQ, names)(*[[row[:-1], -row[-1]] for row in rows])
start = time.process_time()
found = planes.{method}()
print(json.dumps([time.process_time() - start, {size}]))
"""

# What Sage gives for a method, as one number that ours can be compared with.
SAGE_SIZES = {
    "vertices": "len(found)",
    "regions": "len(found)",
    "characteristic_polynomial": "int(sum(abs(x) for x in found.list()))",
}


def every_subset(a, b):
    """The distinct points of all non-singular d-subsets by numpy, to nine decimal places."""
    n, d = a.shape
    points = []
    subsets = itertools.combinations(range(n), d)
    while chunk := list(itertools.islice(subsets, 100_000)):
        index = np.array(chunk)
        normals = a[index].astype(float)
        regular = np.abs(np.linalg.det(normals)) > 1e-9
        sides = b[index[regular]][..., None]
        points.append(np.linalg.solve(normals[regular], sides)[..., 0].round(9) + 0.0)
    return np.unique(np.concatenate(points), axis=0)


def sage(a, b, method="vertices", patience=None):
    """Seconds of a method of SageMath's ``HyperplaneArrangement``, and the size of its result.

    The size is None, and the seconds are `patience`, where it takes longer than that.
    """
    python = BENCH_PYTHON if BENCH_PYTHON.exists() else pathlib.Path(sys.executable)
    found = subprocess.run(
        [python, "-c", "import sage.geometry.hyperplane_arrangement"], capture_output=True
    )
    if found.returncode:
        return None
    rows = np.column_stack([a, b]).tolist()
    code = SAGE.replace("{method}", method).replace("{size}", SAGE_SIZES[method])
    try:
        done = subprocess.run(
            [python, "-c", code],
            input=json.dumps(rows),
            capture_output=True,
            text=True,
            check=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        return patience, None
    seconds, size = json.loads(done.stdout)
    return seconds, size


def lrs(n, d):
    """Seconds and bases of lrs on a polytope of n random facets in R^d.

    lrs searches one cell and not an arrangement; what can be compared is what a basis costs.
    """
    if not shutil.which("lrs"):
        return None
    normals = np.random.default_rng(0).integers(-100, 101, (n, d))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "polytope.ine")
        hc.write_ine(path, normals, [1000] * n)
        start = time.perf_counter()
        done = subprocess.run(["lrs", path], capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
    (bases,) = re.findall(r"bases=(\d+)", done.stdout)
    return seconds, int(bases)
