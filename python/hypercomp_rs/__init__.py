"""Hyper-compression of network weights, and exact vertices of hyperplane arrangements."""

import importlib
from typing import TYPE_CHECKING, Any

from ._core import __version__
from .arrangement import (
    ApproximateVertices,
    Estimate,
    HRepresentation,
    IntersectionLattice,
    LatticeFlat,
    Region,
    Regions,
    RegionStream,
    VertexGraph,
    VertexStream,
    Vertices,
    VRepresentation,
    characteristic_polynomial,
    count_regions,
    count_vertices,
    estimate_vertices,
    faces,
    flats,
    intersection_lattice,
    iter_regions,
    iter_vertices,
    read_ext,
    read_ine,
    regions,
    vertices,
    write_ext,
    write_ine,
    zonotope_vertices,
)
from .compress import Winding, compress_tensor, decompress_tensor
from .errors import (
    ArchitectureError,
    CancelledError,
    CheckpointWarning,
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
    MadeDenseWarning,
    MissingExtraError,
    NearToleranceWarning,
    NonFiniteError,
    OldDriverError,
    OutOfBoundsError,
    OutOfMemoryError,
    ReadOnlyError,
    SlowPathWarning,
    SourceWarning,
    StaysDenseWarning,
    StaysInMemoryWarning,
    TooLargeError,
    UnknownTransformersWarning,
    UnusedWeightsWarning,
)
from .products import matmul, matvec
from .rate_distortion import RateDistortion, rate_distortion
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
    "ArchitectureError",
    "CancelledError",
    "Checkpoint",
    "CheckpointWarning",
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
    "IntersectionLattice",
    "InvalidArgumentError",
    "KernelImageError",
    "LatticeFlat",
    "MadeDenseWarning",
    "MissingExtraError",
    "NearToleranceWarning",
    "NonFiniteError",
    "OldDriverError",
    "OutOfBoundsError",
    "OutOfMemoryError",
    "RateDistortion",
    "ReadOnlyError",
    "Region",
    "RegionStream",
    "Regions",
    "SlowPathWarning",
    "SourceWarning",
    "StaysDenseWarning",
    "StaysInMemoryWarning",
    "TooLargeError",
    "UnknownTransformersWarning",
    "UnusedWeightsWarning",
    "VRepresentation",
    "VertexGraph",
    "VertexStream",
    "Vertices",
    "Winding",
    "__version__",
    "characteristic_polynomial",
    "compress_checkpoint",
    "compress_tensor",
    "count_regions",
    "count_vertices",
    "decompress_checkpoint",
    "decompress_tensor",
    "estimate_vertices",
    "faces",
    "flats",
    "intersection_lattice",
    "iter_regions",
    "iter_vertices",
    "matmul",
    "matvec",
    "rate_distortion",
    "read_ext",
    "read_ine",
    "regions",
    "verify_checkpoint",
    "vertices",
    "write_ext",
    "write_ine",
    "zonotope_vertices",
]

# What takes longest to import, or imports what only an extra installs: when first asked for.
_OF_CHECKPOINT = frozenset(
    ("Checkpoint", "compress_checkpoint", "decompress_checkpoint", "verify_checkpoint")
)
_MODULES = frozenset(("checkpoint", "evaluate", "gpu", "torch"))


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _OF_CHECKPOINT:
        found = globals()[name] = getattr(importlib.import_module(".checkpoint", __name__), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OF_CHECKPOINT, *_MODULES})
