"""What the machine code costs: registers, spills, shared memory, instructions and bytes a weight.

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
from pathlib import Path

import compile_kernels as kernels

from . import roofline

NVDISASM = "cu13", "bin/nvdisasm"
# Of each kernel: registers a thread, bytes of shared memory. No kernel may spill.
LIMITS = {
    "hc_decode": (128, 8_992),
    "hc_transform": (96, 9_000),
    "hc_spread_16": (40, 0),
    "hc_spread_32": (40, 0),
    "hc_patch_16": (16, 0),
    "hc_patch_32": (16, 0),
    "hc_offsets": (40, 0),
    "hc_matvec_1": (85, 32_768),
    "hc_matvec_2": (128, 32_768),
    "hc_matvec_4": (170, 32_768),
    "hc_matvec_8": (170, 32_768),
    "hc_winding": (48, 0),
}
# Instructions a weight: of a product by a table at 4 bits, of one without, of decoding.
MOST_WITH_TABLE = 10.0
MOST_WITHOUT = 23.0
MOST_DECODED = 26.0


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
def _one_rate(rate: int, architecture: int) -> bytes:
    ptx = kernels.compile_ptx(options=(*kernels.OPTIONS, f"-DHC_ONLY_RATE={rate}"))
    return kernels.assemble(ptx, architecture)[0]


def product_loop(rate: int, architecture: int, *, table: bool) -> Loop:
    """The loop of hc_matvec_1: over groups of 32 weights with a table, of 16 without."""
    found = loops(disassembled(_one_rate(rate, architecture), "hc_matvec_1"))
    work = "HFMA2" if table else "FFMA"
    mine = [c for c in found if sum(n for name, n in c.items() if name.startswith(work)) > 32]
    if len(mine) != 1:
        raise RuntimeError(f"{len(mine)} such loops in hc_matvec_1, sm_{architecture}")
    return Loop(mine[0], 32 if table else 16)


def decode_loop(rate: int, architecture: int) -> Loop:
    """The loop of hc_decode over groups of 16 weights: all but the transform and the rounding."""
    found = loops(disassembled(_one_rate(rate, architecture), "hc_decode"))
    conversions = [
        c for c in found if sum(n for name, n in c.items() if name.startswith("I2F")) == 16
    ]
    if len(conversions) != 1:
        raise RuntimeError(f"{len(conversions)} decoding loops in hc_decode, sm_{architecture}")
    return Loop(conversions[0], 16)


def bytes_a_weight(rate: int, columns: int) -> float:
    """Bytes that a product reads for a weight: its codes, and a share of its row's HcStream."""
    return rate / 16 + 32 / columns


def broken(log_by_architecture: dict[int, str]) -> list[str]:
    """Limits that are not kept, among registers, spills, stack and shared memory."""
    complaints = []
    for architecture, log in log_by_architecture.items():
        found = resources(log)
        for missing in LIMITS.keys() ^ found.keys():
            complaints.append(f"{missing}: a limit, or a kernel, is missing")
        for name in LIMITS.keys() & found.keys():
            most = dict(zip(("registers", "shared"), LIMITS[name], strict=True), spilled=0, stack=0)
            for what, limit in most.items():
                if found[name][what] > limit:
                    text = f"{name} on sm_{architecture}: {what} {found[name][what]}, limit {limit}"
                    complaints.append(text)
    return complaints


def report(log_by_architecture: dict[int, str]) -> tuple[str, list[str]]:
    """The tables of budgets and of the roofline, and what breaks a limit."""
    complaints = broken(log_by_architecture)
    lines = ["Registers a thread, shared memory (no kernel spills or has a stack)", ""]
    names = sorted(LIMITS)
    lines.append(
        "| kernel | " + " | ".join(f"sm_{a}" for a in log_by_architecture) + " | shared bytes |"
    )
    lines.append("|---|" + "---|" * (len(log_by_architecture) + 1))
    by_architecture = {a: resources(log) for a, log in log_by_architecture.items()}
    for name in names:
        cells = [str(found[name]["registers"]) for found in by_architecture.values()]
        shared = max(found[name]["shared"] for found in by_architecture.values())
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {shared} |")
    lines += ["", "Instructions a weight", ""]
    lines.append("| architecture | product at 4 bits, table | without | decoding at 4 bits |")
    lines.append("|---|---|---|---|")
    by_table = {}
    for architecture in sorted({d.architecture for d in roofline.DEVICES}):
        with_table = product_loop(8, architecture, table=True)
        without = product_loop(8, architecture, table=False)
        decoded = decode_loop(8, architecture)
        by_table[architecture] = (with_table, without)
        kinds = (with_table, without, decoded)
        lines.append(
            f"| sm_{architecture} | " + " | ".join(f"{k.a_weight:.1f}" for k in kinds) + " |"
        )
        for loop, most in zip(kinds, (MOST_WITH_TABLE, MOST_WITHOUT, MOST_DECODED), strict=True):
            if loop.a_weight > most:
                complaints.append(
                    f"sm_{architecture}: {loop.a_weight:.1f} instructions a weight, limit {most}"
                )
    lines += ["", *roofline.table(by_table, bytes_a_weight(8, 4096))]
    return "\n".join(lines), complaints


def write(path: Path, text: str) -> None:
    """Keep the tables, for docs/gpu.md."""
    path.write_text(text + "\n")
