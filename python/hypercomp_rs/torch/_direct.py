"""Products past torch's dispatcher, where all that it would do is to pass them on to the CPU.

An operator that is written in Python it takes through a kernel of autograd's, which is most of what
the call of a small layer costs. It is gone around only where nobody else has a part in the call:
plain tensors, no gradient, and no one who sees operators or replaces them (modes, transforms,
autocast, compilers, traces, the profiler). In doubt, and in a version of torch that cannot be
asked, it is the dispatcher's.

To look at all arguments, as the operator does, costs as much again. A layer is mostly called with
vectors of one shape, so what an operator found acceptable is noted, and what has changed since is
the operator's again. The core gets the same call from both: the results are the same bits.
"""

from __future__ import annotations

import math
import weakref
from operator import attrgetter

import torch
from torch.overrides import has_torch_function

from ._codes import DTYPES, Weight, weight_made
from ._cpu import fewest_decoded
from ._schemas import Parts
from .compressed_module import CompressedModule

_operator = torch.ops.hypercomp.linear.default
# Bound here, as each look-up in a module is a hundredth of the call.
_address = torch.Tensor.data_ptr
_is_compiling = torch.compiler.is_dynamo_compiling
_is_grad_enabled = torch.is_grad_enabled
_threads = torch.get_num_threads
_version = attrgetter("_version")

try:
    from torch._C import (
        DispatchKey,
        _dispatch_keys,
        _dispatch_tls_is_dispatch_key_excluded,
        _is_tracing,
        _len_torch_dispatch_stack,
    )
    from torch.autograd import _profiler_enabled
    from torch.overrides import has_torch_function_unary
except ImportError:

    def _is_passed_on(x: torch.Tensor) -> bool:
        return False
else:
    _AUTOCAST = DispatchKey.AutocastCPU
    # What the dispatcher sees in a tensor that is memory of the CPU and nothing else. Tensors of
    # transforms, negated views and sparse ones have no type of their own, but other keys.
    _PLAIN = []
    for _mode in (False, True):
        with torch.inference_mode(_mode):
            _PLAIN.append(_dispatch_keys(torch.empty(0, device="cpu")))

    def _is_passed_on(x: torch.Tensor) -> bool:
        """Whether an operator on x is seen by its own kernels alone."""
        return not (
            # Also true in a mode that sees torch's functions.
            has_torch_function_unary(x)
            or _dispatch_keys(x) not in _PLAIN
            or _len_torch_dispatch_stack()
            # As it is where autocast is off.
            or not _dispatch_tls_is_dispatch_key_excluded(_AUTOCAST)
            or _is_tracing()
            or _profiler_enabled()
        )


class _Noted:
    """A product's arguments as an operator took them, from where the core read them."""

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
        # Not of the first, whose text is the description.
        read = parts[1:]
        self.addresses = list(map(_address, read))
        self.versions = list(map(_version, read))
        # So that no other memory comes to lie at its address. (The weight keeps the parts' own.)
        self.bias_memory = None if bias is None else bias.detach()


def _no_bias() -> None:
    return None


def _can_be_noted(
    weight: Weight, x: torch.Tensor, parts: Parts, bias: torch.Tensor | None, transposed: bool
) -> bool:
    """Whether the core reads just these tensors, in one call, and they tell when they change."""
    if not x.numel() or not math.prod(weight.shape):
        return False
    if x.numel() // x.shape[-1] >= fewest_decoded(weight, x.dtype, transposed):
        return False
    if bias is not None and not (
        bias.dtype is x.dtype and bias.is_contiguous() and _is_passed_on(bias)
    ):
        return False
    # Those made in inference mode count no changes.
    return not (has_torch_function(parts) or any(part.is_inference() for part in parts))


def linear(
    module: CompressedModule, x: torch.Tensor, bias: torch.Tensor | None, transposed: bool = False
) -> torch.Tensor:
    """As ``torch.ops.hypercomp.linear``, with the weight of a module."""
    said = module._said
    description = said.description
    # First, as compilers take it for true and look at nothing else.
    if _is_compiling():
        traced: torch.Tensor = _operator(x, module.weight_buffers(), description, bias, transposed)
        return traced
    parts = said.take(module._buffers)
    # Weights of zeros have no parts but the description.
    if type(parts) is not tuple:
        parts = (parts,)
    weight = weight_made(parts[0])
    if (
        # Before the first call, and where the codes are on another device.
        weight is None
        or not _is_passed_on(x)
        or (_is_grad_enabled() and (x.requires_grad or (bias is not None and bias.requires_grad)))
    ):
        product: torch.Tensor = _operator(x, parts, description, bias, transposed)
        return product
    noted = weight.noted
    read = parts[1:]
    if (
        noted is not None
        and noted.bias() is bias
        and x.shape == noted.shape
        and x.dtype is noted.dtype
        and x.is_contiguous()
        and transposed is noted.transposed
        and description == noted.description
        # A bias that is gone is None too, but had an address.
        and (0 if bias is None else bias.data_ptr()) == noted.bias_address
        and list(map(_address, read)) == noted.addresses
        and list(map(_version, read)) == noted.versions
    ):
        product = x.new_empty(*noted.out_shape)
        weight.code.linear_at(
            x.data_ptr(),
            noted.batch,
            noted.bias_address,
            product.data_ptr(),
            noted.name,
            transposed,
            _threads(),
        )
        return product
    product = _operator(x, parts, description, bias, transposed)
    # Not before it comes again: to note costs as much as the operator, and lengths may vary.
    again = weight.last_shape == x.shape
    weight.last_shape = x.shape
    # Nor if the operator had to make the weight anew.
    if (
        again
        and weight is weight_made(parts[0])
        and _can_be_noted(weight, x, parts, bias, transposed)
    ):
        weight.noted = _Noted(x, parts, description, bias, transposed, product)
    return product
