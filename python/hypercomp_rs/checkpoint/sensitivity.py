"""How much a model minds errors in each of its tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import Flat, to_float32
from .._reals import checked_real
from ..errors import FormatError, InvalidArgumentError
from .rules import Rule
from .safetensors_file import SafetensorsFile
from .source import FLOATS

if TYPE_CHECKING:
    import numpy.typing as npt


class Sensitivity:
    """What an error in a tensor costs, of which nobody knows but by data.

    Parameters
    ----------
    given
        None: a tensor's relative error costs as much as the root of its size, so that an error in
        one of its n weights w costs 1/(√n·mean of w²). Between the two that need no data: the same
        for each tensor, whatever its size (arXiv 2411.17525 without its coefficients), and the
        same for each weight, under which all tensors have the same rate. Measured in
        ``docs/checkpoints.md``. A mapping of patterns (see :class:`Rule`) to factors multiplies
        that; the first that matches wins, others stay as they are.

        Or a file that says for each tensor, by its name or its module's, the mean of what an error
        in one weight costs: a ``.json`` file of numbers, or a ``.safetensors`` file of tensors of
        any shape, whose mean is taken: squared gradients (the diagonal of the Fisher matrix) in
        the weight's own shape, or mean squares of the activations that the columns meet.

    Raises
    ------
    InvalidArgumentError
        No such mapping, a factor that is negative or no number, or another kind of file.
    FormatError
        A file that does not hold what it should.
    """

    def __init__(self, given: Mapping[str, float] | str | Path | None) -> None:
        self.factors: dict[str, float] = {}
        self.costs: dict[str, float] | None = None
        if isinstance(given, Mapping):
            self.factors = {
                pattern: checked_real(f"sensitivity of {pattern}", factor, 0, 1e30)
                for pattern, factor in given.items()
            }
        elif given is not None:
            self.costs = _read(Path(given))

    def of(self, name: str, weights: int, mean_square: float) -> float:
        """What an error of 1 in a weight of this tensor costs."""
        if self.costs is not None:
            for key in (name, name.rpartition(".")[0]):
                if key in self.costs:
                    return self.costs[key]
            raise InvalidArgumentError(
                f"the sensitivities have none for {name}, nor for its module"
            )
        factors = (f for pattern, f in self.factors.items() if Rule(pattern).matches(name))
        return next(factors, 1.0) / (math.sqrt(weights) * mean_square)

    def key(self) -> dict[str, object]:
        """What tells it from another one; JSON."""
        return {"factors": list(self.factors.items()), "costs": self.costs}


def _read(path: Path) -> dict[str, float]:
    if path.suffix == ".safetensors":
        costs = _means(SafetensorsFile(path))
    elif path.suffix == ".json":
        try:
            costs = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path}: {error}") from None
    else:
        raise InvalidArgumentError(
            f"sensitivity={str(path)!r}: a .json or .safetensors file is accepted"
        )
    if not isinstance(costs, dict):
        raise FormatError(f"{path}: an object of names and numbers is accepted")
    try:
        return {name: checked_real(name, cost, 0, 1e30) for name, cost in costs.items()}
    except InvalidArgumentError as error:
        raise FormatError(f"{path}: {error}") from None


def _means(file: SafetensorsFile) -> dict[str, float]:
    means = {}
    for name, stored in file.stored.items():
        if stored.dtype not in FLOATS or not stored.nbytes:
            raise FormatError(f"{file.path}: {name}: a tensor of floats is accepted")
        means[name] = float(np.mean(as_float32(file.read(name), stored.dtype), dtype=np.float64))
    return means


def as_float32(data: npt.NDArray[np.uint8], dtype: str) -> npt.NDArray[np.float32]:
    """Elements from their bytes, 1-D."""
    return to_float32(flat_of(data, dtype, (-1,)))


def flat_of(data: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> Flat:
    """Bytes of a tensor as the codec takes them; `dtype` is safetensors' name."""
    name = FLOATS[dtype]
    return Flat(data.view(np.uint16 if name.endswith("16") else name), name, shape, "numpy")
