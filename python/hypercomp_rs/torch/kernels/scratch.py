"""Memory for decoded weights, which the next call uses again.

The operating system provides fresh memory page by page at the first access. In a virtual machine
that takes 1.5 µs for each 4 KiB, three times as long as decoding as many weights. It was more than
half of the 17 ms that a product of 64 vectors with a layer of 4096 x 4096 took.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch

# Larger storages are not kept.
LARGEST_KEPT = 32 << 20

# Storages that no call uses. Any thread takes one and puts it back. Two are kept, as the next layer
# is decoded into one while the other is in use.
_free: deque[torch.UntypedStorage] = deque(maxlen=2)


def take(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor with arbitrary contents. No other call gets its memory until it is given back."""
    nbytes = math.prod(shape) * dtype.itemsize
    try:
        storage = _free.pop()
    except IndexError:
        storage = None
    if storage is None or storage.nbytes() < nbytes:
        storage = torch.UntypedStorage(nbytes)
    return torch.empty(0, dtype=dtype).set_(storage, 0, shape)


def give_back(tensor: torch.Tensor) -> None:
    """Let later calls use the memory of a tensor that was taken.

    Nothing may refer to it any more.
    """
    storage = tensor.untyped_storage()
    if storage.nbytes() <= LARGEST_KEPT:
        _free.append(storage)


def own(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that was taken, to be kept: in memory of just its size."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
