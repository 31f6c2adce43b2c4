"""Finished tensors of an interrupted run that a run with other parameters can use.

A finished tensor is used if its own parameters are the same in both plans. So the result has the
same bytes as that of a new run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial

from .entries import DESCRIPTION, PARTS, entry_name
from .plan import Plan
from .safetensors_file import SafetensorsFile
from .shard_writer import PIECE_BYTES, Piecewise, write_shard
from .source import Source
from .work import Work


def take_over(work: Work, source: Source, before: Plan, now: Plan) -> None:
    """Remove every tensor whose parameters differ between the two plans.

    This may be interrupted at any moment. The plan on the disk is still `before`, and all files
    that are left agree with it.
    """
    names = list(source.entries)
    shards: dict[str, list[str]] = {}
    for name in names:
        shards.setdefault(source.entries[name].shard, []).append(name)
    same = {n for n, trellis in now.compressed.items() if before.compressed.get(n) == trellis}
    numbers: Mapping[str, int] = {name: number for number, name in enumerate(names)}
    for shard, here in shards.items():
        path = work.result / shard
        if not path.exists():
            continue
        if all(before.compressed.get(name) == now.compressed.get(name) for name in here):
            continue
        with contextlib.closing(SafetensorsFile(path)) as file:
            for name in here:
                if name in same:
                    _take_out(file, name, work, numbers[name])
        path.unlink()
    for name in names:
        if name not in same:
            work.tensor(numbers[name]).unlink(missing_ok=True)


def _take_out(file: SafetensorsFile, name: str, work: Work, number: int) -> None:
    """Copy a finished tensor from its shard to a file of its own."""
    entries = [entry_name(name, part) for part in (DESCRIPTION, *PARTS)]
    tensors = [
        Piecewise(
            stored.name, stored.dtype, stored.shape, partial(file.pieces, stored.name, PIECE_BYTES)
        )
        for stored in (file.stored[entry] for entry in entries if entry in file.stored)
    ]
    write_shard(work.tensor(number), tensors, {})
