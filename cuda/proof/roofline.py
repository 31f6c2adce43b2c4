"""What limits a product at 4 bits on a GPU: memory, issue, an arithmetic unit, or shared memory.

Every bound is in clock cycles of a multiprocessor for 1024 weights, a warp's turn in the loop. The
slowest of them is what the table predicts, as if all others were hidden behind it and nothing
waited: so it is a bound on the speed and no measurement. Units and rates are those of the CUDA
programming guide's table of arithmetic throughput; clocks and bandwidths are the makers' (boost).
"""

from __future__ import annotations

from dataclasses import dataclass

from .machine_code import Loop

# Lanes a cycle of a multiprocessor, in warps: 4 schedulers; integers 64 lanes.
ISSUED, INTEGER, LOADED = 4.0, 2.0, 1.0
# The mean of the fullest of 32 banks when 32 lanes read at random: the turns of such a load.
CONFLICT = 3.53


@dataclass
class Device:
    """A GPU. `halves` is the warps a cycle of instructions on pairs of halves."""

    name: str
    architecture: int
    multiprocessors: int
    gigahertz: float
    gigabytes: float
    halves: float


DEVICES = (
    Device("H100 SXM", 90, 132, 1.83, 3350, 4.0),
    Device("A100 SXM 80 GB", 80, 108, 1.41, 2039, 4.0),
    Device("RTX 4090", 89, 128, 2.52, 1008, 2.0),
    Device("RTX 3090", 86, 82, 1.695, 936, 2.0),
    Device("T4", 75, 40, 1.59, 320, 2.0),
)
_INTEGER = ("LOP3", "SHF", "PRMT", "IADD", "VIADD", "ISETP", "LEA", "SEL", "MOV", "I2FP")


def _share(loop: Loop, prefixes: tuple[str, ...]) -> int:
    return sum(n for name, n in loop.counts.items() if name.startswith(prefixes))


def bounds(device: Device, loop: Loop, bytes_a_weight: float) -> dict[str, float]:
    """Cycles of a multiprocessor for 1024 weights, by what takes them."""
    a_cycle = device.gigabytes / device.gigahertz / device.multiprocessors
    vectors = _share(loop, ("LDG.E.128", "LDG.128"))
    words = _share(loop, ("LDG",)) - vectors
    # A vector is four turns for 32 lanes; words of neighbouring lanes are up to three apart.
    loads = CONFLICT * _share(loop, ("LDS",)) + 4 * vectors + 2 * words
    return {
        "memory": 1024 * bytes_a_weight / a_cycle,
        "issue": loop.counts.total() * 32 / loop.weights / ISSUED,
        "integers": _share(loop, _INTEGER) * 32 / loop.weights / INTEGER,
        "halves": _share(loop, ("HFMA2", "HMUL2", "HADD2")) * 32 / loop.weights / device.halves,
        "loads": loads * 32 / loop.weights / LOADED,
    }


def table(loops: dict[int, tuple[Loop, ...]], bytes_a_weight: float) -> list[str]:
    """The table, as lines of Markdown."""
    lines = [
        "Cycles for 1024 weights at 4 bits, rows of 4096; the largest is the bound",
        "",
        "| GPU | product | memory | issue | integers | halves | loads | bandwidth | to 16 bits |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for device in DEVICES:
        names = ("with a table", "without", "tiles")
        for name, loop in zip(names, loops[device.architecture], strict=True):
            found = bounds(device, loop, bytes_a_weight)
            share = found["memory"] / max(found.values())
            # A product of 16-bit weights takes its reading alone.
            gain = share * 2 / bytes_a_weight
            cells = " | ".join(f"{cycles:.0f}" for cycles in found.values())
            lines.append(f"| {device.name} | {name} | {cells} | {share:.0%} | {gain:.1f}× |")
    return lines
