"""The two ways to run a case on the CPU: kernels compiled by g++, and PTX in the interpreter."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from .case import Case
from .ptx import Kernel, Machine, Memory

CUDA = Path(__file__).resolve().parents[1]
# -mfma only so that fmaf is an instruction; what is not written fused must not become so.
GXX = (
    "g++",
    "-std=c++20",
    "-O1",
    "-g1",
    "-mfma",
    "-ffp-contract=off",
    "-Wall",
    "-Wno-unknown-pragmas",
)
BUILDS = {
    "plain": (),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread", "-DHC_THREADS"),
}


class Failed(Exception):
    """A program that ran kernels stopped with a complaint."""


def compile_host(build: str, folder: Path, sources: Path = CUDA) -> Path:
    """The kernels as a program, in one of BUILDS."""
    program = folder / f"host-{build}"
    command = [*GXX, *BUILDS[build], "-o", str(program), str(sources / "proof" / "host.cc")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr[-3000:])
    return program


def run_host(program: Path, case: Case, seed: int = 0) -> dict[int, np.ndarray]:
    """A case's results from a program of :func:`compile_host`; `seed` shuffles the threads."""
    with tempfile.TemporaryDirectory() as folder:
        given, results = Path(folder) / "case", Path(folder) / "results"
        given.write_bytes(case.serialized())
        # Fibers and leak detection do not go together, and nothing of ours lives long.
        environment = {
            **os.environ,
            "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        }
        command = [program, given, results, str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise Failed(f"{case.name}: {done.stderr[-3000:]}")
        return case.results_of(results.read_bytes())


class Interpreter:
    """Runs cases on a PTX module."""

    def __init__(self, ptx: str) -> None:
        self._kernel = cache(lambda name: Kernel.find(ptx, name))
        self.executed = 0

    def run(self, case: Case) -> dict[int, np.ndarray]:
        """A case's results."""
        memory = Memory()
        addresses = [
            memory.allocate(b.data.nbytes, None if b.result else b.data) for b in case.buffers
        ]
        machine = Machine(memory)
        for launch in case.launches:
            arguments = []
            for argument in launch.arguments:
                data = bytearray(argument.data)
                for offset, pointer in argument.pointers.items():
                    data[offset : offset + 8] = addresses[pointer.buffer].to_bytes(8, "little")
                arguments.append(bytes(data))
            machine.launch(self._kernel(launch.kernel), launch.grid, launch.block, arguments)
        self.executed += machine.executed
        return {
            number: memory.contents(addresses[number], b.data.nbytes).view(b.data.dtype)
            for number, b in enumerate(case.buffers)
            if b.result
        }
