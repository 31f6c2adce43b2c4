"""The operators for CUDA on a driver without a GPU: tensors of the CPU stand for the device's."""

import sys

import fake_cuda
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fake driver is Linux's")

PROLOGUE = """
    import torch
    from hypercomp_rs.errors import *
    from hypercomp_rs.torch import _cuda
    from hypercomp_rs.torch._codes import description_bytes

    _cuda._stream = lambda device: 0x33
    rng = np.random.default_rng(0)

    def parts_of(c):
        description, parts = c.to_parts()
        tensors = [torch.from_numpy(np.array(parts[name])) for name in sorted(parts)]
        return [description_bytes(description), *tensors], description

    def gaussian(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def by_input(outputs, inputs, bits=4):
        x = gaussian(500, inputs)
        w = gaussian(outputs, inputs)
        return hc.compress_tensor(w, bits=bits, effort="fast", second_moment=x.T @ x)

    zeros = gaussian(40, 384)
    zeros[rng.random(zeros.shape) < 0.3] = 0
    KINDS = {
        "matrix": hc.compress_tensor(gaussian(40, 384), effort="fast"),
        "cut rows": hc.compress_tensor(gaussian(4, 3000), bits=2.5, effort="fast"),
        "kept": hc.compress_tensor(zeros, sparsity="keep", max_error=0.4, effort="fast"),
        "winding": hc.compress_tensor(gaussian(40, 51), codec="winding"),
        "joined": hc.compress_tensor(gaussian(40, 50), effort="fast"),
        "by input": by_input(384, 40),
        "by input, cut": by_input(3000, 4, bits=2.5),
        "by input, joined": by_input(50, 40),
        "few": hc.compress_tensor(gaussian(2, 3)),
        "nothing": hc.compress_tensor(np.zeros((7, 9), np.float32)),
    }
    DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuda")
    fake_cuda.build(folder)
    return folder


def run(machine, program):
    import textwrap

    text = textwrap.dedent(PROLOGUE) + textwrap.dedent(program)
    return fake_cuda.run(machine, text, FAKE_CUDA_EAGER="1")


def test_weights_are_those_of_the_cpu_bit_for_bit(machine):
    program = """
        for name, c in KINDS.items():
            parts, description = parts_of(c)
            for dtype in DTYPES:
                got = _cuda.decode(parts, description, dtype)
                assert got.dtype == dtype
                assert torch.equal(got, c.decompress(dtype)), (name, dtype)
        for line in driver.trace():
            if line.startswith("cuLaunchKernel"):
                assert line.endswith("stream=0x33"), line
    """
    run(machine, program)


def test_linear_multiplies_by_codes_or_by_the_decoded_weight(machine):
    program = """
        for name, c in KINDS.items():
            parts, description = parts_of(c)
            w = torch.from_numpy(c.decompress(np.float64))
            for dtype, bound in zip(DTYPES, (1e-5, 5e-3, 4e-2, 1e-12)):
                for batch in [(), (1,), (2, 3), (9,), (0,)]:
                    for transposed in (False, True):
                        inputs, outputs = w.shape if transposed else w.shape[::-1]
                        x = torch.from_numpy(gaussian(*batch, inputs)).to(dtype)
                        bias = torch.from_numpy(gaussian(outputs)).to(dtype)
                        driver.forget()
                        y = _cuda.linear(x, parts, description, bias, transposed)
                        assert (y.dtype, y.shape) == (dtype, (*batch, outputs))
                        wide = w.T if transposed else w
                        expected = torch.nn.functional.linear(x.double(), wide, bias.double())
                        size = x.double().norm(dim=-1, keepdim=True) + 1
                        assert ((y.double() - expected).abs() <= bound * 4 * size).all(), name
                        codes = any("hc_matvec" in line for line in driver.trace())
                        by_input = name in ("by input", "by input, cut")
                        few = transposed == by_input and batch in [(), (1,), (2, 3)]
                        streams = by_input or name in ("matrix", "cut rows")
                        kernel = dtype != torch.float64 and streams
                        assert codes == (few and kernel), (name, dtype, batch)
        parts, description = parts_of(KINDS["matrix"])
        x = torch.from_numpy(gaussian(384, 3)).t()
        assert not x.is_contiguous()
        y, z = (_cuda.linear(v, parts, description) for v in (x, x.contiguous()))
        assert torch.equal(y, z)
    """
    run(machine, program)


def test_embedding_decodes_the_rows_asked_for(machine):
    program = """
        for name, c in KINDS.items():
            parts, description = parts_of(c)
            rows = c.shape[0]
            for dtype in DTYPES:
                whole = c.decompress(dtype)
                for indices in ([0], [[rows - 1, 0], [1, 1]], []):
                    for kind in (torch.int64, torch.int32):
                        wanted = torch.tensor(indices, dtype=kind)
                        got = _cuda.embedding(wanted, parts, description, dtype)
                        assert got.shape == (*wanted.shape, *c.shape[1:])
                        expected = whole[wanted.long()]
                        assert torch.equal(got, expected), (name, dtype, indices)
    """
    run(machine, program)


def test_convolution_decodes_then_convolves(machine):
    program = """
        c = hc.compress_tensor(gaussian(8, 16, 3, 3), effort="fast")
        parts, description = parts_of(c)
        x, bias = torch.from_numpy(gaussian(2, 16, 9, 9)), torch.from_numpy(gaussian(8))
        w = c.decompress(torch.float32)
        y = _cuda.convolution(x, parts, description, bias, [2, 2], [1, 1], [1, 1], 1)
        assert torch.equal(y, torch.nn.functional.conv2d(x, w, bias, 2, 1))
    """
    run(machine, program)


def test_a_weight_is_prepared_once_and_goes_with_its_tensors(machine):
    program = """
        parts, description = parts_of(KINDS["matrix"])
        x = torch.from_numpy(gaussian(2, 384))
        _cuda.linear(x, parts, description)
        driver.forget()
        y = _cuda.linear(x, parts, description)
        context = {"cuCtxGetCurrent", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"}
        assert set(driver.calls()) - context == {"cuLaunchKernel"}
        # Planes that are written to are another weight, and so are planes at another place.
        parts[1].zero_()
        z = _cuda.linear(x, parts, description)
        assert "cuMemAlloc_v2" in driver.calls() and not torch.equal(y, z)
        copies = [part.clone() for part in parts]
        assert torch.equal(_cuda.linear(x, copies, description), z)
        del parts, copies
        driver.check()
    """
    run(machine, program)


def test_a_plane_that_begins_anywhere_is_read_all_the_same(machine):
    program = """
        c = KINDS["matrix"]
        parts, description = parts_of(c)
        shifted = []
        for part in parts:
            room = torch.zeros(len(part) + 1, dtype=torch.uint8)
            room[1:] = part
            shifted.append(room[1:])
        assert any(part.data_ptr() % 4 for part in shifted)
        assert torch.equal(_cuda.decode(shifted, description, torch.float32),
                           c.decompress(torch.float32))
    """
    run(machine, program)


def test_nothing_is_prepared_while_a_graph_is_captured(machine):
    program = """
        import pytest
        parts, description = parts_of(KINDS["matrix"])
        x = torch.from_numpy(gaussian(2, 384))
        driver.capture(0x33)
        with pytest.raises(GpuError, match="call it once before the capture"):
            _cuda.linear(x, parts, description)
        driver.capture(0)
        _cuda.linear(x, parts, description)
        driver.capture(0x33)
        _cuda.linear(x, parts, description)
        driver.capture(0)
        del parts
        driver.check()
    """
    run(machine, program)


def test_errors_are_named(machine):
    program = """
        import pytest
        parts, description = parts_of(KINDS["matrix"])
        x = torch.from_numpy(gaussian(2, 384))
        with pytest.raises(InvalidArgumentError, match="x has shape"):
            _cuda.linear(x[:, 1:], parts, description)
        with pytest.raises(InvalidArgumentError, match="x is on meta"):
            _cuda.linear(x.to("meta"), parts, description)
        with pytest.raises(DtypeError, match="indices have dtype"):
            _cuda.embedding(x, parts, description, torch.float32)
        with pytest.raises(DtypeError, match="int8"):
            _cuda.decode(parts, description, torch.int8)
        with pytest.raises(FormatError):
            short = [part[:-1] for part in parts[1:]]
            _cuda.decode([parts[0].clone(), *short], description, torch.half)
    """
    run(machine, program)
