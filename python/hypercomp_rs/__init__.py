"""Hyper-compression of network weights, and exact vertices of hyperplane arrangements."""

from ._core import __version__

__all__ = ["__version__"]
