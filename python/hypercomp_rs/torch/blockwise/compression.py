"""The loop over the blocks of a model that is calibrated from its files.

For each block: its weights are read, the second moments of what its layers get are added up over
the samples, the layers are compressed and written to files of their own, and the block is run once
more with the decoded weights. So the next block is calibrated on what compressed blocks give it, as
in GPTQ (arXiv 2210.17323). Neither the codes nor the order depend on the limit of memory.

A run that was interrupted goes on with the first block that has not all of its files. The states
before it are read from their file, or computed again by the blocks before it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ...checkpoint.calibration_text import CalibrationText, half_of_memory
from ...checkpoint.entries import read_compressed
from ...checkpoint.plan import Plan
from ...checkpoint.run import Progress, search, write_tensor
from ...checkpoint.shards import Shards
from ...checkpoint.source import Source
from ...checkpoint.work import Work
from ...errors import InvalidArgumentError
from ...tensor import CompressedTensor
from ..calibrated import Job, calibrated, layer_of, why_not
from ..calibration import Calibration
from ..owners import Candidate, Owner, owners
from .outline import Outline, folder_of, input_axis
from .parts import COMPUTED, dtype_of, read_tensor, remove
from .states import State, StatesInFile, StatesInMemory
from .texts import samples_of

# Of tensors that transformers changes on the way from the checkpoint to the model.
CONVERTED = "without calibration: the model has it merged or split"
NO_LAYER = "without calibration: its module is no linear layer"
SHARED = "without calibration: blocks share the weight"
# Activations of one sample while a block computes, in times its state. Measured on Llama.
ACTIVATIONS = 16
# Bytes of a search, for each number of the second moment and for each weight.
MOMENT_BYTES, WEIGHT_BYTES = 24, 16


class Memory(NamedTuple):
    """How the memory for calibration is used.

    Attributes
    ----------
    moments
        Bytes for second moments at a time.
    searches
        Number of layers that are searched at a time.
    states_in_memory
        Whether the states of all samples are kept in memory.
    """

    moments: int
    searches: int
    states_in_memory: bool


class BlockwiseCalibration:
    """A model on disk and the samples that it is calibrated with.

    Parameters
    ----------
    source
        The checkpoint.
    text
        The text and the limits.

    Raises
    ------
    InvalidArgumentError
        The model or the text is not accepted; the message says what to do.
    """

    def __init__(self, source: Source, text: CalibrationText) -> None:
        self._source, self._text = source, text
        self._outline = Outline(source, _device(text.device))
        self._samples = samples_of(
            text, folder_of(source), self._outline.positions, causal=self._outline.is_causal
        )
        self._check_tokens()
        # The owners of each weight, found before any is loaded: then tied weights are one object.
        self._groups: dict[str, list[Owner]] = {}
        for group in owners(self._outline.model).values():
            self._groups |= {owner.name: group for owner in group}
        self._numbers = {name: i for i, name in enumerate(source.entries)}
        self._run: _Run | None = None

    def _check_tokens(self) -> None:
        most = self._outline.vocabulary
        for i, sample in enumerate(self._samples):
            wrong = next((token for token in sample if not 0 <= token < most), None)
            if wrong is not None:
                raise InvalidArgumentError(
                    f"calibration, sample {i} has token {wrong}, and the model knows 0 to "
                    f"{most - 1}: are these tokens of the model's own tokenizer?"
                )

    def key(self) -> dict[str, Any]:
        """A JSON object that is different for other samples and for another kind of device."""
        tokens = json.dumps(self._samples).encode()
        device = torch.device(self._text.device).type
        return {"tokens": hashlib.sha256(tokens).hexdigest(), "device": device}

    def prepare(
        self,
        work: Work,
        plan: Plan,
        threads: int | None,
        follow: Callable[[Progress], None] | None,
    ) -> None:
        """Check the model with its first block. Nothing is written.

        Raises
        ------
        InvalidArgumentError
            The model is not run block after block, or a block does not fit in the memory.
        FormatError
            The checkpoint lacks weights, or has others than the model.
        """
        self._run = _Run(self, work, plan, threads, follow)
        self._run.prepare()

    def compress(self) -> dict[str, str]:
        """Compress all tensors of the blocks, and the linear layers after them.

        Each gets its file in the run's folder. Returns why tensors were compressed without
        calibration. Comes after :meth:`prepare`.
        """
        assert self._run is not None
        return self._run.finish()


class _Run:
    def __init__(
        self,
        asked: BlockwiseCalibration,
        work: Work,
        plan: Plan,
        threads: int | None,
        follow: Callable[[Progress], None] | None,
    ) -> None:
        self._source, self._outline = asked._source, asked._outline
        self._samples, self._groups = asked._samples, asked._groups
        self._numbers, self._text = asked._numbers, asked._text
        self._work, self._plan, self._threads, self._follow = work, plan, threads, follow
        self._parts = self._outline.parts
        self._notes: dict[str, str] = {}
        self._done: set[str] = set()

    def prepare(self) -> None:
        """Run the model with its first block, and plan the memory."""
        self._parts.check_blocks(self._outline.blocks, self._outline.prefix)
        self._load(0)
        self._outline.probe(self._samples[0])
        remove(self._outline.blocks[0])
        self._outside = self._outer_jobs()
        self._limits = self._memory(self._outside)

    def finish(self) -> dict[str, str]:
        """Compress what is left."""
        # Shards are written when all calibrated tensors are finished.
        if any(self._work.result.iterdir()):
            return {}
        self._done |= {name for name in self._plan.compressed if self._path(name).exists()}
        self._look()
        blocks, outside, memory = self._outline.blocks, self._outside, self._limits
        self._states = (
            StatesInMemory(len(self._samples))
            if memory.states_in_memory
            else StatesInFile(len(self._samples), self._work.states)
        )
        unfinished = [i for i in range(len(blocks)) if not self._is_finished(self._names(i))]
        more = not self._is_finished(list(outside))
        if unfinished or more:
            most = unfinished[0] if unfinished else len(blocks)
            start = 0
            if isinstance(self._states, StatesInFile):
                start = self._states.find(most)
            for i in range(start, len(blocks)):
                if i in unfinished:
                    self._compress_block(i, memory)
                if more or (unfinished and i < unfinished[-1]):
                    self._load(i, compressed=True)
                    self._advance(i)
                remove(blocks[i])
        if more:
            self._compress_outside(outside, memory)
        self._states.close()
        return self._notes

    def _path(self, name: str) -> Path:
        return self._work.tensor(self._numbers[name])

    def _names(self, block: int) -> list[str]:
        """The tensors of a block that are compressed."""
        names = self._parts.beneath(self._outline.prefix(block))
        return [name for name in names if name in self._plan.compressed]

    def _is_finished(self, names: Iterable[str]) -> bool:
        return all(self._path(name).exists() for name in names)

    def _load(self, block: int, *, compressed: bool = False) -> None:
        """Load a block's weights: as they are, or decoded from what they are compressed to."""
        read = self._read_decoded if compressed else None
        self._parts.load(self._parts.beneath(self._outline.prefix(block)), read)
        module = self._outline.blocks[block]
        self._parts.check(module, self._outline.prefix(block).removesuffix("."))

    def _read_decoded(self, name: str) -> torch.Tensor:
        if name not in self._plan.compressed:
            return read_tensor(self._source, name)
        with closing(Shards(self._path(name))) as file:
            code = read_compressed(file, name)._code
            decoded = CompressedTensor._of(code, "torch").decompress(threads=self._threads)
        assert isinstance(decoded, torch.Tensor)
        return decoded

    def _compress_block(self, block: int, memory: Memory) -> None:
        names = self._names(block)
        # All or none: codes of a block are chosen for weights before any of them is compressed.
        for name in names:
            self._path(name).unlink(missing_ok=True)
            self._done.discard(name)
        self._load(block)
        jobs = self._jobs(block, names)
        inside = _Block(self._outline, block, self._samples, self._states.read)
        self._calibrated(inside, jobs, memory)
        del inside
        remove(self._outline.blocks[block])
        for name in names:
            if name not in self._done:
                entry = self._source.entries[name]
                data = self._source.read(name)
                c = search(entry, data, self._plan.compressed[name], self._threads)
                self._write(name, c)

    def _calibrated(self, model: nn.Module, jobs: dict[str, Job], memory: Memory) -> None:
        """Compress the layers that are called, and note why others are not calibrated."""
        batches = [(i,) for i in range(len(self._samples))]
        codes = calibrated(
            Calibration(model, batches), jobs, set(), memory.moments, memory.searches, self._notes
        )
        with closing(codes):
            for candidate, c in codes:
                self._write(candidate.name, c)

    def _jobs(self, block: int, names: list[str]) -> dict[str, Job]:
        """The linear layers of a block that is loaded."""
        within = {id(module) for module in self._outline.blocks[block].modules()}
        jobs = {}
        for name in names:
            place = self._parts.places[name]
            if place.name is None or place.converted:
                self._notes[name] = CONVERTED
                continue
            group = self._groups.get(place.name, [])
            if not all(id(owner.module) in within for owner in group):
                self._notes[name] = SHARED
            elif (job := self._job(name, group)) is not None:
                jobs[name] = job
        return jobs

    def _job(self, name: str, group: list[Owner]) -> Job | None:
        trellis = self._plan.compressed[name]
        if not group or any(owner.refusal() is not None for owner in group):
            self._notes[name] = NO_LAYER
            return None
        weight = group[0].module._parameters[group[0].parameter_name]
        assert weight is not None
        # The codes are of the checkpoint's dtype.
        stored = weight.detach()
        if not stored.is_meta:
            stored = stored.to("cpu", dtype_of(self._source, name))
        candidate = Candidate(name, nn.Parameter(stored, requires_grad=False), group)
        if layer_of(candidate, trellis) is None:
            self._notes[name] = why_not(candidate, trellis)
            return None
        return candidate, trellis

    def _advance(self, block: int) -> None:
        """Run a block with its compressed weights on all samples."""
        outline, samples = self._outline, self._samples

        def advance(sample: int) -> State:
            state = _on(self._states.read(sample), outline.device)
            return outline.advanced(block, samples[sample], state)

        with torch.no_grad():
            self._states.replace(block + 1, advance)

    def _outer_jobs(self) -> dict[str, list[Owner]]:
        """The linear layers in no block that the model calls, by the checkpoint's names."""
        found = {}
        for module_name in self._outline.called:
            name = self._parts.name_of.get(f"{module_name}.weight")
            if name is None or name not in self._plan.compressed:
                continue
            group = self._groups[f"{module_name}.weight"]
            if self._job(name, group) is not None:
                found[name] = group
                self._outline.last = module_name
        return found

    def _compress_outside(self, outside: dict[str, list[Owner]], memory: Memory) -> None:
        """Compress the linear layers before and after the blocks, such as the last layer."""
        jobs = {}
        for name, group in outside.items():
            self._path(name).unlink(missing_ok=True)
            self._done.discard(name)
            weight = nn.Parameter(read_tensor(self._source, name), requires_grad=False)
            jobs[name] = Candidate(name, weight, group), self._plan.compressed[name]
        model = _Outside(self._outline, self._samples, self._states.read)
        self._calibrated(model, jobs, memory)

    def _write(self, name: str, c: CompressedTensor) -> None:
        write_tensor(self._path(name), name, c)
        self._done.add(name)
        self._look()

    def _look(self) -> None:
        if self._follow is None:
            return
        entries, compressed = self._source.entries, self._plan.compressed
        weights = sum(entries[name].size for name in self._done)
        total = sum(entries[name].size for name in compressed)
        self._follow(Progress(weights, total, len(self._done), len(compressed)))

    def _memory(self, outside: Iterable[str]) -> Memory:
        """How to stay within the limit.

        Raises
        ------
        InvalidArgumentError
            One block and one search do not fit.
        """
        limit = half_of_memory() if self._text.memory is None else self._text.memory
        element = torch.empty(0, dtype=COMPUTED).element_size()
        fixed = largest = 0
        for i in range(len(self._outline.blocks)):
            parameters = self._outline.blocks[i].parameters()
            block = element * sum(parameter.numel() for parameter in parameters)
            names = self._names(i)
            entries = [self._source.entries[name] for name in names]
            stored = sum(e.nbytes for e in entries if dtype_of(self._source, e.name) != COMPUTED)
            fixed = max(fixed, block + stored)
            largest = max([largest, *map(self._search_nbytes, names)])
        for name in outside:
            # Its weights are not in a block.
            nbytes = self._source.entries[name].nbytes
            largest = max(largest, nbytes + self._search_nbytes(name))
        longest = max(map(len, self._samples))
        token = self._outline.state_nbytes / len(self._samples[0])
        fixed += int(ACTIVATIONS * token * longest)
        left = limit - fixed - largest
        if left < 0:
            raise InvalidArgumentError(
                f"memory={limit}: one block of {self._outline.folder}, what it computes for a "
                f"sample and the search of a layer need {fixed + largest} bytes"
            )
        states = int(token * sum(map(len, self._samples)))
        in_memory = states <= left // 4
        left -= states if in_memory else 0
        threads = self._threads or os.cpu_count() or 1
        searches = 1 + min(threads - 1, left // 2 // max(1, largest))
        return Memory(left - (searches - 1) * largest, searches, in_memory)

    def _search_nbytes(self, name: str) -> int:
        """Bytes for the search of a layer, with its second moment."""
        entry, group = self._source.entries[name], self._groups.get(self._place(name), [])
        axes = [axis for owner in group if (axis := input_axis(owner.module)) is not None]
        inputs = entry.shape[axes[0]] if axes else 0
        return MOMENT_BYTES * inputs**2 + WEIGHT_BYTES * entry.size

    def _place(self, name: str) -> str:
        return self._parts.places[name].name or ""


class _Block(nn.Module):
    """A block as a model whose input is the number of a sample."""

    def __init__(
        self,
        outline: Outline,
        block: int,
        samples: list[list[int]],
        read: Callable[[int], State | None],
    ) -> None:
        super().__init__()
        self.inner = outline.blocks[block]
        # Not the outline itself, which is no part of this module.
        self._run = outline.run
        self._device = outline.device
        self._number, self._samples, self._read = block, samples, read

    def forward(self, sample: int) -> Any:
        """What the block gives for a sample."""
        state = _on(self._read(sample), self._device)
        return self._run(self._number, self._samples[sample], state)


class _Outside(nn.Module):
    """What follows the blocks, as a model whose input is the number of a sample."""

    def __init__(
        self, outline: Outline, samples: list[list[int]], read: Callable[[int], State | None]
    ) -> None:
        super().__init__()
        self._finish, self._device = outline.finish, outline.device
        self._samples, self._read = samples, read

    def forward(self, sample: int) -> None:
        """Calls the layers; gives nothing."""
        self._finish(self._samples[sample], _on(self._read(sample), self._device))


def _on(state: State | None, device: torch.device) -> State | None:
    return None if state is None else [tensor.to(device) for tensor in state]


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise InvalidArgumentError(f"device={name!r}: {why}") from error
    return device
