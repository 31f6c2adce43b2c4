"""Hyper-compression of network weights, and exact vertices of hyperplane arrangements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core import __version__
from ._stream import VertexStream
from ._vertices import Vertices
from .approximate import ApproximateVertices
from .arrangement import (
    Estimate,
    count_vertices,
    estimate_vertices,
    flats,
    iter_vertices,
    vertices,
)
from .compress import Winding, compress_tensor, decompress_tensor
from .errors import (
    CancelledError,
    DtypeError,
    EmptyHyperplaneError,
    FormatError,
    HypercompError,
    InvalidArgumentError,
    MissingExtraError,
    NearToleranceWarning,
    NonFiniteError,
    OutOfBoundsError,
    TooLargeError,
)
from .products import matmul, matvec
from .rate_distortion import RateDistortion, rate_distortion
from .representation import (
    HRepresentation,
    VRepresentation,
    read_ext,
    read_ine,
    write_ext,
    write_ine,
)
from .tensor import CompressedTensor

if TYPE_CHECKING:
    from .checkpoint import (
        Checkpoint,
        compress_checkpoint,
        decompress_checkpoint,
        verify_checkpoint,
    )

__all__ = [
    "ApproximateVertices",
    "CancelledError",
    "Checkpoint",
    "CompressedTensor",
    "DtypeError",
    "EmptyHyperplaneError",
    "Estimate",
    "FormatError",
    "HRepresentation",
    "HypercompError",
    "InvalidArgumentError",
    "MissingExtraError",
    "NearToleranceWarning",
    "NonFiniteError",
    "OutOfBoundsError",
    "RateDistortion",
    "TooLargeError",
    "VRepresentation",
    "VertexStream",
    "Vertices",
    "Winding",
    "__version__",
    "compress_checkpoint",
    "compress_tensor",
    "count_vertices",
    "decompress_checkpoint",
    "decompress_tensor",
    "estimate_vertices",
    "flats",
    "iter_vertices",
    "matmul",
    "matvec",
    "rate_distortion",
    "read_ext",
    "read_ine",
    "verify_checkpoint",
    "vertices",
    "write_ext",
    "write_ine",
]

# What is made of many modules, and imported when it is first asked for.
_MODELS = ("Checkpoint", "compress_checkpoint", "decompress_checkpoint", "verify_checkpoint")


def __getattr__(name: str) -> object:
    if name not in _MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import checkpoint

    found = globals()[name] = getattr(checkpoint, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
