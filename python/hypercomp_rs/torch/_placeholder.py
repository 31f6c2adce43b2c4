"""``Placeholder``: the parameter without elements that stands for a compressed weight.

The codes are buffers. But models, trainers and adapters read a module's *parameters* to find its
device and dtype (``next(module.parameters()).device``), which weights are tied, and which are to be
trained. A placeholder has the right device and dtype. Codes cannot be trained, so if
``requires_grad`` of a placeholder is set to True, its modules become dense. Placeholders are in no
state dict.
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

# Its name among a module's parameters. It is not "weight", because accelerate would read the
# module's attribute of that name and replace the parameter by decoded weights.
NAME = "compressed"
# Tied modules list it by this name, too. peft and transformers find tied weights by their names.
# Only `named_parameters(remove_duplicate=False)` gives a parameter's second name.
ALIAS = "weight"
NAMES = (NAME, ALIAS)


class Placeholder(nn.Parameter):
    """Represents a compressed weight among parameters. Tied modules share one.

    When the weight is decoded for training, the placeholder itself becomes the ordinary parameter,
    as torch's ``UninitializedParameter`` does. So an optimiser that already has it has the new
    weight.
    """

    of: weakref.ref[CompressedWeight] | None

    def __new__(cls, data: torch.Tensor, requires_grad: bool = False) -> Placeholder:
        made: Placeholder = torch.Tensor._make_subclass(cls, data, False)
        # accelerate moves a parameter by making another one from it.
        made.of = getattr(data, "of", None)
        return made

    @classmethod
    def like(cls, weight: CompressedWeight, device: torch.device) -> Placeholder:
        """A placeholder for a weight, on the device of its codes."""
        made = cls(empty(weight.dtype, device))
        made.of = weakref.ref(weight)
        return made

    @property
    def requires_grad(self) -> bool:
        """Always False for a placeholder."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> torch.Tensor:
        """With True: make the modules dense and their weight trainable."""
        if requires_grad:
            self.materialize()
            # It is an ordinary parameter by now.
            self.requires_grad_(True)
        else:
            # peft may have been imported after the model was compressed. It freezes a model first.
            _integrations.prepare()
        return self

    def materialize(self) -> None:
        """Become the parameter of decoded weights of the modules that have the compressed weight.

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
        """Another placeholder for the same weight."""
        return Placeholder(super().to(*args, **kwargs)) if args or kwargs else self

    def data_ptr(self) -> int:
        """A number that is the same for tied weights, which accelerate finds by addresses."""
        weight = None if self.of is None else self.of()
        return id(self if weight is None else weight)

    @property
    def ds_shape(self) -> Any:
        """The attribute that peft reads for the shape of a parameter without elements.

        Prompt learning searches the parameters for the table of tokens. It would not find a
        compressed table, and fail when the model is called. So this raises an error that says what
        to do. (`_peft.py` wraps peft's search so that it finds compressed tables; this is for
        versions where it cannot.)
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
        """A placeholder for no weight yet. A copied module sets the weight."""
        made = memo[id(self)] = Placeholder(empty(self.dtype, self.device))
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled as a placeholder for no weight."""
        return Placeholder, (torch.Tensor._make_subclass(torch.Tensor, self),)

    def __repr__(self) -> str:
        return f"Placeholder of a compressed weight ({self.dtype}, {self.device})"


def empty(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor without elements. It is no inference tensor, whatever mode is on."""
    with torch.inference_mode(False):
        return torch.empty(0, dtype=dtype, device=device)
