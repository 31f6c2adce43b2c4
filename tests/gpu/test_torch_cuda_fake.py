"""The operators for CUDA on a driver without a GPU: tensors of the CPU stand for the device's."""

import sys
import textwrap

import fake_cuda
import pytest
import tensor_kinds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fake driver is Linux's")

PROLOGUE = """
    import torch
    from hypercomp_rs.errors import *
    from hypercomp_rs.torch.kernels import cuda
    from hypercomp_rs.torch._codes import description_bytes

    # Its kernels run on one thread, and what is multiplied here is small.
    torch.set_num_threads(1)
    cuda._stream = lambda device: 0x33
    rng = np.random.default_rng(0)

    def parts_of(c):
        description, parts = c.to_parts()
        tensors = [torch.from_numpy(np.array(parts[name])) for name in sorted(parts)]
        return [description_bytes(description), *tensors], description

    def gaussian(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    MATRIX = hc.compress_tensor(gaussian(40, 384), effort="fast")
    KINDS = tensor_kinds.load(KINDS_FILE)
    DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuda")
    fake_cuda.build(folder)
    tensor_kinds.save(folder / "kinds")
    return folder


def run(machine, program):
    text = textwrap.dedent(PROLOGUE) + textwrap.dedent(program)
    text = tensor_kinds.found(machine / "kinds") + text
    return fake_cuda.run(machine, text, FAKE_CUDA_EAGER="1")


def test_tiles_are_decoded_multiplied_and_looked_up(machine):
    program = """
        c = hc.compress_tensor(gaussian(40, 384), bits=3.5, effort="fast", layout="tiles")
        parts, description = parts_of(c)
        w = c.decompress(torch.float64)
        assert torch.equal(cuda.decode(parts, description, torch.float64), w)
        for dtype, batch in ((torch.float32, 1), (torch.bfloat16, 3), (torch.float16, 8)):
            x = torch.randn(batch, 384, dtype=dtype)
            y = cuda.linear(x, parts, description)
            bound = 2.0**-9 * x.double().norm(dim=1)[:, None] * w.norm(dim=1) + 1e-30
            exact = x.double() @ w.t()
            rounding = 2.0**-8 * exact.abs() * (dtype != torch.float32)
            assert ((y.double() - exact).abs() <= bound + rounding).all(), dtype
        wanted = torch.tensor([[3, 39], [0, 3]])
        rows = cuda.embedding(wanted, parts, description, torch.float16)
        assert torch.equal(rows, c.decompress(torch.float16)[wanted])
    """
    run(machine, program)


@pytest.mark.long
def test_weights_are_those_of_the_cpu_bit_for_bit(machine):
    program = """
        for c in KINDS:
            parts, description = parts_of(c)
            for dtype in DTYPES:
                got = cuda.decode(parts, description, dtype)
                assert got.dtype == dtype
                assert torch.equal(got, c.decompress(dtype)), (description, dtype)
            del parts
        for line in driver.trace():
            if line.startswith("cuLaunchKernel"):
                assert line.endswith("stream=0x33"), line
    """
    run(machine, program)


@pytest.mark.long
def test_linear_multiplies_by_codes_or_by_the_decoded_weight(machine):
    program = """
        import itertools
        batches = itertools.cycle([(), (9,), (0,)])
        for c in KINDS:
            if len(c.shape) != 2:
                continue
            parts, description = parts_of(c)
            w = torch.from_numpy(c.decompress(np.float64))
            # Weights of any size are multiplied by; what is beyond a dtype is not asked for.
            size = float(w.abs().max()) if w.numel() else 0.0
            usual = 1e-5 < size < 1e3
            codes_there = tensor_kinds.multiplies(c)
            for dtype, bound in zip(DTYPES, (1e-6, 4e-3, 8e-3, 1e-12)):
                for transposed in (False, True):
                    # One as the kernels take it, and one of the others in turn.
                    for batch in [(2, 2), next(batches)]:
                        inputs, outputs = w.shape if transposed else w.shape[::-1]
                        x = torch.from_numpy(gaussian(*batch, inputs)).to(dtype)
                        bias = torch.from_numpy(gaussian(outputs)).to(dtype)
                        driver.forget()
                        y = cuda.linear(x, parts, description, bias, transposed)
                        assert (y.dtype, y.shape) == (dtype, (*batch, outputs))
                        launched = any("cuLaunchKernel hc_matvec" in t for t in driver.trace())
                        few = transposed == c.stored_by_input and batch in [(), (2, 2)]
                        kernel = dtype != torch.float64
                        assert launched == (codes_there and few and kernel), (description, dtype)
                        if not usual and dtype != torch.float64:
                            continue
                        wide = w.T if transposed else w
                        expected = torch.nn.functional.linear(x.double(), wide, bias.double())
                        norms = x.double().norm(dim=-1, keepdim=True) * wide.norm(dim=-1)
                        allowed = 4 * bound * (norms + bias.double().abs() + expected.abs())
                        miss = (y.double() - expected).abs()
                        assert (miss <= allowed + 1e-7).all(), (description, dtype, batch)
            del parts
        parts, description = parts_of(MATRIX)
        x = torch.from_numpy(gaussian(384, 3)).t()
        assert not x.is_contiguous()
        y, z = (cuda.linear(v, parts, description) for v in (x, x.contiguous()))
        assert torch.equal(y, z)
    """
    run(machine, program)


@pytest.mark.long
def test_embedding_decodes_the_rows_asked_for(machine):
    program = """
        for c in KINDS:
            if not c.shape or 0 in c.shape:
                continue
            parts, description = parts_of(c)
            rows = c.shape[0]
            for dtype, kind, indices in zip(
                DTYPES,
                (torch.int64, torch.int32, torch.int64, torch.int32),
                ([0], [[rows - 1, 0], [rows // 2, 0]], [], [rows // 2]),
            ):
                wanted = torch.tensor(indices, dtype=kind)
                got = cuda.embedding(wanted, parts, description, dtype)
                assert got.shape == (*wanted.shape, *c.shape[1:])
                expected = c.decompress(dtype)[wanted.long()]
                assert torch.equal(got, expected), (description, dtype, indices)
            del parts
    """
    run(machine, program)


def test_convolution_decodes_then_convolves(machine):
    program = """
        c = hc.compress_tensor(gaussian(8, 16, 3, 3), effort="fast")
        parts, description = parts_of(c)
        x, bias = torch.from_numpy(gaussian(2, 16, 9, 9)), torch.from_numpy(gaussian(8))
        w = c.decompress(torch.float32)
        y = cuda.convolution(x, parts, description, bias, [2, 2], [1, 1], [1, 1], 1)
        assert torch.equal(y, torch.nn.functional.conv2d(x, w, bias, 2, 1))
    """
    run(machine, program)


def test_a_weight_is_prepared_once_and_goes_with_its_tensors(machine):
    program = """
        parts, description = parts_of(MATRIX)
        x = torch.from_numpy(gaussian(2, 384))
        cuda.linear(x, parts, description)
        driver.forget()
        y = cuda.linear(x, parts, description)
        context = {"cuCtxGetCurrent", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"}
        assert set(driver.calls()) - context == {"cuLaunchKernel"}
        # Planes that are written to are another weight, and so are planes at another place.
        parts[1].zero_()
        z = cuda.linear(x, parts, description)
        assert "cuMemAlloc_v2" in driver.calls() and not torch.equal(y, z)
        copies = [part.clone() for part in parts]
        assert torch.equal(cuda.linear(x, copies, description), z)
        del parts, copies
        driver.check()
    """
    run(machine, program)


def test_a_plane_that_begins_anywhere_is_read_all_the_same(machine):
    program = """
        c = MATRIX
        parts, description = parts_of(c)
        shifted = []
        for part in parts:
            room = torch.zeros(len(part) + 1, dtype=torch.uint8)
            room[1:] = part
            shifted.append(room[1:])
        assert any(part.data_ptr() % 4 for part in shifted)
        assert torch.equal(cuda.decode(shifted, description, torch.float32),
                           c.decompress(torch.float32))
    """
    run(machine, program)


def test_nothing_is_prepared_while_a_graph_is_captured(machine):
    program = """
        import pytest
        parts, description = parts_of(MATRIX)
        x = torch.from_numpy(gaussian(2, 384))
        driver.capture(0x33)
        with pytest.raises(GpuError, match="call it once before the capture"):
            cuda.linear(x, parts, description)
        driver.capture(0)
        cuda.linear(x, parts, description)
        driver.capture(0x33)
        cuda.linear(x, parts, description)
        driver.capture(0)
        del parts
        driver.check()
    """
    run(machine, program)


def test_errors_are_named(machine):
    program = """
        import pytest
        parts, description = parts_of(MATRIX)
        x = torch.from_numpy(gaussian(2, 384))
        with pytest.raises(InvalidArgumentError, match="x has shape"):
            cuda.linear(x[:, 1:], parts, description)
        with pytest.raises(InvalidArgumentError, match="x is on meta"):
            cuda.linear(x.to("meta"), parts, description)
        with pytest.raises(DtypeError, match="indices have dtype"):
            cuda.embedding(x, parts, description, torch.float32)
        with pytest.raises(DtypeError, match="int8"):
            cuda.decode(parts, description, torch.int8)
        with pytest.raises(FormatError):
            short = [part[:-1] for part in parts[1:]]
            cuda.decode([parts[0].clone(), *short], description, torch.half)
        with pytest.raises(InvalidArgumentError, match="a matrix"):
            cuda.linear(x, *parts_of(hc.compress_tensor(gaussian(3, 4, 5))))
    """
    run(machine, program)


def test_a_large_weight_that_is_decoded_whole_is_warned_of_once(machine):
    program = """
        import warnings
        cuda.CUDA_WARN_FROM_ELEMENTS = 6 * 384
        def said(call):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call()
            assert all(w.category is SlowPathWarning for w in caught)
            return [str(w.message) for w in caught]
        def moment(n):
            x = gaussian(2 * n, n)
            return x.T @ x
        w = gaussian(6, 384)
        zeros = np.where(rng.random(w.shape) < 0.3, 0, w)
        by_input = hc.compress_tensor(w.T, effort="fast", second_moment=moment(6))
        kinds = {
            "stored input by input, as calibration": by_input,
            "rows of at least 128 weights": hc.compress_tensor(zeros, sparsity="keep"),
        }
        x = torch.from_numpy(gaussian(2, 384))
        for why, c in kinds.items():
            parts, description = parts_of(c)
            v = torch.from_numpy(gaussian(2, c.shape[1]))
            (found,) = said(lambda: cuda.linear(v, parts, description))
            assert why in found and str(tuple(c.shape)) in found and "docs/gpu.md" in found
            assert said(lambda: cuda.linear(v, parts, description)) == []
            # Another weight of that kind is no news; nor are many vectors, for which it is the way.
            again, text = parts_of(c)
            assert said(lambda: cuda.linear(v, again, text)) == []
        cuda._warned.clear()
        parts, description = parts_of(MATRIX)
        assert said(lambda: cuda.linear(x, parts, description)) == []
        many = torch.from_numpy(gaussian(9, 384))
        assert said(lambda: cuda.linear(many, parts, description)) == []
        assert said(lambda: cuda.linear(many[:, :40], parts, description, None, True)) == []
        (found,) = said(lambda: cuda.linear(x.double(), parts, description))
        assert "float64" in found
        tokens = torch.tensor([1])
        assert said(lambda: cuda.embedding(tokens, parts, description, torch.half)) == []
        table, text = parts_of(kinds["rows of at least 128 weights"])
        (found,) = said(lambda: cuda.embedding(tokens, table, text, torch.half))
        assert "looked up" in found
        # The record of paths says the same.
        from hypercomp_rs.torch.kernels.paths import explain
        (path,) = explain(cuda.embedding, tokens, table, text, torch.half)
        assert (path.device, path.way) == ("cuda", "whole") and "looked up" in path.why
        (path,) = explain(cuda.linear, x, parts, description)
        assert (path.way, path.vectors, path.why) == ("fused", 2, "")
        (path,) = explain(cuda.linear, many, parts, description)
        assert (path.way, path.vectors) == ("whole", 9) and "more than 8 vectors" in path.why
        (path,) = explain(cuda.decode, parts, description, torch.half)
        assert (path.operator, path.way) == ("decode", "whole")
        small, text = parts_of(hc.compress_tensor(zeros[:5], sparsity="keep"))
        cuda._warned.clear()
        assert said(lambda: cuda.linear(x, small, text)) == []
    """
    run(machine, program)
