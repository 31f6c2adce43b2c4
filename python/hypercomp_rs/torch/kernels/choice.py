"""Which path a call takes. Every threshold and every condition of the kernels is here.

A product with a compressed weight can be computed in several ways:

* **fused**: the core, or a CUDA kernel, multiplies the codes while it decodes them. Fastest for few
  vectors;
* **block by block**: the core decodes blocks of rows and torch multiplies by each. Faster for many
  vectors on the CPU, where the decoding is shared by all of them;
* **whole**: the whole weight is decoded and torch multiplies. On CUDA devices, for many vectors.

Beside that, two things are chosen on the CPU: whether a fused product calls the core without
torch's dispatcher (`direct.py`), and whether the next block or layer is decoded meanwhile
(`ahead.py`). `paths.py` records what was chosen.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import torch
from torch.overrides import has_torch_function

from .._codes import Weight

# Products on the CPU: fused, or block by block.

# Whether the processor has instructions that multiply bfloat16.
MULTIPLIES_BFLOAT16: bool = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()

# The number of vectors from which a weight is decoded block by block, by the vectors' dtype;
# measured for 1 to 512 vectors. For dtypes that are not listed the fused product was always faster.
BLOCKS_FROM: dict[torch.dtype, int]
if MULTIPLIES_BFLOAT16:
    BLOCKS_FROM = {torch.bfloat16: 96}
elif torch.backends.cpu.get_cpu_capability() == "AVX2":
    BLOCKS_FROM = {torch.float32: 96, torch.float16: 256, torch.bfloat16: 512}
else:
    BLOCKS_FROM = {}
# The same where the codes run along the outputs of the product (a transposed weight, or a weight
# that is stored by input). Then the fused product loads and stores all outputs for each row of
# codes, so blocks are faster earlier. The fused product adds up in float32, so here products of two
# or more float64 vectors are left to torch.
BLOCKS_FROM_ALONG_OUTPUTS: dict[torch.dtype, int] = {
    torch.float64: 2,
    torch.float32: 48,
    torch.float16: 128,
    torch.bfloat16: 24 if MULTIPLIES_BFLOAT16 else 128,
}
_NEVER = 1 << 62


def blocks_from(weight: Weight, dtype: torch.dtype, transposed: bool) -> int:
    """The number of vectors from which a product decodes block by block on the CPU."""
    along_inputs = transposed is weight.swapped
    table = BLOCKS_FROM if along_inputs else BLOCKS_FROM_ALONG_OUTPUTS
    return table.get(dtype, _NEVER)


# Blocks.

# Bytes of a decoded block: it fits the last level of cache.
BLOCK_BYTES = 8 << 20
# Rows of a block are a multiple of this if the weight is stored by input. Decoding a part of a
# Hadamard block of outputs costs as much as decoding all of it.
BLOCK_ROWS_BY_INPUT = 1024


def rows_of_block(weight: Weight, dtype: torch.dtype) -> int:
    """Number of rows that are decoded at a time."""
    rows: int = max(1, BLOCK_BYTES // max(1, weight.shape[1] * dtype.itemsize))
    if weight.swapped:
        rows = max(1, rows // BLOCK_ROWS_BY_INPUT) * BLOCK_ROWS_BY_INPUT
    return rows


# Decoding ahead.

# Blocks are decoded ahead from this number of vectors on, times the threads that multiply, divided
# by the threads that decode meanwhile. For fewer vectors it is faster if all threads decode and
# then multiply.
AHEAD_FROM_VECTORS = 64

_decode_ahead: bool | None = None


def decode_ahead(enabled: bool | None) -> None:
    """Whether the next layer is decoded, by threads of its own, while one computes.

    None, the default: where torch uses several threads and they leave a core free
    (``torch.set_num_threads``). Off, no thread and no memory is used for it.

    Examples
    --------
    >>> import hypercomp_rs.torch as hct
    >>> hct.decode_ahead(True)
    >>> hct.decode_ahead(None)
    """
    global _decode_ahead
    _decode_ahead = enabled


def decodes_layers_ahead(threads: int) -> bool:
    """Whether the next layer is decoded while torch computes with this number of threads."""
    return 2 <= threads < _cores() if _decode_ahead is None else _decode_ahead


def decodes_blocks_ahead(vectors: int, threads: int) -> bool:
    """Whether the next block is decoded while this number of vectors is multiplied by one."""
    enough = vectors * threads_ahead(threads) >= AHEAD_FROM_VECTORS * threads
    return enough and decodes_layers_ahead(threads)


def threads_ahead(threads: int) -> int:
    """The threads that decode ahead while torch computes with this number of threads."""
    return max(1, _cores() - threads)


def _cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Calls without torch's dispatcher.

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
    # A version of torch that cannot be asked: every call goes through the dispatcher.
    def only_the_core_computes(x: torch.Tensor) -> bool:
        """Whether the dispatcher would pass an operator on `x` to its CPU implementation alone."""
        return False

    def _observer(x: torch.Tensor) -> str:
        return "this version of torch"
else:
    _AUTOCAST = DispatchKey.AutocastCPU
    # The dispatch keys of a tensor in the CPU's memory without anything special. Tensors of
    # transforms, negated views and sparse tensors are of the same class, and have other keys.
    _PLAIN = []
    for _mode in (False, True):
        with torch.inference_mode(_mode):
            _PLAIN.append(_dispatch_keys(torch.empty(0, device="cpu")))

    def only_the_core_computes(x: torch.Tensor) -> bool:
        """Whether the dispatcher would pass an operator on `x` to its CPU implementation alone."""
        return not (
            # Also true in a mode that observes torch's functions.
            has_torch_function_unary(x)
            or _dispatch_keys(x) not in _PLAIN
            or _len_torch_dispatch_stack()
            # The key is excluded where autocast is off.
            or not _dispatch_tls_is_dispatch_key_excluded(_AUTOCAST)
            or _is_tracing()
            or _profiler_enabled()
        )

    def _observer(x: torch.Tensor) -> str:
        """What else takes part in an operator on `x`; empty if nothing does."""
        observers = (
            (has_torch_function_unary(x), "a subclass of Tensor or a mode of torch's functions"),
            (x.device.type != "cpu", f"a tensor on the device {x.device}"),
            (_dispatch_keys(x) not in _PLAIN, "a tensor of a transform, or a special view"),
            (_len_torch_dispatch_stack(), "a mode of torch's operators"),
            (not _dispatch_tls_is_dispatch_key_excluded(_AUTOCAST), "autocast"),
            (_is_tracing(), "a trace"),
            (_profiler_enabled(), "the profiler"),
        )
        return next((name for there, name in observers if there), "")


def needs_gradient(x: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Whether a product of these has to be differentiable."""
    return torch.is_grad_enabled() and (
        x.requires_grad or (bias is not None and bias.requires_grad)
    )


def can_be_cached(
    weight: Weight,
    x: torch.Tensor,
    parts: Sequence[torch.Tensor],
    bias: torch.Tensor | None,
    transposed: bool,
) -> bool:
    """Whether later calls like this one may call the core directly.

    The core must read these very tensors, in one call, and they must count their changes.
    """
    if not x.numel() or not math.prod(weight.shape):
        return False
    if x.numel() // x.shape[-1] >= blocks_from(weight, x.dtype, transposed):
        return False
    if bias is not None and not (
        bias.dtype is x.dtype and bias.is_contiguous() and only_the_core_computes(bias)
    ):
        return False
    # Tensors that are made in inference mode do not count changes.
    return not (has_torch_function(parts) or any(part.is_inference() for part in parts))


def why_dispatched(weight: Weight | None, x: torch.Tensor, bias: torch.Tensor | None) -> str:
    """Why a product went through torch's dispatcher, for the record of its path."""
    if torch.compiler.is_dynamo_compiling():
        return "torch.compile"
    if observer := _observer(x):
        return observer
    if needs_gradient(x, bias):
        return "a gradient is needed"
    if weight is None:
        return "the first call with this weight"
    return "not the shape, tensors and settings of the call before"


# CUDA devices.

# The largest number of vectors that are multiplied by the codes, which is one pass over them. For
# more, a weight is decoded once and cuBLAS multiplies with tensor cores.
CUDA_FUSED_TO = 8
# The same where tensor cores multiply the codes: two passes of sixteen vectors of 16 bits.
CUDA_TENSOR_CORES_TO = 32
# A call that decodes a whole weight for few vectors warns if the weight has at least this many
# elements.
CUDA_WARN_FROM_ELEMENTS = 1 << 20
# The dtypes that kernels read and write. For float64 a kernel writes float32, which is then
# widened.
CUDA_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Weights whose exponent has a smaller magnitude than this are normal numbers in float32, whatever
# the scale of their row.
CUDA_WIDENS_BELOW_EXPONENT = 60


def fused_to_on_cuda(by_tensor_cores: bool, dtype: torch.dtype) -> int:
    """The largest number of vectors of a dtype that a CUDA device multiplies by codes.

    ``by_tensor_cores`` tells whether tensor cores multiply the codes by vectors of 16 bits.
    """
    sixteen_bits = dtype in (torch.float16, torch.bfloat16)
    return CUDA_TENSOR_CORES_TO if by_tensor_cores and sixteen_bits else CUDA_FUSED_TO


def why_not_fused_on_cuda(
    multiplies: bool,
    by_input: bool,
    transposed: bool,
    dtype: torch.dtype,
    vectors: int,
    fused_to: int = CUDA_FUSED_TO,
) -> str:
    """Why a CUDA device decodes a whole weight for a product.

    Empty if kernels multiply by the codes.

    Parameters
    ----------
    multiplies
        Whether there are kernels that multiply by codes of this kind.
    by_input
        Whether the weight is stored input by input.
    transposed, dtype, vectors
        Of the product.
    fused_to
        The largest number of vectors for which that is faster: :func:`fused_to_on_cuda`.
    """
    if not multiplies:
        return (
            "the kernels multiply by trellis codes of rows of at least 128 weights, without "
            "zeros or exact weights that are kept apart"
        )
    # Codes are multiplied in the order in which they are stored.
    if transposed != by_input:
        if by_input:
            return (
                "it is stored input by input, as calibration stores layers, and the kernels "
                "multiply in the order of the codes"
            )
        return "the product is transposed, and the kernels multiply in the order of the codes"
    if dtype not in CUDA_DTYPES:
        return "the vectors are of float64"
    if vectors > fused_to:
        return f"for more than {fused_to} vectors that is faster"
    return ""
