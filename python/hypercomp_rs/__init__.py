"""Hyper-compression of network weights, and exact vertices of hyperplane arrangements."""

from ._core import __version__
from .arrangement import Vertices, vertices
from .errors import (
    CancelledError,
    DtypeError,
    EmptyHyperplaneError,
    FormatError,
    HypercompError,
    InvalidArgumentError,
    NonFiniteError,
    TooLargeError,
)
from .rate_distortion import RateDistortion, rate_distortion
from .tensor import CompressedTensor, Winding, compress_tensor, decompress_tensor

__all__ = [
    "CancelledError",
    "CompressedTensor",
    "DtypeError",
    "EmptyHyperplaneError",
    "FormatError",
    "HypercompError",
    "InvalidArgumentError",
    "NonFiniteError",
    "RateDistortion",
    "TooLargeError",
    "Vertices",
    "Winding",
    "__version__",
    "compress_tensor",
    "decompress_tensor",
    "rate_distortion",
    "vertices",
]
