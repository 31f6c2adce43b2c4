"""Hyper-compression of network weights, and exact vertices of hyperplane arrangements."""

from ._core import __version__
from .approximate import ApproximateVertices
from .arrangement import Vertices, vertices
from .errors import (
    CancelledError,
    DtypeError,
    EmptyHyperplaneError,
    FormatError,
    HypercompError,
    InvalidArgumentError,
    NearToleranceWarning,
    NonFiniteError,
    TooLargeError,
)
from .representation import (
    HRepresentation,
    VRepresentation,
    read_ext,
    read_ine,
    write_ext,
    write_ine,
)
from .tensor import CompressedTensor, Winding, compress_tensor, decompress_tensor

__all__ = [
    "ApproximateVertices",
    "CancelledError",
    "CompressedTensor",
    "DtypeError",
    "EmptyHyperplaneError",
    "FormatError",
    "HRepresentation",
    "HypercompError",
    "InvalidArgumentError",
    "NearToleranceWarning",
    "NonFiniteError",
    "TooLargeError",
    "VRepresentation",
    "Vertices",
    "Winding",
    "__version__",
    "compress_tensor",
    "decompress_tensor",
    "read_ext",
    "read_ine",
    "vertices",
    "write_ext",
    "write_ine",
]
