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
    OutOfBoundsError,
    TooLargeError,
)
from .products import matmul, matvec
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
    "OutOfBoundsError",
    "TooLargeError",
    "Vertices",
    "Winding",
    "__version__",
    "compress_tensor",
    "decompress_tensor",
    "matmul",
    "matvec",
    "vertices",
]
