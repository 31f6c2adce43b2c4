"""Memory that knows what was written, by whom, and what was not.

Bytes of all blocks' shared memory, or of a buffer of device memory, stand in one array beside
* whether they were ever written: reading one that was not is a fault;
* the thread that wrote them, and the one thread or more that read them, since the last barrier (in
  device memory, since the kernel was launched): if one of two accesses of different threads is a
  write, the order is not settled, and that is a fault too, also within a warp.
"""

from __future__ import annotations

import numpy as np

NOBODY, SEVERAL = -1, -2


class Fault(Exception):
    """A kernel did what is not defined."""


class Bytes:
    """Some memory."""

    def __init__(self, size: int, contents: np.ndarray | None, what: str) -> None:
        self.what = what
        self.data = np.full(size, 0xA5, np.uint8)
        self.written = np.zeros(size, bool)
        if contents is not None:
            self.data[:] = contents
            self.written[:] = True
        self._writer = np.full(size, NOBODY, np.int32)
        self._reader = np.full(size, NOBODY, np.int32)

    def forget_accesses(self, which: slice | np.ndarray = slice(None)) -> None:
        """A barrier: what came before is in order with what comes after."""
        self._writer[which] = NOBODY
        self._reader[which] = NOBODY

    def read(self, places: np.ndarray, threads: np.ndarray) -> np.ndarray:
        """Bytes at `places`, shape (threads, bytes)."""
        if not self.written[places].all():
            raise Fault(f"{self.what} is read before it is written")
        writer, who = self._writer[places], threads[:, None]
        if ((writer != NOBODY) & (writer != who)).any():
            raise Fault(
                f"race in {self.what}: what one thread wrote another reads with no barrier between"
            )
        reader = self._reader[places]
        fresh = np.where((reader == NOBODY) | (reader == who), who, SEVERAL)
        self._reader[places] = fresh
        # Where several threads read a byte at once, the last one won above.
        if places.size > 1 and (self._reader[places] != fresh).any():
            clash = self._reader[places] != who
            self._reader[places[clash]] = SEVERAL
        return self.data[places]

    def write(self, places: np.ndarray, values: np.ndarray, threads: np.ndarray) -> None:
        """Bytes at `places`, shape (threads, bytes)."""
        who = np.broadcast_to(threads[:, None], places.shape)
        for other in (self._writer[places], self._reader[places]):
            if ((other != NOBODY) & (other != who)).any():
                raise Fault(
                    f"race in {self.what}: a thread writes what another has used with no barrier"
                )
        self._writer[places] = who
        if (self._writer[places] != who).any():
            raise Fault(f"race in {self.what}: two threads write one place at once")
        self.data[places] = values
        self.written[places] = True


class Memory:
    """Device memory: buffers with gaps between, each at a multiple of 256."""

    def __init__(self) -> None:
        self._buffers: list[tuple[int, Bytes]] = []
        self._next = 1 << 32

    def allocate(self, size: int, contents: np.ndarray | None = None, align: int = 256) -> int:
        """The address of a new buffer. Whole words can be read, as launch.h has it."""
        room = -(-size // 4) * 4
        padded = None
        if contents is not None:
            padded = np.zeros(room, np.uint8)
            padded[:size] = contents
        address = self._next + align % 256
        self._buffers.append((address, Bytes(room, padded, "device memory")))
        self._next += -(-room // 4096) * 4096 + 8192
        return address

    def contents(self, address: int, size: int) -> np.ndarray:
        """What a kernel wrote; a fault if it is not all written."""
        for start, buffer in self._buffers:
            if start == address:
                if not buffer.written[:size].all():
                    raise Fault(
                        f"{int((~buffer.written[:size]).sum())} bytes of a result were not written"
                    )
                return buffer.data[:size]
        raise KeyError(address)

    def forget_accesses(self) -> None:
        """The end of a kernel."""
        for _, buffer in self._buffers:
            buffer.forget_accesses()

    def find(self, addresses: np.ndarray, size: int):
        """Pieces (which of the addresses, buffer, places in it) of accesses of `size` bytes."""
        if (addresses % np.uint64(size)).any():
            raise Fault("misaligned access to device memory")
        left = np.arange(len(addresses))
        for start, buffer in self._buffers:
            if not len(left):
                return
            here = addresses[left]
            inside = (here >= start) & (here < start + len(buffer.data))
            if inside.any():
                which = left[inside]
                places = (addresses[which] - np.uint64(start)).astype(np.int64)
                if (places + size > len(buffer.data)).any():
                    raise Fault("access beyond the end of a buffer")
                yield which, buffer, places[:, None] + np.arange(size)
                left = left[~inside]
        if len(left):
            raise Fault(f"access to {int(addresses[left[0]]):#x}, which is in no buffer")
