"""Which path a call takes, as `explain` says."""

import threading

import pytest
import torch
from torch import nn

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.torch.kernels import choice
from hypercomp_rs.torch.kernels.paths import recorder


def layer(inputs=256, outputs=64, **options):
    torch.manual_seed(0)
    return hct.CompressedLinear.from_module(nn.Linear(inputs, outputs), effort="fast", **options)


def only(call, *arguments):
    (path,) = hct.explain(call, *arguments)
    return path


@pytest.fixture
def thresholds(monkeypatch):
    """The same on every processor."""
    monkeypatch.setattr(choice, "BLOCKS_FROM", {torch.float32: 96})
    monkeypatch.setattr(choice, "BLOCKS_FROM_ALONG_OUTPUTS", {torch.float32: 48})


def test_a_layer_is_called_directly_from_its_fourth_call_of_one_shape_on():
    module, x = layer(), torch.randn(2, 4, 256)
    with torch.no_grad():
        paths = [only(module, x) for _ in range(5)]
    assert {(p.operator, p.device, p.shape, p.vectors, p.dtype, p.way) for p in paths} == {
        ("linear", "cpu", (64, 256), 8, torch.float32, "fused")
    }
    assert [p.direct for p in paths] == [False, False, False, True, True]
    assert paths[0].dispatch == "the first call with this weight"
    assert "the call before" in paths[1].dispatch
    assert str(paths[-1]) == (
        "linear (64, 256) on cpu, 8 vectors, float32: multiplied while it is decoded; "
        "called directly"
    )
    with torch.no_grad():
        assert not only(module, x[:1]).direct


def test_what_keeps_a_call_in_the_dispatcher_is_named():
    module, x = layer(), torch.randn(8, 256)
    with torch.no_grad():
        for _ in range(3):
            module(x)
        assert only(module, x).direct
        with torch.autocast("cpu", torch.bfloat16):
            found = only(module, x)
            assert found.dispatch == "autocast"
            assert found.dtype == torch.bfloat16
            assert "in integers" in str(found)
        with torch.profiler.profile():
            assert only(module, x).dispatch == "the profiler"
        with torch.overrides.BaseTorchFunctionMode():
            assert "mode of torch's functions" in only(module, x).dispatch
        assert only(module, x).direct
    assert only(module, x).dispatch == "a gradient is needed"
    module.requires_grad_(False)
    module.bias.requires_grad_(False)
    assert only(module, x).direct
    assert only(module, x.requires_grad_()).dispatch == "a gradient is needed"


def test_a_gradient_is_a_transposed_product():
    module, x = layer(), torch.randn(8, 256, requires_grad=True)
    forward, backward = hct.explain(lambda: module(x).sum().backward())
    assert (forward.way, backward.way) == ("fused", "fused")
    assert backward.dispatch == "an operator of torch.ops.hypercomp"


@pytest.mark.parametrize(("vectors", "way"), [(1, "fused"), (95, "fused"), (96, "blocks")])
def test_many_vectors_are_multiplied_block_by_block(vectors, way, thresholds):
    module, x = layer(), torch.randn(vectors, 256)
    with torch.no_grad():
        for _ in range(5):
            path = only(module, x)
        expected = x @ module.weight.decompress().T + module.bias
        assert torch.allclose(module(x), expected, atol=1e-4)
    assert (path.way, path.vectors) == (way, vectors)
    assert path.why == ("" if way == "fused" else "from 96 vectors on that is faster")
    # Block by block is never called directly.
    assert path.direct is (way == "fused")


def test_a_weight_that_is_stored_by_input_has_the_limits_of_a_transposed_one(thresholds):
    # Inputs of unequal energy: of equal ones the plain code is as good, and is taken.
    moment = torch.diag(torch.logspace(-3, 0, 256))
    by_input = hc.compress_tensor(torch.randn(64, 256), effort="fast", second_moment=moment)
    assert by_input.stored_by_input
    module = hct.CompressedLinear.from_module(nn.Linear(256, 64), by_input)
    with torch.no_grad():
        assert only(module, torch.randn(47, 256)).way == "fused"
        assert only(module, torch.randn(48, 256)).way == "blocks"


def test_look_ups_convolutions_and_dense_weights():
    table = hct.CompressedEmbedding.from_module(nn.Embedding(40, 128), effort="fast")
    found = only(table, torch.tensor([[1, 2, 3]]))
    assert (found.operator, found.way, found.vectors) == ("embedding", "rows", 3)
    filters = hct.CompressedConv1d.from_module(nn.Conv1d(8, 16, 33), effort="fast")
    found = only(filters, torch.randn(5, 8, 40))
    assert (found.operator, found.way, found.vectors) == ("convolution", "whole", 5)
    found = only(layer().weight.decompress, torch.float16)
    assert (found.operator, found.way, found.dtype) == ("decode", "whole", torch.float16)
    assert "vectors" not in str(found)


def test_a_model_gives_a_path_for_each_layer():
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    hct.compress_model(model, bits=4, progress=False)
    paths = hct.explain(model, torch.randn(2, 64))
    assert [path.shape for path in paths] == [(128, 64), (64, 128)]


def test_nothing_is_recorded_outside_of_explain():
    module, x = layer(), torch.randn(8, 256)
    with pytest.raises(RuntimeError, match="mine"):
        hct.explain(lambda: (_ for _ in ()).throw(RuntimeError("mine")))
    assert recorder.calls is None
    module(x)
    assert recorder.calls is None
    # One call within another has its own list, and calls of other threads are listed.
    inner = []

    def outer():
        inner.extend(hct.explain(module, x))
        thread = threading.Thread(target=module, args=(x,))
        thread.start()
        thread.join()

    assert len(hct.explain(outer)) == 1
    assert len(inner) == 1


# Whether kernels multiply the codes, whether they are stored by input, whether the product is
# transposed.
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((True, False, False, torch.float16, 8), ""),
        ((True, True, True, torch.float32, 1), ""),
        ((True, False, False, torch.float16, 9), "more than 8 vectors"),
        ((True, False, False, torch.float16, 32, 32), ""),
        ((True, False, False, torch.float16, 33, 32), "more than 32 vectors"),
        ((True, False, False, torch.float64, 1), "float64"),
        ((True, True, False, torch.float16, 1), "stored input by input"),
        ((True, False, True, torch.float16, 1), "transposed"),
        ((False, False, False, torch.float16, 1), "rows of at least 128 weights"),
    ],
)
def test_what_a_cuda_device_decodes_whole_and_why(arguments, why):
    found = choice.why_not_fused_on_cuda(*arguments)
    assert why in found
    assert bool(found) is bool(why)


def test_tensor_cores_multiply_more_vectors_of_16_bits():
    for by_tensor_cores, dtype, most in (
        (True, torch.bfloat16, choice.CUDA_TENSOR_CORES_TO),
        (True, torch.float32, choice.CUDA_FUSED_TO),
        (False, torch.float16, choice.CUDA_FUSED_TO),
    ):
        assert choice.fused_to_on_cuda(by_tensor_cores, dtype) == most
