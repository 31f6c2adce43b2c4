"""Hyper-compression of network weights, and exact vertices of hyperplane arrangements."""

from ._core import __version__
from ._stream import VertexStream
from ._vertices import Vertices
from .arrangement import (
    Estimate,
    count_vertices,
    estimate_vertices,
    flats,
    iter_vertices,
    vertices,
)
from .errors import (
    CancelledError,
    DtypeError,
    EmptyHyperplaneError,
    FormatError,
    HypercompError,
    InvalidArgumentError,
    MissingExtraError,
    NonFiniteError,
    TooLargeError,
)
from .tensor import CompressedTensor, Winding, compress_tensor, decompress_tensor

__all__ = [
    "CancelledError",
    "CompressedTensor",
    "DtypeError",
    "EmptyHyperplaneError",
    "Estimate",
    "FormatError",
    "HypercompError",
    "InvalidArgumentError",
    "MissingExtraError",
    "NonFiniteError",
    "TooLargeError",
    "VertexStream",
    "Vertices",
    "Winding",
    "__version__",
    "compress_tensor",
    "count_vertices",
    "decompress_tensor",
    "estimate_vertices",
    "flats",
    "iter_vertices",
    "vertices",
]
