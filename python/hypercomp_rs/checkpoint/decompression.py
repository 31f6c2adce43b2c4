"""A compressed model back in the files that it came from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .._integers import checked_threads
from ..errors import TooLargeError
from . import configuration, folder
from .checkpoint import Checkpoint, TensorInfo
from .decoding import decoded
from .entries import read_compressed
from .load_guard import unguarded
from .report import Report
from .run import Progress
from .shard_writer import METADATA, PIECE_BYTES, Piecewise, write_shard
from .slices import slices_by_whole
from .source import DTYPE_BITS
from .work import Work


def decompress_checkpoint(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    threads: int | None = None,
    restart: bool = False,
    follow: Callable[[Progress], None] | None = None,
) -> Report:
    """Decode a compressed model into a folder with the shards of the original model.

    Parameters
    ----------
    src
        A folder that :func:`compress_checkpoint` has made, or one safetensors file of it.
    dst
        The folder to make. It must be empty or not exist; links are followed.
    threads
        Number of threads; None for one per core.
    restart
        Delete what an interrupted run with the same `dst` has left.
    follow
        Called repeatedly with a :class:`Progress`.

    Returns
    -------
    Report
        Which other files were copied, and which were left out.

    Raises
    ------
    FormatError
        A file is damaged. The message says where.
    TooLargeError
        The disk has too little space.
    InvalidArgumentError
        `dst` exists, or has an unfinished result of something else beside it.

    Notes
    -----
    Tensors have the names, shapes and dtypes that they were compressed from; what was kept as it is
    has the same bits. Fused experts, which are a matrix each in `src`, are one tensor again.
    Memory: the largest compressed tensor and some pieces of 8 and 32 MB. A run that was cut off
    goes on after its last finished shard. Decoding and writing overlap.
    """
    threads = checked_threads(threads)
    with Checkpoint.open(src) as checkpoint:
        source = checkpoint.source
        folder.refuse_inside(Path(dst), source)
        with Work(Path(dst)) as work:
            key = json.loads(json.dumps({"asked": "decompress", "source": source.fingerprint()}))
            stored = work.begin(key, restart=restart)
            report = folder.report_on(source)
            if not work.finished:
                infos = {name: checkpoint.info(name) for name in checkpoint}
                if stored is None:
                    work.planned(key, lambda: _check_room(work, infos))
                work.clear_other_files(set(source.shards))
                reused = _decode_shards(checkpoint, work, infos, threads, follow)
                report = report._replace(reused=reused)
                folder.copy_files(source.files(), work.result)
                config = source.files().get(configuration.CONFIG)
                if config is not None:
                    said = unguarded(configuration.read_config(config))
                    configuration.write_config(work.result, said)
            work.finish()
    return report


def _check_room(work: Work, infos: dict[str, TensorInfo]) -> dict[str, Any]:
    """What a few bytes declare must not fill the disk before anybody notices."""
    needed = sum(info.size * DTYPE_BITS[info.dtype] // 8 for info in infos.values())
    free = shutil.disk_usage(work.path).free
    if needed > free:
        raise TooLargeError(
            f"{work.dst}: the decoded tensors take {needed} bytes, and {free} are free there"
        )
    return {"bytes": needed}


def _decode_shards(
    checkpoint: Checkpoint,
    work: Work,
    infos: dict[str, TensorInfo],
    threads: int | None,
    follow: Callable[[Progress], None] | None,
) -> int:
    """Write all shards that are not there; the number of tensors in those that were."""
    source = checkpoint.source
    sizes = {name: info.size for name, info in infos.items() if info.codec is not None}
    progress = Progress(0, sum(sizes.values()), 0, len(sizes))
    shard_of, nbytes, reused = {}, 0, 0

    def pieces(name: str) -> Iterator[memoryview]:
        nonlocal progress
        c = read_compressed(source, name)
        for piece in decoded(c, c.dtype, threads):
            yield piece.data.cast("B")
            progress = progress._replace(weights=progress.weights + piece.size)
            if follow is not None:
                follow(progress)
        progress = progress._replace(tensors=progress.tensors + 1)

    wholes = slices_by_whole({name: (info.dtype, info.shape) for name, info in infos.items()})
    slices = {name for names in wholes.values() for name in names}

    def all_of(names: list[str]) -> Iterator[memoryview]:
        for name in names:
            codec, shard = infos[name].codec, infos[name].shard
            yield from pieces(name) if codec else source.shards[shard].pieces(name, PIECE_BYTES)

    for shard, file in source.shards.items():
        here = [info for info in infos.values() if info.shard == shard]
        if file.stored and not here:
            # It has but parts of tensors that are described in another shard.
            continue
        tensors = [
            Piecewise(
                info.name,
                info.dtype,
                info.shape,
                partial(file.pieces, info.name, PIECE_BYTES)
                if info.codec is None
                else partial(pieces, info.name),
            )
            for info in here
            if info.name not in slices
        ]
        # Those that were one tensor are one again, where the first of them is.
        for whole, names in wholes.items():
            first = infos[names[0]]
            if first.shard == shard:
                shape = (len(names), *first.shape)
                tensors.append(Piecewise(whole, first.dtype, shape, partial(all_of, names)))
        shard_of.update({tensor.name: shard for tensor in tensors})
        for info in here:
            nbytes += info.size * DTYPE_BITS[info.dtype] // 8
        if (work.result / shard).exists():
            done = [info.size for info in here if info.codec is not None]
            progress = progress._replace(weights=progress.weights + sum(done))
            reused += len(done)
            continue
        metadata = {n: said for n, said in file.metadata.items() if n != METADATA}
        write_shard(work.result / shard, tensors, metadata, compressed=False)
    if source.index is not None:
        folder.write_index(work.result / source.index, shard_of, nbytes)
    return reused
