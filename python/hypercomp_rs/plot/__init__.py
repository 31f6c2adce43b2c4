"""Figures of compressed tensors, of compressed models and of arrangements; a report of a model.

Needs ``pip install 'hypercomp-rs[plot]'``, which installs matplotlib. Every function gives a
``matplotlib.figure.Figure``, which ``figure.savefig("name.svg")`` stores and a notebook shows; it
is not registered with ``pyplot``. Colours can be told apart with any kind of colour vision.
"""

from .hyperplanes import arrangement
from .model import allocation, rate_distortion
from .page import report
from .plane_regions import regions
from .tensor import error_by_row

__all__ = ["allocation", "arrangement", "error_by_row", "rate_distortion", "regions", "report"]
