"""What other libraries are told of compressed modules, without importing them.

A module that becomes compressed has to tell peft, diffusers and transformers, if they are imported.
Their adapters (`_peft.py`, `_diffusers.py`, `_with_transformers.py`) use compressed modules, so the
modules cannot import the adapters. Each adapter registers its callbacks here when it is imported,
which ``hypercomp_rs.torch`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from ..checkpoint.plan import Request

_on_module: list[Callable[[], None]] = []
_on_compressed: list[Callable[[nn.Module, Request], None]] = []
_on_decompressed: list[Callable[[nn.Module], None]] = []
_expert_layers: list[Callable[[nn.Module, Any], Any]] = []


def on_module(callback: Callable[[], None]) -> None:
    """Call this whenever a module becomes compressed, and whenever its weight is frozen."""
    _on_module.append(callback)


def on_model(
    compressed: Callable[[nn.Module, Request], None],
    decompressed: Callable[[nn.Module], None],
) -> None:
    """Call these when ``compress_model`` or ``decompress_model`` has converted a model."""
    _on_compressed.append(compressed)
    _on_decompressed.append(decompressed)


def prepare() -> None:
    """Run the callbacks of all libraries for a module that becomes compressed.

    Cheap after the first time.
    """
    for callback in _on_module:
        callback()


def model_compressed(model: nn.Module, request: Request) -> None:
    """Say that ``compress_model`` has compressed a model, and what it was asked for."""
    for callback in _on_compressed:
        callback(model, request)


def model_decompressed(model: nn.Module) -> None:
    """Say that ``decompress_model`` has made a model dense."""
    for callback in _on_decompressed:
        callback(model)


def on_experts(layers: Callable[[nn.Module, Any], Any]) -> None:
    """Ask this for the layers that checkpoints of a module of fused experts have."""
    _expert_layers.append(layers)


def expert_layers(module: nn.Module, kind: Any) -> Any:
    """The layers that checkpoints of fused experts have; None where they are fused there, too."""
    for layers in _expert_layers:
        if (found := layers(module, kind)) is not None:
            return found
    return None
