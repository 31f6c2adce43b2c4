"""The operators and modules on a CUDA device. `make gpu` runs these on a machine that has one.

Everything is compared with the CPU, which the other tests hold to the stored format: decoded
weights bit for bit, products with the decoded weights in float64.
"""

import copy
import itertools

import numpy as np
import pytest
import tensor_kinds
import torch
from torch import nn
from torch.library import opcheck
from torch.nn import functional as F

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs import gpu
from hypercomp_rs.torch.compressed_module import buffers_of

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda:0")
operators = torch.ops.hypercomp
KERNEL_DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# What docs/gpu.md says of products: a part of the norms of row and vector (16 bits use a table of
# offsets), and a part of the result for its last rounding.
BOUNDS = {
    torch.float32: (2**-20, 2**-24),
    torch.float16: (2**-9, 2**-11),
    torch.bfloat16: (2**-9, 2**-8),
    torch.float64: (1e-14, 1e-15),
}

SHAPES = [
    (1, 128),
    (7, 129),
    (16, 384),
    (33, 1000),
    (5, 1023),
    (64, 1024),
    (9, 1536),
    (3, 3000),
    (100, 4096),
    (2, 20_000),
    (60, 40),
    (8, 16, 3, 3),
    (300,),
    (2, 3),
]
CODES = [{"bits": h / 2, "effort": "fast"} for h in range(2, 17)] + [
    {"bits": 2.7, "effort": "balanced"},
    {"bits": 4, "effort": "balanced", "incoherence": "none"},
    {"bits": 3, "effort": "high"},
    {"bits": 4, "sparsity": "keep", "effort": "fast"},
    {"bits": 4.5, "max_error": 0.6, "effort": "fast"},
    {"codec": "winding"},
]


def gaussian(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def compressed(*shape, seed=0, **options):
    """The buffers on the device, the description, and the tensor they are of."""
    w = gaussian(*shape, seed=seed)
    if options.get("sparsity"):
        w[gaussian(*shape, seed=seed + 1) < -0.5] = 0
    c = hc.compress_tensor(w, **options)
    description, buffers = buffers_of(c)
    return [buffer.to(CUDA) for buffer in buffers], description, c


def allowed(x, w, y, dtype):
    """How far each result may be from the exact one, `y`."""
    of_norms, of_result = BOUNDS[dtype]
    norms = x.double().norm(dim=-1)[:, None] * w.norm(dim=-1)
    return of_norms * norms + of_result * y.abs()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_decoded_weights_are_the_cpus_for_every_code(shape):
    for options in CODES:
        parts, description, c = compressed(*shape, **options)
        for dtype in (*KERNEL_DTYPES, torch.float64):
            got = operators.decode(parts, description, dtype)
            assert got.device == CUDA
            assert torch.equal(got.cpu(), c.decompress(dtype)), (options, dtype)


def test_every_kind_of_tensor_is_decoded_and_looked_up_as_on_the_cpu():
    for c in tensor_kinds.every_kind():
        description, buffers = buffers_of(c)
        parts = [buffer.to(CUDA) for buffer in buffers]
        for dtype in (*KERNEL_DTYPES, torch.float64):
            got, whole = operators.decode(parts, description, dtype), c.decompress(dtype)
            assert torch.equal(got.cpu(), whole), (description, dtype)
            if c.shape and 0 not in c.shape:
                last = torch.tensor([c.shape[0] - 1, 0])
                rows = operators.embedding(last.to(CUDA), parts, description, dtype)
                assert torch.equal(rows.cpu(), whole[last]), (description, dtype)
        if len(c.shape) == 2:
            x = torch.zeros(2, c.shape[1], device=CUDA)
            assert not operators.linear(x, parts, description).any()


@pytest.mark.parametrize("exponent", [-120, -30, 0, 14, 60, 120])
def test_decoded_weights_are_the_cpus_at_every_scale(exponent):
    c = hc.compress_tensor(gaussian(16, 384).double().numpy() * 2.0**exponent, effort="fast")
    description, buffers = buffers_of(c)
    parts = [buffer.to(CUDA) for buffer in buffers]
    for dtype in KERNEL_DTYPES:
        assert torch.equal(operators.decode(parts, description, dtype).cpu(), c.decompress(dtype))


@pytest.mark.parametrize("dtype", [*KERNEL_DTYPES, torch.float64])
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) == 2], ids=str)
def test_products_are_those_of_the_decoded_weights(shape, dtype):
    for options, batch in itertools.product(CODES, (1, 2, 3, 8, 9)):
        parts, description, c = compressed(*shape, **options)
        w = c.decompress(torch.float64)
        x = gaussian(batch, shape[1], seed=2).to(dtype)
        y = operators.linear(x.to(CUDA), parts, description)
        exact = x.double() @ w.T
        error = (y.cpu().double() - exact).abs()
        assert (error <= allowed(x, w, exact, dtype)).all(), (options, batch)


def test_a_row_of_a_product_does_not_depend_on_the_batch():
    parts, description, _ = compressed(40, 1000, effort="fast")
    x = gaussian(8, 1000).half().to(CUDA)
    whole = operators.linear(x, parts, description)
    for count in range(1, 8):
        assert torch.equal(operators.linear(x[:count], parts, description), whole[:count])


@pytest.mark.parametrize("options", [{}, {"sparsity": "keep"}, {"codec": "winding"}], ids=str)
def test_embeddings_and_convolutions(options):
    parts, description, c = compressed(50, 300, **options)
    w = c.decompress(torch.float16)
    indices = torch.tensor([[3, 49, 3], [0, 1, 2]])
    rows = operators.embedding(indices.to(CUDA), parts, description, torch.float16)
    assert torch.equal(rows.cpu(), w[indices])
    parts, description, c = compressed(8, 16, 3, 3)
    x = gaussian(2, 16, 9, 9).to(CUDA)
    y = operators.convolution(x, parts, description, None, [1, 1], [1, 1], [1, 1], 1)
    expected = F.conv2d(x, c.decompress(torch.float32).to(CUDA), None, 1, 1)
    assert torch.allclose(y, expected, atol=1e-5)


# opcheck itself looks at the gradients of what is no leaf.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_operators_pass_opcheck():
    parts, description, _ = compressed(24, 140, effort="fast")
    x = gaussian(3, 140).to(CUDA).requires_grad_()
    bias = gaussian(24).to(CUDA).requires_grad_()
    opcheck(operators.decode.default, (parts, description, torch.float16))
    indices = torch.tensor([1, 5], device=CUDA)
    opcheck(operators.embedding.default, (indices, parts, description, torch.float16))
    opcheck(operators.linear.default, (x, parts, description, bias, False))
    y = gaussian(3, 24).to(CUDA).requires_grad_()
    opcheck(operators.linear.default, (y, parts, description, None, True))


def model():
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Embedding(100, 256),
        nn.Linear(256, 512),
        nn.GELU(),
        nn.Linear(512, 256, bias=False),
    )
    hct.compress_model(made, target_bits=5, effort="fast", progress=False)
    return made.eval()


def test_a_model_moves_to_the_device_and_back():
    on_cpu = model()
    tokens = torch.arange(12).reshape(3, 4)
    expected = on_cpu(tokens)
    on_device = copy.deepcopy(on_cpu).to(CUDA)
    y = on_device(tokens.to(CUDA))
    assert y.device == CUDA
    assert torch.allclose(y.cpu(), expected, atol=1e-4)
    state = on_device.state_dict()
    assert all(value.device == CUDA for value in state.values())
    back = on_device.to("cpu")
    assert torch.equal(back(tokens), expected)
    fresh = model().to(CUDA)
    fresh.load_state_dict(state)
    assert torch.equal(fresh(tokens.to(CUDA)), y)


def test_gradients_are_those_of_the_decoded_weights():
    layer = hct.CompressedLinear.from_module(nn.Linear(384, 40), effort="fast").to(CUDA)
    x = gaussian(4, 384).to(CUDA).requires_grad_()
    dense = layer.weight.decompress()
    layer(x).square().sum().backward()
    got, x.grad = x.grad, None
    of_bias, layer.bias.grad = layer.bias.grad, None
    F.linear(x, dense, layer.bias).square().sum().backward()
    assert torch.allclose(got, x.grad, rtol=1e-4, atol=1e-3)
    assert torch.allclose(of_bias, layer.bias.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_multiplies_in_its_dtype(dtype):
    layer = hct.CompressedLinear.from_module(nn.Linear(384, 40), effort="fast").to(CUDA)
    x = gaussian(4, 384).to(CUDA)
    with torch.autocast("cuda", dtype):
        y = layer(x)
    assert y.dtype == dtype
    assert torch.allclose(y.float(), layer(x), atol=0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_models_compute_the_same(mode):
    pytest.importorskip("triton", reason="torch.compile writes its GPU kernels in Triton")
    made = model().to(CUDA).half()
    compiled = torch.compile(made, fullgraph=True, mode=mode)
    tokens = torch.arange(4, device=CUDA).reshape(1, 4)
    with torch.inference_mode():
        expected = made(tokens)
        for _ in range(4):
            assert torch.allclose(compiled(tokens), expected, atol=1e-2)


def test_a_cuda_graph_replays_on_new_inputs():
    layer = hct.CompressedLinear.from_module(nn.Linear(384, 40), effort="fast").to(CUDA).half()
    table = hct.CompressedEmbedding.from_module(nn.Embedding(100, 384), effort="fast").to(CUDA)
    tokens = torch.zeros(5, dtype=torch.long, device=CUDA)

    def step():
        return layer(table(tokens).half())

    side = torch.cuda.Stream()
    with torch.inference_mode():
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = step()
        for first in (3, 40):
            tokens.copy_(torch.arange(first, first + 5))
            graph.replay()
            assert torch.equal(out, step())


def test_a_first_call_in_a_capture_is_refused_and_says_so():
    layer = hct.CompressedLinear.from_module(nn.Linear(384, 40), effort="fast").to(CUDA).half()
    x = gaussian(2, 384).half().to(CUDA)
    with (
        pytest.raises(hc.GpuError, match="before the capture"),
        torch.inference_mode(),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        layer(x)
    torch.cuda.synchronize()
    with torch.inference_mode():
        assert layer(x).isfinite().all()


def test_calls_neither_wait_nor_leave_memory_behind():
    made = model().to(CUDA).half()
    tokens = torch.arange(4, device=CUDA).reshape(1, 4)
    with torch.inference_mode():
        made(tokens)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated(), torch.cuda.mem_get_info()[0]
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(100):
                made(tokens)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        assert (torch.cuda.memory_allocated(), torch.cuda.mem_get_info()[0]) == before


def test_streams_and_threads_keep_their_order():
    from concurrent.futures import ThreadPoolExecutor

    parts, description, _ = compressed(256, 1024, effort="fast")
    xs = [gaussian(4, 1024, seed=seed).half().to(CUDA) for seed in range(16)]
    expected = [operators.linear(x, parts, description) for x in xs]
    torch.cuda.synchronize()

    def multiply(i):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            y = operators.linear(xs[i], parts, description)
        stream.synchronize()
        return y

    with ThreadPoolExecutor(8) as pool:
        assert all(map(torch.equal, pool.map(multiply, range(16)), expected))


def test_every_device_of_several():
    if torch.cuda.device_count() < 2:
        pytest.skip("this machine has one CUDA device")
    layer = hct.CompressedLinear.from_module(nn.Linear(384, 40), effort="fast")
    x = gaussian(2, 384)
    results = [
        copy.deepcopy(layer).to(f"cuda:{i}")(x.to(f"cuda:{i}")).cpu()
        for i in range(torch.cuda.device_count())
    ]
    assert all(torch.equal(results[0], result) for result in results)
    assert torch.cuda.current_device() == 0
    with pytest.raises(hc.InvalidArgumentError, match="x is on cuda:1"):
        copy.deepcopy(layer).to("cuda:0")(x.to("cuda:1"))


def test_arrays_without_torch_are_the_same_memory():
    w = gaussian(40, 384).numpy()
    c = hc.compress_tensor(w, effort="fast")
    d = gpu.load(c)
    assert np.array_equal(d.decode().numpy(), c.decompress())
    x = gaussian(3, 384)
    y = d.matmul(gpu.to_device(x.numpy()))
    for taken in (torch.from_dlpack(y), torch.as_tensor(y, device=CUDA)):
        assert torch.equal(taken.cpu(), torch.from_numpy(y.numpy()))
    again = d.matmul(x.to(CUDA), stream=torch.cuda.current_stream())
    assert np.array_equal(again.numpy(), y.numpy())
    out = torch.empty(40, 384, dtype=torch.bfloat16, device=CUDA)
    assert d.decode(out=out, stream=torch.cuda.current_stream()) is out
    assert torch.equal(out.cpu(), c.decompress(torch.bfloat16))


def test_a_device_that_is_full_says_so():
    parts, description, _ = compressed(16, 384, effort="fast")
    free, _ = torch.cuda.mem_get_info()
    with pytest.raises((torch.OutOfMemoryError, hc.DeviceMemoryError)):
        operators.embedding(
            torch.zeros(free // 384 + 1, dtype=torch.int32, device="cpu").to(CUDA),
            parts,
            description,
            torch.float32,
        )
    assert operators.decode(parts, description, torch.float16).isfinite().all()
