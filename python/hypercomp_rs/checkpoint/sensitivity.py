"""How much errors in each tensor of a model cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import FlatArray, to_float32
from .._reals import checked_real
from ..errors import FormatError, InvalidArgumentError
from .configuration import CONFIG, read_config
from .rules import Rule
from .safetensors_file import SafetensorsFile
from .source import FLOATS, Source

if TYPE_CHECKING:
    import numpy.typing as npt


# The cost of an error in a table of tokens that is only looked up, relative to other weights. A
# text reads few rows of the table, each of them once. Every other weight is used for every token.
_LOOKED_UP_FACTOR = 0.1
# An architecture of transformers whose name contains one of these ends in a layer over all tokens.
# The second tuple has the names of that layer if it is not the table of tokens itself.
_HEADS = ("LM", "Generation", "PreTraining", "Seq2Seq")
_HEAD_NAMES = ("lm_head.weight", "embed_out.weight", "output.weight")


def only_looked_up(source: Source) -> bool:
    """Whether a model's table of tokens is certainly not the weight of its last layer, too.

    This is certain if the last layer has a weight of its own, or if the configuration names
    architectures and none of them has such a layer. Without a configuration the answer is False.
    """
    if any(name in source.entries for name in _HEAD_NAMES):
        return True
    path = source.files().get(CONFIG)
    architectures = read_config(path).get("architectures") if path is not None else None
    if not isinstance(architectures, list) or not architectures:
        return False
    return not any(head in str(name) for name in architectures for head in _HEADS)


class Sensitivity:
    """What an error in each tensor costs. Only data can tell exactly; without data it is estimated.

    Parameters
    ----------
    given
        None: the same relative error costs the same in each tensor. So a squared error of 1 costs
        1/(mean of w²), and a tenth of this in a table of tokens that is only looked up, see
        :func:`only_looked_up`. ``docs/checkpoints.md`` has the measurements.

        A mapping from patterns (see :class:`Rule`) to factors: the same, times the factor of the
        first pattern that matches.

        A file: the mean cost of a squared error of 1 for each tensor, by its name or that of its
        module. A ``.json`` file has numbers. A ``.safetensors`` file has tensors of any shape,
        whose mean is taken, such as squared gradients in the weight's shape (the diagonal of the
        Fisher matrix), or mean squares of the activations that the columns are multiplied by.

    Raises
    ------
    InvalidArgumentError
        A factor that is negative or no number, or another kind of file.
    FormatError
        A file with other contents.
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

    def of(self, name: str, mean_square: float, *, looked_up: bool) -> float:
        """The cost of a squared error of 1 in a weight of this tensor.

        `looked_up` is whether it is a table of tokens that is only looked up.
        """
        if self.costs is not None:
            for key in (name, name.rpartition(".")[0]):
                if key in self.costs:
                    return self.costs[key]
            raise InvalidArgumentError(
                f"the sensitivities have no number for {name}, nor for its module"
            )
        factors = (f for pattern, f in self.factors.items() if Rule(pattern).matches(name))
        default = _LOOKED_UP_FACTOR if looked_up else 1.0
        return next(factors, 1.0) * default / mean_square

    def key(self) -> dict[str, object]:
        """A JSON object that is different for different sensitivities."""
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


def flat_of(data: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> FlatArray:
    """Bytes of a tensor in the form that the codec takes; `dtype` is safetensors' name."""
    name = FLOATS[dtype]
    return FlatArray(data.view(np.uint16 if name.endswith("16") else name), name, shape, "numpy")
