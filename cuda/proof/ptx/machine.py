"""A launch, all threads of all blocks side by side in numpy arrays.

Threads that stand at the same instruction go on together, those that are farthest back first, so
that what a branch parted meets again. What the machine adds to computing: a register that was never
written must not be read, a barrier must be met by all threads of a block, and a shuffle by exactly
the lanes of its mask; with what :mod:`memory` finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from .memory import Bytes, Fault, Memory
from .operation import operation
from .source import Instruction, Kernel, Unknown, immediate, numpy_type

Lanes = slice | np.ndarray
_CONTROL = ("bra", "ret", "exit", "bar")
_LONGEST = 10_000_000  # instructions of a launch, before it is called a loop without an end


def _bits_as(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values of a register as another type: their bits, cut off or filled up with zeros."""
    if values.dtype == dtype:
        return values
    if values.dtype.itemsize == dtype.itemsize:
        return values.view(dtype)
    if dtype == np.bool_ or values.dtype == np.bool_ or "f" in (values.dtype.kind, dtype.kind):
        raise Unknown(f"{values.dtype} as {dtype}")
    narrow = values.view(f"u{values.dtype.itemsize}").astype(f"u{dtype.itemsize}")
    return narrow.view(dtype)


class Machine:
    """Runs kernels on a memory; of large grids, a number of blocks at a time."""

    def __init__(self, memory: Memory, threads_at_once: int = 1 << 14) -> None:
        self.memory = memory
        self.threads_at_once = threads_at_once
        self.executed = 0

    def launch(self, kernel: Kernel, grid: int, block: int, arguments: list[bytes]) -> None:
        """Run a kernel; its arguments as their bytes."""
        if [len(argument) for argument in arguments] != kernel.sizes:
            raise Fault(f"{kernel.name} takes arguments of {kernel.sizes} bytes")
        if kernel.threads and block > kernel.threads:
            raise Fault(f"{kernel.name} is for at most {kernel.threads} threads a block")
        together = max(1, self.threads_at_once // block)
        for first in range(0, grid, together):
            run = _Run(self, kernel, grid, block, first, min(together, grid - first), arguments)
            self.executed += run.to_the_end()
        self.memory.forget_accesses()


class _Run:
    def __init__(
        self,
        machine: Machine,
        kernel: Kernel,
        grid: int,
        block: int,
        first: int,
        blocks: int,
        arguments: list[bytes],
    ) -> None:
        self.memory, self.kernel, self.block = machine.memory, kernel, block
        self.count = block * blocks
        lanes = np.arange(self.count)
        self.lane, self.warp_start = (
            lanes % block % 32,
            lanes // block * block + lanes % block // 32 * 32,
        )
        # Numbers of threads in the whole grid, which is what may race in device memory.
        self.thread = (first * block + lanes).astype(np.int32)
        self.special = {
            "%tid.x": (lanes % block).astype(np.uint32),
            "%ctaid.x": (first + lanes // block).astype(np.uint32),
            "%ntid.x": np.full(self.count, block, np.uint32),
            "%nctaid.x": np.full(self.count, grid, np.uint32),
        }
        self.registers = {
            name: np.full(self.count, 0xCD, np.uint8).repeat(dtype.itemsize).view(dtype)
            if dtype != np.bool_
            else np.zeros(self.count, bool)
            for name, dtype in kernel.registers.items()
        }
        self.defined: dict[str, np.ndarray | bool] = dict.fromkeys(kernel.registers, False)
        size = kernel.shared_bytes
        self.shared = Bytes(size * blocks, None, "shared memory")
        self.shared_start = (lanes // block * size).astype(np.int64)
        self.arguments = dict(zip(kernel.parameters, arguments, strict=True))
        self.steps: dict[int, Callable[[Lanes], None] | None] = {}
        if not kernel.known:
            # Once, whether it will be reached or not: what is not known must not pass.
            for at in range(len(kernel.instructions)):
                self._step_at(at)
            kernel.known = True

    # Operands.

    def _source(self, text: str, dtype: np.dtype) -> Callable[[Lanes], np.ndarray]:
        if text in self.registers:
            return lambda lanes: _bits_as(self._read(text, lanes), dtype)
        if text in self.special:
            values = self.special[text]
            return lambda lanes: _bits_as(values[lanes], dtype)
        if text in self.kernel.shared:
            value = np.array(self.kernel.shared[text], dtype)[()]
            return lambda lanes: value
        value = immediate(text, dtype)
        return lambda lanes: value

    def _read(self, name: str, lanes: Lanes) -> np.ndarray:
        defined = self.defined[name]
        if defined is not True and (defined is False or not defined[lanes].all()):
            raise Fault(f"register {name} is read before it is written")
        return self.registers[name][lanes]

    def _write(self, name: str, lanes: Lanes, values: np.ndarray) -> None:
        register = self.registers[name]
        register[lanes] = _bits_as(np.asarray(values), register.dtype)
        if isinstance(lanes, slice):
            self.defined[name] = True
        elif self.defined[name] is not True:
            if self.defined[name] is False:
                self.defined[name] = np.zeros(self.count, bool)
            self.defined[name][lanes] = True

    # Instructions.

    def _step_at(self, at: int) -> Callable[[Lanes], None] | None:
        if at not in self.steps:
            self.steps[at] = self._step(self.kernel.instructions[at])
        return self.steps[at]

    def _step(self, instruction: Instruction) -> Callable[[Lanes], None] | None:
        name = instruction.opcode[0]
        if instruction.opcode == ["bar", "warp", "sync"]:
            return self._warp_barrier(instruction)
        if name in _CONTROL:
            known = (["bra"], ["bra", "uni"], ["ret"], ["exit"], ["bar", "sync"])
            if instruction.opcode not in known:
                raise Unknown(instruction.text)
            return None
        try:
            if name == "ld":
                return self._load(instruction)
            if name == "st":
                return self._store(instruction)
            if name == "shfl":
                return self._shuffle(instruction)
            if name == "mma":
                return self._multiply_bytes(instruction)
            if name in ("mov", "cvta"):
                return self._move(instruction)
            return self._compute(instruction)
        except Unknown as unknown:
            raise Unknown(f"line {instruction.line}: {instruction.text}: {unknown}") from None

    def _compute(self, instruction: Instruction) -> Callable[[Lanes], None]:
        compute, kinds, result = operation(instruction.opcode)
        target, *operands = instruction.operands
        if len(operands) != len(kinds) or target not in self.registers:
            raise Unknown("operands")
        sources = [self._source(text, kind) for text, kind in zip(operands, kinds, strict=True)]

        def run(lanes: Lanes) -> None:
            values = compute(*(source(lanes) for source in sources))
            self._write(target, lanes, np.asarray(values).astype(result, copy=False))

        return run

    def _move(self, instruction: Instruction) -> Callable[[Lanes], None]:
        target, source = instruction.operands
        if "{" in target + source:
            return self._repack(target, source, numpy_type(instruction.opcode[-1]))
        if instruction.opcode[0] == "cvta" and instruction.opcode[1:] != ["to", "global", "u64"]:
            raise Unknown("cvta")
        read = self._source(source, numpy_type(instruction.opcode[-1]))
        return lambda lanes: self._write(target, lanes, read(lanes))

    def _repack(self, target: str, source: str, dtype: np.dtype) -> Callable[[Lanes], None]:
        """Between a register and the registers of its parts, the lowest first."""
        whole = np.dtype(f"u{dtype.itemsize}")
        parts = _names(target if "{" in target else source)
        part = np.dtype(f"u{dtype.itemsize // len(parts)}")
        shifts = [whole.type(8 * part.itemsize * i) for i in range(len(parts))]
        if "{" in target:
            read = self._source(source, whole)

            def unpack(lanes: Lanes) -> None:
                value = read(lanes)
                for name, shift in zip(parts, shifts, strict=True):
                    if name != "_":
                        self._write(name, lanes, (value >> shift).astype(part))

            return unpack
        reads = [self._source(name, part) for name in parts]

        def pack(lanes: Lanes) -> None:
            value = whole.type(0)
            for read, shift in zip(reads, shifts, strict=True):
                value = value | read(lanes).astype(whole) << shift
            self._write(target, lanes, np.asarray(value))

        return pack

    # Memory.

    def _address(self, text: str, dtype: np.dtype) -> Callable[[Lanes], np.ndarray]:
        found = re.fullmatch(r"\[\s*([\w%$]+)\s*(?:\+\s*(-?\d+))?\s*\]", text)
        if not found:
            raise Unknown(f"address {text}")
        base = self._source(found[1], dtype)
        offset = dtype.type(int(found[2] or 0) & ((1 << 8 * dtype.itemsize) - 1))
        return lambda lanes: base(lanes) + offset

    def _access(self, opcode: list[str]) -> tuple[str, int, np.dtype]:
        """Space, number of elements and dtype of a load or a store."""
        modifiers = list(opcode[1:-1])
        if "nc" in modifiers and opcode[1] == "global":
            modifiers.remove("nc")
        count = 1
        if modifiers[-1] in ("v2", "v4"):
            count = int(modifiers.pop()[1])
        if modifiers not in (["global"], ["shared"], ["param"]):
            raise Unknown(".".join(opcode))
        return modifiers[0], count, numpy_type(opcode[-1])

    def _load(self, instruction: Instruction) -> Callable[[Lanes], None]:
        space, count, dtype = self._access(instruction.opcode)
        names = _names(instruction.operands[0])
        if len(names) != count:
            raise Unknown("operands")
        if space == "param":
            return self._load_parameter(instruction.operands[1], names, dtype)
        size = count * dtype.itemsize
        kind = np.dtype(np.uint64 if space == "global" else np.uint32)
        address = self._address(instruction.operands[1], kind)

        def run(lanes: Lanes) -> None:
            threads = self.thread[lanes]
            raw = np.empty((len(threads), size), np.uint8)
            for which, memory, places in self._places(space, address(lanes), lanes, size, threads):
                raw[which] = memory.read(places, threads[which])
            values = raw.view(dtype)
            for i, name in enumerate(names):
                self._write_element(name, lanes, values[:, i])

        return run

    def _write_element(self, name: str, lanes: Lanes, values: np.ndarray) -> None:
        """An element into a register that may be wider: signs are filled up for .s types."""
        register = self.registers[name].dtype
        if values.dtype.itemsize < register.itemsize:
            values = values.astype(f"{values.dtype.kind}{register.itemsize}")
        self._write(name, lanes, np.ascontiguousarray(values))

    def _load_parameter(
        self, text: str, names: list[str], dtype: np.dtype
    ) -> Callable[[Lanes], None]:
        found = re.fullmatch(r"\[\s*(\w+)\s*(?:\+\s*(\d+))?\s*\]", text)
        if not found:
            raise Unknown(f"parameter {text}")
        at, data = int(found[2] or 0), self.arguments[found[1]]
        values = np.frombuffer(data, dtype, len(names), at)

        def run(lanes: Lanes) -> None:
            for name, value in zip(names, values, strict=True):
                size = self.count if isinstance(lanes, slice) else len(lanes)
                self._write_element(name, lanes, np.full(size, value))

        return run

    def _store(self, instruction: Instruction) -> Callable[[Lanes], None]:
        space, count, dtype = self._access(instruction.opcode)
        if space == "param":
            raise Unknown("st.param")
        sources = [self._source(name, dtype) for name in _names(instruction.operands[1])]
        if len(sources) != count:
            raise Unknown("operands")
        size = count * dtype.itemsize
        kind = np.dtype(np.uint64 if space == "global" else np.uint32)
        address = self._address(instruction.operands[0], kind)

        def run(lanes: Lanes) -> None:
            threads = self.thread[lanes]
            values = np.empty((len(threads), count), dtype)
            for i, source in enumerate(sources):
                values[:, i] = source(lanes)
            raw = values.view(np.uint8)
            for which, memory, places in self._places(space, address(lanes), lanes, size, threads):
                memory.write(places, raw[which], threads[which])

        return run

    def _places(
        self, space: str, addresses: np.ndarray, lanes: Lanes, size: int, threads: np.ndarray
    ):
        addresses = np.broadcast_to(addresses, threads.shape)
        if space == "global":
            yield from self.memory.find(addresses, size)
            return
        places = addresses.astype(np.int64)
        if (places % size).any():
            raise Fault("misaligned access to shared memory")
        if (places + size > self.kernel.shared_bytes).any():
            raise Fault("access beyond the end of shared memory")
        yield (
            slice(None),
            self.shared,
            (places + self.shared_start[lanes])[:, None] + np.arange(size),
        )

    # Warps.

    def _is_not_mask(self, mask: np.ndarray, who: np.ndarray) -> bool:
        """Whether lanes execute an instruction whose mask has other lanes of their warps."""
        start, here = self.warp_start[who], np.zeros(self.count, np.uint64)
        np.bitwise_or.at(here, start, np.uint64(1) << self.lane[who].astype(np.uint64))
        return bool((here[start] != np.broadcast_to(mask, who.shape)).any())

    def _warp_barrier(self, instruction: Instruction) -> Callable[[Lanes], None]:
        """Lanes of one step are together. Races within a warp are named in spite of the barrier."""
        mask = self._source(instruction.operands[0], np.dtype(np.uint32))

        def run(lanes: Lanes) -> None:
            who = np.arange(self.count) if isinstance(lanes, slice) else lanes
            if self._is_not_mask(mask(lanes), who):
                raise Fault("the mask of a barrier of a warp is not the lanes that execute it")

        return run

    def _shuffle(self, instruction: Instruction) -> Callable[[Lanes], None]:
        if instruction.opcode[1] != "sync" or instruction.opcode[3] != "b32":
            raise Unknown("shuffle")
        mode = instruction.opcode[2]
        if mode not in ("bfly", "idx"):
            raise Unknown(f"shuffle .{mode}")
        target, _, inside = instruction.operands[0].partition("|")
        u32 = np.dtype(np.uint32)
        value, by, limit, mask = (self._source(text, u32) for text in instruction.operands[1:])

        def run(lanes: Lanes) -> None:
            who = np.arange(self.count) if isinstance(lanes, slice) else lanes
            lane, start = self.lane[who].astype(np.uint32), self.warp_start[who]
            if self._is_not_mask(mask(lanes), who):
                raise Fault("a shuffle's mask is not the lanes that execute it")
            bound = limit(lanes)
            segment = bound >> np.uint32(8) & np.uint32(31)
            highest = lane & segment | bound & np.uint32(31) & ~segment
            given = by(lanes) & np.uint32(31)
            source = lane ^ given if mode == "bfly" else lane & segment | given & ~segment
            within = source <= highest
            source = np.where(within, source, lane)
            everyone = np.zeros(self.count, np.uint32)
            everyone[who] = value(lanes)
            here_too = np.zeros(self.count, bool)
            here_too[who] = True
            if not here_too[start + source].all():
                raise Fault("a shuffle reads a lane outside its mask")
            self._write(target.strip(), lanes, everyone[start + source])
            if inside:
                self._write(inside.strip(), lanes, within)

        return run

    def _multiply_bytes(self, instruction: Instruction) -> Callable[[Lanes], None]:
        """Tensor cores: 8x8 sums of products of 16 unsigned and 16 signed bytes."""
        if ".".join(instruction.opcode) != "mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32":
            raise Unknown("mma")
        targets, first, second, sums = (_names(text) for text in instruction.operands)
        if [len(names) for names in (targets, first, second, sums)] != [2, 1, 1, 2]:
            raise Unknown("operands")
        u32, s32 = np.dtype(np.uint32), np.dtype(np.int32)
        a, b = self._source(first[0], u32), self._source(second[0], u32)
        c = [self._source(name, s32) for name in sums]

        def run(lanes: Lanes) -> None:
            who = np.arange(self.count) if isinstance(lanes, slice) else lanes
            whole = len(who) % 32 == 0 and self.block % 32 == 0
            if not whole or (who.reshape(-1, 32) != who[::32, None] + np.arange(32)).any():
                raise Fault("tensor cores without all lanes of a warp")

            def words(values: np.ndarray, dtype: type) -> np.ndarray:
                # Lane 4g + t has bytes 4t to 4t + 3 of row or column g.
                spread = np.broadcast_to(values, who.shape).astype(np.uint32)
                return spread.view(dtype).reshape(-1, 8, 16).astype(np.int32)

            products = words(a(lanes), np.uint8) @ words(b(lanes), np.int8).transpose(0, 2, 1)
            # Lane 4g + t has row g and columns 2t and 2t + 1.
            by_lane = products.reshape(-1, 2)
            for i, target in enumerate(targets):
                self._write(target, lanes, np.ascontiguousarray(by_lane[:, i] + c[i](lanes)))

        return run

    # Control.

    def to_the_end(self) -> int:
        """Run until all threads have left; the number of instructions times threads."""
        everyone = np.arange(self.count)
        groups: dict[int, np.ndarray] = {0: everyone}
        waiting = np.full(self.count, -1)
        left = np.zeros(self.count, bool)
        executed = passes = 0
        with np.errstate(all="ignore"):
            while True:
                if not groups:
                    if left.all():
                        return executed
                    groups = self._release(waiting, left)
                at = min(groups)
                lanes = groups.pop(at)
                instruction = self.kernel.instructions[at]
                executed += len(lanes)
                passes += 1
                if passes > _LONGEST:
                    raise Fault("the kernel does not end")
                taken, other = lanes, lanes[:0]
                if instruction.guard:
                    chosen = self._read(instruction.guard, lanes) ^ instruction.negated
                    taken, other = lanes[chosen], lanes[~chosen]
                step = self._step_at(at)
                if step is not None:
                    if len(taken):
                        try:
                            step(slice(None) if len(taken) == self.count else taken)
                        except Fault as fault:
                            where = (
                                f"{self.kernel.name}, line {instruction.line}: {instruction.text}"
                            )
                            raise Fault(f"{fault} ({where})") from None
                    _join(groups, at + 1, lanes)
                    continue
                name = instruction.opcode[0]
                if len(other):
                    _join(groups, at + 1, other)
                if not len(taken):
                    continue
                if name == "bra":
                    _join(groups, instruction.target, taken)
                elif name == "bar":
                    waiting[taken] = at
                else:
                    left[taken] = True

    def _release(self, waiting: np.ndarray, left: np.ndarray) -> dict[int, np.ndarray]:
        """The threads that go on behind their barriers, if all of their blocks are there."""
        groups: dict[int, np.ndarray] = {}
        by_block = waiting.reshape(-1, self.block)
        gone = left.reshape(-1, self.block)
        for number, (places, out) in enumerate(zip(by_block, gone, strict=True)):
            if out.all():
                continue
            if out.any():
                raise Fault("some threads of a block left before a barrier that others wait at")
            if (places != places[0]).any():
                raise Fault("threads of a block wait at different barriers")
            lanes = np.arange(number * self.block, (number + 1) * self.block)
            _join(groups, int(places[0]) + 1, lanes)
            size = self.kernel.shared_bytes
            self.shared.forget_accesses(slice(number * size, (number + 1) * size))
        waiting[:] = -1
        return groups


def _join(groups: dict[int, np.ndarray], at: int, lanes: np.ndarray) -> None:
    present = groups.get(at)
    groups[at] = lanes if present is None else np.sort(np.concatenate([present, lanes]))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.strip("{} ").split(",")]
