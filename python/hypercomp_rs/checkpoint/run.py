"""Carries out a plan: compresses tensors in jobs, and writes shards as they are complete."""

from __future__ import annotations

import concurrent.futures
import contextlib
import pickle
import threading
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .._core import Control
from ..compress import Trellis
from ..errors import CancelledError, HypercompError
from ..tensor import CompressedTensor
from .entries import DESCRIPTION, entries_of, entry_name, named
from .folder import write_index
from .jobs import MemoryLimit, completed
from .plan import Plan
from .safetensors_file import SafetensorsFile
from .sensitivity import flat_of
from .shard_writer import PIECE_BYTES, Piecewise, write_shard
from .source import Entry, Source
from .work import Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# The memory that tensors may take together: this factor times the bytes of the largest, and extra
# bytes.
_MEMORY_FACTOR = 2.5
_MEMORY_EXTRA = 40 << 20
# Threads that read, search and write. Each search uses all cores by itself.
_THREADS_HERE = 4
# Jobs on the caller's executor at a time: enough for the workers of a cluster.
_JOBS_ON_EXECUTOR = 64


class Progress(NamedTuple):
    """The progress of a run.

    Attributes
    ----------
    weights, of_weights
        Number of weights that are compressed, or searched so far, and the total.
    tensors, of_tensors
        Number of tensors that are finished, and the total.
    """

    weights: int
    of_weights: int
    tensors: int
    of_tensors: int


def search(
    entry: Entry,
    data: npt.NDArray[np.uint8],
    trellis: Trellis,
    threads: int | None,
    control: Control | None = None,
) -> CompressedTensor:
    """Compress a tensor whose bytes have been read. Errors name the tensor."""
    try:
        code = trellis.compress(flat_of(data, entry.dtype, entry.shape), threads, control)
    except CancelledError:
        raise
    except HypercompError as error:
        raise named(error, entry.name) from None
    return CompressedTensor._of(code, "numpy")


def write_tensor(path: Path, name: str, c: CompressedTensor) -> None:
    """Write a compressed tensor to a file of its own."""
    write_shard(path, entries_of(name, c), {})


@lru_cache(maxsize=4)
def _source_of(pickled: bytes) -> Source:
    source: Source = pickle.loads(pickled)
    return source


def run_remote(pickled: bytes, name: str, trellis: Trellis, path: Path, threads: int) -> str:
    """The job of an executor's worker: reads a tensor, compresses it and writes it to a file."""
    source = _source_of(pickled)
    write_tensor(path, name, search(source.entries[name], source.read(name), trellis, threads))
    return name


class Run:
    """Carries out a plan, or the rest of one after an interrupted run."""

    def __init__(
        self,
        source: Source,
        work: Work,
        plan: Plan,
        threads: int | None,
        follow: Callable[[Progress], None] | None,
    ) -> None:
        self.source = source
        self.work = work
        self.plan = plan
        self.threads = threads
        self.follow = follow
        self.numbers = {name: number for number, name in enumerate(source.entries)}
        self.shards: dict[str, list[str]] = {}
        for entry in source.entries.values():
            self.shards.setdefault(entry.shard, []).append(entry.name)
        self.control = Control()
        self.stop = threading.Event()
        largest = max((entry.nbytes for entry in source.entries.values()), default=0)
        self.memory = MemoryLimit(int(_MEMORY_FACTOR * largest) + _MEMORY_EXTRA)
        self.of_weights = sum(source.entries[name].size for name in plan.compressed)
        self.done: set[str] = set()
        self.before = 0

    def find_finished(self) -> int:
        """Number of compressed tensors that an earlier run has finished."""
        return sum(not self._lacks(e.shard) or self._path(e.name).exists() for e in self._planned())

    def _planned(self) -> list[Entry]:
        return [self.source.entries[name] for name in self.plan.compressed]

    def finish(self, executor: concurrent.futures.Executor | None) -> None:
        """Do what is left of the plan. Ctrl-C ends the searches of this process within a moment."""
        left = {shard: set(names) for shard, names in self.shards.items() if self._lacks(shard)}
        compressed = self.plan.compressed
        for names in left.values():
            names &= {n for n in names if n in compressed and not self._path(n).exists()}
        self.done = set(compressed).difference(*left.values())
        self.before = self._finished()
        jobs = [name for names in left.values() for name in self.numbers if name in names]
        self._look()
        with concurrent.futures.ThreadPoolExecutor(1) as assembler:
            try:
                written = [
                    assembler.submit(self._assemble, shard)
                    for shard, names in left.items()
                    if not names
                ]
                with contextlib.closing(self._results(executor, jobs)) as results:
                    for name in results:
                        shard = self.source.entries[name].shard
                        self.done.add(name)
                        left[shard].discard(name)
                        if not left[shard]:
                            written.append(assembler.submit(self._assemble, shard))
                        for future in filter(concurrent.futures.Future.done, written):
                            future.result()
                        self._look()
                for future in written:
                    future.result()
            except BaseException:
                self.stop.set()
                raise
        self._write_index()

    def _lacks(self, shard: str) -> bool:
        return not (self.work.result / shard).exists()

    def _path(self, name: str) -> Path:
        return self.work.tensor(self.numbers[name])

    def _results(
        self, executor: concurrent.futures.Executor | None, jobs: list[str]
    ) -> Generator[str, None, None]:
        """The names of tensors as they are finished. Closing the generator stops the others."""
        if executor is not None:
            pickled = pickle.dumps(self.source)
            threads = 1 if self.threads is None else self.threads
            calls = [
                (pickled, name, self.plan.compressed[name], self._path(name), threads)
                for name in jobs
            ]
            yield from completed(
                executor, run_remote, calls, most=_JOBS_ON_EXECUTOR, look=self._look
            )
            return
        with concurrent.futures.ThreadPoolExecutor(_THREADS_HERE) as pool:
            try:
                calls_here = [(name,) for name in jobs]
                yield from completed(
                    pool, self._run_here, calls_here, most=2 * _THREADS_HERE, look=self._look
                )
            except BaseException:
                self.control.cancel()
                self.stop.set()
                raise

    def _run_here(self, name: str) -> str:
        """A job in a thread of this process, within the limit of memory.

        One tensor is read while another is searched. A search holds its codes twice.
        """
        entry, trellis = self.source.entries[name], self.plan.compressed[name]
        bits = trellis.bits or (4 if trellis.target_sqnr_db is None else 8)
        with self.memory.share() as share:
            share.take(entry.nbytes)
            if self.stop.is_set():
                raise CancelledError("stopped by the caller")
            data = self.source.read(name)
            share.take(2 * int(entry.size * bits / 8))
            c = search(entry, data, trellis, self.threads, self.control)
            del data
            share.give(entry.nbytes)
            write_tensor(self._path(name), name, c)
        return name

    def _finished(self) -> int:
        return sum(self.source.entries[name].size for name in self.done)

    def _look(self) -> None:
        if self.follow is None:
            return
        # With `target_sqnr_db` the same weights are searched several times, and counted each time.
        searched = min(self.of_weights, self.before + self.control.done)
        done = max(searched, self._finished())
        self.follow(Progress(done, self.of_weights, len(self.done), len(self.plan.compressed)))

    def _assemble(self, shard: str) -> None:
        """Write a shard from its compressed tensors and from those that are copied."""
        names = self.shards[shard]
        tensors = [t for name in names for t in self._stored(name)]
        metadata = self.source.metadata(shard)
        write_shard(self.work.result / shard, tensors, metadata, stop=self.stop)
        for name in names:
            if name in self.plan.compressed:
                self._path(name).unlink()

    def _stored(self, name: str) -> list[Piecewise]:
        if name not in self.plan.compressed:
            entry = self.source.entries[name]
            pieces = partial(self.source.pieces, name, PIECE_BYTES)
            return [Piecewise(name, entry.dtype, entry.shape, pieces, checksum=True)]
        file = SafetensorsFile(self._path(name))
        return [
            Piecewise(
                stored.name,
                stored.dtype,
                stored.shape,
                partial(_pieces, file, stored.name),
                # A description has the checksums of the parts, but not its own.
                checksum=stored.name == entry_name(name, DESCRIPTION),
            )
            for stored in file.stored.values()
        ]

    def _write_index(self) -> None:
        if self.source.index is None:
            return
        shard_of, nbytes = {}, 0
        for shard in self.shards:
            for stored in SafetensorsFile(self.work.result / shard).stored.values():
                shard_of[stored.name] = shard
                nbytes += stored.nbytes
        write_index(self.work.result / self.source.index, shard_of, nbytes)


def _pieces(file: SafetensorsFile, name: str) -> Iterator[memoryview]:
    """The bytes of a tensor. Its file is closed afterwards, as a shard has many tensors."""
    try:
        yield from file.pieces(name, PIECE_BYTES)
    finally:
        file.close()
