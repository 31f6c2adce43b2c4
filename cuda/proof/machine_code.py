"""What ptxas and nvdisasm say of the machine code: registers, and the loops that decode a weight.

Instructions are counted in the SASS of the innermost loop that a weight is decoded in, with the
kernels compiled for one rate at a time (``HC_ONLY_RATE``), so that the loop can be told from others
and what only happens at the ends of planes is not in it.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache

import compile_kernels as kernels

NVDISASM = "cu13", "bin/nvdisasm"


@dataclass
class Loop:
    """An innermost loop: how often each instruction stands in it, and the weights of a turn."""

    counts: Counter[str]
    weights: int

    @property
    def a_weight(self) -> float:
        """Instructions a weight."""
        return self.counts.total() / self.weights


def resources(log: str) -> dict[str, dict[str, int]]:
    """What ``ptxas -v`` says of each kernel."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        name = part.split("'")[0]
        spills = sum(int(n) for n in re.findall(r"(\d+) bytes spill", part))
        shared = re.search(r"(\d+) bytes smem", part)
        found[name] = {
            "registers": int(re.search(r"Used (\d+) registers", part)[1]),
            "spilled": spills,
            "stack": int(re.search(r"(\d+) bytes stack frame", part)[1]),
            "shared": int(shared[1]) if shared else 0,
        }
    return found


def disassembled(cubin: bytes, kernel: str) -> list[str]:
    """The lines of a kernel's SASS."""
    tool = kernels.wheel(NVDISASM[0]) / NVDISASM[1]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True)
    found = re.search(rf"\.text\.{kernel}:\n(.*?)(?:\n\s*\.section|\Z)", done.stdout, re.S)
    return found[1].split("\n")


def loops(lines: list[str]) -> list[Counter[str]]:
    """Instructions of the loops that have no loop in them."""
    labels: dict[str, int] = {}
    code: list[str] = []
    for line in lines:
        if found := re.match(r"\s*(\.L_\w+):", line):
            labels[found[1]] = len(code)
        elif found := re.match(r"\s+/\*[0-9a-f]+\*/\s+(.*?);", line):
            code.append(found[1])
    spans = []
    for at, text in enumerate(code):
        found = re.search(r"\bBRA\S*\s.*`\((\S+)\)", text)
        if found and labels.get(found[1], at + 1) <= at:
            spans.append((labels[found[1]], at))
    innermost = [
        s for s in spans if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in spans)
    ]
    names = [
        [re.sub(r"^@!?U?P\w+\s+", "", text).split()[0] for text in code[start : end + 1]]
        for start, end in innermost
    ]
    return [Counter(n) for n in names]


@cache
def _ptx_of_one_rate(rate: int) -> str:
    return kernels.compile_ptx(options=(*kernels.OPTIONS, f"-DHC_ONLY_RATE={rate}"))


@cache
def _one_rate(rate: int, architecture: int) -> bytes:
    return kernels.assemble(_ptx_of_one_rate(rate), architecture)[0]


def product_loop(rate: int, architecture: int, *, table: bool) -> Loop:
    """The loop of hc_matvec_1: over groups of 32 weights with a table, of 16 without."""
    found = loops(disassembled(_one_rate(rate, architecture), "hc_matvec_1"))
    work = "HFMA2" if table else "FFMA"
    mine = [c for c in found if sum(n for name, n in c.items() if name.startswith(work)) > 32]
    if len(mine) != 1:
        raise RuntimeError(f"{len(mine)} such loops in hc_matvec_1, sm_{architecture}")
    return Loop(mine[0], 32 if table else 16)


def rows_loop(rate: int, architecture: int) -> Loop:
    """The inner loop of hc_tile_rows_1: a lane has two octets of two rows."""
    found = loops(disassembled(_one_rate(rate, architecture), "hc_tile_rows_1"))
    mine = [
        c
        for c in found
        if sum(n for name, n in c.items() if name.startswith("IMMA")) == 8 and "EXIT" not in c
    ]
    if len(mine) != 1:
        raise RuntimeError(f"{len(mine)} such loops in hc_tile_rows_1, sm_{architecture}")
    return Loop(mine[0], 32)


def decode_loop(rate: int, architecture: int, kernel: str = "hc_decode") -> Loop:
    """The loop of hc_decode over groups of 16 weights: all but the transform and the rounding."""
    found = loops(disassembled(_one_rate(rate, architecture), kernel))
    conversions = [
        c for c in found if sum(n for name, n in c.items() if name.startswith("I2F")) == 16
    ]
    if len(conversions) != 1:
        raise RuntimeError(f"{len(conversions)} decoding loops in {kernel}, sm_{architecture}")
    return Loop(conversions[0], 16)
