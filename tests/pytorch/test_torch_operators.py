"""The operators of torch.ops.hypercomp against dense weights and torch's own operators."""

import gc
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck
from torch.nn import functional as F

import hypercomp_rs as hc
import hypercomp_rs.torch
from hypercomp_rs.torch import _codes
from hypercomp_rs.torch.compressed_module import buffers_of
from hypercomp_rs.torch.kernels import ahead as ahead_kernel
from hypercomp_rs.torch.kernels import blocks as blocks_kernel
from hypercomp_rs.torch.kernels import choice, direct
from hypercomp_rs.torch.weight import WeightLayout

operators = torch.ops.hypercomp
FLOATS = [torch.float32, torch.bfloat16, torch.float16]
# As one rounding to the dtype, relative to the largest result.
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2**-8, torch.float16: 2**-10, torch.float64: 1e-5}


def gaussian(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def compressed(*shape, seed=0, zeros=0.0, **options):
    """Arguments of the operators, and the dense weight in float32."""
    w = gaussian(*shape, seed=seed)
    if zeros:
        w[torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1)) < zeros] = 0
    c = hc.compress_tensor(w, **options)
    description, buffers = buffers_of(c)
    return buffers, description, c.decompress(torch.float32)


CODECS = [
    {},
    {"bits": 2.5, "effort": "fast"},
    {"codec": "winding"},
    {"bits": 4, "sparsity": "keep", "zeros": 0.5},
    {"bits": 4.5, "max_error": 0.3},
    {"zeros": 1.1},
    {"second_moment": torch.eye(140)},
]


@pytest.mark.parametrize("options", CODECS, ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, torch.float64])
def test_operators_are_those_of_the_dense_weight(options, dtype):
    parts, description, w = compressed(24, 140, **options)
    w = w.to(dtype)
    assert torch.equal(operators.decode(parts, description, dtype), w)
    indices = torch.tensor([[3, 23, 3], [0, 1, 2]])
    rows = operators.embedding(indices, parts, description, dtype)
    assert torch.equal(rows, w[indices])
    assert torch.equal(operators.embedding(indices.int(), parts, description, dtype), rows)

    for transposed, inputs, outputs in ((False, 140, 24), (True, 24, 140)):
        x, bias = gaussian(2, 3, inputs, dtype=dtype), gaussian(outputs, seed=1, dtype=dtype)
        weight = w.double().t() if transposed else w.double()
        expected = F.linear(x.double(), weight, bias.double())
        y = operators.linear(x, parts, description, bias, transposed)
        assert y.dtype == dtype
        error = (y.double() - expected).abs().max()
        assert error <= 2 * ROUNDING[dtype] * expected.abs().max() + 1e-6


@pytest.mark.parametrize("options", CODECS, ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_calls_past_the_dispatcher_give_the_same_bits(options, transposed, monkeypatch):
    parts, description, w = compressed(24, 140, **options)
    layout = WeightLayout(description)
    module = SimpleNamespace(
        _layout=layout,
        _buffers=dict(zip(layout.buffer_names, parts, strict=True)),
        weight_buffers=lambda: parts,
    )
    x = gaussian(2, 3, w.shape[0 if transposed else 1])
    expected = operators.linear(x, parts, description, None, transposed)
    for _ in range(2):
        assert torch.equal(direct.linear(module, x, None, transposed), expected)
    monkeypatch.setattr(direct, "_operator", pytest.fail)
    assert torch.equal(direct.linear(module, x, None, transposed), expected)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([(40, 700), (3, 20_000), (70, 33), (1, 1), (5, 130)]),
    st.sampled_from([0, 1, 2, 7, 300]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**20),
)
def test_a_product_of_any_batch_is_that_of_the_dense_weight(shape, batch, transposed, bias, seed):
    parts, description, w = compressed(*shape, seed=seed, effort="fast")
    w = w.t() if transposed else w
    x = gaussian(batch, w.shape[1], seed=seed + 1)
    b = gaussian(w.shape[0], seed=seed + 2) if bias else None
    y = operators.linear(x, parts, description, b, transposed)
    expected = F.linear(x.double(), w.double(), None if b is None else b.double())
    size = x.norm(dim=1, keepdim=True).double() * w.norm() + 1
    assert ((y - expected).abs() <= 2e-6 * size).all()


def test_vectors_of_any_strides_and_axes_are_taken():
    parts, description, w = compressed(40, 256)
    x = gaussian(256, 6, 5)
    y = operators.linear(x.permute(2, 1, 0), parts, description)
    assert torch.allclose(y, x.permute(2, 1, 0) @ w.t(), atol=1e-4)
    assert torch.equal(operators.linear(x[:, 1, 2], parts, description), y[2, 1])
    expanded = gaussian(1, 256).expand(3, 256)
    assert torch.allclose(
        operators.linear(expanded, parts, description), expanded @ w.t(), atol=1e-4
    )
    strided_bias = gaussian(80)[::2]
    y = operators.linear(expanded, parts, description, strided_bias)
    assert torch.allclose(y, F.linear(expanded, w, strided_bias), atol=1e-4)


@pytest.mark.parametrize(
    "geometry",
    [
        ([1, 1], [0, 0], [1, 1], 1),
        ([2, 1], [1, 2], [1, 2], 1),
        ([1, 1], [1, 1], [1, 1], 4),
    ],
)
def test_a_convolution_is_that_of_the_dense_weight(geometry):
    parts, description, w = compressed(8, 32 // geometry[3], 3, 3)
    x, bias = gaussian(2, 32, 9, 9), gaussian(8)
    y = operators.convolution(x, parts, description, bias, *geometry)
    assert torch.equal(y, F.conv2d(x, w, bias, *geometry))


def arguments():
    """Of every operator, with whatever can have a gradient having one."""
    weight = compressed(24, 256)[:2]
    x, bias = gaussian(3, 256).requires_grad_(), gaussian(24).requires_grad_()
    back = gaussian(2, 2, 24).requires_grad_()
    filters = compressed(8, 16, 3, 3)[:2]
    image, image_bias = gaussian(2, 16, 7, 7).requires_grad_(), gaussian(8).requires_grad_()
    indices = torch.tensor([[1, 2], [3, 23]])
    yield operators.decode.default, (*weight, torch.float32)
    yield operators.decode.default, (*weight, torch.bfloat16)
    yield operators.decode.default, (*compressed(24, 256, zeros=1.1)[:2], torch.float32)
    yield operators.embedding.default, (indices, *weight, torch.float16)
    yield operators.linear.default, (x, *weight, bias, False)
    yield operators.linear.default, (x.detach(), *weight)
    yield operators.linear.default, (back, *weight, None, True)
    yield operators.linear.default, (x.detach().bfloat16(), *weight, bias.detach().bfloat16())
    yield operators.convolution.default, (image, *filters, image_bias, [1, 1], [1, 1], [1, 1], 1)
    yield operators.convolution.default, (image, *filters, None, [2, 2], [0, 0], [1, 1], 1)


@pytest.mark.parametrize("case", range(len(list(arguments()))))
# opcheck itself looks at the gradients of what is no leaf.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_opcheck(case):
    operator, args = list(arguments())[case]
    opcheck(operator, args)


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_are_those_of_the_dense_weight(transposed):
    parts, description, w = compressed(24, 256)
    w = w.t() if transposed else w
    for shape in ((5, w.shape[1]), (w.shape[1],), (300, w.shape[1]), (2, 3, w.shape[1])):
        found, expected = [], []
        for gradients, layer in (
            (found, lambda x, b: operators.linear(x, parts, description, b, transposed)),
            (expected, lambda x, b: F.linear(x, w, b)),
        ):
            x, bias = gaussian(*shape).requires_grad_(), gaussian(w.shape[0]).requires_grad_()
            layer(x, bias).square().sum().backward()
            gradients += [x.grad, bias.grad]
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-3 * other.abs().max())


def test_gradients_of_gradients_are_those_of_the_dense_weight():
    parts, description, w = compressed(24, 256)

    def penalty(layer):
        x = gaussian(3, 256).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
        gradient.square().sum().backward()
        return x.grad

    found = penalty(lambda x: operators.linear(x, parts, description))
    expected = penalty(lambda x: F.linear(x, w))
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_products_as_it_does_those_of_torch(dtype):
    parts, description, w = compressed(24, 256)
    filters, filter_description, _ = compressed(8, 16, 3, 3)
    x, image = gaussian(3, 256).requires_grad_(), gaussian(2, 16, 7, 7)
    bias = gaussian(24)
    geometry = ([1, 1], [0, 0], [1, 1], 1)
    with torch.autocast("cpu", dtype):
        y = operators.linear(x, parts, description, bias)
        dense = F.linear(x, w, bias)
        assert y.dtype == dense.dtype == dtype
        assert operators.linear(x.double(), parts, description).dtype == torch.float64
        convolved = operators.convolution(image, filters, filter_description, None, *geometry)
        assert convolved.dtype == dtype
    error = (y.float() - dense.float()).abs().max()
    assert error <= 2 * ROUNDING[dtype] * dense.float().abs().max()
    y.float().sum().backward()
    assert x.grad.dtype == torch.float32
    assert operators.linear(x, parts, description).dtype == torch.float32


def test_inference_mode_gives_the_same():
    parts, description, _ = compressed(24, 256)
    x = gaussian(3, 256)
    outside = operators.linear(x, parts, description)
    with torch.inference_mode():
        assert torch.equal(operators.linear(x, parts, description), outside)
        made_inside = [part.clone() for part in parts]
        assert torch.equal(operators.linear(x, made_inside, description), outside)
    assert torch.equal(operators.linear(x, made_inside, description), outside)


def test_threads_get_the_same_and_torch_chooses_how_many():
    parts, description, _ = compressed(300, 1024)
    x = gaussian(3, 1024)
    expected = operators.linear(x, parts, description)
    found, before = [], torch.get_num_threads()

    def work():
        for _ in range(50):
            found.append(operators.linear(x, parts, description))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    try:
        torch.set_num_threads(1)
        found.append(operators.linear(x, parts, description))
    finally:
        torch.set_num_threads(before)
    assert len(found) == 201
    assert all(torch.equal(y, expected) for y in found)


def test_nothing_is_copied_between_torch_and_the_core():
    parts, description, _ = compressed(24, 256)
    weight = _codes.weight_of(parts, description)
    assert _codes.weight_of(parts, description) is weight
    # A bit of the path plane itself, which torch does not see: the core reads it where it lies.
    path = list(_codes.described(description).bytes).index("path") + 1
    before = operators.decode(parts, description, torch.float32)
    parts[path].numpy()[100] ^= 0xFF
    assert _codes.weight_of(parts, description) is weight
    assert not torch.equal(operators.decode(parts, description, torch.float32), before)


def test_what_is_written_swapped_or_moved_is_noticed():
    parts, description, w = compressed(24, 256)
    other, other_description, other_w = compressed(24, 256, seed=9)
    sizes = [[part.numel() for part in p] for p in (parts, other)]
    assert sizes[0][1:] == sizes[1][1:]

    def decoded(buffers, said):
        return operators.decode(buffers, said, torch.float32)

    assert torch.equal(decoded(parts, description), w)
    for part, new in zip(parts[1:], other[1:], strict=True):
        part.copy_(new)
    assert torch.equal(decoded(parts, other_description), other_w)

    parts, description, w = compressed(24, 256)
    assert torch.equal(decoded(parts, description), w)
    for part, new in zip(parts[1:], other[1:], strict=True):
        part.data = new
    assert torch.equal(decoded(parts, other_description), other_w)

    parts, description, w = compressed(24, 256)
    assert torch.equal(decoded(parts, description), w)
    for part in parts:
        part.share_memory_()
    assert torch.equal(decoded(parts, description), w)
    assert torch.equal(decoded([parts[0], *other[1:]], other_description), other_w)


def test_weights_that_are_gone_are_not_kept():
    gc.collect()
    before = len(_codes._weights)
    for seed in range(20):
        # Again and again at the same addresses.
        parts, description, w = compressed(24, 256, seed=seed, effort="fast")
        assert torch.equal(operators.decode(parts, description, torch.float32), w)
    del parts
    gc.collect()
    assert len(_codes._weights) == before


def test_bad_arguments_are_refused():
    parts, description, _ = compressed(24, 256)
    with pytest.raises(hc.InvalidArgumentError, match=r"x has shape \(3, 24\): \(\.\.\., 256\)"):
        operators.linear(gaussian(3, 24), parts, description)
    with pytest.raises(hc.InvalidArgumentError, match=r"bias has shape \(5,\): \(24,\)"):
        operators.linear(gaussian(3, 256), parts, description, gaussian(5))
    with pytest.raises(hc.DtypeError, match="int64"):
        operators.linear(torch.ones(3, 256, dtype=torch.int64), parts, description)
    with pytest.raises(hc.OutOfBoundsError, match="index 24 at position 1"):
        operators.embedding(torch.tensor([1, 24]), parts, description, torch.float32)
    with pytest.raises(hc.DtypeError, match="indices have dtype"):
        operators.embedding(torch.ones(2), parts, description, torch.float32)
    with pytest.raises(hc.DtypeError, match="complex64"):
        operators.decode(parts, description, torch.complex64)
    with pytest.raises(hc.FormatError, match="description"):
        operators.decode(parts, "{}", torch.float32)
    with pytest.raises(hc.FormatError, match="part"):
        operators.decode([parts[0], *(part[:-1] for part in parts[1:])], description, torch.float32)
    with pytest.raises(hc.InvalidArgumentError, match="a matrix"):
        operators.linear(gaussian(3, 6), *compressed(4, 5, 6)[:2])


def test_fakes_refuse_what_the_operator_refuses():
    parts, description, _ = compressed(24, 256)
    meta = [part.to("meta") for part in parts]
    assert operators.linear(torch.empty(7, 256, device="meta"), meta, description).shape == (7, 24)
    with pytest.raises(RuntimeError, match="x has shape"):
        operators.linear(torch.empty(7, 24, device="meta"), meta, description)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.float64])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("by_input", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 10**6])
def test_a_product_block_by_block_is_that_of_the_dense_weight(
    dtype, transposed, by_input, rows, monkeypatch
):
    monkeypatch.setattr(choice, "BLOCK_BYTES", rows * 140 * 4)
    monkeypatch.setattr(choice, "BLOCK_ROWS_BY_INPUT", 8)
    options = {"second_moment": torch.eye(140)} if by_input else {}
    parts, description, w = compressed(24, 140, **options)
    w = (w.t() if transposed else w).to(dtype).double()
    bias = gaussian(len(w), dtype=dtype)
    weight = _codes.weight_of(parts, description)
    for shape in ((), (1,), (5,), (2, 3), (0,)):
        x = gaussian(*shape, w.shape[1], dtype=dtype)
        for b in (None, bias):
            y = blocks_kernel.multiply(x, weight, b, transposed)
            expected = F.linear(x.double(), w, None if b is None else b.double())
            assert (y.dtype, y.shape) == (dtype, expected.shape)
            most = expected.abs().max() if expected.numel() else 0
            assert ((y - expected).abs() <= 2 * ROUNDING[dtype] * most + 1e-6).all()


def test_memory_that_is_used_again_is_one_call_s_at_a_time():
    layers = [compressed(96, 96, 1, seed=seed) for seed in range(4)]
    x = gaussian(2, 96, 50)
    kept = [operators.decode(parts, said, torch.float32) for parts, said, _ in layers]
    assert all(w.untyped_storage().nbytes() == w.nbytes for w in kept)
    expected = [F.conv1d(x, w) for _, _, w in layers]
    right = []

    def run():
        for _ in range(30):
            for (parts, said, _), product in zip(layers, expected, strict=True):
                y = operators.convolution(x, parts, said, None, [1], [0], [1], 1)
                right.append(torch.equal(y, product))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == 480
    assert all(right)
    assert all(torch.equal(w, dense) for w, (_, _, dense) in zip(kept, layers, strict=True))
    with torch.inference_mode():
        run()
    y = operators.convolution(x.requires_grad_(), *layers[0][:2], None, [1], [0], [1], 1)
    y.sum().backward()
    assert torch.allclose(x.grad, layers[0][2].sum(0).expand_as(x), atol=1e-5)


@pytest.fixture
def decoders(monkeypatch):
    """Names of the threads that have decoded, one for each time; deciding goes on as it was."""
    names = []
    decode = ahead_kernel.decode

    def named(*arguments):
        names.append(threading.current_thread().name)
        return decode(*arguments)

    monkeypatch.setattr(ahead_kernel, "decode", named)
    threads = torch.get_num_threads()
    yield names
    torch.set_num_threads(threads)
    hypercomp_rs.torch.decode_ahead(None)


@pytest.fixture
def ahead(decoders):
    """Runs a convolutional net of five layers: the threads that decoded ahead, and the result."""
    weights = [compressed(96, 96, 1, seed=seed) for seed in range(5)]
    x = gaussian(3, 96, 100)

    def run():
        y = x
        for parts, description, _ in weights:
            y = operators.convolution(y, parts, description, None, [1], [0], [1], 1)
        return y

    def names(enabled, passes=1):
        hypercomp_rs.torch.decode_ahead(enabled)
        decoders.clear()
        results = [run() for _ in range(passes)]
        assert all(torch.equal(y, results[0]) for y in results)
        return [name for name in decoders if name.startswith("hypercomp-ahead")], results[0]

    return names


def test_layers_are_decoded_while_others_compute(ahead):
    none, expected = ahead(False)
    assert none == []
    decoders, result = ahead(True, passes=3)
    # All but what nothing was known of in the first pass and at the start of the second.
    assert len(decoders) >= 8
    assert torch.equal(result, expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_blocks_of_large_batches_are_decoded_while_others_compute(
    transposed, decoders, monkeypatch
):
    monkeypatch.setattr(choice, "BLOCK_BYTES", 7 * 96 * 4)
    monkeypatch.setattr(choice, "AHEAD_FROM_VECTORS", 8)
    torch.set_num_threads(2)
    weights = [_codes.weight_of(*compressed(96, 96, seed=seed)[:2]) for seed in range(3)]
    x = {vectors: gaussian(vectors, 96) for vectors in (1, 40)}

    def run(enabled, vectors):
        hypercomp_rs.torch.decode_ahead(enabled)
        # What the last run has begun is not this one's.
        if ahead_kernel._worker is not None:
            ahead_kernel._worker.submit(int).result()
        decoders.clear()
        y = x[vectors]
        for weight in weights:
            y = blocks_kernel.multiply(y, weight, None, transposed)
        return y, sum(name.startswith("hypercomp-ahead") for name in decoders), len(decoders)

    # Fourteen blocks of each: 13 of seven rows, and what is left.
    expected, none, blocks = run(False, 40)
    assert (none, blocks) == (0, 3 * 14)
    for passes in range(3):
        found, ahead, _ = run(True, 40)
        assert torch.equal(found, expected)
        # All but a layer's first block, and that too when it is known which layer comes next.
        assert ahead >= (3 * 13 if passes < 2 else 3 * 14 - 1)
    assert run(True, 1)[1] == 0


@pytest.mark.parametrize(("threads", "cores", "some"), [(1, 4, 0), (2, 2, 0), (2, 3, 1), (8, 4, 0)])
def test_layers_are_decoded_ahead_where_a_core_is_free(threads, cores, some, ahead, monkeypatch):
    monkeypatch.setattr(choice, "_cores", lambda: cores)
    torch.set_num_threads(threads)
    assert bool(ahead(None, passes=3)[0]) == some


def test_numpy_arrays_and_modules_share_one_form():
    w = gaussian(24, 256)
    c = hc.compress_tensor(w.numpy())
    description, buffers = buffers_of(c)
    assert bytes(buffers[0].numpy()).decode() == description == c.to_parts()[0]
    np.testing.assert_array_equal(
        operators.decode(buffers, description, torch.float32).numpy(), c.decompress()
    )
