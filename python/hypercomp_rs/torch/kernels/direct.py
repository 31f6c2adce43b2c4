"""Products that call the core without torch's dispatcher.

PyTorch dispatches an operator that is implemented in Python through autograd first. For small
layers that costs more than the product itself. The dispatcher is left out only where nothing else
takes part in the call: plain tensors, no gradient, no mode, transform, autocast, compiler, trace or
profiler. In doubt, and in a version of torch that cannot be asked, the call is dispatched.

To check all arguments, as the operator does, costs about as much again. A layer is mostly called
with vectors of one shape. So the arguments that the operator accepted are remembered in a
`CallCache`, and a call whose arguments are the same skips the checks. The core gets the same call
on both ways, so the results are the same bits.
"""

from __future__ import annotations

import weakref
from operator import attrgetter

import torch

from .._codes import DTYPES, Weight, weight_made
from .._schemas import Parts
from ..compressed_module import CompressedModule
from .choice import can_be_cached, only_the_core_computes, why_dispatched
from .paths import recorder

_operator = torch.ops.hypercomp.linear.default
# Bound here, as each look-up in a module takes a hundredth of the call.
_address = torch.Tensor.data_ptr
_is_compiling = torch.compiler.is_dynamo_compiling
_is_grad_enabled = torch.is_grad_enabled
_threads = torch.get_num_threads
_version = attrgetter("_version")


class CallCache:
    """The arguments of a product that the operator accepted, and where the core reads them."""

    __slots__ = (
        "addresses",
        "batch",
        "bias",
        "bias_address",
        "bias_memory",
        "description",
        "dtype",
        "name",
        "out_shape",
        "shape",
        "transposed",
        "versions",
    )

    def __init__(
        self,
        x: torch.Tensor,
        parts: Parts,
        description: str,
        bias: torch.Tensor | None,
        transposed: bool,
        product: torch.Tensor,
    ) -> None:
        self.description, self.transposed = description, transposed
        self.shape, self.dtype, self.name = x.shape, x.dtype, DTYPES[x.dtype]
        self.out_shape, self.batch = product.shape, product.numel() // product.shape[-1]
        self.bias = _no_bias if bias is None else weakref.ref(bias)
        self.bias_address = 0 if bias is None else bias.data_ptr()
        # Without the first part: its text is the description.
        read = parts[1:]
        self.addresses = list(map(_address, read))
        self.versions = list(map(_version, read))
        # Keeps the bias's memory, so that no other tensor gets its address. (The weight keeps the
        # memory of the parts.)
        self.bias_memory = None if bias is None else bias.detach()


def _no_bias() -> None:
    return None


def linear(
    module: CompressedModule, x: torch.Tensor, bias: torch.Tensor | None, transposed: bool = False
) -> torch.Tensor:
    """As ``torch.ops.hypercomp.linear``, with the weight of a module."""
    layout = module._layout
    description = layout.description
    # First, as compilers take this for true and trace nothing else.
    if _is_compiling():
        traced: torch.Tensor = _operator(x, module.weight_buffers(), description, bias, transposed)
        return traced
    parts = layout.take(module._buffers)
    # A weight of zeros has no part but the description, and then this is no tuple.
    if type(parts) is not tuple:
        parts = (parts,)
    weight = weight_made(parts[0])
    if (
        # Before the first call, and where the codes are on another device.
        weight is None
        or not only_the_core_computes(x)
        or (_is_grad_enabled() and (x.requires_grad or (bias is not None and bias.requires_grad)))
    ):
        return _dispatched(weight, x, parts, description, bias, transposed)
    cache = weight.call_cache
    read = parts[1:]
    if (
        cache is not None
        and cache.bias() is bias
        and x.shape == cache.shape
        and x.dtype is cache.dtype
        and x.is_contiguous()
        and transposed is cache.transposed
        and description == cache.description
        # The reference to a bias that is gone gives None too, but its address is not 0.
        and (0 if bias is None else bias.data_ptr()) == cache.bias_address
        and list(map(_address, read)) == cache.addresses
        and list(map(_version, read)) == cache.versions
    ):
        product = x.new_empty(*cache.out_shape)
        weight.code.linear_at(
            x.data_ptr(),
            cache.batch,
            cache.bias_address,
            product.data_ptr(),
            cache.name,
            transposed,
            _threads(),
        )
        if recorder.calls is not None:
            shape, vectors = weight.shape, cache.batch
            recorder.add("linear", "cpu", shape, vectors, x.dtype, "fused", dispatch="")
        return product
    product = _dispatched(weight, x, parts, description, bias, transposed)
    # Only when a shape comes again: to cache a call costs as much as the operator, and the lengths
    # of texts vary.
    again = weight.last_shape == x.shape
    weight.last_shape = x.shape
    # Not if the operator had to prepare the weight anew.
    if (
        again
        and weight is weight_made(parts[0])
        and can_be_cached(weight, x, parts, bias, transposed)
    ):
        weight.call_cache = CallCache(x, parts, description, bias, transposed, product)
    return product


def _dispatched(
    weight: Weight | None,
    x: torch.Tensor,
    parts: Parts,
    description: str,
    bias: torch.Tensor | None,
    transposed: bool,
) -> torch.Tensor:
    """The product by torch's dispatcher."""
    product: torch.Tensor = _operator(x, parts, description, bias, transposed)
    if recorder.calls:
        recorder.calls[-1] = recorder.calls[-1]._replace(dispatch=why_dispatched(weight, x, bias))
    return product
