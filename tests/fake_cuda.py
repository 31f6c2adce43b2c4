"""A machine with CUDA devices, without one: programs run on rust/gpu/tests/fake_driver.c.

The driver is opened once a process, so every program runs in a process of its own. In it, `driver`
is the fake library; its ``trace()`` has what was called since ``forget()``.
"""

import os
import pathlib
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = ROOT / "rust/gpu/tests"

PROLOGUE = """
import ctypes
import numpy as np
import hypercomp_rs as hc
from hypercomp_rs import gpu

class Driver:
    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so")
        self.library.fake_trace.restype = ctypes.c_char_p
        self.library.fake_faults.restype = ctypes.c_char_p
        self.library.fake_leaks.restype = ctypes.c_size_t
    def trace(self):
        return self.library.fake_trace().decode().splitlines()
    def calls(self):
        return [line.split()[0] for line in self.trace() if not line.startswith(" ")]
    def forget(self):
        self.library.fake_forget()
    def capture(self, stream):
        self.library.fake_capture(ctypes.c_size_t(stream))
    def check(self):
        gpu._core.close_devices()
        assert self.library.fake_faults() == b"", self.library.fake_faults()
        assert self.library.fake_leaks() == 0, self.trace()[-20:]

driver = Driver()
"""


def build(folder):
    """Compile the driver and the kernels into a folder."""
    flags = ["-shared", "-fPIC", "-O2", "-ldl", "-lpthread"]
    driver = ["cc", SOURCES / "fake_driver.c", "-o", folder / "libcuda.so", *flags]
    subprocess.run(driver, check=True)
    # No contraction: the kernels are compiled without it, too.
    flags = ["-shared", "-fPIC", "-O2", "-std=c++20", "-march=native", "-ffp-contract=off", "-w"]
    kernels = ["c++", SOURCES / "fake_kernels.cc", "-o", folder / "libkernels.so", *flags]
    subprocess.run(kernels, check=True)


def run(folder, program, **environment):
    """Run a program on the fake driver, and give what it printed."""
    text = PROLOGUE + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=os.environ
        | {"LD_LIBRARY_PATH": str(folder), "FAKE_CUDA_KERNELS": str(folder / "libkernels.so")}
        | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
