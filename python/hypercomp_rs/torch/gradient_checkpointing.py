"""Gradient checkpointing (arXiv 1604.06174) for any model with a list of blocks.

Of each block only the inputs are kept, and in the backward pass it runs once more. It takes one
more forward pass, and the memory of the activations of one block.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def blocks_of(model: nn.Module, modules: Iterable[nn.Module]) -> list[nn.Module]:
    """The members of the outermost lists of which several have some of these modules in them.

    A sequence of modules is such a list only if there is no other in it: a sentence encoder is a
    sequence whose first member has the list of blocks.
    """
    wanted = set(modules)

    def members(module: nn.Module) -> list[nn.Module]:
        found = [child for child in module.children() if not wanted.isdisjoint(child.modules())]
        if isinstance(module, nn.ModuleList) and len(found) > 1:
            return found
        within = [block for child in found for block in members(child)]
        if isinstance(module, nn.Sequential) and len(found) > 1 and not within:
            return found
        return within

    # A block that is in two places is wrapped once.
    return list(dict.fromkeys(members(model)))


@contextmanager
def checkpointed(blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Within, these blocks keep their inputs only, and run once more in the backward pass."""
    before = [(block, block.__dict__.get("forward")) for block in blocks]
    try:
        for block in blocks:
            again = functools.partial(checkpoint, block.forward, use_reentrant=False)
            # An attribute of the module, which comes before the method of its class.
            block.__dict__["forward"] = again
        yield
    finally:
        for block, forward in before:
            del block.__dict__["forward"]
            if forward is not None:
                block.__dict__["forward"] = forward


@contextmanager
def without_caches(model: nn.Module) -> Iterator[None]:
    """Within, models of transformers keep no keys and values: a block that runs again adds more."""
    every: list[Any] = [getattr(module, "config", None) for module in model.modules()]
    configs = [config for config in every if getattr(config, "use_cache", None) is True]
    for config in configs:
        config.use_cache = False
    try:
        yield
    finally:
        for config in configs:
            config.use_cache = True


class SavedActivations:
    """What a forward pass keeps for the backward pass, unless it is more than so many bytes.

    Attributes
    ----------
    nbytes
        What it keeps, or something above the limit.
    """

    def __init__(self, model: nn.Module, limit: int) -> None:
        self.nbytes, self._limit = 0, limit
        # Weights are there anyway.
        self._met = {address for p in model.parameters() if (address := _address(p)) is not None}
        # While they are kept, no other tensor gets their addresses.
        self._kept: list[torch.Tensor] = []

    @property
    def too_much(self) -> bool:
        """Whether it is above the limit, and there is no backward pass."""
        return self.nbytes > self._limit

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Within, what is saved is counted."""
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._count, _the_same):
                yield
        finally:
            self._kept.clear()

    def _count(self, tensor: torch.Tensor) -> torch.Tensor | None:
        address = _address(tensor)
        if not self.too_much and address is not None and address not in self._met:
            self._met.add(address)
            self._kept.append(tensor.detach())
            self.nbytes += tensor.untyped_storage().nbytes()
            if self.too_much:
                self._kept.clear()
        return None if self.too_much else tensor.detach()


def _address(tensor: torch.Tensor) -> int | None:
    """Where its numbers are; None for tensors without a storage, as sparse ones and subclasses."""
    try:
        address: int = tensor.untyped_storage().data_ptr()
        return address
    except (NotImplementedError, RuntimeError):
        return None


def _the_same(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None, "more than the limit has no backward pass"
    return tensor
