"""Real arguments: any real number counts, bools, NaN and what is out of range do not."""

from __future__ import annotations

from numbers import Real

import numpy as np

from .errors import InvalidArgumentError


def checked_real(name: str, value: object, least: float, most: float) -> float:
    """`value` as a float, if it is a real number from `least` to `most`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | np.floating):
        raise InvalidArgumentError(f"{name}={value!r}: a number is accepted")
    number = float(value)
    if not least <= number <= most:
        raise InvalidArgumentError(f"{name}={value}: {least:g} to {most:g} are accepted")
    return number
