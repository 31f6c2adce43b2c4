"""The override of the vector instructions: the same bytes on every level, and nothing silent."""

import os
import subprocess
import sys

import pytest

from hypercomp_rs import _core

# Everything that has vector instructions of its own: the codec's search, transform, decoding and
# products in floats and in integers, error feedback, and the arrangement engine in one and in
# several words, by both methods.
WORK = """
import hashlib
import numpy as np
import hypercomp_rs as hc
from hypercomp_rs import _core

digest = hashlib.sha256()
rng = np.random.default_rng(18)
w = rng.standard_normal((48, 1088)).astype(np.float32)
x = rng.standard_normal((3, 1088)).astype(np.float32)
for effort in ("fast", "balanced", "high"):
    c = hc.compress_tensor(w, bits=3, effort=effort)
    digest.update(c.to_bytes())
    digest.update(hc.decompress_tensor(c).tobytes())
    digest.update(c.rows(5, 9).tobytes())
    for dtype in (np.float32, np.float16):
        digest.update(hc.matvec(c, x[0].astype(dtype)).tobytes())
        digest.update(hc.matmul(c, x.astype(dtype)).tobytes())
calls = rng.standard_normal((2000, 256)).astype(np.float32)
c = hc.compress_tensor(w[:16, :256].copy(), bits=3, effort="fast", second_moment=calls.T @ calls)
digest.update(c.to_bytes())
half = hc.compress_tensor(w.astype(np.float16), bits=2.5, effort="fast")
digest.update(hc.decompress_tensor(half).tobytes())
a = rng.integers(-9, 10, (14, 4))
for rows in (a, a.astype(object) * 10**9 + rng.integers(-99, 100, a.shape)):
    for method in ("flats", "zero"):
        found = hc.vertices(rows, range(14), method=method)
        digest.update(repr([found.numerators.tolist(), found.denominators.tolist()]).encode())
print(_core.simd_in_use(), digest.hexdigest())
"""


def run(level, code=WORK):
    environment = {k: v for k, v in os.environ.items() if k != "HYPERCOMP_SIMD"}
    if level is not None:
        environment["HYPERCOMP_SIMD"] = level
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_every_level_that_the_machine_has_gives_the_same_bytes():
    levels = _core.simd_available()
    assert levels[0] == "portable"
    runs = {level: run(level) for level in levels}
    for level, done in runs.items():
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[0] == level
    assert len({done.stdout.split()[1] for done in runs.values()}) == 1


@pytest.mark.parametrize("level", [None, ""])
def test_without_an_override_the_best_is_used(level):
    done = run(level, "from hypercomp_rs import _core; print(_core.simd_in_use())")
    assert done.stdout.strip() == _core.simd_available()[-1]


CALLS = {
    "compress_tensor": "hc.compress_tensor(np.ones((4, 256), np.float32))",
    "winding": "hc.compress_tensor(np.ones((4, 256), np.float32), codec='winding')",
    "vertices": "hc.vertices([[1, 0], [0, 1]], [0, 0])",
    "floats": "hc.vertices([[1, 0], [0, 1]], [0, 0], exact=False)",
}


@pytest.mark.parametrize("call", CALLS)
def test_what_the_machine_does_not_have_is_an_error_at_the_first_call(call):
    code = f"""
import numpy as np
import hypercomp_rs as hc
try:
    {CALLS[call]}
except hc.InvalidArgumentError as error:
    print(error)
"""
    done = run("avx1024", code)
    assert done.stdout.startswith("HYPERCOMP_SIMD=avx1024: "), done.stderr
    assert f"accepted here: {', '.join(_core.simd_available())}" in done.stdout
