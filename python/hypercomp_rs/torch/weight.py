"""What stands where a compressed module's dense weight was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from ..tensor import CompressedTensor
from ._codes import described

if TYPE_CHECKING:
    from .compressed_module import CompressedModule


class CompressedWeight:
    """The ``weight`` of a compressed module: it knows its shape, and decodes when it is used.

    Models look at a layer's weight for its dtype and device (T5 does before each product), and
    torch looks whether it has a fast path of its own for it (``nn.TransformerEncoderLayer``);
    neither must decode a layer, nor be told that its dtype is that of bytes, as with a tensor of
    codes. So it is no tensor: it answers such questions, and any function of torch that is given
    it gets the decoded weights. It cannot be written to.

    Examples
    --------
    >>> import torch, hypercomp_rs.torch as hct
    >>> layer = hct.CompressedLinear.from_module(torch.nn.Linear(256, 64))
    >>> layer.weight.shape, layer.weight.dtype, layer.weight.requires_grad
    (torch.Size([64, 256]), torch.float32, False)
    >>> torch.linalg.norm(layer.weight) > 0
    tensor(True)
    """

    __slots__ = ("_module",)

    requires_grad = False
    # The functions of transformers that initialise weights leave what has this alone.
    _is_hf_initialized = True
    grad = None
    is_meta = False

    def __init__(self, module: CompressedModule) -> None:
        self._module = module

    @property
    def shape(self) -> torch.Size:
        """Lengths of the axes."""
        return torch.Size(self._module.weight_shape)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the module's weight has when it is decoded."""
        return self._module.dtype

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self._module.weight_buffers()[0].device

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def dim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> torch.Size | int:
        """Lengths of the axes, or of one."""
        return self.shape if dim is None else self._module.weight_shape[dim]

    def numel(self) -> int:
        """Number of weights."""
        return math.prod(self._module.weight_shape)

    def is_floating_point(self) -> bool:
        """Always: a module has no other weights."""
        return True

    def decompress(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """All weights as a new tensor, by default of the module's dtype."""
        module = self._module
        dense: torch.Tensor = torch.ops.hypercomp.decode.default(
            module.weight_buffers(), module.description, dtype or module.dtype
        )
        return dense

    def compressed(self) -> CompressedTensor:
        """The codes as :class:`hypercomp_rs.CompressedTensor`, which shares their memory."""
        module = self._module
        names = described(module.description).bytes
        parts = dict(zip(names, module.weight_buffers()[1:], strict=True))
        return CompressedTensor.from_parts(module.description, parts)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch with the decoded weights."""
        args, kwargs = torch.utils._pytree.tree_map_only(
            CompressedWeight, CompressedWeight.decompress, (args, kwargs or {})
        )
        return function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a compressed weight has no {name!r}: decompress() gives a tensor, a copy; to change "
            "the weights of a model, use decompress_model first"
        )

    def __repr__(self) -> str:
        return (
            f"CompressedWeight(shape={tuple(self.shape)}, dtype={self.dtype}, device={self.device})"
        )
