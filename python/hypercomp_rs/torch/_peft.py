"""Two functions of peft that are wrapped, because they look for parameters by name or shape.

Adapters work without this. Two other features of peft need it:

* ``modules_to_save`` trains copies of modules, and saves and loads them by the names of their
  entries. Codes cannot be trained, so the copies are made dense.
* Prompt learning searches the parameters for the table of tokens, by its length. During the search
  a compressed table is listed with the shape of its weight.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from . import _integrations
from .compressed_module import CompressedModule

_patched = False


def patch_peft() -> None:
    """Wrap the two functions if peft is imported. Only the first call after that does anything."""
    global _patched
    if _patched or "peft" not in sys.modules:
        return
    try:
        from peft import PeftModel
        from peft.utils.other import ModulesToSaveWrapper

        set_up, update = PeftModel._setup_prompt_encoder, ModulesToSaveWrapper.update
    except (ImportError, AttributeError):
        # peft is being imported, or is a version without these functions. Then placeholders raise
        # errors that say what to do.
        return
    _patched = True

    @functools.wraps(set_up)
    def setup_prompt_encoder(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _tables_listed(self.base_model):
            return set_up(self, *args, **kwargs)

    @functools.wraps(update)
    def update_and_decompress(self: Any, adapter_name: str, *args: Any, **kwargs: Any) -> Any:
        result = update(self, adapter_name, *args, **kwargs)
        for module in _compressed(self.modules_to_save[adapter_name]):
            module.decompress_tied()
        return result

    PeftModel._setup_prompt_encoder = setup_prompt_encoder
    ModulesToSaveWrapper.update = update_and_decompress


def _compressed(model: nn.Module) -> list[CompressedModule]:
    return [module for module in model.modules() if isinstance(module, CompressedModule)]


@contextmanager
def _tables_listed(model: nn.Module) -> Iterator[None]:
    """List compressed tables among the parameters with their full shape, which takes no memory."""
    tables = [module for module in _compressed(model) if isinstance(module, nn.Embedding)]
    listed = [module._parameters for module in tables]
    try:
        for module, parameters in zip(tables, listed, strict=True):
            device = module.weight_buffers()[0].device
            shape = torch.zeros((), dtype=module.dtype, device=device).expand(module.weight_shape)
            others = {n: p for n, p in parameters.items() if p is not module.placeholder}
            module._parameters = {"weight": nn.Parameter(shape, requires_grad=False), **others}
        yield
    finally:
        for module, parameters in zip(tables, listed, strict=True):
            module._parameters = parameters


_integrations.on_module(patch_peft)
