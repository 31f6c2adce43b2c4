"""Compile the kernels into the image that the extension embeds, with NVIDIA's compiler wheels.

One source becomes one PTX for compute_75 (NVRTC), that PTX becomes a cubin for every architecture
(ptxas), and PTX and cubins become one fatbin (nvFatbin), which the driver picks from: what is
newer than every cubin gets the PTX. The versions in pyproject.toml's extra ``cuda-build`` are
pinned, as these compilers give the same bytes every time.

    python cuda/compile_kernels.py            # write cuda/image/, if the sources have changed
    python cuda/compile_kernels.py --check    # build anew and compare, byte for byte
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGE = HERE / "image"
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
PTX_ARCHITECTURE = 75
SOURCES = (
    *("kernels.cu", "kernels.def", "launch.h", "device.h"),
    *sorted(p.name for p in HERE.glob("*.cuh")),
)
COMPILERS = (
    "nvidia-cuda-nvrtc-cu12",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cuda-nvcc-cu12",
    "nvidia-nvfatbin-cu12",
)
# No contraction: a fused multiply-add is written as one, and nothing else is. So the kernels round
# as the Rust code does.
OPTIONS = (f"--gpu-architecture=compute_{PTX_ARCHITECTURE}", "--std=c++17", "--fmad=false")


def source_hash(directory: Path = HERE) -> str:
    """SHA-256 of the kernel sources and of how they are compiled."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(f"{name}\0".encode() + (directory / name).read_bytes() + b"\0")
    digest.update(repr((OPTIONS, ARCHITECTURES)).encode())
    return digest.hexdigest()


def compilers() -> dict[str, str]:
    """Versions of the compiler wheels; empty unless all of them are installed."""
    try:
        return {name: version(name) for name in COMPILERS}
    except PackageNotFoundError:
        return {}


def wheel(folder: str) -> Path:
    """Where one of NVIDIA's wheels was installed."""
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations if spec else ():
        if (Path(place) / folder).is_dir():
            return Path(place) / folder
    sys.exit(f"The compiler in nvidia/{folder} is missing: pip install '.[cuda-build]'")


class _Library:
    """A C library whose functions return 0 or a number that one of them explains."""

    def __init__(self, folder: str, file: str, prefix: str) -> None:
        self._library = ctypes.CDLL(str(wheel(folder) / "lib" / file))
        self._prefix = prefix
        self._explain = getattr(self._library, prefix + "GetErrorString")
        self._explain.restype = ctypes.c_char_p

    def call(self, function: str, *arguments: object) -> int:
        return getattr(self._library, self._prefix + function)(*arguments)

    def check(self, function: str, *arguments: object) -> None:
        result = self.call(function, *arguments)
        if result:
            raise RuntimeError(f"{self._prefix}{function}: {self._explain(result).decode()}")


def _strings(items: list[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * len(items))(*(item.encode() for item in items))


def compile_ptx(directory: Path = HERE, options: tuple[str, ...] = OPTIONS) -> str:
    """The kernels of a directory as PTX."""
    nvrtc = _Library("cuda_nvrtc", "libnvrtc.so.12", "nvrtc")
    program = ctypes.c_void_p()
    source = (directory / "kernels.cu").read_bytes()
    # A name without a directory, so that no path of the building machine gets into the PTX.
    nvrtc.check("CreateProgram", ctypes.byref(program), source, b"kernels.cu", 0, None, None)
    includes = (directory, wheel("cuda_runtime") / "include")
    # Not the working directory, where there may be other files of these names.
    given = [*options, "--no-source-include", *(f"--include-path={path}" for path in includes)]
    failed = nvrtc.call("CompileProgram", program, len(given), _strings(given))
    size = ctypes.c_size_t()
    if failed:
        nvrtc.check("GetProgramLogSize", program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.check("GetProgramLog", program, log)
        raise RuntimeError(log.value.decode())
    nvrtc.check("GetPTXSize", program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    nvrtc.check("GetPTX", program, text)
    nvrtc.check("DestroyProgram", ctypes.byref(program))
    return text.value.decode()


def assemble(ptx: str, architecture: int) -> tuple[bytes, str]:
    """A cubin, and what ptxas says of registers and spills."""
    ptxas = wheel("cuda_nvcc") / "bin" / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "kernels.ptx", Path(folder) / "kernels.cubin"
        source.write_text(ptx)
        command = [ptxas, f"-arch=sm_{architecture}", "-v", "-o", cubin, source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return cubin.read_bytes(), done.stderr


def assemble_all(ptx: str) -> dict[int, tuple[bytes, str]]:
    """What :func:`assemble` gives, for every architecture."""
    with ThreadPoolExecutor() as pool:
        return dict(pool.map(lambda a: (a, assemble(ptx, a)), ARCHITECTURES))


def pack(ptx: str, cubins: dict[int, bytes]) -> bytes:
    """PTX and cubins as one compressed fatbin."""
    nvfatbin = _Library("nvfatbin", "libnvfatbin.so.12", "nvFatbin")
    handle = ctypes.c_void_p()
    options = ["-64", "-compress-all"]
    # Compressed as every driver knows it; newer ways are smaller but ask for newer drivers.
    count = ctypes.c_size_t(len(options))
    nvfatbin.check("Create", ctypes.byref(handle), _strings(options), count)
    text = ptx.encode() + b"\0"
    architecture = str(PTX_ARCHITECTURE).encode()
    nvfatbin.check(
        "AddPTX", handle, text, ctypes.c_size_t(len(text)), architecture, b"kernels", None
    )
    for number, cubin in cubins.items():
        arguments = (cubin, ctypes.c_size_t(len(cubin)), str(number).encode(), b"kernels")
        nvfatbin.check("AddCubin", handle, *arguments)
    size = ctypes.c_size_t()
    nvfatbin.check("Size", handle, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    nvfatbin.check("Get", handle, image)
    nvfatbin.check("Destroy", ctypes.byref(handle))
    return image.raw


def packed(ptx: str, cubins: dict[int, bytes]) -> tuple[bytes, dict[str, object]]:
    """The image and its stamp."""
    image = pack(ptx, cubins)
    stamp = {
        "sources": source_hash(),
        "image": hashlib.sha256(image).hexdigest(),
        "architectures": list(ARCHITECTURES),
        "compilers": compilers(),
    }
    return image, stamp


def build() -> tuple[bytes, dict[str, object]]:
    """Everything, from the sources to the image and its stamp."""
    ptx = compile_ptx()
    return packed(ptx, {a: cubin for a, (cubin, _) in assemble_all(ptx).items()})


def main() -> None:
    """Build the image, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="build anew and compare")
    arguments = parser.parse_args()
    files = (IMAGE / "kernels.fatbin", IMAGE / "stamp.json")
    kept = json.loads(files[1].read_text()) if files[1].exists() else {}
    if not arguments.check and kept.get("sources") == source_hash():
        print("cuda/image is of these sources")
        return
    image, stamp = build()
    if arguments.check:
        if kept != stamp or files[0].read_bytes() != image:
            sys.exit("cuda/image is not what these sources give: run cuda/compile_kernels.py")
        print(f"cuda/image is fresh: {len(image)} bytes, the same again")
        return
    IMAGE.mkdir(exist_ok=True)
    files[0].write_bytes(image)
    files[1].write_text(json.dumps(stamp, indent=2) + "\n")
    print(f"{files[0].relative_to(HERE.parent)}: {len(image)} bytes")


if __name__ == "__main__":
    main()
