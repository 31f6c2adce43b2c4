"""``CompressedWeight``: the ``weight`` attribute of a compressed module."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from functools import cache, partial
from operator import itemgetter
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import ReadOnlyError
from ..tensor import CompressedTensor
from ._codes import DESCRIPTION, described

# The names of a module's buffers that hold codes begin with this.
PREFIX = "weight_"


class WeightLayout:
    """The description of a weight, and the names of the buffers that hold its codes.

    Tied modules share one.
    """

    __slots__ = ("buffer_names", "description", "take")

    def __init__(self, description: str) -> None:
        self.description = description
        names = (DESCRIPTION, *described(description).bytes)
        self.buffer_names = tuple(PREFIX + name for name in names)
        # Takes all of them from a dictionary, five times as fast as a loop does.
        self.take = itemgetter(*self.buffer_names)


class Holder(Protocol):
    """A module that has a compressed weight, as far as the weight and its placeholder use it.

    :class:`CompressedModule` is the only one. It is not named here, as it is made of this file's
    classes.
    """

    dtype: torch.dtype
    _buffers: dict[str, Any]
    _parameters: dict[str, nn.Parameter | None]

    def decompress(
        self, weight: nn.Parameter | None = None, dtype: torch.dtype | None = None
    ) -> nn.Parameter:
        """Make the module dense, with this parameter or with the decoded weights."""
        ...

    def _list(self, placeholder: nn.Parameter | None) -> None:
        """Replace the placeholder among the module's parameters."""
        ...

    def __hash__(self) -> int: ...


class CompressedWeight:
    """The ``weight`` of a compressed module. It behaves like a read-only tensor.

    It is not a ``torch.Tensor``. A tensor of codes would have the wrong dtype and shape for code
    that reads a layer's weight (T5 reads its dtype before each product), and torch's C++ code would
    read the codes as weights. Instead:

    * shape, dtype, device and similar attributes are known without decoding;
    * functions of torch, methods and operators of ``torch.Tensor``, indices and numpy get a copy of
      the decoded weights;
    * ``F.embedding`` decodes only the rows that are asked for;
    * everything that would write to it raises: ``w.add_``, ``w[0] = …``, ``w.data = …``,
      ``torch.mul(…, out=w)``;
    * ``w.data`` and ``w.detach()`` are the weight itself, so that writing to them raises, too.

    Modules with tied weights have the same object: ``a.weight is b.weight``. To tie a module,
    assign it: ``a.weight = b.weight``.

    Examples
    --------
    >>> import torch, hypercomp_rs.torch as hct
    >>> layer = hct.CompressedLinear.from_module(torch.nn.Linear(256, 64))
    >>> w = layer.weight
    >>> w.shape, w.dtype, w.requires_grad, w is layer.weight
    (torch.Size([64, 256]), torch.float32, False, True)
    >>> (2 * w).shape, w.T.shape, w[:3, 5].shape, w.half().dtype
    (torch.Size([64, 256]), torch.Size([256, 64]), torch.Size([3]), torch.float16)
    >>> w.mul_(2)
    Traceback (most recent call last):
        ...
    hypercomp_rs.errors.ReadOnlyError: mul_ of a compressed weight of shape (64, 256), which is \
read only: decompress() gives a tensor, a copy; to change the weights of a module, use \
hypercomp_rs.torch.decompress_model first
    """

    # Without this, numpy would treat the weight in `array * weight` as a sequence.
    __array_priority__ = 1000

    grad_fn = None
    is_leaf = True
    # transformers initialises parameters that lack this attribute.
    _is_hf_initialized = True

    def __init__(self, layout: WeightLayout, dtype: torch.dtype, buffers: dict[str, Any]) -> None:
        self._set(_layout=layout, _dtype=dtype, _buffers=buffers, _modules=weakref.WeakSet())

    def _set(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    # Attributes that are known without decoding.

    @property
    def shape(self) -> torch.Size:
        """Lengths of the axes."""
        return cast(torch.Size, torch.Size(described(self._layout.description).shape))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the module's weight has when it is decoded."""
        return cast(torch.dtype, self._dtype)

    @property
    def device(self) -> torch.device:
        """The device of the codes."""
        return cast(torch.device, self._buffers[self._layout.buffer_names[0]].device)

    @property
    def is_meta(self) -> bool:
        """Whether there are no codes, only their shapes."""
        return bool(self.device.type == "meta")

    @property
    def is_cuda(self) -> bool:
        """Whether the codes are on a CUDA device."""
        return bool(self.device.type == "cuda")

    @property
    def is_cpu(self) -> bool:
        """Whether the codes are in the CPU's memory."""
        return bool(self.device.type == "cpu")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def dim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> torch.Size | int:
        """Lengths of the axes, or of one."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    nelement = numel

    def is_floating_point(self) -> bool:
        """Always: a module has no other weights."""
        return True

    def __len__(self) -> int:
        return int(self.shape[0])

    # Reading.

    def decompress(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """All weights as a new tensor, by default of the module's dtype."""
        dense: torch.Tensor = torch.ops.hypercomp.decode.default(
            self.buffers(), self._layout.description, dtype or self._dtype
        )
        return dense

    def compressed(self) -> CompressedTensor:
        """The codes as :class:`hypercomp_rs.CompressedTensor`, which shares their memory."""
        names = described(self._layout.description).bytes
        parts = dict(zip(names, self.buffers()[1:], strict=True))
        return CompressedTensor.from_parts(self._layout.description, parts)

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The decoded weights, of another dtype, on another device, or as they are."""
        return self.decompress().to(*args, **kwargs)

    def detach(self) -> CompressedWeight:
        """The weight itself: it has no gradient, and cannot be written to."""
        return self

    @property
    def data(self) -> CompressedWeight:
        """The weight itself: it has no gradient, and cannot be written to."""
        return self

    @data.setter
    def data(self, value: Any) -> None:
        raise _read_only(self, "data =")

    @property
    def grad(self) -> None:
        """Always None: codes have no gradient."""
        return None

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            raise _read_only(self, "grad =")

    @property
    def requires_grad(self) -> bool:
        """Always False: codes do not train."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> CompressedWeight:
        """Refused if it is true: codes do not train."""
        if requires_grad:
            raise ReadOnlyError(
                f"requires_grad of a compressed weight of shape {tuple(self.shape)}: codes do not "
                "train; hypercomp_rs.torch.decompress_model(module) or module.requires_grad_(True) "
                "first makes the module dense, and its weight a parameter (weight.decompress() "
                "gives a tensor of its own)"
            )
        return self

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch with decoded weights, or compute its result from the codes."""
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        written = _written(name, args, kwargs)
        if written is not None:
            raise _read_only(written, name)
        from_codes = _COMPUTED_FROM_CODES.get(function)
        result = NotImplemented if from_codes is None else from_codes(*args, **kwargs)
        if result is NotImplemented:
            args, kwargs = torch.utils._pytree.tree_map_only(
                CompressedWeight, CompressedWeight.decompress, (args, kwargs)
            )
            result = function(*args, **kwargs)
        return result

    def __getattr__(self, name: str) -> Any:
        """The attribute of ``torch.Tensor`` of this name, for the decoded weights."""
        kind = _kind_of(name)
        if kind == "none":
            raise AttributeError(f"'CompressedWeight' object has no attribute {name!r}")
        if kind == "method in place":
            return partial(_refuse, self, name)
        if kind == "address":
            raise ReadOnlyError(
                f"{name} of a compressed weight of shape {tuple(self.shape)}, which has no memory "
                "of its own: decompress() gives a tensor, a copy"
            )
        if kind == "layout":
            return getattr(torch.empty(self.shape, dtype=self._dtype, device="meta"), name)
        if kind == "method":
            return partial(_call, self, name)
        return getattr(self.decompress(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute that tensors do not have, such as a flag of a model.

        Others are refused.
        """
        if name == "_is_param":
            # `torch.nn.Parameter(weight)` sets this, and would return the weight as a parameter.
            raise ReadOnlyError(
                f"torch.nn.Parameter of a compressed weight of shape {tuple(self.shape)}: "
                "weight.decompress() gives a tensor, which is accepted"
            )
        if name in ("data", "grad", "requires_grad") or not hasattr(torch.Tensor, name):
            object.__setattr__(self, name, value)
        else:
            raise _read_only(self, f"{name} =")

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return (
            f"CompressedWeight(shape={tuple(self.shape)}, dtype={self.dtype}, device={self.device})"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """For numpy: the decoded weights."""
        return self.decompress().cpu().__array__(dtype)

    def __iter__(self) -> Any:
        return iter(self.decompress())

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles hold the codes and no modules.

        A copied module joins the copy itself.
        """
        return _weight_of_codes, (self._layout, self._dtype, self.buffers())

    def data_ptr(self) -> int:
        """A number that is the same for tied weights and different for others. It is no address."""
        return id(self)

    # The modules that have the weight.

    @property
    def description(self) -> str:
        """Codec, shape, dtype and parts of the weight, in JSON: see `docs/format.md`."""
        return cast(str, self._layout.description)

    def buffers(self) -> list[torch.Tensor]:
        """The description's bytes, and the parts in the order of their names: uint8 each."""
        return [self._buffers[name] for name in self._layout.buffer_names]

    def first_buffer(self) -> torch.Tensor | None:
        """The buffer of the description.

        Two weights have the same codes if it is the same tensor.
        """
        return cast(torch.Tensor | None, self._buffers.get(self._layout.buffer_names[0]))

    def cast(self, dtype: torch.dtype) -> None:
        """Change the dtype that it is decoded to, for all modules that have it."""
        self._set(_dtype=dtype)
        for module in self._modules:
            module.dtype = dtype

    def renew(self, layout: WeightLayout) -> None:
        """Use other codes, which its modules already have."""
        self._set(_layout=layout)

    def join(self, module: Holder) -> None:
        """Note that a module has this weight, and read its codes from there."""
        self._set(_buffers=module._buffers)
        self._modules.add(module)

    def leave(self, module: Holder) -> None:
        """Note that a module no longer has it.

        The codes are then read from another one's buffers.
        """
        self._modules.discard(module)
        if self._buffers is module._buffers:
            kept = {name: self._buffers.get(name) for name in self._layout.buffer_names}
            self._set(_buffers=next((other._buffers for other in self._modules), kept))

    def modules(self) -> list[Holder]:
        """The modules that have it: several if their weights are tied."""
        return list(self._modules)


def _weight_of_codes(
    layout: WeightLayout, dtype: torch.dtype, parts: Sequence[torch.Tensor]
) -> CompressedWeight:
    return CompressedWeight(layout, dtype, dict(zip(layout.buffer_names, parts, strict=True)))


def _read_only(weight: CompressedWeight, what: str) -> ReadOnlyError:
    return ReadOnlyError(
        f"{what} of a compressed weight of shape {tuple(weight.shape)}, which is read only: "
        "decompress() gives a tensor, a copy; to change the weights of a module, use "
        "hypercomp_rs.torch.decompress_model first"
    )


def _refuse(weight: CompressedWeight, name: str, *args: Any, **kwargs: Any) -> None:
    raise _read_only(weight, name)


def _call(weight: CompressedWeight, name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(weight.decompress(), name)(*args, **kwargs)


def _written(name: str, args: Any, kwargs: dict[str, Any]) -> CompressedWeight | None:
    """The compressed weight that a function of this name would write to."""
    targets = [kwargs.get("out")]
    in_place = name.endswith("_") and not name.endswith("__")
    if in_place or kwargs.get("inplace") is True:
        targets += args[:1] or list(kwargs.values())[:1]
    for target in targets:
        for one in target if isinstance(target, (tuple, list)) else (target,):
            if isinstance(one, CompressedWeight):
                return one
    return None


# Methods and attributes of a tensor that give its memory.
_ADDRESSES = {"storage", "untyped_storage", "const_data_ptr", "mutable_data_ptr"}
# Those that describe its layout in memory. They are the same on any device.
_LAYOUT = {
    "stride", "is_contiguous", "element_size", "itemsize", "nbytes", "layout", "names", "has_names",
    "storage_offset", "ndimension", "is_complex", "is_signed", "is_quantized", "is_sparse",
    "is_nested", "is_conj", "is_neg", "dim_order", "retains_grad", "output_nr", "is_inference",
}  # fmt: skip


@cache
def _kind_of(name: str) -> str:
    """The kind of a tensor's attribute of this name."""
    if name.startswith("_") or not hasattr(torch.Tensor, name):
        return "none"
    if name.endswith("_"):
        return "method in place"
    if name in _ADDRESSES:
        return "address"
    if name in _LAYOUT:
        return "layout"
    return "method" if callable(getattr(torch.Tensor, name)) else "attribute"


def _embedding(indices: Any, weight: Any, padding_idx: Any = None, max_norm: Any = None, *_: Any,
               **__: Any) -> Any:  # fmt: skip
    """``F.embedding``, with a compressed table."""
    if not isinstance(weight, CompressedWeight) or not isinstance(indices, torch.Tensor):
        return NotImplemented
    if max_norm is not None:
        raise _read_only(weight, "embedding with max_norm")
    return torch.ops.hypercomp.embedding.default(
        indices, weight.buffers(), weight._layout.description, weight.dtype
    )


_COMPUTED_FROM_CODES: dict[Any, Callable[..., Any]] = {
    F.embedding: _embedding,
}

_READ = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor",
    "lshift", "rshift",
)  # fmt: skip
_OTHERS = (
    "neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne", "getitem", "contains",
    "bool", "float", "int", "index", "complex", "reversed", "format", "dlpack", "dlpack_device",
)  # fmt: skip


def _operator(name: str, *, in_place: bool = False) -> Callable[..., Any]:
    """An operator of Python on a compressed weight.

    It gets decoded weights, or is refused if in place.
    """

    def operator(self: CompressedWeight, *args: Any, **kwargs: Any) -> Any:
        if in_place:
            raise _read_only(self, name)
        read = [a.decompress() if isinstance(a, CompressedWeight) else a for a in args]
        return getattr(self.decompress(), name)(*read, **kwargs)

    operator.__name__ = name
    operator.__doc__ = "Of the decoded weights."
    return operator


# Python looks up operators in the class, not through `__getattr__`.
for _name in (*_READ, *(f"r{name}" for name in _READ), *_OTHERS):
    if hasattr(torch.Tensor, f"__{_name}__"):
        setattr(CompressedWeight, f"__{_name}__", _operator(f"__{_name}__"))
for _name in (*(f"i{name}" for name in _READ), "setitem", "delitem"):
    setattr(CompressedWeight, f"__{_name}__", _operator(f"__{_name}__", in_place=True))
