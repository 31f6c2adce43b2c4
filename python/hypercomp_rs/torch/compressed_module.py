"""The base class of modules with a compressed weight, whose codes are buffers of the module.

The buffers have the names that a checkpoint uses: ``weight_description``, ``weight_path``,
``weight_cells``, … They move with ``.to(device)``. A cast of the model to another float dtype does
not change them; it changes the dtype that the weight is decoded to.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import nn

from ..compress import compress_tensor
from ..errors import FormatError, HypercompError, InvalidArgumentError
from ..tensor import CompressedTensor
from . import _integrations
from ._codes import DESCRIPTION, described, description_bytes, description_text, weight_of
from ._listing import Listing
from ._placeholder import NAME, NAMES, Placeholder
from .weight import PREFIX, CompressedWeight, WeightLayout

Module = TypeVar("Module", bound="CompressedModule")

# For each function that moves tensors: the results for buffers that several modules share. They are
# kept as long as the function exists, so that weights stay tied when a model is moved.
_moved: weakref.WeakKeyDictionary[Any, dict[int, tuple[torch.Tensor, torch.Tensor]]]
_moved = weakref.WeakKeyDictionary()


class CompressedModule(Listing):
    """A module whose ``weight`` is compressed. Make one of its subclasses by ``from_module``."""

    dense_class: ClassVar[type[nn.Module]]
    """The class of the same module without compression."""
    input_axis: ClassVar[int | None] = None
    """The weight's axis of a linear layer's inputs; None for other layers."""

    dtype: torch.dtype
    """The dtype that the weight is decoded to: that of the model."""
    tied: bool
    """Whether another module has the same buffers."""
    _layout: WeightLayout
    _weight: CompressedWeight
    _trained: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """With arguments: a dense module, as there are no weights yet to compress.

        peft makes the layers of its adapters by calling the base layer's class.
        """
        return cls.dense_class(*args, **kwargs) if args or kwargs else super().__new__(cls)

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
            An instance of the class that this one replaces. The new module shares its bias, hooks,
            training flag and all other attributes; nothing is copied.
        compressed
            Its weight, if it is compressed already.
        **options
            For :func:`hypercomp_rs.compress_tensor`: ``bits``, ``effort``, …

        Raises
        ------
        InvalidArgumentError
            A module of another class, or one that cannot be compressed; `compressed` has another
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
        """Change a module's class to this one in place, so that references to it stay valid."""
        weight = cast(nn.Parameter, module._parameters["weight"])
        if described(description).shape != tuple(weight.shape):
            raise InvalidArgumentError(
                f"a weight of shape {described(description).shape} for a "
                f"{cls.dense_class.__name__} of {tuple(weight.shape)}"
            )
        _integrations.prepare()
        del module._parameters["weight"]
        _rebind_forward(module, cls)
        module.__class__ = cls
        replaced = cast(CompressedModule, module)
        replaced.dtype = weight.dtype
        replaced._trained = weight.requires_grad
        replaced.tied = False
        # transformers ties weights through torch's `get_parameter` and `get_buffer`. These return
        # an attribute only if it is among the parameters or buffers. A buffer that is None is in no
        # state dict.
        replaced._buffers["weight"] = None
        replaced._set_buffers(description, buffers)

    @classmethod
    def tie(cls, module: nn.Module, other: CompressedModule) -> None:
        """Change a module's class to this one, and tie it to a compressed module."""
        cls.replace(module, other.description, other.weight_buffers())
        cast(CompressedModule, module)._share(other.weight)

    def tie_if_equal(self, other: CompressedModule) -> None:
        """Tie this module to another one if both have the same codes."""
        own, others = self.weight_buffers(), other.weight_buffers()
        if self.description == other.description and all(map(torch.equal, own, others)):
            self._share(other.weight)

    def _set_buffers(self, description: str, buffers: list[torch.Tensor]) -> None:
        """Use these codes, which no other module uses."""
        self._put_buffers(description, buffers)
        weight = self.__dict__.get("_weight")
        if weight is not None and weight.modules() == [self]:
            weight.renew(self._layout)
        else:
            if weight is not None:
                self._leave()
            self._weight = CompressedWeight(self._layout, self.dtype, self._buffers)
            self._list(None)
        self._weight.join(self)
        self._place()

    def _put_buffers(self, description: str, buffers: list[torch.Tensor]) -> None:
        for name in [name for name in self._buffers if name.startswith(PREFIX)]:
            del self._buffers[name]
        self._layout = WeightLayout(description)
        for name, buffer in zip(self._layout.buffer_names, buffers, strict=True):
            self.register_buffer(name, buffer)

    def _share(self, weight: CompressedWeight) -> None:
        """Use the weight of other modules."""
        others = _modules_of(weight)
        if self in others:
            return
        if tuple(weight.shape) != self.weight_shape:
            raise InvalidArgumentError(
                f"the weight of a {type(self).__name__} of shape {self.weight_shape} cannot be "
                f"tied to one of shape {tuple(weight.shape)}"
            )
        buffers = weight.buffers()
        self._leave()
        self._put_buffers(weight.description, buffers)
        self._layout, self._weight, self.dtype = weight._layout, weight, weight.dtype
        weight.join(self)
        for module in (self, *others):
            module.tied = True
        shared = next((module._parameters[NAME] for module in others), None)
        for module in (self, *others):
            module._list(shared)
        self._place()

    @property
    def description(self) -> str:
        """What the weight is, in JSON: see `docs/format.md`."""
        return self._layout.description

    def weight_buffers(self) -> list[torch.Tensor]:
        """The description's bytes, and the parts in the order of their names: uint8 each."""
        # Not through getattr, which searches everything else first.
        buffers = self._buffers
        return [buffers[name] for name in self._layout.buffer_names]

    def named_weight_buffers(self) -> list[tuple[str, torch.Tensor]]:
        """The same with their names in the module, such as ``weight_path``."""
        return [(name, self._buffers[name]) for name in self._layout.buffer_names]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Lengths of the weight's axes."""
        return described(self.description).shape

    @property
    def weight(self) -> CompressedWeight:
        """The compressed weight: see :class:`CompressedWeight`.

        Assigning a compressed weight ties the module to those that have it. Assigning a parameter
        makes the module dense.
        """
        weight = self._weight
        # Tied modules share one. If this module's buffers were replaced, it is tied no more.
        if weight.first_buffer() is not self._buffers[self._layout.buffer_names[0]]:
            weight.leave(self)
            self._set_buffers(self.description, self.weight_buffers())
        return self._weight

    # DoRA of peft needs the weight itself. peft reads it from a quantised layer by these two names,
    # which are those of HQQ's layers.

    @property
    def W_q(self) -> CompressedWeight:
        """The weight."""
        return self.weight

    def dequantize(self) -> torch.Tensor:
        """The decoded weights, a copy. The module stays compressed."""
        return self.weight.decompress()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. For ``weight`` see the property."""
        if name == "weight":
            self._assign(value)
            return
        super().__setattr__(name, value)
        # A loader has set the codes' buffers one by one: the placeholder follows them.
        if name == f"{PREFIX}{DESCRIPTION}" and self._parameters.get(NAME) is not None:
            self._place()

    def __delattr__(self, name: str) -> None:
        """Delete an attribute; the weight cannot be."""
        if name == "weight":
            raise InvalidArgumentError(
                "the weight of a compressed module cannot be deleted; "
                "hypercomp_rs.torch.decompress_model(module) first makes it dense"
            )
        super().__delattr__(name)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Add a parameter. One with the name ``weight`` makes the module dense."""
        if name == "weight":
            self._assign(param)
        else:
            super().register_parameter(name, param)

    def _assign(self, value: Any) -> None:
        if isinstance(value, Placeholder) and value.of is not None:
            value = value.of()
        if isinstance(value, CompressedWeight):
            self._share(value)
        elif isinstance(value, nn.Parameter):
            self.decompress(value)
        else:
            raise InvalidArgumentError(
                f"{type(value).__name__} for the weight of a compressed module: another module's "
                "compressed weight is accepted, or a torch.nn.Parameter, which makes it dense"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or unpickled module."""
        super().__setstate__(state)
        self._weight.join(self)
        self._place()

    def decompress(
        self, weight: nn.Parameter | None = None, dtype: torch.dtype | None = None
    ) -> nn.Parameter:
        """Make the module dense again, in place.

        Parameters
        ----------
        weight
            Its parameter, if a tied module has it already. By default the decoded weights.
        dtype
            Of the decoded weights; by default that of the model.
        """
        if weight is None:
            dense = self.weight.decompress(dtype)
            weight = nn.Parameter(dense, requires_grad=self._trained)
        _rebind_forward(self, self.dense_class)
        self._leave()
        for name in ("weight", *self._layout.buffer_names):
            del self._buffers[name]
        parameters = {n: p for n, p in self._parameters.items() if n not in NAMES}
        for name in ("dtype", "tied", "_layout", "_weight", "_trained"):
            del self.__dict__[name]
        module = cast(nn.Module, self)
        module.__class__ = self.dense_class
        # The weight comes before the bias.
        module._parameters = {"weight": weight, **parameters}
        return weight

    def decompress_tied(self, dtype: torch.dtype | None = None) -> None:
        """Make the module and all modules that are tied to it dense. They stay tied."""
        dense: nn.Parameter | None = None
        for module in _modules_of(self.weight):
            dense = module.decompress(dense, dtype)

    def check(self) -> None:
        """Check that the codes can be decoded, without decoding them.

        Raises
        ------
        FormatError
            The codes are damaged.
        """
        buffers = self.weight_buffers()
        if buffers[0].device.type == "cpu":
            weight_of(buffers, self.description)

    def reset_parameters(self) -> None:
        """Refused, as codes cannot be drawn at random.

        While transformers loads a model it resets all modules, in a mode that does not touch
        parameters that were loaded. Codes were loaded, so only the other parameters are reset then.
        """
        loading = sys.modules.get("transformers.initialization")
        if loading is None or nn.init.uniform_ is not loading.uniform_:
            raise InvalidArgumentError("the weights of a compressed module cannot be reset")
        self.dense_class.reset_parameters(self)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> CompressedModule:
        """Move or cast. Codes are moved, and a cast changes the dtype that they are decoded to."""
        dtype = fn(torch.empty(0, dtype=self.dtype)).dtype
        if dtype.is_floating_point:
            self._weight.cast(dtype)
        codes = self.weight_buffers()
        # By the tensor's id, and with the tensor, so that no other tensor gets the same id
        # meanwhile.
        seen = _moved.setdefault(fn, {}) if self.tied else {}

        def move(tensor: torch.Tensor) -> torch.Tensor:
            if not any(tensor is code for code in codes):
                return cast(torch.Tensor, fn(tensor))
            if id(tensor) not in seen:
                moved = fn(tensor)
                # `Module.type` casts all tensors; codes stay as they are.
                seen[id(tensor)] = tensor, moved if moved.dtype == torch.uint8 else tensor
            return seen[id(tensor)][1]

        with self._without_placeholder():
            super()._apply(move, recurse)
        self._place()
        return self

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        with self._without_placeholder():
            super()._save_to_state_dict(destination, prefix, keep_vars)

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
        """Load codes of a weight of the same shape.

        Their lengths may differ from the present ones.
        """
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
        elif f"{prefix}weight" in state_dict:
            error_msgs.append(
                f"{prefix}weight: dense weights for a compressed module; "
                "hypercomp_rs.torch.decompress_model(model) first makes it dense"
            )
        # torch loads the rest, such as the bias. For the codes it gets the buffers that were just
        # set.
        with self._without_placeholder():
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
            # So that damaged codes are refused now and not by the first call.
            weight_of(buffers, description)
        # Tied modules stay tied, as all of them get the new codes.
        for module in _modules_of(self._weight):
            module._put_buffers(description, buffers)
            module._layout = self._layout
        self._weight.renew(self._layout)
        self._place()

    def extra_repr(self) -> str:
        """The text of the dense module, the codec, and bits per weight."""
        said = described(self.description)
        weights = torch.Size(said.shape).numel()
        bits = 8 * said.nbytes / weights if weights else 0.0
        return f"{super().extra_repr()}, {said.codec}, {bits:.2f} bits"


def buffers_of(
    compressed: CompressedTensor, device: torch.device | None = None
) -> tuple[str, list[torch.Tensor]]:
    """The description of a compressed tensor, and the buffers that a module with it has."""
    description, parts = compressed.to_parts()
    buffers = [description_bytes(description)]
    buffers += [torch.from_numpy(parts[name]) for name in described(description).bytes]
    if device is not None and device.type not in ("cpu", "meta"):
        buffers = [buffer.to(device) for buffer in buffers]
    return description, buffers


def _modules_of(weight: CompressedWeight) -> list[CompressedModule]:
    """The modules that have a weight: several if they are tied."""
    return cast(list[CompressedModule], weight.modules())


def _rebind_forward(module: nn.Module, cls: type[nn.Module]) -> None:
    """Let a hook that has stored the bound ``forward`` (accelerate's does) call the new class's."""
    for name in ("forward", "_old_forward"):
        bound = module.__dict__.get(name)
        if isinstance(bound, MethodType) and bound.__func__ is type(module).forward:
            module.__dict__[name] = MethodType(cls.forward, module)
