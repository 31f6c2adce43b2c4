"""What all modules with a compressed weight have: its codes as buffers, and how they travel.

The codes are buffers named as a checkpoint names them: ``weight_description``, ``weight_path``,
``weight_cells``, … They move with ``.to(device)``; a cast of the model to another float leaves them
alone and changes the dtype that is decoded to.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from operator import itemgetter
from types import MethodType
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import nn

from ..compress import compress_tensor
from ..errors import FormatError, HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from ._codes import DESCRIPTION, described, description_bytes, description_text, weight_of
from ._with_transformers import transformers_knows
from .weight import CompressedWeight

Module = TypeVar("Module", bound="CompressedModule")

# Names of the buffers begin so.
PREFIX = "weight_"

# What a function that moves tensors has made of those that several modules share: kept while it is
# in use, so that tied weights are still tied afterwards.
_moved: weakref.WeakKeyDictionary[Any, dict[int, tuple[torch.Tensor, torch.Tensor]]]
_moved = weakref.WeakKeyDictionary()


class Said:
    """The description of a weight, and the buffers that it calls for. Tied modules share one."""

    __slots__ = ("buffer_names", "description", "take")

    def __init__(self, description: str) -> None:
        self.description = description
        names = (DESCRIPTION, *described(description).bytes)
        self.buffer_names = tuple(PREFIX + name for name in names)
        # All of them at once, in a fifth of the time that a loop takes.
        self.take = itemgetter(*self.buffer_names)


class CompressedModule(nn.Module):
    """A module whose ``weight`` is compressed. Not made by users: see ``from_module``."""

    dense_class: ClassVar[type[nn.Module]]
    """What it is without compression."""
    input_axis: ClassVar[int | None] = None
    """Of the weight, along which the inputs of a linear layer lie; None where it is none."""

    dtype: torch.dtype
    """Of the weight when it is decoded; that of the model."""
    tied: bool
    """Whether another module has the same buffers."""
    _said: Said
    _trained: bool

    @classmethod
    def from_module(
        cls: type[Module],
        module: nn.Module,
        compressed: CompressedTensor | None = None,
        **options: Any,
    ) -> Module:
        """The same module with a compressed weight. `module` is left as it is.

        Parameters
        ----------
        module
            Of the class that this one replaces. Bias, hooks, the training flag and whatever else it
            has are taken over, not copied.
        compressed
            Its weight, if it is compressed already.
        **options
            For :func:`hypercomp_rs.compress_tensor`: ``bits``, ``effort``, …

        Raises
        ------
        InvalidArgumentError
            A module of another class, or with what this one does not do; `compressed` has another
            shape.
        NonFiniteError, DtypeError
            As of :func:`hypercomp_rs.compress_tensor`.
        """
        why = cls.refusal(module)
        if why is not None:
            raise InvalidArgumentError(f"{type(module).__name__}: {why}")
        copy = module.__class__.__new__(module.__class__)
        copy.__dict__.update(module.__dict__)
        for name in ("_parameters", "_buffers", "_modules"):
            copy.__dict__[name] = dict(module.__dict__[name])
        if compressed is None:
            compressed = compress_tensor(cast(Any, module.weight).detach(), **options)
        cls.replace(copy, *buffers_of(compressed, copy._parameters["weight"].device))
        return cast(Module, copy)

    @classmethod
    def refusal(cls, module: nn.Module) -> str | None:
        """Why a module cannot be replaced by this one, or None."""
        if type(module) is not cls.dense_class:
            return f"not exactly a {cls.dense_class.__name__}"
        if not isinstance(module._parameters.get("weight"), nn.Parameter):
            return "its weight is no parameter (computed by a hook?)"
        return None

    @classmethod
    def replace(cls, module: nn.Module, description: str, buffers: list[torch.Tensor]) -> None:
        """Make this class of a module in place, so that all that refers to it does so still."""
        weight = cast(nn.Parameter, module._parameters["weight"])
        if described(description).shape != tuple(weight.shape):
            raise InvalidArgumentError(
                f"a weight of shape {described(description).shape} for a "
                f"{cls.dense_class.__name__} of {tuple(weight.shape)}"
            )
        transformers_knows()
        del module._parameters["weight"]
        _rebind_forward(module, cls)
        module.__class__ = cls
        replaced = cast(CompressedModule, module)
        replaced.dtype = weight.dtype
        replaced._trained = weight.requires_grad
        replaced.tied = False
        replaced._set_buffers(description, buffers)

    @classmethod
    def tie(cls, module: nn.Module, other: CompressedModule) -> None:
        """Make this class of a module whose weight is another's, which is compressed already."""
        other.tied = True
        cls.replace(module, other.description, other.weight_buffers())
        tied = cast(CompressedModule, module)
        tied.tied, tied._said = True, other._said

    def tie_if_equal(self, other: CompressedModule) -> None:
        """Take the buffers of a module that has the same codes."""
        own, others = self.weight_buffers(), other.weight_buffers()
        if self.description == other.description and all(map(torch.equal, own, others)):
            self._set_buffers(other.description, others)
            self.tied = other.tied = True
            self._said = other._said

    def _set_buffers(self, description: str, buffers: list[torch.Tensor]) -> None:
        for name in [name for name in self._buffers if name.startswith(PREFIX)]:
            del self._buffers[name]
        self._said = Said(description)
        for name, buffer in zip(self._said.buffer_names, buffers, strict=True):
            self.register_buffer(name, buffer)

    @property
    def description(self) -> str:
        """What the weight is, in JSON: see `docs/format.md`."""
        return self._said.description

    def weight_buffers(self) -> list[torch.Tensor]:
        """The description's bytes, and the parts in the order of their names: uint8 each."""
        # Not through getattr: it would look for them everywhere else first.
        buffers = self._buffers
        return [buffers[name] for name in self._said.buffer_names]

    def named_weight_buffers(self) -> list[tuple[str, torch.Tensor]]:
        """The same with their names in the module, such as ``weight_path``."""
        return [(name, self._buffers[name]) for name in self._said.buffer_names]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Lengths of the weight's axes."""
        return described(self.description).shape

    @property
    def weight(self) -> CompressedWeight:
        """What stands for the weight: see :class:`CompressedWeight`."""
        return CompressedWeight(self)

    def decompress(
        self, weight: nn.Parameter | None = None, dtype: torch.dtype | None = None
    ) -> nn.Parameter:
        """Make it the module that it was made of, in place.

        `weight` is its parameter then, that of a tied module; otherwise the decoded weights are.
        """
        if weight is None:
            dense = self.weight.decompress(dtype)
            weight = nn.Parameter(dense, requires_grad=self._trained)
        _rebind_forward(self, self.dense_class)
        for name in self._said.buffer_names:
            del self._buffers[name]
        for name in ("dtype", "tied", "_said", "_trained"):
            del self.__dict__[name]
        module = cast(nn.Module, self)
        module.__class__ = self.dense_class
        # In its place before the bias.
        module._parameters = {"weight": weight, **self._parameters}
        return weight

    def reset_parameters(self) -> None:
        """Refused: codes are made of weights.

        While transformers loads a model it resets modules and leaves alone what was loaded. Codes
        were, so that only the other parameters are reset then.
        """
        loading = sys.modules.get("transformers.initialization")
        if loading is None or nn.init.uniform_ is not loading.uniform_:
            raise InvalidArgumentError("the weights of a compressed module cannot be reset")
        self.dense_class.reset_parameters(self)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> CompressedModule:
        """Move or cast: codes are moved, and what they are decoded to is cast."""
        dtype = fn(torch.empty(0, dtype=self.dtype)).dtype
        if dtype.is_floating_point:
            self.dtype = dtype
        codes = self.weight_buffers()
        # Kept with what was made of it, so that its place in memory is not another's meanwhile.
        seen = _moved.setdefault(fn, {}) if self.tied else {}

        def move(tensor: torch.Tensor) -> torch.Tensor:
            if not any(tensor is code for code in codes):
                return cast(torch.Tensor, fn(tensor))
            if id(tensor) not in seen:
                moved = fn(tensor)
                # `Module.type` casts whatever there is.
                seen[id(tensor)] = tensor, moved if moved.dtype == torch.uint8 else tensor
            return seen[id(tensor)][1]

        super()._apply(move, recurse)
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take another weight's codes, whatever their lengths, if they are for this shape."""
        given = {
            key.removeprefix(prefix + PREFIX): state_dict[key]
            for key in state_dict
            if key.startswith(prefix + PREFIX)
        }
        if DESCRIPTION in given:
            try:
                self._take(given, assign=local_metadata.get("assign_to_params_buffers", False))
            except HypercompError as error:
                error_msgs.append(f"{prefix}weight: {error}")
        # The rest, the bias, in torch's own way; of the codes it finds what was just put there.
        super()._load_from_state_dict(
            {
                key: self._buffers.get(key.removeprefix(prefix), value)
                if key.startswith(prefix + PREFIX)
                else value
                for key, value in state_dict.items()
            },
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    def _take(self, given: dict[str, torch.Tensor], *, assign: bool) -> None:
        description = description_text(given[DESCRIPTION])
        said = described(description)
        if said.shape != self.weight_shape:
            raise FormatError(f"compressed {said.shape}, this module has {self.weight_shape}")
        missing = [name for name in said.bytes if name not in given]
        if missing:
            raise FormatError(f"parts are missing: {', '.join(missing)}")
        buffers = [given[name] for name in (DESCRIPTION, *said.bytes)]
        if not assign:
            device = self.weight_buffers()[0].device
            buffers = [buffer.to(device, copy=True) for buffer in buffers]
        if buffers[0].device.type == "cpu":
            # Refused here and not by the first call.
            weight_of(buffers, description)
        if self.tied and Said(description).buffer_names == self._said.buffer_names:
            # Of the same tensors, so that they are the other module's too.
            for old, new in zip(self.weight_buffers(), buffers, strict=True):
                old.data = new
            self._said.description = description
        else:
            self.tied = False
            self._set_buffers(description, buffers)

    def extra_repr(self) -> str:
        """As of the module that it replaces, and what the weight takes."""
        said = described(self.description)
        weights = torch.Size(said.shape).numel()
        bits = 8 * said.nbytes / weights if weights else 0.0
        return f"{super().extra_repr()}, {said.codec}, {bits:.2f} bits"


def buffers_of(
    compressed: CompressedTensor, device: torch.device | None = None
) -> tuple[str, list[torch.Tensor]]:
    """The description of a compressed tensor, and the buffers that a module keeps of it."""
    description, parts = compressed.to_parts()
    buffers = [description_bytes(description)]
    buffers += [torch.from_numpy(parts[name]) for name in described(description).bytes]
    if device is not None and device.type not in ("cpu", "meta"):
        buffers = [buffer.to(device) for buffer in buffers]
    return description, buffers


def _rebind_forward(module: nn.Module, cls: type[nn.Module]) -> None:
    """Where a hook keeps the method that it wraps (accelerate does), let it be the new class's."""
    for name in ("forward", "_old_forward"):
        bound = module.__dict__.get(name)
        if isinstance(bound, MethodType) and bound.__func__ is type(module).forward:
            module.__dict__[name] = MethodType(cls.forward, module)
