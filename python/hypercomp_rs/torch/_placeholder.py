"""What a compressed weight is among the parameters of its model: a parameter without elements.

The codes are buffers. But models, trainers and adapters ask a module's *parameters* for its device
and dtype (``next(module.parameters()).device``), for which weights are tied, and for what is to
train. A placeholder answers, and notices when somebody wants the weight to train: codes cannot, so
the module becomes dense. It is in no state dict.
"""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import InvalidArgumentError, MadeDenseWarning
from . import _integrations

if TYPE_CHECKING:
    from .weight import CompressedWeight

# Its name among a module's parameters. Not "weight": accelerate would take the module's attribute
# of that name, and put decoded weights in the place of this parameter.
NAME = "compressed"
# Tied modules list it by this name, too, for peft and transformers, which look for ties by the
# names of weights. Only `named_parameters(remove_duplicate=False)` gives a second name.
ALIAS = "weight"
NAMES = (NAME, ALIAS)


class Placeholder(nn.Parameter):
    """Stands for a compressed weight where parameters are listed. Tied modules share one.

    As torch's ``UninitializedParameter``, it becomes an ordinary parameter itself when it gets
    elements, so that whoever holds it, an optimiser for one, holds the module's weight then.
    """

    of: weakref.ref[CompressedWeight] | None

    def __new__(cls, data: torch.Tensor, requires_grad: bool = False) -> Placeholder:
        made: Placeholder = torch.Tensor._make_subclass(cls, data, False)
        # Made of another one by accelerate, which moves parameters so.
        made.of = getattr(data, "of", None)
        return made

    @classmethod
    def like(cls, weight: CompressedWeight, device: torch.device) -> Placeholder:
        """One for a weight, on its codes' device."""
        made = cls(empty(weight.dtype, device))
        made.of = weakref.ref(weight)
        return made

    @property
    def requires_grad(self) -> bool:
        """Whether it trains: not as long as it is a placeholder."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> torch.Tensor:
        """Let the weight train, which makes its modules dense."""
        if requires_grad:
            self.materialize()
            # An ordinary parameter's by now.
            self.requires_grad_(True)
        else:
            # peft freezes a model first of all, and may have been imported after it was compressed.
            _integrations.prepare()
        return self

    def materialize(self) -> None:
        """Become the parameter of decoded weights of all modules that this one stands for.

        Raises
        ------
        InvalidArgumentError
            The modules are gone.
        """
        weight = None if self.of is None else self.of()
        modules = [] if weight is None else weight.modules()
        if weight is None or not modules:
            raise InvalidArgumentError(
                "requires_grad of a compressed weight whose module is gone: compressed weights do "
                "not train; hypercomp_rs.torch.decompress_model(module) first makes a module dense"
            )
        names = " and ".join(sorted({type(module).__name__ for module in modules}))
        warnings.warn(
            f"requires_grad of the compressed weight of a {names} of shape {tuple(weight.shape)}: "
            "codes do not train, so the module was made dense, which takes "
            f"{weight.numel() * weight.element_size()} bytes "
            "(hypercomp_rs.torch.decompress_model(module) says so beforehand; a rule "
            "'NAME=keep' of compress_model keeps the weight dense from the start)",
            MadeDenseWarning,
            stacklevel=4,
        )
        dense = weight.decompress()
        del self.of
        self.__class__ = nn.Parameter
        self.data = dense
        for module in modules:
            module.decompress(self)

    def to(self, *args: Any, **kwargs: Any) -> Placeholder:
        """Another one, which stands for the same weight."""
        return Placeholder(super().to(*args, **kwargs)) if args or kwargs else self

    def data_ptr(self) -> int:
        """An address that no tensor has: accelerate tells tied parameters by theirs."""
        weight = None if self.of is None else self.of()
        return id(self if weight is None else weight)

    @property
    def ds_shape(self) -> Any:
        """For peft, which asks so for the shape of a parameter without elements.

        It looks for the table of tokens among the parameters, to learn a prompt before it. It would
        not find it, and fail when the model is called. (It does find it if it knows of compressed
        tables: see `_peft.py`.)
        """
        weight = None if self.of is None else self.of()
        if weight is not None and any(isinstance(m, nn.Embedding) for m in weight.modules()):
            raise InvalidArgumentError(
                "prompt learning does not find the table of tokens, which is compressed: "
                "hypercomp_rs.torch.decompress_model(model.get_input_embeddings()) first makes it "
                'dense; compress_model(..., embeddings="keep") keeps it so'
            )
        raise AttributeError("ds_shape")

    def __deepcopy__(self, memo: dict[int, Any]) -> Placeholder:
        """One that stands for nothing yet: modules that are copied say for what."""
        made = memo[id(self)] = Placeholder(empty(self.dtype, self.device))
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As a copy."""
        return Placeholder, (torch.Tensor._make_subclass(torch.Tensor, self),)

    def __repr__(self) -> str:
        return f"Placeholder of a compressed weight ({self.dtype}, {self.device})"


def empty(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor without elements that is ordinary in any mode."""
    with torch.inference_mode(False):
        return torch.empty(0, dtype=dtype, device=device)
