"""The record of the paths that calls take.

An operator has several implementations. Which one runs depends on the weight, the device, the dtype
and the number of vectors (`choice.py`). While :func:`explain` runs a call, each operator on the way
adds a :class:`CallPath` to a list. At all other times the only cost is a comparison with None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch

Way = Literal["fused", "blocks", "whole", "rows", "host"]

_WORDS: dict[Way, str] = {
    "fused": "multiplied while it is decoded",
    "blocks": "decoded block by block for torch to multiply",
    "whole": "decoded whole",
    "rows": "rows decoded by themselves",
    "host": "decoded whole by the host",
}

# Why the call of an operator goes through the dispatcher.
_BY_OPERATOR = "an operator of torch.ops.hypercomp"


class CallPath(NamedTuple):
    """The path that one operator took.

    Attributes
    ----------
    operator
        "linear", "embedding", "convolution" or "decode".
    device
        Type of the device that computed it: "cpu" or "cuda".
    shape
        Of the weight.
    vectors
        Number of vectors of a product, of rows of a look-up, of inputs of a convolution; 0 for
        "decode".
    dtype
        Of the result.
    way
        * "fused": the codes are multiplied while they are decoded; no dense weight is made;
        * "blocks": the weight is decoded in blocks of rows, and torch multiplies by each;
        * "whole": the whole weight is decoded;
        * "rows": only the rows that are looked up are decoded;
        * "host": the CPU decodes the whole weight for a CUDA device.
    why
        Why this way and not a faster one; empty where there is no faster one.
    dispatch
        Why the call went through torch's dispatcher; empty if it called the core directly.
    """

    operator: str
    device: str
    shape: tuple[int, ...]
    vectors: int
    dtype: torch.dtype
    way: Way
    why: str = ""
    dispatch: str = _BY_OPERATOR

    @property
    def direct(self) -> bool:
        """Whether the core was called without torch's dispatcher."""
        return not self.dispatch

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        many = f", {self.vectors} vectors" if self.operator != "decode" else ""
        why = f" ({self.why})" if self.why else ""
        if self.way == "fused" and self.device == "cpu" and self.dtype.itemsize == 2:
            # The core finds the streams for which integers are near enough at the first such call.
            why = " (in integers where the levels of the codes allow it)"
        through = f"through the dispatcher: {self.dispatch}" if self.dispatch else "called directly"
        way = _WORDS[self.way]
        return f"{self.operator} {self.shape} on {self.device}{many}, {name}: {way}{why}; {through}"


class Recorder:
    """The list that calls are recorded in, or None while nothing is recorded."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls: list[CallPath] | None = None

    def add(
        self,
        operator: str,
        device: str,
        shape: tuple[int, ...],
        vectors: int,
        dtype: torch.dtype,
        way: Way,
        why: str = "",
        dispatch: str = _BY_OPERATOR,
    ) -> None:
        """Record a call, if calls are recorded. The arguments are those of :class:`CallPath`."""
        if self.calls is not None:
            path = CallPath(operator, device, shape, vectors, dtype, way, why, dispatch)
            self.calls.append(path)


recorder = Recorder()


@contextmanager
def recorded() -> Iterator[list[CallPath]]:
    """Record the operators that are called meanwhile, in any thread, in their order."""
    before, recorder.calls = recorder.calls, []
    try:
        yield recorder.calls
    finally:
        recorder.calls = before


def explain(call: Callable[..., Any], *args: Any, **kwargs: Any) -> list[CallPath]:
    """Call a module or function, and return the path that each compressed weight took in it.

    Parameters
    ----------
    call
        A compressed module, a model, or any function that uses one. It is called once.
    *args, **kwargs
        For the call.

    Returns
    -------
    list of CallPath
        One for each operator, in the order in which they ran. Calls that other threads make in the
        meantime are among them.

    Notes
    -----
    A layer calls the core directly once two calls in a row had the same shape. So the path of a
    first call is not that of a later one.

    Examples
    --------
    >>> import torch, hypercomp_rs.torch as hct
    >>> layer = hct.CompressedLinear.from_module(torch.nn.Linear(256, 64))
    >>> x = torch.randn(8, 256)
    >>> with torch.no_grad():
    ...     print(hct.explain(layer, x)[0])
    linear (64, 256) on cpu, 8 vectors, float32: multiplied while it is decoded; \
through the dispatcher: the first call with this weight
    >>> with torch.no_grad():
    ...     _ = layer(x), layer(x)
    ...     print(hct.explain(layer, x)[0])
    linear (64, 256) on cpu, 8 vectors, float32: multiplied while it is decoded; called directly
    """
    with recorded() as calls:
        call(*args, **kwargs)
    return calls
