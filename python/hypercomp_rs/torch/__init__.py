"""PyTorch modules that compute on compressed weights."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    from ..errors import MissingExtraError

    raise MissingExtraError(
        "hypercomp_rs.torch needs torch: pip install 'hypercomp-rs[torch]'"
    ) from error

from . import _diffusers as _diffusers
from . import _peft as _peft
from . import _with_transformers as _with_transformers
from ._openmp import share_threads as _share_threads
from .calibration_statistics import CalibrationStatistics
from .compressed_module import CompressedModule
from .conversion import compress_model, decompress_model
from .experts import CompressedExperts
from .kernels import cpu as _cpu  # noqa: F401
from .kernels import cuda as _cuda  # noqa: F401
from .kernels.choice import decode_ahead
from .kernels.paths import CallPath, explain
from .loading import load_compressed
from .modules import (
    CompressedConv1d,
    CompressedConv2d,
    CompressedEmbedding,
    CompressedLinear,
)
from .report import CompressedLayer, ModelReport, SkippedWeight
from .weight import CompressedWeight

_share_threads()

__all__ = [
    "CalibrationStatistics",
    "CallPath",
    "CompressedConv1d",
    "CompressedConv2d",
    "CompressedEmbedding",
    "CompressedExperts",
    "CompressedLayer",
    "CompressedLinear",
    "CompressedModule",
    "CompressedWeight",
    "ModelReport",
    "SkippedWeight",
    "compress_model",
    "decode_ahead",
    "decompress_model",
    "explain",
    "load_compressed",
]
