"""A case: buffers, launches that refer to them, and what has to come out.

The same case is run by kernels that g++ compiled (``host.cc``) and by the interpreter of PTX.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from .declarations import INTEGERS, KERNELS


@dataclass
class Pointer:
    """The address of a buffer, as an argument."""

    buffer: int


@dataclass
class Struct:
    """A struct as an argument: its bytes, with pointers at some offsets."""

    data: bytes
    pointers: dict[int, Pointer] = field(default_factory=dict)


@dataclass
class Launch:
    """A kernel with a one-dimensional grid of one-dimensional blocks."""

    kernel: str
    grid: int
    block: int
    arguments: list[Struct]


@dataclass
class Buffer:
    """Device memory; without contents before a kernel writes them, if it is a result."""

    data: np.ndarray
    result: bool


def _packed(where: str, kind: str, argument: object) -> Struct:
    """An argument for a parameter of this type."""
    if kind.endswith("*") and isinstance(argument, Pointer):
        return Struct(bytes(8), {0: argument})
    if kind.startswith("Hc") and isinstance(argument, Struct):
        return argument
    if kind in INTEGERS and isinstance(argument, int):
        return Struct(struct.pack("<" + INTEGERS[kind], argument))
    raise TypeError(f"{where}: {kind} is declared, {type(argument).__name__} was given")


class Case:
    """Buffers and launches, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.buffers: list[Buffer] = []
        self.launches: list[Launch] = []
        self._checks = []

    def give(self, array: np.ndarray | bytes) -> Pointer:
        """A buffer with these contents."""
        data = np.frombuffer(bytes(array), np.uint8)
        self.buffers.append(Buffer(data, False))
        return Pointer(len(self.buffers) - 1)

    def room(self, count: int, dtype: np.dtype | type) -> Pointer:
        """A buffer for `count` results."""
        self.buffers.append(Buffer(np.zeros(count, dtype), True))
        return Pointer(len(self.buffers) - 1)

    def launch(self, kernel: str, grid: int, *arguments: Pointer | Struct | int) -> None:
        """Launch a kernel by its declaration, which has the size of a block and the parameters.

        Raises
        ------
        TypeError
            Arguments that are not what ``kernels.def`` declares.
        """
        declared = KERNELS[kernel]
        if len(arguments) != len(declared.parameters):
            raise TypeError(
                f"{kernel} has {len(declared.parameters)} parameters: {len(arguments)} were given"
            )
        packed = [
            _packed(f"{kernel}, {name}", kind, argument)
            for (kind, name), argument in zip(declared.parameters, arguments, strict=True)
        ]
        self.launches.append(Launch(kernel, grid, declared.threads, packed))

    def expect(self, result: Pointer, check) -> None:
        """`check` is called with the result's contents and returns a complaint or None."""
        self._checks.append((result, check))

    def expect_bits(self, result: Pointer, expected: np.ndarray) -> None:
        """The result has exactly these bits."""
        wanted = np.frombuffer(np.ascontiguousarray(expected).tobytes(), np.uint8)

        def check(got: np.ndarray) -> str | None:
            bits = got.view(np.uint8)
            if len(bits) != len(wanted):
                return f"{len(bits)} bytes instead of {len(wanted)}"
            wrong = np.nonzero((bits != wanted).reshape(-1, got.itemsize).any(1))[0]
            if not len(wrong):
                return None
            first = wrong[0]
            what = wanted.view(got.dtype)[first]
            where = f"{len(wrong)} of {len(got)} differ, the first at {first}"
            return f"{where}: {got[first]!r}, not {what!r}"

        self.expect(result, check)

    def complaints(self, results: dict[int, np.ndarray]) -> list[str]:
        """What is wrong with the results, by the buffers' numbers."""
        found = (check(results[result.buffer]) for result, check in self._checks)
        return [f"{self.name}: {what}" for what in found if what]

    def serialized(self) -> bytes:
        """The form that ``host.cc`` reads."""
        out = [struct.pack("<I", len(self.buffers))]
        for buffer in self.buffers:
            out.append(struct.pack("<QB", buffer.data.nbytes, buffer.result))
            if not buffer.result:
                out.append(buffer.data.tobytes())
        out.append(struct.pack("<I", len(self.launches)))
        for launch in self.launches:
            name = launch.kernel.encode()
            out.append(struct.pack("<I", len(name)) + name)
            out.append(struct.pack("<III", launch.grid, launch.block, len(launch.arguments)))
            for argument in launch.arguments:
                out.append(struct.pack("<I", len(argument.data)) + argument.data)
                out.append(struct.pack("<I", len(argument.pointers)))
                for offset, pointer in argument.pointers.items():
                    out.append(struct.pack("<II", offset, pointer.buffer))
        return b"".join(out)

    def results_of(self, data: bytes) -> dict[int, np.ndarray]:
        """The results that ``host.cc`` wrote."""
        results, at = {}, 0
        for number, buffer in enumerate(self.buffers):
            if buffer.result:
                count = len(buffer.data)
                results[number] = np.frombuffer(data, buffer.data.dtype, count, at)
                at += buffer.data.nbytes
        return results
