"""A module that lists its compressed weight among its parameters: see `_placeholder.py`."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from ._placeholder import ALIAS, NAME, NAMES, Placeholder, empty

if TYPE_CHECKING:
    from .weight import CompressedWeight


class Listing(nn.Module):
    """What a compressed module's parameters are, and when torch is not to see one of them."""

    dtype: torch.dtype
    _parameters: dict[str, nn.Parameter | None]
    _weight: CompressedWeight

    def _place(self) -> None:
        """Have a placeholder among the parameters, on the device of the codes and of their dtype.

        Tied modules share it.
        """
        weight = self._weight
        device = self._buffers[weight._layout.buffer_names[0]].device
        placeholder = self._parameters.get(NAME)
        if isinstance(placeholder, Placeholder) and placeholder.is_meta is (device.type == "meta"):
            placeholder.of = weakref.ref(weight)
            if placeholder.device != device or placeholder.dtype != self.dtype:
                placeholder.data = empty(self.dtype, device)
            return
        placeholder = Placeholder.like(weight, device)
        for module in weight.modules():
            module._list(placeholder)

    @property
    def placeholder(self) -> Placeholder | None:
        """What stands for the weight among the parameters."""
        return cast(Placeholder | None, self._parameters.get(NAME))

    def _leave(self) -> None:
        """Have the weight no more; a module that is left alone with it is tied to none."""
        self._weight.leave(self)
        for module in self._weight.modules():
            module._list(module._parameters[NAME])

    def _list(self, placeholder: Placeholder | None) -> None:
        """Have a placeholder among the parameters, or none."""
        names = [NAME]
        if len(self._weight.modules()) > 1:
            names.append(ALIAS)
        # A new dictionary, as somebody may be going through this one: `requires_grad_` does.
        self._parameters = {
            **{n: p for n, p in self._parameters.items() if n not in NAMES},
            **dict.fromkeys(names, placeholder),
        }

    @contextmanager
    def _without_placeholder(self) -> Iterator[None]:
        """While torch goes through the parameters: this one is not to be moved, saved or loaded."""
        listed = {n: p for n, p in self._parameters.items() if n in NAMES}
        self._parameters.update(dict.fromkeys(listed))
        try:
            yield
        finally:
            self._parameters.update(listed)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As of any module; among them a placeholder that stands for the compressed weight.

        It has no elements, and the device and dtype of the weight. Made to require a gradient, it
        becomes the module's dense weight: see :class:`hypercomp_rs.errors.MadeDenseWarning`.
        """
        for _, parameter in super().named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """As of any module; without the placeholder if only the module's own are asked for.

        Those accelerate looks up in a state dict, which has no such entry.
        """
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            if recurse or not isinstance(parameter, Placeholder):
                yield name, parameter
