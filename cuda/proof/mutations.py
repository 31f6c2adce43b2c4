"""Planted bugs: what the proof must find, each of them, or it proves nothing.

A mutation is a change of the kernels' source and the cases on which it has to be noticed. It is
found if a prover stops with a complaint, or a result is wrong.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from . import cases, declarations, tile_cases
from .case import Case
from .ptx import Fault, Unknown
from .runners import CUDA, Failed, Interpreter, compile_host, run_host


@dataclass
class Mutation:
    """A bug: in a file of cuda/, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    cases: Callable[[], Iterator[Case]]
    provers: tuple[str, ...] = ("ptx",)  # which have to find it

    def planted(self, folder: Path) -> Path:
        """A copy of the kernels with the bug."""
        copy = folder / "cuda"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(CUDA, copy, ignore=shutil.ignore_patterns("image", "__pycache__"))
        text = (copy / self.file).read_text()
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: {text.count(self.old)} places in {self.file} to plant it at"
            )
        (copy / self.file).write_text(text.replace(self.old, self.new))
        return copy


def _ragged() -> Iterator[Case]:
    return (c for c in cases.shapes() if "(5, 1000)" in c.name or "(3, 129)" in c.name)


def _products() -> Iterator[Case]:
    return islice(cases.products(), 2)


def _tables() -> Iterator[Case]:
    return (c for c in cases.tables() if "W = 10, h = 8" in c.name)


def _tiles(*names: str) -> Callable[[], Iterator[Case]]:
    return lambda: (c for c in tile_cases.everything() if c.name in names)


MUTATIONS = (
    Mutation(
        "a missing barrier between levels of butterflies",
        "hadamard.cuh",
        "values[j] * norm;\n    }\n    __syncthreads();",
        "values[j] * norm;\n    }",
        _ragged,
        ("ptx", "fiber"),
    ),
    Mutation(
        "a missing barrier before the table is read",
        "product.cuh",
        "reinterpret_cast<const uint4*>(tensor.table)[i];\n    __syncthreads();",
        "reinterpret_cast<const uint4*>(tensor.table)[i];",
        _tables,
        ("ptx", "fiber"),
    ),
    Mutation(
        "a missing barrier after the signs are loaded",
        "product.cuh",
        "load_signs(tensor.seed, at.start, signs);\n    __syncthreads();",
        "load_signs(tensor.seed, at.start, signs);",
        _products,
    ),
    Mutation(
        "a barrier that half of the threads do not reach",
        "decode.cuh",
        "    if (tensor.transformed) at.inverse(tile);\n",
        "    if (tensor.transformed && threadIdx.x < 32) at.inverse(tile);\n",
        _ragged,
        ("ptx", "fiber"),
    ),
    Mutation(
        "one weight too many",
        "decode.cuh",
        "i < at.length; i += TILE_THREADS) {\n        float value = tile[padded(i)];",
        "i <= at.length; i += TILE_THREADS) {\n        float value = tile[padded(i)];",
        _ragged,
        ("ptx", "address"),
    ),
    Mutation(
        "one path bit of another chain",
        "plane.cuh",
        "newer &= (1u << known) - 1;",
        "newer &= (2u << known) - 1;",
        lambda: (c for c in cases.shapes() if c.name == "chains without padding"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a word beyond the plane",
        "plane.cuh",
        "(uint32_t)first + N <= count)",
        "(uint32_t)first + N <= count + 1)",
        lambda: (c for c in cases.shapes() if c.name == "a plane of whole words"),
        ("ptx", "address"),
    ),
    Mutation(
        "a tail that nobody decodes: shared memory read before it is written",
        "decode.cuh",
        "at < length; at += TILE_THREADS * DECODED",
        "at + DECODED <= length; at += TILE_THREADS * DECODED",
        _ragged,
        ("ptx", "fiber"),
    ),
    Mutation(
        "a register that one path leaves unwritten",
        "product.cuh",
        "        float value = 0.0f;\n        if (vector < matrix.batch)\n",
        "        float value;\n        if (vector < matrix.batch)\n",
        lambda: (c for c in cases.products() if "batch 3" in c.name),
    ),
    Mutation(
        "a shuffle mask without half of the lanes",
        "product.cuh",
        "totals[v] += __shfl_xor_sync(0xFFFFFFFFu,",
        "totals[v] += __shfl_xor_sync(0x0000FFFFu,",
        _products,
        ("ptx", "fiber"),
    ),
    Mutation(
        "a shuffle that is one short",
        "product.cuh",
        "for (int distance = 16; distance > 0; distance /= 2)\n                    totals",
        "for (int distance = 8; distance > 0; distance /= 2)\n                    totals",
        _products,
        ("ptx", "fiber"),
    ),
    Mutation(
        "all lanes write the result",
        "product.cuh",
        "if (threadIdx.x % 32 == 0 && vector < matrix.batch)",
        "if (vector < matrix.batch)",
        _products,
    ),
    Mutation(
        "two blocks that write the same rows",
        "product.cuh",
        "uint32_t row = blockIdx.x * HC_ROWS + threadIdx.x / 32",
        "uint32_t row = blockIdx.x * (HC_ROWS - 1) + threadIdx.x / 32",
        _products,
    ),
    Mutation(
        "halves away from zero at ties in bfloat16",
        "element.cuh",
        "bits + 0x7FFF + (bits >> 16 & 1)",
        "bits + 0x8000",
        lambda: (c for c in cases.windings() if "ties" in c.name),
        ("ptx", "fiber"),
    ),
    Mutation(
        "subnormals rounded twice",
        "element.cuh",
        "if (tensor.fits && !subnormal) return",
        "if (tensor.fits) return",
        lambda: (c for c in cases.ranges() if "near a tie" in c.name),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a tile of the wrong scale",
        "product.cuh",
        "image.scales[4 * (part + (uint64_t)(i / 4) * slots) + i % 4] = scale;",
        "image.scales[4 * part + i] = scale;",
        lambda: (c for c in cases.tables() if "two steps" in c.name),
        ("ptx", "fiber"),
    ),
    Mutation(
        "the offsets of four weights in the opposite order",
        "table.cuh",
        "index >> (3 - j)",
        "index >> j",
        _tables,
        ("ptx", "fiber"),
    ),
    Mutation(
        "a tile that is closed one lane too early",
        "tile_codes.cuh",
        "return path(octets - 4) >> down;",
        "return path(octets - 5) >> down;",
        _tiles("tiles of 100 weights"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "path bits of a tile of one lane that are not repeated often enough",
        "tile_codes.cuh",
        "return count < 16 ? bits | bits << 2 * count : bits;",
        "return bits;",
        _tiles("tiles of 8 weights, h = 3"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "lanes of the second half of a vector of path bits that begin a byte late",
        "tile_codes.cuh",
        "plane.four(at) << bits;",
        "plane.four(at + 1) << bits;",
        _tiles("tiles of 41 weights, h = 3"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a word beyond the plane of tiles",
        "tile_codes.cuh",
        "min((at + 3) / 4, count - 1)",
        "(at + 3) / 4",
        _tiles("tiles of 33 weights, h = 8"),
        ("ptx", "address"),
    ),
    Mutation(
        "a missing barrier before levels are read",
        "tile_decode.cuh",
        "stream.cell_bit / 8);\n        __syncthreads();",
        "stream.cell_bit / 8);",
        _tiles("tiles of 100 weights, h = 8"),
    ),
    Mutation(
        "a missing barrier before a product reads levels",
        "tile_product.cuh",
        "32 * HC_ROWS);\n    __syncthreads();",
        "32 * HC_ROWS);",
        _tiles("product of tiles, no transform"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a missing barrier before a block of weights is turned",
        "tile_decode_rows.cuh",
        "            }\n            __syncthreads();\n            if (!on) continue;",
        "            }\n            if (!on) continue;",
        _tiles("expanded tiles, a small exponent"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a missing barrier before the next block is written over one that was turned",
        "tile_decode_rows.cuh",
        "__syncthreads();\n            if (on) {",
        "if (on) {",
        _tiles("expanded tiles, a small exponent"),
    ),
    Mutation(
        "a chain that is closed in the other tile of a warp",
        "tile_decode_rows.cuh",
        "(lane / 16 * 16 + (quad + 15) % 16)",
        "((lane + 31) % 32)",
        _tiles("expanded tiles, a small exponent"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "pairs of weights that lanes exchange the wrong way",
        "tile_decode_rows.cuh",
        "odd ? 0x3276 : 0x5410",
        "odd ? 0x7632 : 0x5410",
        _tiles("expanded tiles, a small exponent"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a fragment with two columns exchanged",
        "tile_vectors.cuh",
        "__byte_perm(lower, upper, 0x1504)",
        "__byte_perm(lower, upper, 0x1540)",
        _tiles("tensor cores, batch 1"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a missing barrier before level bytes are read",
        "tile_rows.cuh",
        "room, 32 * ROW_WARPS);\n    __syncthreads();",
        "room, 32 * ROW_WARPS);",
        _tiles("tensor cores, batch 1"),
    ),
    Mutation(
        "a missing barrier before sums replace level bytes",
        "tile_rows.cuh",
        "#undef HC_ROWS_OF\n    __syncthreads();",
        "#undef HC_ROWS_OF",
        _tiles("tensor cores, batch 1"),
    ),
    Mutation(
        "a missing barrier before the sums of all warps are added",
        "tile_rows.cuh",
        "sums[r][n][1]};\n    __syncthreads();",
        "sums[r][n][1]};",
        _tiles("tensor cores, batch 1"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a chain of half a tile that is closed at a lane without codes",
        "tile_rows.cuh",
        "(quarter ? quarter : lanes) - 1",
        "(quarter ? quarter : 4) - 1",
        _tiles("tensor cores, 256 columns"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "half of the lanes of a warp at a tile of their own",
        "tile_rows.cuh",
        "tile = threadIdx.x / 32; tile",
        "tile = threadIdx.x / 16; tile",
        _tiles("tensor cores, batch 1"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "a register with a bit too many",
        "tile_bytes.cuh",
        "((1u << window) - 1) <<",
        "((2u << window) - 1) <<",
        _tiles("tensor cores, batch 1"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "the cells of two weights exchanged",
        "tile_bytes.cuh",
        "level(older, path, i, first, at)",
        "level(older, path, i, last, at)",
        _tiles("tensor cores, batch 1"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "the level of the other weight of a step",
        "tile_bytes.cuh",
        "i % 2 << CELL",
        "(i + 1) % 2 << CELL",
        _tiles("tensor cores, batch 1"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "level bytes of which the last ones are not loaded",
        "tile_bytes.cuh",
        "window) / 16; i",
        "window) / 16 - 1; i",
        _tiles("tensor cores, batch 1"),
    ),
    Mutation(
        "levels that are not moved back",
        "tile_rows.cuh",
        "lower - 128 * (int64_t)",
        "lower - 127 * (int64_t)",
        _tiles("tensor cores, an outlier"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "an infinity that is rounded away",
        "tile_vectors.cuh",
        "if (wrong) unit",
        "if (wrong > 1) unit",
        _tiles("tensor cores, an infinity"),
        ("ptx", "fiber"),
    ),
    Mutation(
        "vectors after the last one that are not written",
        "tile_vectors.cuh",
        "    uint4* to = bytes +",
        "    if (!there) return;\n    uint4* to = bytes +",
        _tiles("tensor cores, batch 1"),
    ),
)


def _only_what_runs(copy: Path, chosen: list[Case]) -> None:
    """Leave out the kernels that no case launches: they take most of the compilers' time."""
    launched = {launch.kernel for case in chosen for launch in case.launches}
    file = copy / declarations.FILE.name
    unused = set(declarations.KERNELS) - launched
    file.write_text(declarations.without(file.read_text(), unused))


def found_by(mutation: Mutation, prover: str, folder: Path, compile_ptx) -> str | None:
    """What a prover says of a mutation, or None where it notices nothing."""
    copy, chosen = mutation.planted(folder), list(mutation.cases())
    try:
        _only_what_runs(copy, chosen)
        if prover == "ptx":
            interpreter = Interpreter(compile_ptx(copy))
            run = interpreter.run
        else:
            build = "plain" if prover == "fiber" else prover
            program = compile_host(build, folder, copy)

            def run(case: Case):
                return run_host(program, case, seed=1)

        for case in chosen:
            if complaints := case.complaints(run(case)):
                return complaints[0]
    except (Fault, Unknown, Failed) as complaint:
        return str(complaint).strip().splitlines()[0]
    return None
