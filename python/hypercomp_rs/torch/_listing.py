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
    """A module whose parameters include a placeholder, which some of torch's methods do not see."""

    dtype: torch.dtype
    _parameters: dict[str, nn.Parameter | None]
    _weight: CompressedWeight

    def _place(self) -> None:
        """Put a placeholder among the parameters.

        It has the device of the codes and the module's dtype. Tied modules share it.
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
        """The parameter that represents the weight."""
        return cast(Placeholder | None, self._parameters.get(NAME))

    def _leave(self) -> None:
        """Give the weight up. If one module is left with it, that one is no longer tied."""
        self._weight.leave(self)
        for module in self._weight.modules():
            module._list(module._parameters[NAME])

    def _list(self, placeholder: Placeholder | None) -> None:
        """Put this placeholder, or None, among the parameters."""
        names = [NAME]
        if len(self._weight.modules()) > 1:
            names.append(ALIAS)
        # A new dictionary, as a caller may be iterating over the present one: `requires_grad_`
        # does.
        self._parameters = {
            **{n: p for n, p in self._parameters.items() if n not in NAMES},
            **dict.fromkeys(names, placeholder),
        }

    @contextmanager
    def _without_placeholder(self) -> Iterator[None]:
        """Hide the placeholder while torch moves, saves or loads the parameters."""
        listed = {n: p for n, p in self._parameters.items() if n in NAMES}
        self._parameters.update(dict.fromkeys(listed))
        try:
            yield
        finally:
            self._parameters.update(listed)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """The module's parameters. Among them is a placeholder for the compressed weight.

        It has no elements, and the device and dtype of the weight. If its ``requires_grad`` is set,
        it becomes the module's dense weight: see :class:`hypercomp_rs.errors.MadeDenseWarning`.
        """
        for _, parameter in super().named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """The module's parameters by name. Without `recurse` the placeholder is left out.

        accelerate looks up the names that it gets without `recurse` in a state dict, where there is
        no placeholder.
        """
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            if recurse or not isinstance(parameter, Placeholder):
                yield name, parameter
