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
from .representation import (
    HRepresentation,
    VRepresentation,
    read_ext,
    read_ine,
    write_ext,
    write_ine,
)
from .result import Vertices
from .stream import VertexStream

__all__ = [
    "ApproximateVertices",
    "Estimate",
    "HRepresentation",
    "VRepresentation",
    "VertexStream",
    "Vertices",
    "count_vertices",
    "estimate_vertices",
    "flats",
    "iter_vertices",
    "read_ext",
    "read_ine",
    "vertices",
    "write_ext",
    "write_ine",
]
