"""The cases of streams in tiles: every rate and window, ragged tiles, masks, axes, products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import hypercomp_rs

from . import tensor as t
from .case import Case
from .cases import NUMPY, _decode, _product


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


def everything() -> Iterator[Case]:
    """All cases of tiles."""
    for group in (every_code(), shapes(), from_the_package(), products()):
        yield from group
