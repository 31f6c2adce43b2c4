"""llama.cpp's formats, by its own quantisers and with an importance matrix.

The quantisers are functions of the library ggml. The wheel of the package pywhispercpp has it (MIT
licence); ``make bench-data`` downloads the wheel, and only this library is read from it. Decoding
is by the package gguf.
"""

import concurrent.futures
import ctypes
import functools
import hashlib
import os
import pathlib
import platform
import tempfile
import zipfile

import gguf
import numpy as np

DATA = pathlib.Path(__file__).parent.parent / ".venv-bench-data"
TAGS = "cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64"
WHEEL = DATA / f"pywhispercpp-1.5.1-{TAGS}.whl"
SHA256 = "a70839d9a1f569e1e5424f27ed01a32133d658beae4cd1459eb39de1e0483bba"
# Weights that one block of the formats has: rows are whole blocks.
BLOCK = 256
FORMATS = ("IQ2_XS", "Q2_K", "IQ3_XXS", "Q3_K", "IQ4_XS", "Q4_K")


def present():
    """Whether the wheel has been downloaded, and is for this machine."""
    return WHEEL.exists() and (platform.system(), platform.machine()) == ("Linux", "x86_64")


@functools.cache
def _quantise():
    """`ggml_quantize_chunk`: type, source, destination, start, rows, columns, importances."""
    found = hashlib.sha256(WHEEL.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{WHEEL.name} has SHA-256 {found}: {SHA256} is the one that was measured")
    folder = tempfile.TemporaryDirectory(prefix="ggml")
    with zipfile.ZipFile(WHEEL) as wheel:
        # The second needs the first, by its name.
        for part in ("/libgomp-", "/libggml-base-"):
            (name,) = (n for n in wheel.namelist() if part in n)
            library = ctypes.CDLL(wheel.extract(name, folder.name), ctypes.RTLD_GLOBAL)
    function = library.ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    function.argtypes = (
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
    )
    return function


def through(kind, w, importance):
    """What a matrix of (outputs, inputs) decodes to, and its bytes.

    `importance` is the mean square of each input, which is what llama.cpp's imatrix has. Where a
    row is no multiple of a block, several are joined: llama.cpp would take another format for them.
    """
    joined = BLOCK // np.gcd(BLOCK, w.shape[1])
    flat = np.ascontiguousarray(w, np.float32).reshape(-1, joined * w.shape[1])
    weights = np.ascontiguousarray(np.tile(importance, joined), np.float32)
    kind = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    coded = np.empty((len(flat), flat.shape[1] // block * size), np.uint8)
    quantise = _quantise()

    def rows(part):
        if len(part):
            done = quantise(
                *(kind.value, flat[part[0]].ctypes.data, coded[part[0]].ctypes.data),
                *(0, len(part), flat.shape[1], weights.ctypes.data),
            )
            assert done == len(part) * coded.shape[1]

    # The first call of a format makes its tables.
    rows(range(1))
    threads = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(rows, np.array_split(np.arange(len(flat)), threads)))
    return gguf.dequantize(coded, kind).reshape(w.shape), coded.nbytes
