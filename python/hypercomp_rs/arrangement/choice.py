"""Which method a search takes that is not told: a cost estimate from measured figures.

The estimate depends on the input alone and not on the machine or the moment, so that the same call
does the same every time. ``benches/method_choice.py`` measures both methods beside it on a grid.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

# Probes that count vertices and cobases, if the choice depends on their ratio; and their seed.
PROBES = 16
SEED = 0
# So few cobases are visited before they would be estimated.
FEW_COBASES = 5000
# Each probe eliminates rows. Where that is more than so many products, hyperplanes count as being
# in general position.
MOST_PRODUCTS = 1 << 22

# Bits of Hadamard's bound on minors up to which the Zero rule runs in vector lanes, and up to which
# flats are kept in machine integers.
LANE_BITS = 48
MACHINE_BITS = 382
# Beyond, hardly any flat is kept in machine integers.
LONG_BITS = 600


class Sizes(NamedTuple):
    """What the cost of a search depends on."""

    hyperplanes: int
    dimension: int
    bits: int
    """Of Hadamard's bound on minors."""


def flats_over_zero(sizes: Sizes) -> float:
    """Time of flats over that of the Zero rule where hyperplanes are in general position.

    Fitted to times that were measured in 3 to 40 dimensions, of 4 to 42 hyperplanes with numbers of
    1 to 1,000 digits. Flats compute all vertices of a plane at once, and so gain with the number of
    hyperplanes for each dimension. They lose where they outgrow machine integers: with long
    numbers, and in high dimensions with any. The Zero rule loses where its numbers do not fit
    vector lanes.
    """
    n, d, bits = max(sizes.hyperplanes, 1), sizes.dimension, sizes.bits
    more = max(n - d, 1)
    if bits > LONG_BITS:
        return 400.0 * 15.0 ** (min(d, 6) - 3) / n**2 if d > 1 else 1.0
    if bits > MACHINE_BITS:
        return 2000.0 * 10.0 ** (min(d, 9) - 6) / n**2
    if bits > LANE_BITS:
        return d * d / (n * more) * 3.0 ** max(0, d - 9) if d > 3 else 1.0
    return 0.5 * d * d / n * 2.0 ** (max(0, d - 12) / 2) if d > 3 else 1.0


def method_of(ratio: float) -> Literal["flats", "zero"]:
    """The method for a time of flats over that of the Zero rule. Near 1 either will do."""
    return "zero" if ratio > 1.1 else "flats"
