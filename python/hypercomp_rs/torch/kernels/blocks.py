"""Products of many vectors: a weight decoded in blocks of rows, each multiplied by torch.

A block is larger than a row and smaller than the weight. It is so large that the decoder's threads
and torch's threads take turns only a few times in a layer, and so small that it stays in the last
level of cache, in memory that every call uses again. (Blocks that fit the second level of cache
were slower: 9.2 instead of 7.9 ms for 64 vectors and a layer of 4096 x 4096.)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import torch

from .._codes import Weight
from . import ahead, scratch
from .ahead import Rows
from .choice import MULTIPLIES_BFLOAT16, decodes_blocks_ahead, rows_of_block


def multiply(
    x: torch.Tensor, weight: Weight, bias: torch.Tensor | None, transposed: bool
) -> torch.Tensor:
    """x·Wᵀ + b, or x·W + b."""
    # On processors without products of 16 bits, torch takes ten times as long for float16 as for
    # float32 (fifty times if transposed), and twice as long for bfloat16.
    native = x.dtype.itemsize > 2 or (MULTIPLIES_BFLOAT16 and x.dtype == torch.bfloat16)
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
    # The sum over blocks is in float32, so that it is rounded to 16 bits once and not for each
    # block.
    wide = torch.promote_types(x.dtype, torch.float32)
    y = torch.zeros(len(x), weight.shape[1], dtype=wide)
    for start, rows in _blocks(weight, x.dtype, len(x)):
        y += x[:, start : start + len(rows)] @ rows
    return (y if bias is None else y + bias).to(x.dtype)


def _blocks(weight: Weight, dtype: torch.dtype, vectors: int) -> Iterator[tuple[int, torch.Tensor]]:
    """The index of a block's first row, and the block.

    A block lasts until the next is asked for.
    """
    rows = weight.shape[0]
    step = rows_of_block(weight, dtype)
    parts = [Rows(range(i, min(i + step, rows)), dtype) for i in range(0, rows, step)]
    threads = torch.get_num_threads()
    meanwhile = decodes_blocks_ahead(vectors, threads)
    for part, following in zip_longest(parts, parts[1:]):
        if meanwhile:
            block = ahead.decoded(weight, part, following)
        else:
            block = ahead.decode(weight, part, threads)
        yield part.rows.start, block
        scratch.give_back(block)
