"""Writes the golden files of the present format version; run once for each, then never again.

``python tests/golden/write_format.py`` from the root of the checkout.
"""

from pathlib import Path

import numpy as np

import hypercomp_rs as hc

HERE = Path(__file__).parent


def first():
    """Version 1."""
    rng = np.random.default_rng(20261124)
    w = rng.standard_normal((24, 384)).astype(np.float32)
    sparse = rng.standard_normal((16, 300)).astype(np.float16)
    sparse[rng.random(sparse.shape) < 0.6] = 0
    sparse[3] = 0
    filters = (rng.standard_normal((8, 16, 3, 3)) * 1e-3).astype(np.float64)
    yield "balanced", hc.compress_tensor(w, bits=3.3)
    yield "fast", hc.compress_tensor(w[:5, :101], bits=1.5, effort="fast", seed=7)
    yield "high", hc.compress_tensor(filters, bits=4.5, effort="high")
    yield "max", hc.compress_tensor(w[:4], bits=2.6, effort="max", incoherence="none")
    yield "sparse", hc.compress_tensor(sparse, bits=4, sparsity="keep", max_error=0.2)
    yield "winding", hc.compress_tensor(w, codec="winding")
    yield "raw", hc.compress_tensor(w[0, :7])
    yield "zeros", hc.compress_tensor(0 * w)


def second():
    """Version 2: matrices that are stored the other way round."""
    rng = np.random.default_rng(20261125)
    x = rng.standard_normal((500, 30)) @ rng.standard_normal((30, 96))
    h = x.T @ x
    w = rng.standard_normal((400, 96)).astype(np.float32)
    yield "balanced", hc.compress_tensor(w, bits=3.3, second_moment=h)
    yield "joined", hc.compress_tensor(w[:33].astype(np.float16), bits=2, second_moment=h)
    wide = rng.standard_normal((6000, 5))
    yield "pieces", hc.compress_tensor(wide, bits=4.5, effort="high", second_moment=np.eye(5))


def tiles():
    """Versions 3 and 4: tiles, also of the transpose."""
    rng = np.random.default_rng(20261130)
    w = rng.standard_normal((24, 1200)).astype(np.float32)
    w[2] *= 4
    yield "3-balanced", hc.compress_tensor(w, bits=3.3, layout="tiles")
    yield "3-fast", hc.compress_tensor(w[:5, :101], bits=1.5, effort="fast", layout="tiles")
    yield "3-high", hc.compress_tensor(w, bits=4, effort="high", layout="tiles")
    yield "3-max", hc.compress_tensor(w[:4], bits=2.6, effort="max", layout="tiles")
    yield "3-sixteen-cells", hc.compress_tensor(w[:3], bits=4.5, layout="tiles")
    yield "3-many-bits", hc.compress_tensor(w[:3], bits=7, effort="fast", layout="tiles")
    sparse = w * (rng.random(w.shape) < 0.4)
    kept = {"sparsity": "keep", "max_error": 0.3}
    yield "3-sparse", hc.compress_tensor(sparse, bits=4, **kept, layout="tiles")
    moment = np.diag(np.logspace(-2, 0, 96))
    yield (
        "4-balanced",
        hc.compress_tensor(w[:, :96], bits=3, second_moment=moment, layout="tiles"),
    )


def main():
    for name, c in tiles():
        path = HERE / f"format-{name}.hypc"
        path.write_bytes(c.to_bytes())
        np.savez_compressed(path.with_suffix(".npz"), decoded=c.decompress(np.float32))


if __name__ == "__main__":
    main()
