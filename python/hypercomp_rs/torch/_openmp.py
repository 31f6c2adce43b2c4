"""Torch's own threads for our products: two teams that both stay awake get in each other's way."""

from __future__ import annotations

import ctypes
import os
import pathlib

import torch

from .._core import use_openmp


def share_threads() -> None:
    """Have short products made by the threads of the OpenMP runtime that torch computes with.

    Where torch has none, or one without GCC's entry, the core goes on with threads of its own.
    """
    if "backend: OpenMP" not in torch.__config__.parallel_info() or not hasattr(os, "RTLD_NOLOAD"):
        return
    folder = pathlib.Path(torch.__file__).parent / "lib"
    bundled = sorted(folder.glob("lib*omp*.so*"))
    for name in (*map(str, bundled), "libgomp.so.1", "libomp.so.5", "libiomp5.so"):
        try:
            # Only one that is there already is torch's.
            runtime = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            parallel = ctypes.cast(runtime.GOMP_parallel, ctypes.c_void_p).value
        except (OSError, AttributeError):
            continue
        use_openmp(parallel or 0)
        return
