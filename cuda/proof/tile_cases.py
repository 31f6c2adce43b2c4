"""The cases of streams in tiles: every rate and window, ragged tiles, masks, axes, products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import hypercomp_rs

from . import tensor as t
from .case import Case
from .cases import NUMPY, _decode, _product, product_check

# Of ‖w‖·‖x‖: the error of vectors as integers of 15 bits.
ROWS_BOUND = 2.0**-11


def every_code(windows: tuple[int, ...] = (8, 10, 12, 16)) -> Iterator[Case]:
    """Every rate of every window, each a stream of one tensor."""
    rng = np.random.default_rng(20261201)
    for window in windows:
        # 600 weights are a whole tile, and one of eleven lanes.
        data = t.forge((17, 600), window, np.arange(17), rng, seed=window, tiled=True)
        yield _decode(f"tiles, every rate, W = {window}", data, ("float32",))
        yield _product(f"product of tiles, every rate, W = {window}", data, 1, "float32", rng)


def shapes() -> Iterator[Case]:
    """Tiles of every number of lanes up to nine, and of more; streams that begin at any byte."""
    rng = np.random.default_rng(20261202)
    for n in (1, 8, 9, 17, 30, 33, 41, 50, 57, 65, 100, 127):
        data = t.forge((n,), 10, rng.permutation(16) + 1, rng, seed=n, tiled=True)
        yield _decode(f"tiles of {n} weights", data)
        for h in (3, 7, 8):
            data = t.forge((n,), 16, np.array([h]), rng, seed=None, tiled=True)
            yield _decode(f"tiles of {n} weights, h = {h}", data, ("float32",))
    for number, shape in enumerate(
        [(3, 129), (5, 1000), (2, 1024), (64, 100), (4, 3, 5, 7), (3, 11008), (1, 20_000)]
    ):
        window, rates = (8, 10, 12, 16)[number % 4], rng.permutation(16) + 1
        data = t.forge(shape, window, rates, rng, seed=int(rng.integers(1 << 60)), tiled=True)
        yield _decode(f"tiles of shape {shape}", data)
    for shape in ((70, 1500), (52, 4000)):
        data = t.forge(shape, 12, rng.permutation(16) + 1, rng, seed=4, tiled=True)
        yield _decode(f"tiles, long streams {shape}", data, ("float32",))


def from_the_package() -> Iterator[Case]:
    """Tensors that the package made: masks, exact weights, codes along the other axis."""
    rng = np.random.default_rng(20261203)
    for shape, share in (((9, 700), 0.5), ((40, 100), 0.9)):
        w = rng.standard_normal(shape).astype(np.float32)
        w[rng.random(shape) < share] = 0
        w[-1] = 0
        kept = hypercomp_rs.compress_tensor(
            w, bits=4, effort="fast", max_error=0.15, layout="tiles"
        )
        yield _decode(f"tiles, zeros and exact weights {shape}", kept.to_bytes())
    w = rng.standard_normal((130, 140)).astype(np.float32)
    x = rng.standard_normal((300, 140))
    kept = hypercomp_rs.compress_tensor(
        w, bits=3, effort="fast", second_moment=x.T @ x, input_axis=1, layout="tiles"
    )
    case, prepared = Case("tiles along the outputs"), t.prepare(kept.to_bytes())
    for dtype in NUMPY:
        out = t.add_decode(case, prepared, dtype)
        case.expect_bits(out, np.ascontiguousarray(kept.decompress(NUMPY[dtype]).T))
    yield case


def _byte_rates(window: int) -> np.ndarray:
    """Rates whose level bytes fit in shared memory, and rows of zeros, twice each."""
    return np.array([h for h in range(9) if (window, h) != (12, 7)]).repeat(2)


def expanded() -> Iterator[Case]:
    """Rows of whole Hadamard blocks, decoded at once: every rate, several blocks, no transform."""
    rng = np.random.default_rng(20261206)
    for window, shape, seed, dtypes in (
        (8, (18, 1024), 1, tuple(NUMPY)),
        (10, (18, 1024), None, ("bfloat16",)),
        (12, (18, 1024), 2, ("float16",)),
        (10, (80, 5120), 3, ("float16",)),
    ):
        rates = rng.permutation(_byte_rates(window))
        data = t.forge(shape, window, rates, rng, seed=seed, tiled=True)
        kept = hypercomp_rs.CompressedTensor.from_bytes(data)
        case = Case(f"expanded tiles of shape {shape}, W = {window}")
        for dtype in dtypes:
            out = t.add_expand(case, t.prepare(data), dtype)
            case.expect_bits(out, kept.decompress(NUMPY[dtype]))
        yield case
    # Both factors of 2^e are needed.
    data = t.forge((16, 1024), 10, np.array([8]), rng, seed=5, exponent=-138, tiled=True)
    case = Case("expanded tiles, a small exponent")
    for dtype in NUMPY:
        wanted = hypercomp_rs.CompressedTensor.from_bytes(data).decompress(NUMPY[dtype])
        case.expect_bits(t.add_expand(case, t.prepare(data), dtype), wanted)
    yield case


def products() -> Iterator[Case]:
    """Every batch and dtype; rows in pieces; mixed rates; rows of zeros."""
    rng = np.random.default_rng(20261204)
    dtypes = tuple(NUMPY)
    for batch in range(1, 9):
        rates = np.array([8, 9, 0, 7, 16, 1])
        data = t.forge((11, 520), 10, rates, rng, seed=5, exponent=-3, tiled=True)
        dtype = dtypes[batch % 3]
        yield _product(f"product of tiles, batch {batch}, {dtype}", data, batch, dtype, rng)
    for shape in ((3, 128), (9, 384), (3, 4096), (2, 20_000)):
        data = t.forge(shape, 12, np.array([8, 6, 11]), rng, seed=6, tiled=True)
        yield _product(f"product of tiles {shape}", data, 2, "bfloat16", rng)
    data = t.forge((5, 300), 8, np.array([8]), rng, seed=None, tiled=True)
    yield _product("product of tiles, no transform", data, 3, "float16", rng)


def _by_tensor_cores(
    name: str, data: bytes, x: np.ndarray, dtype: str, share: float = ROWS_BOUND
) -> Case:
    case = Case(name)
    kept = hypercomp_rs.CompressedTensor.from_bytes(data)
    y = t.add_rows_product(case, t.prepare(data), x.view(t.STORED[dtype]), dtype)
    case.expect(y, product_check(kept.decompress(np.float64), x, dtype, share))
    return case


def products_by_tensor_cores() -> Iterator[Case]:
    """Every rate of every window that has them, every number of groups, rows of half a tile."""
    rng = np.random.default_rng(20261205)

    def vectors(batch: int, columns: int, dtype: str) -> np.ndarray:
        return rng.standard_normal((batch, columns)).astype(NUMPY[dtype])

    for window in (8, 10, 12):
        rates = rng.permutation(_byte_rates(window))
        data = t.forge((18, 768), window, rates, rng, seed=window, exponent=-4, tiled=True)
        name = f"tensor cores, every rate, W = {window}"
        yield _by_tensor_cores(name, data, vectors(3, 768, "float16"), "float16")
    for batch in (1, 4, 5, 9, 13, 16):
        data = t.forge((21, 1024), 10, np.array([8, 8, 7]), rng, seed=5, tiled=True)
        dtype = ("bfloat16", "float16")[batch % 2]
        name = f"tensor cores, batch {batch}"
        yield _by_tensor_cores(name, data, vectors(batch, 1024, dtype), dtype)
    # Only large tensors have rows of more than 1024 weights that are one stream.
    for rows, columns in ((17, 256), (85, 4864)):
        data = t.forge((rows, columns), 10, np.array([8]), rng, seed=columns, tiled=True)
        name = f"tensor cores, {columns} columns"
        yield _by_tensor_cores(name, data, vectors(2, columns, "float16"), "float16")
    # One large value: the others have few bits.
    x = vectors(2, 1024, "float16")
    x[0, 7] = 3000
    data = t.forge((16, 1024), 10, np.array([8]), rng, seed=None, tiled=True)
    yield _by_tensor_cores("tensor cores, an outlier", data, x, "float16")
    yield _not_finite(data, vectors(3, 1024, "float16"))


def _not_finite(data: bytes, x: np.ndarray) -> Case:
    """A vector with an infinity has results that are not numbers; others are not disturbed."""
    x[1, 600] = np.inf
    case = Case("tensor cores, an infinity")
    kept = hypercomp_rs.CompressedTensor.from_bytes(data).decompress(np.float64)
    y = t.add_rows_product(case, t.prepare(data), x.view(np.uint16), "float16")
    others = product_check(kept, x[::2], "float16", ROWS_BOUND)

    def check(got: np.ndarray) -> str | None:
        by_vector = got.view(np.float16).reshape(3, -1)
        if not np.isnan(by_vector[1]).all():
            return "a vector with an infinity has finite results"
        return others(by_vector[::2].copy())

    case.expect(y, check)
    return case


def everything() -> Iterator[Case]:
    """All cases of tiles."""
    for group in (
        every_code(),
        shapes(),
        from_the_package(),
        expanded(),
        products(),
        products_by_tensor_cores(),
    ):
        yield from group
