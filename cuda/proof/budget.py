"""What the machine code costs: registers, spills, shared memory, instructions and bytes a weight.

The limits of a kernel's registers and shared memory are in ``kernels.def``.
"""

from __future__ import annotations

from pathlib import Path

from . import roofline
from .declarations import KERNELS
from .machine_code import decode_loop, product_loop, resources, rows_loop

# Of each kernel: registers a thread, bytes of shared memory. No kernel may spill.
LIMITS = {name: (said.registers, said.shared) for name, said in KERNELS.items()}
# Where the tables are kept, and between which marks.
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
BEGIN, END = "<!-- budgets: written by make prove-gpu -->", "<!-- end of budgets -->"
# Instructions a weight at 4 bits: of a product by a table, of one without, of decoding, and of a
# product by tensor cores and of decoding for rows in tiles.
MOST = (10.0, 23.0, 26.0, 7.5, 60.0)


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
    lines.append(
        "| architecture | product at 4 bits, table | without | decoding at 4 bits "
        "| product of tiles | decoding of tiles |"
    )
    lines.append("|---|---|---|---|---|---|")
    by_table = {}
    for architecture in sorted({d.architecture for d in roofline.DEVICES}):
        with_table = product_loop(8, architecture, table=True)
        without = product_loop(8, architecture, table=False)
        decoded = decode_loop(8, architecture)
        of_tiles = rows_loop(8, architecture)
        tiles_decoded = decode_loop(8, architecture, "hc_tile_decode")
        by_table[architecture] = (with_table, without, of_tiles)
        kinds = (with_table, without, decoded, of_tiles, tiles_decoded)
        lines.append(
            f"| sm_{architecture} | " + " | ".join(f"{k.a_weight:.1f}" for k in kinds) + " |"
        )
        for loop, most in zip(kinds, MOST, strict=True):
            if loop.a_weight > most:
                complaints.append(
                    f"sm_{architecture}: {loop.a_weight:.1f} instructions a weight, limit {most}"
                )
    lines += ["", "### Roofline", "", *roofline.table(by_table, bytes_a_weight(8, 4096))]
    return "\n".join(lines), complaints


def documented(text: str) -> str:
    """The tables that a document has between its marks.

    Raises
    ------
    ValueError
        A document without the marks.
    """
    _, begin, rest = text.partition(BEGIN)
    tables, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN!r} before {END!r}")
    return tables.strip()


def write(document: Path, tables: str) -> bool:
    """Put the tables into a document, between its marks; whether that changed it."""
    text = document.read_text()
    if documented(text) == tables:
        return False
    before, _, rest = text.partition(BEGIN)
    document.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{rest.partition(END)[2]}")
    return True
