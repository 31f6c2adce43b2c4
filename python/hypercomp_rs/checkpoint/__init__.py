"""Whole models on disk: compressed tensor by tensor, in bounded memory, and verified.

A reader is a :class:`Source`; what is compressed is kept in safetensors files, see
``docs/checkpoints.md``.
"""

from .calibration_text import CalibrationText
from .checkpoint import Checkpoint, TensorInfo
from .compression import compress_checkpoint
from .decompression import decompress_checkpoint
from .opening import open_source
from .report import Report
from .rules import Rule
from .run import Progress
from .sensitivity import Sensitivity
from .shards import Shards
from .source import Entry, Source
from .verification import Verdict, verify_checkpoint

__all__ = [
    "CalibrationText",
    "Checkpoint",
    "Entry",
    "Progress",
    "Report",
    "Rule",
    "Sensitivity",
    "Shards",
    "Source",
    "TensorInfo",
    "Verdict",
    "compress_checkpoint",
    "decompress_checkpoint",
    "open_source",
    "verify_checkpoint",
]
