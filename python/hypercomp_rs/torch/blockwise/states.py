"""What a block gives for each sample: in memory, or in a file that an interrupted run reads again.

The state of a sample is the list of tensors in a block's output: its hidden states, and in some
models others that the next block gets, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..._durable import written
from ...errors import FormatError

if TYPE_CHECKING:
    import numpy.typing as npt

State = list[torch.Tensor]
# Bytes at the end of a file with the length of the list before it.
TRAILER = 8


class StatesInMemory:
    """The states of all samples, replaced one by one."""

    def __init__(self, samples: int) -> None:
        self._states: list[State | None] = [None] * samples

    def read(self, sample: int) -> State | None:
        """The state of a sample; None before the first block."""
        return self._states[sample]

    def replace(self, block: int, advance: Callable[[int], State]) -> None:
        """The states that block `block` is called with. `advance` gives that of one sample."""
        for sample in range(len(self._states)):
            self._states[sample] = [tensor.cpu() for tensor in advance(sample)]

    def close(self) -> None:
        """Give the memory back."""
        self._states.clear()


class StatesInFile:
    """The states of all samples in a file, of which there is one for each block.

    A file is written under a temporary name, synchronised and renamed, so one that exists is
    complete. Then the file of the block before is removed.

    Parameters
    ----------
    samples
        Number of samples.
    path
        The path of the file of a block.
    """

    def __init__(self, samples: int, path: Callable[[int], Path]) -> None:
        self._samples = samples
        self._path = path
        self._block = 0
        self._index: list[list[tuple[list[int], str, int]]] = []

    def find(self, most: int) -> int:
        """Open the file of the last block that has one, up to `most`; its number, or 0."""
        for block in range(most, 0, -1):
            if self._path(block).exists():
                self._open(block)
                return block
        return 0

    def read(self, sample: int) -> State | None:
        """The state of a sample; None before the first block."""
        if not self._block:
            return None
        found = []
        with self._path(self._block).open("rb") as file:
            for shape, dtype, start in self._index[sample]:
                tensor = torch.empty(shape, dtype=getattr(torch, dtype))
                file.seek(start)
                flat = tensor.reshape(-1).view(torch.uint8).numpy()
                if file.readinto(flat.data) != flat.nbytes:
                    raise FormatError(f"{self._path(self._block)}: truncated")
                found.append(tensor)
        return found

    def replace(self, block: int, advance: Callable[[int], State]) -> None:
        """The states that block `block` is called with. `advance` gives that of one sample."""
        with written(self._path(block)) as file:
            index, place = [], 0
            for sample in range(self._samples):
                here = []
                for tensor in advance(sample):
                    flat = _bytes(tensor)
                    file.write(flat.data)
                    dtype = str(tensor.dtype).removeprefix("torch.")
                    here.append((list(tensor.shape), dtype, place))
                    place += flat.nbytes
                index.append(here)
            said = json.dumps(index).encode()
            file.write(said)
            file.write(len(said).to_bytes(TRAILER, "little"))
        before, self._block, self._index = self._block, block, index
        if before:
            self._path(before).unlink()

    def _open(self, block: int) -> None:
        path = self._path(block)
        try:
            with path.open("rb") as file:
                file.seek(-TRAILER, 2)
                length = int.from_bytes(file.read(TRAILER), "little")
                file.seek(-TRAILER - length, 2)
                index = json.loads(file.read(length))
        except (OSError, ValueError) as error:
            raise FormatError(f"{path}: {error}; restart to throw it away") from None
        self._block, self._index = block, index

    def close(self) -> None:
        """Remove the file."""
        if self._block:
            self._path(self._block).unlink(missing_ok=True)


def _bytes(tensor: torch.Tensor) -> npt.NDArray[np.uint8]:
    flat: npt.NDArray[np.uint8] = tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat
