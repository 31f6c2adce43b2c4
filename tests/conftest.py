"""Tests that need a CUDA device are collected everywhere, and say why they do not run."""

import pytest

from hypercomp_rs import gpu
from hypercomp_rs.errors import GpuError


def why_no_device():
    """What keeps the kernels from running here; None where nothing does."""
    try:
        devices = gpu.devices()
    except GpuError as error:
        return str(error)
    if not gpu.available():
        return f"no CUDA device of compute capability 7.5 or later among {devices}"
    return None


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    why = why_no_device() if marked else None
    for item in marked:
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=f"needs a CUDA device (make gpu): {why}"))
