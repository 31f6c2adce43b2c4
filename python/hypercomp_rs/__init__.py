"""Hyper-compression of network weights, and exact vertices of hyperplane arrangements."""

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
from .checkpoint import (
    Checkpoint,
    compress_checkpoint,
    decompress_checkpoint,
    verify_checkpoint,
)
from .compress import Winding, compress_tensor, decompress_tensor
from .errors import (
    ArchitectureError,
    CancelledError,
    DeviceMemoryError,
    DeviceNotFoundError,
    DriverNotFoundError,
    DtypeError,
    EmptyHyperplaneError,
    FormatError,
    GpuError,
    HypercompError,
    InvalidArgumentError,
    KernelImageError,
    MissingExtraError,
    NearToleranceWarning,
    NonFiniteError,
    OldDriverError,
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

__all__ = [
    "ApproximateVertices",
    "ArchitectureError",
    "CancelledError",
    "Checkpoint",
    "CompressedTensor",
    "DeviceMemoryError",
    "DeviceNotFoundError",
    "DriverNotFoundError",
    "DtypeError",
    "EmptyHyperplaneError",
    "Estimate",
    "FormatError",
    "GpuError",
    "HRepresentation",
    "HypercompError",
    "InvalidArgumentError",
    "KernelImageError",
    "MissingExtraError",
    "NearToleranceWarning",
    "NonFiniteError",
    "OldDriverError",
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
