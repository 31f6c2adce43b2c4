"""Products of experts: vectors sorted by expert, and each group times the weights of its own.

Outside of a compiler each layer is called with its group, so hooks and adapters have their part. A
compiler cannot follow groups whose lengths depend on data, so it is given one operator,
``torch.ops.hypercomp.experts``. Neither reads the codes of an expert without a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import nn

from ._codes import described
from ._schemas import LIBRARY, Parts, _cast
from .compressed_module import CompressedModule

# How many vectors each expert gets: known here, or a tensor that only an operator reads.
Counts: TypeAlias = list[int] | torch.Tensor

LIBRARY.define(
    "experts(Tensor x, Tensor counts, Tensor[] parts, str[] descriptions, "
    "bool transposed=False) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def counts_of(chosen: torch.Tensor, experts: int) -> torch.Tensor:
    """How often each expert is among the indices; others than those of experts are left out."""
    counts = chosen.new_zeros(experts + 1)
    counts = counts.scatter_add(0, chosen.clamp(max=experts), torch.ones_like(chosen))
    return counts[:experts]


def counted(layers: Iterable[nn.Module], counts: torch.Tensor) -> Counts:
    """The counts in the form that :func:`multiply` is to have them in, by the layers of experts."""
    if torch.compiler.is_compiling() and all(
        isinstance(layer, CompressedModule) for layer in layers
    ):
        return counts
    known: list[int] = counts.tolist()
    return known


def multiply(
    experts: Sequence[nn.Module],
    layers: Sequence[str],
    x: torch.Tensor,
    counts: Counts,
    transposed: bool,
) -> torch.Tensor:
    """`x`, sorted by expert, times the named layers of each expert, one beside the other.

    `transposed` tells whether the layers' weights are (inputs, outputs).
    """
    if isinstance(counts, torch.Tensor):
        products = [_operator(experts, layer, x, counts, transposed) for layer in layers]
        return products[0] if len(products) == 1 else torch.cat(products, -1)
    groups, start = [], 0
    for expert, count in zip(experts, counts, strict=True):
        if count:
            group = x[start : start + count]
            products = [expert._modules[layer](group) for layer in layers]
            groups.append(products[0] if len(products) == 1 else torch.cat(products, -1))
            start += count
    if not groups:
        # No layer was called, so the number of outputs comes from the first expert's layers.
        first: list[Any] = [experts[0]._modules[layer] for layer in layers]
        return x.new_zeros(len(x), sum(layer.out_features for layer in first))
    if start < len(x):
        groups.append(groups[0].new_zeros(len(x) - start, groups[0].shape[-1]))
    return groups[0] if len(groups) == 1 else torch.cat(groups)


def _operator(
    experts: Sequence[nn.Module],
    layer: str,
    x: torch.Tensor,
    counts: torch.Tensor,
    transposed: bool,
) -> torch.Tensor:
    layers = [cast(CompressedModule, expert._modules[layer]) for expert in experts]
    product: torch.Tensor = torch.ops.hypercomp.experts.default(
        x,
        counts,
        [buffer for each in layers for buffer in each.weight_buffers()],
        [each.description for each in layers],
        transposed,
    )
    return product


def _by_expert(
    parts: Parts, descriptions: Sequence[str]
) -> Iterator[tuple[Sequence[torch.Tensor], str]]:
    """The buffers of each expert, and their description."""
    start = 0
    for description in descriptions:
        stop = start + 1 + len(described(description).bytes)
        yield parts[start:stop], description
        start = stop


def _outputs(descriptions: Sequence[str], transposed: bool) -> int:
    return described(descriptions[0]).shape[1 if transposed else 0]


def experts(
    x: torch.Tensor,
    counts: torch.Tensor,
    parts: Parts,
    descriptions: Sequence[str],
    transposed: bool = False,
) -> torch.Tensor:
    """(vectors, outputs): each group times the weight of its expert, and zeros for others."""
    out = x.new_zeros(len(x), _outputs(descriptions, transposed))
    start = 0
    for count, (own, said) in zip(counts.tolist(), _by_expert(parts, descriptions), strict=True):
        group = slice(start, start + count)
        # A group of zeros is of tokens that were not sent to this expert, as in Llama 4.
        if count and x[group].any():
            out[group] = torch.ops.hypercomp.linear.default(x[group], own, said, None, transposed)
        start += count
    return out


LIBRARY.impl("experts", experts, "CompositeExplicitAutograd")


@torch.library.register_fake("hypercomp::experts", lib=LIBRARY)
def _(
    x: torch.Tensor,
    counts: torch.Tensor,
    parts: Parts,
    descriptions: Sequence[str],
    transposed: bool = False,
) -> torch.Tensor:
    return x.new_empty(x.shape[0], _outputs(descriptions, transposed))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, counts, parts, ctx.descriptions, ctx.transposed = inputs
    ctx.save_for_backward(counts, *parts)


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    counts, *parts = ctx.saved_tensors
    of_x = None
    if ctx.needs_input_grad[0]:
        of_x = torch.ops.hypercomp.experts.default(
            gradient, counts, parts, ctx.descriptions, not ctx.transposed
        )
    return of_x, None, [None] * len(parts), None, None


torch.library.register_autograd("hypercomp::experts", _backward, setup_context=_keep, lib=LIBRARY)


def _autocast(device: str) -> None:
    key = f"Autocast{device.upper()}"
    below = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def cast_and_multiply(x: torch.Tensor, *others: Any) -> torch.Tensor:
        with torch._C._ExcludeDispatchKeyGuard(below):
            product: torch.Tensor = torch.ops.hypercomp.experts.default(
                _cast(x, torch.get_autocast_dtype(device)), *others
            )
            return product

    LIBRARY.impl("experts", cast_and_multiply, key)


for _device in ("cpu", "cuda"):
    _autocast(_device)
