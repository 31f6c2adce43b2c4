"""Both engines where only hypercomp-rs and numpy are installed; ``smoke_test.py`` runs this."""

import importlib.metadata
import importlib.util
import math
import pathlib
import sys

import numpy as np

import hypercomp_rs as hc

GOLDEN = pathlib.Path(__file__).parent.parent / "tests" / "golden"
ABSENT = ("torch", "click", "rich", "safetensors", "matplotlib")
IN_THE_WHEEL = ("LICENSE-MIT", "LICENSE-APACHE", "THIRD_PARTY_LICENSES.txt", "py.typed")


def test_environment() -> None:
    """Nothing is imported from the checkout, or from an extra; the licences are there."""
    for name in ABSENT:
        assert importlib.util.find_spec(name) is None, f"{name} is in the bare environment"
    assert pathlib.Path(hc.__file__).is_relative_to(sys.prefix), hc.__file__
    held = [file.name for file in importlib.metadata.files("hypercomp-rs") or ()]
    for name in IN_THE_WHEEL:
        assert name in held, f"{name} is not in the wheel"


def test_codec() -> None:
    """Weights come back with the error that is said; stored ones come back bit for bit."""
    w = np.random.default_rng(0).standard_normal((96, 1000)).astype(np.float32)
    x = np.linspace(-1, 1, 1000, dtype=np.float32)
    for codec in ("trellis", "winding"):
        c = hc.compress_tensor(w, codec=codec)
        back = hc.decompress_tensor(c)
        assert (back.shape, back.dtype) == (w.shape, w.dtype)
        signal, noise = (float(np.square(part, dtype=np.float64).sum()) for part in (w, w - back))
        assert math.isclose(10 * math.log10(signal / noise), c.sqnr_db, abs_tol=0.01), codec
        assert hc.CompressedTensor.from_bytes(c.to_bytes()) == c
        assert np.allclose(hc.matvec(c, x), back @ x, atol=1e-3), codec
    c = hc.compress_tensor(w, bits=4)
    assert c.bits_per_weight <= 4
    assert c.sqnr_db > 22
    golden = sorted(GOLDEN.glob("format-*.hypc"))
    assert golden, GOLDEN
    for path in golden:
        stored = hc.CompressedTensor.from_bytes(path.read_bytes())
        with np.load(path.with_suffix(".npz")) as expected:
            assert np.array_equal(stored.decompress(np.float32), expected["decoded"]), path.name


def test_vertices() -> None:
    """Vertices are exact fractions, and as many as theory says, by either method."""
    # The Shi arrangement of four variables, x_4 = 0: x_i - x_j = 0 and = 1 for i < j.
    planes = [(i, j, side) for i in range(4) for j in range(i + 1, 4) for side in (0, 1)]
    a = [[(k == i) - (k == j) for k in range(3)] for i, j, _ in planes]
    b = [side for _, _, side in planes]
    for method in ("flats", "zero"):
        assert len(hc.vertices(a, b, method=method)) == math.factorial(4), method
        found = hc.vertices([[1, 0], [0, 1], ["1/3", 1]], [0, 0, "1/7"], method=method)
        points = [tuple(map(str, point)) for point in found]
        assert points == [("0", "0"), ("0", "1/7"), ("3/7", "0")], points


if __name__ == "__main__":
    test_environment()
    test_codec()
    test_vertices()
    version = importlib.metadata.version("hypercomp-rs")
    print(f"hypercomp-rs {version}: both engines work with numpy alone")
