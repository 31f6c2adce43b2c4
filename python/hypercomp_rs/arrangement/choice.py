"""Which method a search takes that is not told: a cost estimate from measured figures.

The estimate depends on the input alone and not on the machine or the moment, so that the same call
does the same every time. ``benches/method_choice.py`` measures both methods beside it on a grid.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

# Probes that count vertices and cobases, if the choice depends on their ratio; and their seed.
PROBES = 16
SEED = 0
# With fewer hyperplanes for each dimension, integers usually are searched by the Zero rule.
CROWDED = 3
# So few cobases are visited before they would be estimated.
FEW_COBASES = 5000
# Each probe eliminates rows. Where that is more than so many products, hyperplanes count as being
# in general position.
MOST_PRODUCTS = 1 << 22

# Bits of Hadamard's bound on minors up to which the Zero rule runs in vector lanes, up to which
# flats are kept in integers of 64 bits, and in machine integers at all.
LANE_BITS = 48
NARROW_BITS = 104
MACHINE_BITS = 382
# Beyond, flats are searched in fields and not on exact bases; for one minor, and for all bases of a
# path.
MOST_BITS = 1 << 18
MOST_BITS_OF_BASES = 1 << 34
# Hardly more hyperplanes than dimensions: the set-up of a search over flats takes most of its time.
FEW_MORE = 2
FEW_DIMENSIONS = 8


class Sizes(NamedTuple):
    """What the cost of a search depends on."""

    hyperplanes: int
    dimension: int
    bits: int
    """Of Hadamard's bound on minors."""


def flats_over_zero(sizes: Sizes) -> float:
    """Time of flats over that of the Zero rule where hyperplanes are in general position.

    Fitted to times that were measured in 1 to 40 dimensions, of 4 to 60 hyperplanes with numbers of
    1 to 1,000 digits. Flats compute all vertices of a plane at once, and so gain with the number of
    hyperplanes for each dimension. Long numbers cost them less: only the bases of flats have them,
    and in a dictionary every entry. The Zero rule gains with the dimension as long as its numbers
    are short, most of all where they fit vector lanes.
    """
    n, d, bits = max(sizes.hyperplanes, 1), sizes.dimension, sizes.bits
    more = max(n - d, 1)
    if bits <= LANE_BITS:
        return 0.5 * d * d / n * 2.0 ** (max(0, d - 12) / 2) if d > 3 else 1.0
    if bits <= NARROW_BITS:
        return d * d / (n * more) * 3.0 ** max(0, d - 9) if d > 3 else 1.0
    if more <= FEW_MORE and d <= FEW_DIMENSIONS and bits <= MACHINE_BITS:
        return 1.4
    if bits > MOST_BITS or (d + 1) ** 3 * bits > MOST_BITS_OF_BASES:
        return math.inf
    return math.pow(d / 30, 1.5) * 1000.0 / (bits + 250)


def method_of(ratio: float) -> Literal["flats", "zero"]:
    """The method for a time of flats over that of the Zero rule. Near 1 either will do."""
    return "zero" if ratio > 1.1 else "flats"
