"""Products of many vectors: a weight decoded in blocks of rows, each multiplied by torch.

Not row by row and not whole: a block is large enough that two teams of threads, the decoder's and
torch's, hand over to each other a few times a layer only, and small enough to lie in the last level
of cache, in memory that every call uses again. (Blocks that fit the second level were slower: 9.2
and 7.9 ms for 64 vectors and a layer of 4096 x 4096.)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import torch

from . import _ahead, _scratch
from ._ahead import Part
from ._codes import Weight

BLOCK = 8 << 20
# Rows of a weight that is stored by input: part of a Hadamard block of outputs costs all of it.
WHOLE = 1024
# From so many vectors on, for each thread that multiplies and each that decodes meanwhile, blocks
# are decoded ahead. With fewer, all threads do both in less time.
AHEAD = 64
# Whether the processor multiplies bfloat16.
SHORT: bool = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def multiply(
    x: torch.Tensor, weight: Weight, bias: torch.Tensor | None, transposed: bool
) -> torch.Tensor:
    """x·Wᵀ + b, or x·W + b."""
    # Where the processor has no products of 16 bits, torch takes ten times as long for float16 as
    # for float32 (fifty, transposed), and twice as long for bfloat16.
    native = x.dtype.itemsize > 2 or (SHORT and x.dtype == torch.bfloat16)
    wide = x.dtype if native else torch.float32
    vectors = x.reshape(-1, x.shape[-1]).to(wide)
    add = _added_up if transposed else _side_by_side
    product = add(vectors, weight, None if bias is None else bias.to(wide))
    return product.to(x.dtype).view(*x.shape[:-1], product.shape[-1])


def _side_by_side(x: torch.Tensor, weight: Weight, bias: torch.Tensor | None) -> torch.Tensor:
    y = x.new_empty(len(x), weight.shape[0])
    for start, rows in _blocks(weight, x.dtype, len(x)):
        stop = start + len(rows)
        part = None if bias is None else bias[start:stop]
        y[:, start:stop] = torch.nn.functional.linear(x, rows, part)
    return y


def _added_up(x: torch.Tensor, weight: Weight, bias: torch.Tensor | None) -> torch.Tensor:
    # Sums of sums that are rounded to 16 bits once each, and not once more for each block.
    wide = torch.promote_types(x.dtype, torch.float32)
    y = torch.zeros(len(x), weight.shape[1], dtype=wide)
    for start, rows in _blocks(weight, x.dtype, len(x)):
        y += x[:, start : start + len(rows)] @ rows
    return (y if bias is None else y + bias).to(x.dtype)


def _blocks(weight: Weight, dtype: torch.dtype, vectors: int) -> Iterator[tuple[int, torch.Tensor]]:
    """The index of a block's first row, and the block, until the next is asked for."""
    rows, columns = weight.shape
    most = max(1, BLOCK // max(1, columns * dtype.itemsize))
    if weight.swapped:
        most = max(1, most // WHOLE) * WHOLE
    parts = [Part(range(i, min(i + most, rows)), dtype) for i in range(0, rows, most)]
    threads = torch.get_num_threads()
    ahead = vectors * _ahead.spare(threads) >= AHEAD * threads and _ahead.wanted(threads)
    for part, then in zip_longest(parts, parts[1:]):
        block = _ahead.taken(weight, part, then) if ahead else _ahead.decode(weight, part, threads)
        yield part.rows.start, block
        _scratch.give_back(block)
