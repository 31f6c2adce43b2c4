"""Whole models on disk: compressed tensor by tensor, in bounded memory, and verified.

A reader is a :class:`Source`; what is compressed is kept in safetensors files, see
``docs/checkpoints.md``.
"""

from .shards import Shards
from .source import Entry, Source, open_source

__all__ = ["Entry", "Shards", "Source", "open_source"]
