"""Every kind of tensor that the codec makes, generated: small ones, for what reads stored parts.

`every_kind` draws from the product of all that a call of `compress_tensor` may say (shapes, element
types, sizes, zeros, rates, windows, sparsity, exact weights, the transform, second moments, both
codecs) and keeps a tensor when it has a pair of properties that none before it had, or parts that
none had together. `part_sets` are all sets of parts that a trellis tensor can have; that they all
come is asserted here, so that a part that may be missing is missing somewhere.
"""

import bisect
import itertools
import json
import pathlib
import pickle
from collections.abc import Iterator

import ml_dtypes
import numpy as np

import hypercomp_rs as hc

DTYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
SHAPES = (
    (),
    (1,),
    (5,),
    (300,),
    (0, 4),
    (3, 0),
    (2, 3),
    (1, 384),
    (9, 130),
    (20, 50),
    (5, 384),
    (2, 3000),
    (3000, 2),
    (6, 5, 4),
    (2, 3, 130),
    (8, 4, 3, 3),
)
BITS = (1, 1.3, 1.5, 2, 2.5, 3.3, 4, 5.5, 7, 8)
# The longer a register, the longer the search.
EFFORTS = ("fast",) * 12 + ("balanced",) * 6 + ("high",) * 2 + ("max",)
# Shares of zeros; negative ones are of whole rows.
ZEROS = (0, 0.3, 0.95, -0.5, 1)
# Of the largest weight: the error from which on weights are stored exactly.
MAX_ERRORS = (None, 0.1, 0.25)
EXPONENTS = (0, -40, -110, 110, -1030, 900)
# Parts that a trellis tensor may lack: scales and rates where all streams have the same, cells at
# rates up to a bit.
OPTIONAL = ("cells", "exact", "mask", "rates", "scales")
DRAWN, SEEDS = 1000, 200
# The longest second moment, which takes its cube.
MOST_INPUTS = 400


def part_sets() -> set[frozenset[str]]:
    """All sets of parts that a trellis tensor can have."""
    return {
        frozenset(("path", *some))
        for count in range(len(OPTIONAL) + 1)
        for some in itertools.combinations(OPTIONAL, count)
    }


def parts_of(c: hc.CompressedTensor) -> frozenset[str]:
    """The names of the parts that a tensor has."""
    return frozenset(c.to_parts()[1])


def properties(c: hc.CompressedTensor) -> frozenset[tuple[str, object]]:
    """What tells kinds of tensors apart."""
    said = json.loads(c.to_parts()[0])
    trellis = said.get("trellis") or {}
    below = c.shape[1:] if c.stored_by_input else c.shape
    row = (c.shape[0] if c.stored_by_input else c.shape[-1]) if below else 0
    exponent = trellis.get("exponent", 0)
    return frozenset(
        {
            ("codec", c.codec),
            ("parts", parts_of(c)),
            ("dtype", str(c.dtype)),
            ("axes", len(c.shape)),
            ("by input", c.stored_by_input),
            ("tiles", said["format"] in (3, 4)),
            ("empty", 0 in c.shape),
            ("rows", "joined" if row < 128 else "cut" if row > 2047 else "whole"),
            ("window", trellis.get("window")),
            ("transformed", trellis.get("seed") is not None),
            ("streams of zeros", trellis.get("zero_streams")),
            ("size", bisect.bisect((-200, -80, -20, 80, 200), exponent)),
        }
    )


def weights(rng, shape, zeros, exponent, dtype) -> np.ndarray:
    """Gaussian weights, of which a share is zero."""
    w = rng.standard_normal(shape) * 2.0**exponent
    if zeros >= 0:
        w = np.where(rng.random(shape) < zeros, 0, w)
    elif shape:
        w[rng.random(shape[0]) < -zeros] = 0
    return np.asarray(w).astype(dtype)


def drawn(rng) -> hc.CompressedTensor | None:
    """A tensor of any kind; None where the call is refused."""

    def one(choices):
        return choices[rng.integers(len(choices))]

    dtype, shape = one(DTYPES), one(SHAPES)
    most = {np.float16: 1, np.float64: len(EXPONENTS)}.get(dtype, 4)
    exponent = one(EXPONENTS[:most])
    zeros = one(ZEROS)
    w = weights(rng, shape, zeros, exponent, dtype)
    if rng.random() < 0.1:
        return hc.compress_tensor(w, codec=hc.Winding(group=int(rng.integers(1, 5))))
    effort = one(EFFORTS if w.size <= 400 else EFFORTS[:18])
    options = {"bits": one(BITS), "effort": effort, "seed": int(rng.integers(1 << 60))}
    if rng.random() < 0.3:
        options["incoherence"] = "none"
    if rng.random() < 0.3:
        options["layout"] = "tiles"
    axis = int(rng.integers(2))
    if len(shape) == 2 and 0 < shape[axis] <= MOST_INPUTS and rng.random() < 0.5:
        x = rng.standard_normal((2 * shape[axis], shape[axis]))
        options |= {"second_moment": x.T @ x, "input_axis": axis}
    else:
        if rng.random() < 0.4:
            options["sparsity"] = "keep"
        share = one(MAX_ERRORS)
        if share is not None and w.size:
            options["max_error"] = share * float(np.abs(w.astype(np.float64)).max()) or None
    try:
        return hc.compress_tensor(w, **options)
    except hc.InvalidArgumentError:
        return None


def of_every_part_set() -> Iterator[hc.CompressedTensor]:
    """Tensors of one or two streams, until all sets of parts have come."""
    left = part_sets()
    most = itertools.product(
        range(3),
        ((300,), (2, 384), (3, 200)),
        (1, 1.2, 1.5, 1.8, 2.2, 2.5, 3, 4),
        (0, 0.3, 0.6, 0.95),
        (None, "keep"),
        (None, 1.2, 2.5),
    )
    # Streams of one scale and two rates, beside zeros and exact weights.
    rare = itertools.product(
        range(SEEDS), ((2, 384),), (1.8, 2, 2.2), (0.1, 0.3), (None, "keep"), (2.2, 2.5)
    )
    for seed, shape, bits, zeros, sparsity, max_error in itertools.chain(most, rare):
        if not left:
            return
        rng = np.random.default_rng(seed)
        w = weights(rng, shape, zeros, 0, np.float32)
        if max_error is not None:
            w.flat[7] = 9
        try:
            c = hc.compress_tensor(
                w, bits=bits, effort="fast", sparsity=sparsity, max_error=max_error
            )
        except hc.InvalidArgumentError:
            continue
        if parts_of(c) in left:
            left.remove(parts_of(c))
            yield c
    assert not left, f"no tensor with the parts {[sorted(parts) for parts in left]}"


def save(path: pathlib.Path) -> None:
    """Write every kind to a file, for a program that takes a fresh process for each test."""
    path.write_bytes(pickle.dumps([c.to_bytes() for c in every_kind()]))


def load(path: str) -> list[hc.CompressedTensor]:
    """What `save` wrote."""
    stored = pickle.loads(pathlib.Path(path).read_bytes())
    return [hc.CompressedTensor.from_bytes(data) for data in stored]


def found(path: pathlib.Path) -> str:
    """Lines of a program that has this module, and as KINDS_FILE what `save` wrote."""
    here = str(pathlib.Path(__file__).parent)
    lines = ["import sys", f"sys.path.insert(0, {here!r})", "import tensor_kinds"]
    return "\n".join([*lines, f"KINDS_FILE = {str(path)!r}", ""])


def multiplies(c: hc.CompressedTensor) -> bool:
    """Whether kernels multiply by a tensor's codes as they are stored, by what docs/gpu.md says."""
    rows = c.shape[::-1] if c.stored_by_input else c.shape
    alone = c.codec == "trellis" and not {"mask", "exact"} & parts_of(c)
    return alone and len(rows) == 2 and rows[1] >= 128


def every_kind() -> list[hc.CompressedTensor]:
    """Tensors with all pairs of properties that come, and all sets of parts that there are."""
    rng = np.random.default_rng(0)
    seen: set[frozenset[tuple[str, object]]] = set()
    kept = []
    candidates = itertools.chain(of_every_part_set(), (drawn(rng) for _ in range(DRAWN)))
    for c in candidates:
        if c is None:
            continue
        pairs = {frozenset(pair) for pair in itertools.combinations(properties(c), 2)}
        if pairs - seen:
            seen |= pairs
            kept.append(c)
    return kept
