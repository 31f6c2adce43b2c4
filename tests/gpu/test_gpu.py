"""`hypercomp_rs.gpu` on a driver without a GPU, whose kernels run on the CPU."""

import subprocess
import sys
import textwrap

import fake_cuda
import pytest
import tensor_kinds

from hypercomp_rs import gpu

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fake driver is Linux's")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuda")
    fake_cuda.build(folder)
    tensor_kinds.save(folder / "kinds")
    return folder


def test_every_kind_of_tensor_is_decoded_as_on_the_host(machine):
    program = """
        for c in tensor_kinds.load(KINDS_FILE):
            if c.stored_by_input:
                continue
            d = gpu.load(c)
            assert d.shape == c.shape
            assert d.multiplies == tensor_kinds.multiplies(c), c
            for dtype in ("float32", "float16"):
                out = d.decode(dtype)
                assert (out.shape, out.dtype) == (c.shape, dtype)
                assert np.array_equal(out.numpy(), c.decompress(dtype)), c
            if str(c.dtype) != "float64":
                assert d.decode().dtype == str(c.dtype)
            if d.multiplies and c.shape[0] > 1:
                rows = d.rows(1, c.shape[0], "float32")
                assert np.array_equal(rows.numpy(), c.decompress("float32")[1:])
        c = hc.compress_tensor(np.random.default_rng(0).standard_normal((40, 384)), effort="fast")
        bits = gpu.load(c).decode("bfloat16").numpy()
        assert np.array_equal(bits.astype(np.float32), c.decompress(bits.dtype).astype("f4"))
        del d, out, rows
        driver.check()
    """
    fake_cuda.run(machine, tensor_kinds.found(machine / "kinds") + textwrap.dedent(program))


def test_products_are_those_of_the_decoded_matrix(machine):
    program = """
        rng = np.random.default_rng(0)
        c = hc.compress_tensor(rng.standard_normal((50, 1000)).astype(np.float32), effort="fast")
        w = c.decompress(np.float64)
        d = gpu.load(c)
        for dtype, bound in [("float32", 1e-6), ("float16", 1e-3)]:
            for batch in [(), (1,), (3, 3), (0,)]:
                x = rng.standard_normal((*batch, 1000)).astype(dtype)
                y = d.matmul(gpu.to_device(x), stream=0x40)
                assert (y.shape, y.dtype) == ((*batch, 50), dtype)
                expected = x.astype(np.float64) @ w.T
                assert np.abs(y.numpy() - expected).max(initial=0) <= bound * 200
        del d, y
        driver.check()
    """
    fake_cuda.run(machine, program)


def test_a_call_with_all_memory_given_only_launches_on_its_stream(machine):
    program = """
        rng = np.random.default_rng(0)
        w = rng.standard_normal((40, 384)).astype(np.float32)
        w[rng.random(w.shape) < 0.3] = 0
        c = hc.compress_tensor(w, effort="fast")
        kept = hc.compress_tensor(w, sparsity="keep", effort="fast")
        d, k = gpu.load(c), gpu.load(kept)
        x = gpu.to_device(np.ones((2, 384), np.float16))
        y = gpu.to_device(np.zeros((2, 40), np.float16))
        out = gpu.to_device(np.zeros((40, 384), np.float16))
        room = gpu.to_device(np.zeros(
            (max(d.matmul_workspace(2), k.decode_workspace("float16")) + 1) // 2, np.float16))
        class Stream:
            def __cuda_stream__(self):
                return 0, 0x50
        driver.forget()
        driver.capture(0x50)
        assert d.matmul(x, out=y, workspace=room, stream=Stream()) is y
        d.decode(out=out, stream=Stream())
        k.decode(out=out, workspace=room, stream=Stream())
        driver.capture(0)
        launches = [line for line in driver.trace() if line.startswith("cuLaunchKernel")]
        assert [line.split()[1] for line in launches] == [
            "hc_transform", "hc_matvec_2", "hc_decode", "hc_decode", "hc_spread_16"]
        assert all(line.endswith("stream=0x50") for line in launches)
        context = {"cuCtxGetCurrent", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"}
        assert set(driver.calls()) - context == {"cuLaunchKernel"}
        del d, k, x, y, out, room
    """
    fake_cuda.run(machine, program)


def test_arrays_of_other_libraries_are_taken_and_given(machine):
    program = """
        rng = np.random.default_rng(0)
        c = hc.compress_tensor(rng.standard_normal((40, 384)).astype(np.float32), effort="fast")
        d = gpu.load(c)
        class Interface:  # as CuPy's and Numba's arrays
            def __init__(self, array):
                self.__cuda_array_interface__ = array.__cuda_array_interface__
        class DLPack:  # as JAX's
            def __init__(self, array):
                self.array = array
            def __dlpack__(self, *, stream):
                return self.array.__dlpack__(stream=stream)
            def __dlpack_device__(self):
                return self.array.__dlpack_device__()
        x = gpu.to_device(rng.standard_normal((3, 384)).astype(np.float32))
        expected = d.matmul(x).numpy()
        for kind in (Interface, DLPack):
            out = gpu.to_device(np.zeros((3, 40), np.float32))
            given = kind(out)
            assert d.matmul(kind(x), out=given) is given
            assert np.array_equal(out.numpy(), expected), kind
        # A capsule that nobody takes lets go of the memory.
        x.__dlpack__()
        assert not hasattr(d.decode("bfloat16"), "__cuda_array_interface__")
        del d, x, out, given, kind
        driver.check()
    """
    fake_cuda.run(machine, program)


@pytest.mark.long
def test_what_another_stream_still_writes_is_waited_for(machine):
    program = """
        c = hc.compress_tensor(np.eye(256, dtype=np.float32), effort="fast")
        d = gpu.load(c)
        w = d.decode("float32", stream=0x10)
        assert driver.library.fake_waiting() == 1
        y = d.matmul(w, stream=0x20)
        assert np.abs(y.numpy() - np.eye(256)).max() < 0.2
        del d, w, y
        driver.check()
    """
    fake_cuda.run(machine, program)


def test_bad_arguments_are_named(machine):
    program = """
        import pytest
        from hypercomp_rs.errors import *
        w = np.random.default_rng(0).standard_normal((40, 384)).astype(np.float32)
        c = hc.compress_tensor(w, effort="fast")
        d = gpu.load(c)
        x = gpu.to_device(w[:2])
        def refused(error, what, call, *arguments, **named):
            with pytest.raises(error, match=what):
                call(*arguments, **named)
        refused(DtypeError, "c is a ndarray", gpu.load, w)
        refused(DtypeError, "x is a ndarray", d.matmul, w)
        refused(DtypeError, "float64", gpu.to_device, w.astype(np.float64))
        refused(DtypeError, "float64", d.decode, "float64")
        refused(DtypeError, "stream is a str", d.decode, stream="0")
        refused(InvalidArgumentError, "stream=-1", d.decode, stream=-1)
        part = gpu.to_device(w[:2, :40])
        refused(InvalidArgumentError, r"x has shape \\(2, 40\\)", d.matmul, part)
        refused(InvalidArgumentError, r"out has shape \\(2, 384\\)", d.matmul, x, out=x)
        refused(InvalidArgumentError, "dtype and out", d.decode, "float32", out=x)
        refused(InvalidArgumentError, "the workspace has 3072 bytes: 12320 are needed",
                d.matmul, x, workspace=x)
        refused(OutOfBoundsError, "rows 3 to 41", d.rows, 3, 41)
        half = gpu.to_device(np.zeros((2, 40), np.float16))
        refused(DtypeError, "out has dtype float16", d.matmul, x, out=half)
        narrow = gpu.load(hc.compress_tensor(w[:, :40], effort="fast"))
        refused(InvalidArgumentError, "not whole streams", narrow.rows, 1, 2)
        refused(InvalidArgumentError, "has to be decoded", narrow.matmul, part)
        refused(DeviceNotFoundError, "device 1", gpu.load, c, device=1)
        class Pieces:
            __cuda_array_interface__ = {**x.__cuda_array_interface__, "strides": (8, 8)}
        refused(InvalidArgumentError, "lies in pieces", d.matmul, Pieces())
        class Host:
            __cuda_array_interface__ = {**x.__cuda_array_interface__, "data": (4096, False)}
        refused(DtypeError, "no CUDA device's memory", d.matmul, Host())
        class ReadOnly:
            __cuda_array_interface__ = {**x.__cuda_array_interface__, "shape": (2, 40),
                                        "data": (x._memory.pointer, True)}
        refused(InvalidArgumentError, "read-only", d.matmul, x, out=ReadOnly())
        refused(DtypeError, "is a Cpu in the host's memory", d.matmul, type("Cpu", (), {
            "__dlpack_device__": lambda self: (1, 0), "__dlpack__": None})())
        del d, x, half, narrow, part
        driver.check()
    """
    fake_cuda.run(machine, program)


def test_errors_of_the_driver_are_named(machine):
    program = """
        import os, pytest
        from hypercomp_rs.errors import *
        c = hc.compress_tensor(np.ones((40, 384), np.float32), effort="fast")
        def refused(error, order):
            os.environ["FAKE_CUDA_FAIL"] = order
            with pytest.raises(error):
                gpu.load(c)
            del os.environ["FAKE_CUDA_FAIL"]
        refused(DeviceNotFoundError, "cuInit 1 100")
        refused(OldDriverError, "cuInit 1 803")
        refused(KernelImageError, "cuModuleLoadDataEx 1 209")
        refused(DeviceMemoryError, "cuMemAlloc_v2 2 2")
        refused(MemoryError, "cuMemAlloc_v2 1 2")
        refused(GpuError, "cuMemcpyHtoDAsync_v2 1 719")
        driver.capture(0x60)
        with pytest.raises(GpuError, match="captured"):
            gpu.load(c, stream=0x60)
        driver.capture(0)
        assert np.array_equal(gpu.load(c).decode().numpy(), c.decompress())
        driver.check()
    """
    fake_cuda.run(machine, program)


def test_devices_are_listed_without_being_opened(machine):
    program = """
        assert gpu.devices() == [("Fake 7.0", (7, 0)), ("Fake 9.0", (9, 0))]
        assert gpu.available()
        assert "cuDevicePrimaryCtxRetain" not in driver.calls()
        with __import__("pytest").raises(hc.errors.ArchitectureError, match="7.5"):
            gpu.load(hc.compress_tensor(np.ones(200, np.float32)))
        d = gpu.load(hc.compress_tensor(np.ones(200, np.float32)), device=1)
        assert (d.device, d.decode().device) == (1, 1)
        del d
        driver.check()
    """
    fake_cuda.run(machine, program, FAKE_CUDA_DEVICES="7.0 9.0")


def test_a_fork_of_a_process_that_used_a_device_is_told_so(machine):
    program = """
        import os, warnings
        warnings.simplefilter("ignore")
        c = hc.compress_tensor(np.ones((40, 384), np.float32), effort="fast")
        d = gpu.load(c)
        child = os.fork()
        if child == 0:
            try:
                d.decode()
            except hc.errors.GpuError as error:
                os._exit(3 if "forked" in str(error) else 4)
            os._exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        del d
        driver.check()
    """
    fake_cuda.run(machine, program)


def test_threads_share_a_tensor(machine):
    program = """
        from concurrent.futures import ThreadPoolExecutor
        rng = np.random.default_rng(0)
        c = hc.compress_tensor(rng.standard_normal((40, 384)).astype(np.float32), effort="fast")
        d = gpu.load(c)
        xs = [rng.standard_normal((1 + i % 9, 384)).astype(np.float32) for i in range(24)]
        expected = [d.matmul(gpu.to_device(x)).numpy() for x in xs]
        def multiply(i):
            stream = 0x10 + i % 3
            return d.matmul(gpu.to_device(xs[i], stream=stream), stream=stream).numpy()
        with ThreadPoolExecutor(4) as pool:
            assert all(map(np.array_equal, pool.map(multiply, range(24)), expected))
        del d
        driver.check()
    """
    fake_cuda.run(machine, program)


def test_info_names_the_driver_and_what_each_device_runs(machine):
    program = """
        from hypercomp_rs.cli.info import facts, lines
        cuda = facts()["cuda"]
        assert cuda["error"] is None
        assert [d["capability"] for d in cuda["devices"]] == ["7.0", "9.0"]
        assert cuda["devices"][0]["kernels"] == "no kernels: sm_75 is the oldest"
        assert cuda["devices"][1]["kernels"] == "machine code of sm_90"
        said = dict(lines(facts()))
        assert said["CUDA driver"] == f"of CUDA {gpu._core.cuda_version()}"
        driver.check()
    """
    fake_cuda.run(machine, program, FAKE_CUDA_DEVICES="7.0 9.0")


def test_without_a_driver_calls_say_so_and_imports_do_not():
    program = """
import hypercomp_rs as hc, numpy as np
from hypercomp_rs import gpu
assert not gpu.available()
try:
    gpu.load(hc.compress_tensor(np.ones(200, np.float32)))
except hc.errors.DriverNotFoundError as error:
    assert isinstance(error, (OSError, RuntimeError)) and "install NVIDIA's driver" in str(error)
"""
    if gpu.available():
        pytest.skip("this machine has a CUDA device")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
