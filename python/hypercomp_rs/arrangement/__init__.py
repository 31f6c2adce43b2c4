"""Hyperplane arrangements: their vertices, exactly, and the files of the field.

Rows go in (`rows`), a search is run as jobs (`search`), and what it finds is one result (`result`)
or a stream of blocks (`stream`).
"""

from .approximate import ApproximateVertices
from .enumeration import (
    Estimate,
    count_vertices,
    estimate_vertices,
    flats,
    iter_vertices,
    vertices,
)
from .h_representation import HRepresentation, read_ine, write_ine
from .lattice import IntersectionLattice, LatticeFlat, intersection_lattice
from .regions import (
    Region,
    Regions,
    RegionStream,
    characteristic_polynomial,
    count_regions,
    faces,
    iter_regions,
    regions,
    zonotope_vertices,
)
from .result import VertexGraph, Vertices
from .stream import VertexStream
from .v_representation import VRepresentation, read_ext, write_ext

__all__ = [
    "ApproximateVertices",
    "Estimate",
    "HRepresentation",
    "IntersectionLattice",
    "LatticeFlat",
    "Region",
    "RegionStream",
    "Regions",
    "VRepresentation",
    "VertexGraph",
    "VertexStream",
    "Vertices",
    "characteristic_polynomial",
    "count_regions",
    "count_vertices",
    "estimate_vertices",
    "faces",
    "flats",
    "intersection_lattice",
    "iter_regions",
    "iter_vertices",
    "read_ext",
    "read_ine",
    "regions",
    "vertices",
    "write_ext",
    "write_ine",
    "zonotope_vertices",
]
