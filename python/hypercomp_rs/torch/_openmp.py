"""Lends torch's OpenMP threads to the core.

Both torch's threads and the core's stay awake for a moment after a product. If a model uses both in
turn, they compete for the same processor cores.
"""

from __future__ import annotations

import ctypes
import os
import pathlib

import torch

from .._core import use_openmp


def share_threads() -> None:
    """Let the core run short products on the threads of the OpenMP runtime that torch uses.

    If torch uses no OpenMP, or a runtime without GCC's entry point, the core uses its own threads.
    """
    if "backend: OpenMP" not in torch.__config__.parallel_info() or not hasattr(os, "RTLD_NOLOAD"):
        return
    folder = pathlib.Path(torch.__file__).parent / "lib"
    bundled = sorted(folder.glob("lib*omp*.so*"))
    for name in (*map(str, bundled), "libgomp.so.1", "libomp.so.5", "libiomp5.so"):
        try:
            # Only a library that is loaded already can be torch's.
            runtime = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            parallel = ctypes.cast(runtime.GOMP_parallel, ctypes.c_void_p).value
        except (OSError, AttributeError):
            continue
        use_openmp(parallel or 0)
        return
