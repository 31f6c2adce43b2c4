"""Bits for every tensor of a model, so that the whole takes so many and loses least.

What is lost is taken to be Σ sᵢ·Dᵢ(Rᵢ): Dᵢ is the squared error of tensor i at Rᵢ bits a weight, sᵢ
how much the model minds it. To second order in the error a loss grows like that, with sᵢ the mean
of the Hessian's diagonal: errors of a trellis code behind the incoherence transform are as good as
independent of the weights and of each other, so that nothing else of the Hessian is left (Cover
and Thomas, *Elements of Information Theory*, 10.3.3; Malinovskii et al., *Pushing the Limits of
Large Language Model Quantization via the Linearity Theorem*, arXiv 2411.17525, theorem 1).

Dᵢ falls by a fixed number of decibels a bit, 6.02 but for masks of zeros. Both it and the level
come from a sample of rows that is coded at two rates. The sum is least, for a given Σ nᵢ·Rᵢ, where
the slopes sᵢ·Dᵢ′/nᵢ are equal: Rᵢ follows from one multiplier, which is found by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

# The rates that the codec takes.
LEAST, MOST = 1.0, 8.0
# Decibels that a bit is worth.
_A_BIT = 20 * math.log10(2)


class Curve(NamedTuple):
    """What rate buys what error in one tensor.

    Attributes
    ----------
    weights
        How many there are.
    importance
        sᵢ·Σ w²: what the model would mind if all of the tensor were lost.
    at_zero
        Signal to noise in dB that the line would have at no bits at all.
    slope
        Decibels a bit.
    """

    weights: int
    importance: float
    at_zero: float
    slope: float

    def rate(self, multiplier: float) -> float:
        """The rate at which a bit a weight more would save this much, cut to what there is."""
        gain = self.importance * self.slope * math.log(10) / 10 / self.weights
        if gain <= 0:
            return LEAST
        decibels = 10 * (math.log10(gain) - multiplier)
        return min(MOST, max(LEAST, (decibels - self.at_zero) / self.slope))

    def bits_for(self, sqnr_db: float) -> float:
        """The rate that reaches so many dB, about."""
        return min(MOST, max(LEAST, (sqnr_db - self.at_zero) / self.slope))


def line(
    weights: int, importance: float, low: tuple[float, float], high: tuple[float, float]
) -> Curve:
    """The curve through two points (bits, dB)."""
    (bits, decibels), (more, better) = low, high
    # A tensor with rows of zeros takes fewer bits than it is given, at high rates always the same.
    slope = max(1.0, (better - decibels) / (more - bits)) if more > bits else _A_BIT
    return Curve(weights, importance, decibels - slope * bits, slope)


def spread(curves: Sequence[Curve], budget: float) -> list[float]:
    """Bits a weight for each tensor, which together take `budget` bits or a little less.

    The budget is between 1 bit and 8 for each weight.
    """

    def spent(multiplier: float) -> float:
        return sum(curve.weights * curve.rate(multiplier) for curve in curves)

    # Common logarithms of the multiplier: beyond all numbers that floats have.
    low, high = -700.0, 700.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > budget else (low, middle)
    return [curve.rate(high) for curve in curves]
