"""Batches for calibration: what a model is called with, a few samples at a time."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ..errors import InvalidArgumentError

# Tokens of a batch that a model reads at a time, where they are in several samples. A product with
# so many is as fast as one with more, and what is kept for the backward pass takes less memory.
TOKENS = 512


def micro_batches(model: nn.Module, batch: Any) -> Iterator[Any]:
    """A batch of several texts, some of them at a time; any other as it is.

    Texts are rows of integers, (samples, length): the `input_ids` of a mapping in which every
    tensor has as many rows, or the one tensor that a model of transformers is called with.
    """
    tokens = batch
    if isinstance(batch, Mapping):
        tokens = batch.get("input_ids")
    elif not hasattr(model, "get_input_embeddings"):
        # Integers may be anything, such as the edges of a graph.
        tokens = None
    if not isinstance(tokens, torch.Tensor) or tokens.dim() != 2 or not _integers(tokens):
        yield batch
        return
    samples, length = tokens.shape
    step = max(1, TOKENS // max(1, length))
    if step >= samples:
        yield batch
    elif isinstance(batch, torch.Tensor):
        yield from batch.split(step)
    elif all(_has_rows(value, samples) for value in batch.values()):
        for start in range(0, samples, step):
            yield {
                name: value[start : start + step] if isinstance(value, torch.Tensor) else value
                for name, value in batch.items()
            }
    else:
        yield batch


def _integers(tensor: torch.Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _has_rows(value: Any, count: int) -> bool:
    """Whether it is a tensor of so many samples, or says the same of any number of them."""
    if isinstance(value, torch.Tensor):
        return value.dim() > 0 and len(value) == count
    return value is None or isinstance(value, (bool, int, float, str))


def call_of(
    model: nn.Module, batch: Any, i: int, device: torch.device | None
) -> tuple[tuple[Any, ...], dict[str, Any], torch.Tensor | None]:
    """Arguments for a model, and which of the tokens are no padding, where a mask says so."""
    batch = _moved(batch, device)
    if isinstance(batch, torch.Tensor):
        return (batch,), {}, None
    if isinstance(batch, (list, tuple)):
        masks = [arg for arg in batch if isinstance(arg, dict)]
        return tuple(batch), {}, _mask(*masks)
    if not isinstance(batch, dict):
        raise InvalidArgumentError(
            f"calibration, batch {i} is a {type(batch).__name__}: a tensor, a tuple of arguments "
            "and a mapping of keyword arguments are accepted"
        )
    mask = _mask(batch)
    # A sentence encoder takes a mapping, and not what is in it.
    if _takes(model, batch):
        return (), batch, mask
    return (batch,), {}, mask


def _takes(model: nn.Module, keywords: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(model.forward).bind(**keywords)
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def _mask(*mappings: Mapping[str, Any]) -> torch.Tensor | None:
    for mapping in mappings:
        mask = mapping.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            return mask.bool()
    return None


def _moved(batch: Any, device: torch.device | None) -> Any:
    """The same on a device; mappings as new dicts, for models write to theirs."""
    if isinstance(batch, torch.Tensor):
        # One that was made in inference mode takes no part in gradients.
        batch = batch.clone() if batch.is_inference() else batch
        return batch if device is None else batch.to(device)
    if isinstance(batch, Mapping):
        return {name: _moved(value, device) for name, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(_moved(value, device) for value in batch)
    return batch
