"""Compressed modules in models of transformers, if the program has imported transformers."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from typing import Any

from torch import nn

from ..checkpoint.plan import Request
from ..errors import MissingExtraError, UnknownTransformersWarning
from . import _integrations


def prepare_transformers() -> bool:
    """Make transformers save and load compressed modules. False if it is absent or too old.

    A model of transformers may get compressed layers in many ways. All of them end here, so that
    ``save_pretrained`` always writes that the model is compressed: see ``transformers/saving.py``.
    """
    return "transformers.modeling_utils" in sys.modules and _is_prepared()


@cache
def _is_prepared() -> bool:
    try:
        from . import transformers as _  # noqa: F401
    except MissingExtraError as error:
        warnings.warn(
            f"models of transformers can be compressed, but not saved by save_pretrained: {error}; "
            "until then, save the state dict and read it with hypercomp_rs.torch.load_compressed",
            UnknownTransformersWarning,
            stacklevel=4,
        )
        return False
    return True


def _prepare() -> None:
    prepare_transformers()


def _mark(model: nn.Module, request: Request) -> None:
    if prepare_transformers():
        from .transformers import mark_compressed

        mark_compressed(model, request)


def _unmark(model: nn.Module) -> None:
    if prepare_transformers():
        from .transformers import unmark_compressed

        unmark_compressed(model)


def _expert_layers(module: nn.Module, kind: Any) -> Any:
    if not prepare_transformers():
        return None
    from .transformers.expert_names import layers_in_checkpoints

    return layers_in_checkpoints(module, kind)


_integrations.on_module(_prepare)
_integrations.on_experts(_expert_layers)
_integrations.on_model(_mark, _unmark)
