"""Memory for weights that are decoded for one call, used again by the next.

The system hands out fresh memory page by page at the first touch. Under a hypervisor that takes
1.5 µs for each 4 KiB, three times what decoding as many weights does: of a product of 64 vectors
with a layer of 4096 x 4096 (17 ms) more than half was this.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch

# Larger ones are given back to the system.
LARGEST = 32 << 20

# Taken and put back by any thread; two, for one is in use while the next layer is decoded.
_free: deque[torch.UntypedStorage] = deque(maxlen=2)


def take(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor with anything in it, nobody else's until it is given back, or dropped."""
    nbytes = math.prod(shape) * dtype.itemsize
    try:
        storage = _free.pop()
    except IndexError:
        storage = None
    if storage is None or storage.nbytes() < nbytes:
        storage = torch.UntypedStorage(nbytes)
    return torch.empty(0, dtype=dtype).set_(storage, 0, shape)


def give_back(tensor: torch.Tensor) -> None:
    """Let others have what was taken; nothing may refer to the tensor any more."""
    storage = tensor.untyped_storage()
    if storage.nbytes() <= LARGEST:
        _free.append(storage)


def own(tensor: torch.Tensor) -> torch.Tensor:
    """What was taken, for good, in memory of its size."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
