"""PTX text to instructions."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

import numpy as np


class Unknown(Exception):
    """Something in the text that the interpreter does not know, and so will not guess at."""


_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}
_FLOAT = {2: np.float16, 4: np.float32, 8: np.float64}
_KINDS = {"f": _FLOAT, "s": _SIGNED, "u": _UNSIGNED, "b": _UNSIGNED}


def numpy_type(name: str) -> np.dtype:
    """The numpy dtype of a PTX type such as ``u32``."""
    if name == "pred":
        return np.dtype(bool)
    if not re.fullmatch(r"[fsub](8|16|32|64)", name) or name == "f8":
        raise Unknown(f"type .{name}")
    return np.dtype(_KINDS[name[0]][int(name[1:]) // 8])


@dataclass
class Instruction:
    """One instruction: ``@guard opcode.modifiers operands``."""

    line: int
    text: str
    guard: str | None
    negated: bool
    opcode: list[str]
    operands: list[str]
    target: int = -1  # of a branch


@dataclass
class Kernel:
    """An entry point."""

    name: str
    parameters: dict[str, tuple[int, int]] = field(default_factory=dict)  # offset, size
    sizes: list[int] = field(default_factory=list)
    registers: dict[str, np.dtype] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    shared_bytes: int = 0
    threads: int = 0  # .maxntid
    instructions: list[Instruction] = field(default_factory=list)
    known: bool = False  # whether every instruction has been looked at by the machine

    @classmethod
    def find(cls, text: str, name: str) -> Kernel:
        """The entry point of this name in a PTX module."""
        start = re.search(rf"\.entry\s+{re.escape(name)}\s*\(", text)
        if not start:
            raise Unknown(f"no entry point {name}")
        # An empty line stands before the last brace, and before no brace of inline assembly.
        end = text.index("\n\n}\n", start.end())
        line = text.count("\n", 0, start.start()) + 1
        return _Reader(cls(name), text[start.end() : end], line).kernel


class _Reader:
    def __init__(self, kernel: Kernel, text: str, line: int) -> None:
        self.kernel = kernel
        parameters, rest = text.split("\n)", 1)
        self._read_parameters(parameters)
        head, body = rest.split("{", 1)
        found = re.search(r"\.maxntid\s+(\d+)", head)
        kernel.threads = int(found[1]) if found else 0
        line += text.count("\n", 0, len(text) - len(body))
        labels: dict[str, int] = {}
        for number, statement in self._statements(body, line):
            if statement.endswith(":"):
                labels[statement[:-1]] = len(kernel.instructions)
            elif statement.startswith("."):
                self._declare(statement)
            else:
                kernel.instructions.append(self._instruction(number, statement))
        for instruction in kernel.instructions:
            if instruction.opcode[0] == "bra":
                instruction.target = labels[instruction.operands[0]]

    def _read_parameters(self, text: str) -> None:
        at = 0
        pattern = r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(\w+)(?:\[(\d+)\])?"
        for align, kind, name, count in re.findall(pattern, text):
            size = numpy_type(kind).itemsize * int(count or 1)
            at = -(-at // int(align or size)) * int(align or size)
            self.kernel.parameters[name] = (at, size)
            self.kernel.sizes.append(size)
            at += size

    @staticmethod
    def _statements(body: str, line: int):
        """Statements with their lines.

        Inline assembly of NVIDIA's headers stands in braces and may have registers of its own,
        which get names of their own here.
        """
        local: dict[str, str] = {}
        for raw in body.split("\n"):
            text = raw.split("//")[0].strip()
            if text.startswith("{"):
                text, local = text[1:].strip(), {}
            closing = text == "}" or text.endswith(";}")
            text = text[:-1].strip() if closing else text
            if found := re.fullmatch(r"\.reg\s+(\.\w+)\s+(\w+(?:\s*,\s*\w+)*);", text):
                local = {name: f"%{name}_{line}" for name in re.split(r"\s*,\s*", found[2])}
                for name in local.values():
                    yield line, f".reg {found[1]} {name}"
            elif text.endswith(":") or text.endswith(";"):
                for name, own in local.items():
                    text = re.sub(rf"(?<![\w%.]){name}\b", own, text)
                yield line, text.rstrip(";").strip()
            elif text:
                raise Unknown(f"line {line}: {text}")
            if closing:
                local = {}
            line += 1

    def _declare(self, text: str) -> None:
        kernel = self.kernel
        if found := re.fullmatch(r"\.reg\s+\.(\w+)\s+(%\w+?)<(\d+)>", text):
            for i in range(int(found[3])):
                kernel.registers[f"{found[2]}{i}"] = numpy_type(found[1])
        elif found := re.fullmatch(r"\.reg\s+\.(\w+)\s+(%\w+)", text):
            kernel.registers[found[2]] = numpy_type(found[1])
        elif found := re.fullmatch(
            r"\.shared\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?", text
        ):
            align = int(found[1])
            start = -(-kernel.shared_bytes // align) * align
            kernel.shared[found[3]] = start
            kernel.shared_bytes = start + numpy_type(found[2]).itemsize * int(found[4] or 1)
        elif not text.startswith(".pragma"):
            raise Unknown(text)

    @staticmethod
    def _instruction(line: int, text: str) -> Instruction:
        found = re.fullmatch(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*)", text, re.S)
        if not found:
            raise Unknown(f"line {line}: {text}")
        operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", found[4])
        return Instruction(
            line,
            text,
            found[2],
            found[1] == "!",
            found[3].split("."),
            [operand.strip() for operand in operands],
        )


def immediate(text: str, dtype: np.dtype) -> np.generic:
    """The value of a number in the text, as a dtype."""
    if text[:2].lower() == "0f":
        value = np.frombuffer(struct.pack("<I", int(text[2:], 16)), np.float32)[0]
    elif text[:2].lower() == "0d":
        value = np.frombuffer(struct.pack("<Q", int(text[2:], 16)), np.float64)[0]
    elif re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
        if dtype.kind == "b":
            return np.bool_(int(text, 0))
        if dtype.kind == "f":
            raise Unknown(f"the integer {text} as a float")
        bits = int(text.rstrip("U"), 0) & ((1 << 8 * dtype.itemsize) - 1)
        return np.array(bits, _UNSIGNED[dtype.itemsize]).view(dtype)[()]
    else:
        raise Unknown(f"operand {text}")
    if value.dtype.itemsize != dtype.itemsize:
        raise Unknown(f"{text} as {dtype}")
    return value.view(dtype) if value.dtype != dtype else value
