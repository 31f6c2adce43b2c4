"""The kernels as ``kernels.def`` declares them: names, blocks, parameters and limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "kernels.def"
# An entry begins at the start of a line and ends before an empty line.
_ENTRY = re.compile(r"^HC_KERNEL\((?P<said>.*?)\)\n(?=\n|\Z)", re.M | re.S)
_FIELDS = re.compile(
    r"(?P<name>hc_\w+),\s*(?P<registers>\d+),\s*(?P<shared>\d+),\s*\((?P<bounds>[\d, ]+)\),"
    r"\s*\((?P<parameters>[^()]*)\),\s*(?P<body>\S.*)",
    re.S,
)
# Integers among parameters, as `struct` packs them.
INTEGERS = {"uint32_t": "I", "uint64_t": "Q"}


@dataclass(frozen=True)
class Declaration:
    """A kernel: how it is launched, and what it may take.

    ``parameters`` are pairs of a type and a name; ``blocks`` is how many have to fit on a
    multiprocessor, 0 where nothing is said of that.
    """

    name: str
    registers: int
    shared: int
    threads: int
    blocks: int
    parameters: tuple[tuple[str, str], ...]


def read(text: str) -> dict[str, Declaration]:
    """The kernels that a text declares, in its order.

    Raises
    ------
    ValueError
        An entry that is not of the form that the head of ``kernels.def`` describes.
    """
    found = {}
    for entry in _ENTRY.finditer(text):
        fields = _FIELDS.fullmatch(entry["said"])
        if fields is None:
            line = text.count("\n", 0, entry.start()) + 1
            raise ValueError(f"{FILE.name}, line {line}: not the fields of a kernel")
        threads, blocks = ([int(n) for n in fields["bounds"].split(",")] + [0])[:2]
        parameters = tuple(map(_parameter, " ".join(fields["parameters"].split()).split(", ")))
        found[fields["name"]] = Declaration(
            fields["name"],
            int(fields["registers"]),
            int(fields["shared"]),
            threads,
            blocks,
            parameters,
        )
    if len(found) != len(re.findall(r"^HC_KERNEL\(", text, re.M)):
        raise ValueError(
            f"{FILE.name}: an entry does not end before an empty line, or is there twice"
        )
    return found


def _parameter(said: str) -> tuple[str, str]:
    kind, _, name = said.rpartition(" ")
    return kind, name


def without(text: str, names: set[str]) -> str:
    """The text without the entries of these kernels."""
    return _ENTRY.sub(lambda entry: "" if entry["said"].split(",")[0] in names else entry[0], text)


KERNELS = read(FILE.read_text())
