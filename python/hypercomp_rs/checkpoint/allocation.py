"""The rate of each tensor of a model, for a given total number of bits and the least error.

The error of a model is modelled as Σ sᵢ·Dᵢ(Rᵢ). Dᵢ is the squared error of tensor i at Rᵢ bits per
weight, and sᵢ is the cost of a squared error of 1. To second order, a loss grows like this sum if
sᵢ is the mean of the Hessian's diagonal. The other entries of the Hessian do not matter: after the
incoherence transform, the errors of a trellis code are practically independent of the weights and
of each other (Cover and Thomas, *Elements of Information Theory*, 10.3.3; Malinovskii et al.,
*Pushing the Limits of Large Language Model Quantization via the Linearity Theorem*, arXiv
2411.17525, theorem 1).

In decibels, Dᵢ is a line in Rᵢ. It falls by 6.02 dB per bit, except for tensors with masks of
zeros. Slope and level are measured on a sample of rows that is coded at two rates. For a given Σ
nᵢ·Rᵢ the sum is least where the slopes sᵢ·Dᵢ′/nᵢ are equal. Then each Rᵢ follows from one
multiplier, which is found by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

# The rates that the codec accepts, in bits per weight.
LOWEST_RATE, HIGHEST_RATE = 1.0, 8.0
# The slope of an ideal code.
_DECIBELS_PER_BIT = 20 * math.log10(2)


class RateCurve(Protocol):
    """The rate of a tensor at a slope of the error."""

    @property
    def weights(self) -> int:
        """Number of weights."""

    def rate(self, multiplier: float) -> float:
        """The rate, within the limits, at which one more bit saves as much as 10^multiplier."""


class Curve(NamedTuple):
    """The error of one tensor as a function of its rate: a line in decibels.

    Attributes
    ----------
    weights
        Number of weights.
    importance
        sᵢ·Σ w²: the cost if all weights of the tensor were replaced by zeros.
    at_zero
        Signal to noise ratio, in dB, of the line at 0 bits.
    slope
        Decibels per bit.
    """

    weights: int
    importance: float
    at_zero: float
    slope: float

    def rate(self, multiplier: float) -> float:
        """The rate, within the limits, at which one more bit saves as much as the multiplier."""
        gain = self.importance * self.slope * math.log(10) / 10 / self.weights
        if gain <= 0:
            return LOWEST_RATE
        decibels = 10 * (math.log10(gain) - multiplier)
        return min(HIGHEST_RATE, max(LOWEST_RATE, (decibels - self.at_zero) / self.slope))

    def bits_for(self, sqnr_db: float) -> float:
        """The approximate rate that reaches a signal to noise ratio, within the limits."""
        return min(HIGHEST_RATE, max(LOWEST_RATE, (sqnr_db - self.at_zero) / self.slope))


def line(
    weights: int, importance: float, low: tuple[float, float], high: tuple[float, float]
) -> Curve:
    """The curve through two points (bits, dB)."""
    (bits, decibels), (more, better) = low, high
    # A tensor with rows of zeros takes fewer bits than the rate allows. At high rates the number of
    # bits does not change any more.
    slope = max(1.0, (better - decibels) / (more - bits)) if more > bits else _DECIBELS_PER_BIT
    return Curve(weights, importance, decibels - slope * bits, slope)


def spread(curves: Sequence[RateCurve], budget: float) -> list[float]:
    """Bits per weight for each tensor. Together the tensors take `budget` bits or a little less.

    The budget must be between 1 and 8 bits per weight.
    """

    def spent(multiplier: float) -> float:
        return sum(curve.weights * curve.rate(multiplier) for curve in curves)

    # Bounds of the multiplier's common logarithm, beyond the range of floats.
    low, high = -700.0, 700.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > budget else (low, middle)
    return [curve.rate(high) for curve in curves]
