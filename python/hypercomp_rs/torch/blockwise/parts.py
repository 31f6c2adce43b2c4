"""Weights of a part of a model: read from a checkpoint into the model, and removed again.

transformers itself puts the tensors into the model, as it alone knows how it renames, splits and
merges them. It is called for a few tensors at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import convert_and_load_state_dict_in_model
from transformers.modeling_utils import LoadStateDictConfig
from transformers.utils import logging

from ...checkpoint.source import FLOATS, Source
from ...errors import FormatError
from ..transformers.names import Place, Renaming, listed

_DTYPES = {name: getattr(torch, dtype) for name, dtype in FLOATS.items()} | {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
# How tensors are computed with. Half precision is slow on CPUs, and some activations overflow.
COMPUTED = torch.float32

# The setting of transformers by which tensors are read one after the other.
_SYNCHRONOUS = "HF_DEACTIVATE_ASYNC_LOAD"

Read = Callable[[str], torch.Tensor]


def read_tensor(source: Source, name: str) -> torch.Tensor:
    """A tensor of a checkpoint, in memory of torch."""
    return _tensor(source, name, source.read(name), source.entries[name].shape)


def read_rows(source: Source, name: str, rows: list[int]) -> torch.Tensor:
    """Rows of a matrix, in rising order. No others are read."""
    shape = (len(rows), *source.entries[name].shape[1:])
    return _tensor(source, name, source.sample(name, rows), shape)


def reads_rows(source: Source) -> bool:
    """Whether :func:`read_rows` reads less than the whole matrix."""
    return type(source).sample is not Source.sample


def dtype_of(source: Source, name: str) -> torch.dtype:
    """The dtype of a tensor of a checkpoint."""
    dtype = source.entries[name].dtype
    if dtype not in _DTYPES:
        raise FormatError(f"{source.path}: {name} is of dtype {dtype}, which torch does not have")
    return _DTYPES[dtype]


def _tensor(source: Source, name: str, data: Any, shape: tuple[int, ...]) -> torch.Tensor:
    # A copy, as memory of torch always begins at the same distance from a cache line. Products then
    # round in the same way in each run.
    return torch.from_numpy(data).view(dtype_of(source, name)).reshape(shape).clone()


class _Lazy:
    """A tensor that the loader of transformers reads when it is its turn."""

    def __init__(self, read: Read, name: str) -> None:
        self._read, self._name = read, name

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self._read(self._name)


class Parts:
    """The places of a checkpoint's tensors in a model whose weights are on the meta device.

    Attributes
    ----------
    places
        Where each tensor of the checkpoint goes in the model.
    name_of
        The checkpoint's name of each weight of the model that is stored as it is used.
    """

    def __init__(self, model: nn.Module, source: Source, device: torch.device) -> None:
        self._model, self._source, self._device = model, source, device
        self._mapping = get_model_conversion_mapping(model)
        renaming = Renaming(model, self._mapping)
        self.places: Mapping[str, Place] = {name: renaming(name) for name in source.entries}
        self.name_of: dict[str, str] = {
            place.name: name
            for name, place in self.places.items()
            if place.name is not None and not place.converted
        }

    def beneath(self, prefix: str) -> list[str]:
        """The tensors of the checkpoint that go into a module, by the module's name and a dot."""
        return [
            n for n, p in self.places.items() if p.name is not None and p.name.startswith(prefix)
        ]

    def own(self, module_name: str) -> list[str]:
        """The tensors of the checkpoint that go into a module and not into modules within it."""
        return [
            name
            for name, place in self.places.items()
            if place.name is not None and place.name.rpartition(".")[0] == module_name
        ]

    def load(self, names: Iterable[str], read: Read | None = None) -> None:
        """Put these tensors of the checkpoint into the model, as `read` gives them.

        Raises
        ------
        FormatError
            A tensor has another shape than the model, or cannot be converted.
        """
        source = self._source
        if read is None:

            def read(name: str) -> torch.Tensor:
                return read_tensor(source, name)

        config = LoadStateDictConfig(
            dtype=COMPUTED, weight_mapping=self._mapping, device_map={"": self._device}
        )
        with _one_by_one():
            info, _ = convert_and_load_state_dict_in_model(
                self._model, {name: _Lazy(read, name) for name in names}, config
            )
        wrong = {name for name, *_ in info.mismatched_keys} | set(info.conversion_errors)
        if wrong:
            raise FormatError(
                f"{source.path}: tensors that do not fit {type(self._model).__name__}: "
                f"{listed(sorted(wrong))}"
            )

    def check_blocks(self, blocks: Iterable[nn.Module], prefix: Callable[[int], str]) -> None:
        """Raise if the checkpoint lacks a weight of a block, as far as names say so.

        Which weights a conversion makes is not known before it is done.
        """
        if any(place.converted for place in self.places.values()):
            return
        for i, block in enumerate(blocks):
            names = [f"{prefix(i)}{name}" for name, _ in block.named_parameters()]
            if missing := [name for name in names if name not in self.name_of]:
                raise FormatError(f"{self._source.path} lacks weights: {listed(missing)}")

    def check(self, module: nn.Module, module_name: str) -> None:
        """Raise if the checkpoint lacks a weight of a module that was loaded."""
        missing = [name for name, p in module.named_parameters(module_name) if p.is_meta]
        if missing:
            raise FormatError(f"{self._source.path} lacks weights: {listed(missing)}")


@contextmanager
def _one_by_one() -> Iterator[None]:
    """The loader of transformers shows no bar, and reads a tensor when the last one is in place.

    Its threads would read all of them ahead, each into memory that the system gets back late.
    """
    before, bars = os.environ.get(_SYNCHRONOUS), logging.is_progress_bar_enabled()
    os.environ[_SYNCHRONOUS] = "1"
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()
        if before is None:
            del os.environ[_SYNCHRONOUS]
        else:
            os.environ[_SYNCHRONOUS] = before


def give_memory_back() -> None:
    """Free memory goes back to the system. glibc keeps what threads have freed."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def remove(module: nn.Module) -> None:
    """Give the memory of a module's weights back."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and not parameter.is_meta:
                empty = torch.empty_like(parameter, device="meta")
                part._parameters[name] = nn.Parameter(empty, requires_grad=False)
    give_memory_back()
