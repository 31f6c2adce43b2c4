"""PyTorch modules that compute on compressed weights."""

from . import _cpu as _cpu
from . import _cuda as _cuda
from .compressed_module import CompressedModule
from .modules import (
    CompressedConv1d,
    CompressedConv2d,
    CompressedEmbedding,
    CompressedLinear,
)
from .weight import CompressedWeight

__all__ = [
    "CompressedConv1d",
    "CompressedConv2d",
    "CompressedEmbedding",
    "CompressedLinear",
    "CompressedModule",
    "CompressedWeight",
]
