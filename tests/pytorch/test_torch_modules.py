"""Modules with compressed weights: what they compute, how they travel, and how they are loaded."""

import copy
import io
import multiprocessing
import pickle

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.torch import _codes
from hypercomp_rs.torch.kernels import direct

torch.manual_seed(0)
X = torch.randn(3, 256)


def linear(seed=0, **options):
    torch.manual_seed(seed)
    return hct.CompressedLinear.from_module(nn.Linear(256, 64), **options)


def dense(module):
    return module.weight.decompress()


def test_a_linear_layer_multiplies_by_its_decoded_weight():
    plain = nn.Linear(256, 64)
    layer = hct.CompressedLinear.from_module(plain, bits=5)
    assert torch.allclose(layer(X), F.linear(X, dense(layer), plain.bias), atol=1e-4)
    assert (dense(layer) - plain.weight).norm() < 0.05 * plain.weight.norm()
    assert isinstance(layer, nn.Linear)
    assert layer.bias is plain.bias
    assert (layer.in_features, layer.out_features) == (256, 64)
    assert isinstance(plain.weight, nn.Parameter)
    assert {name: p.numel() for name, p in layer.named_parameters()} == {
        "bias": 64,
        "compressed": 0,
    }
    none = hct.CompressedLinear.from_module(nn.Linear(256, 64, bias=False))
    assert torch.allclose(none(X), X @ dense(none).T, atol=1e-4)


def test_a_compressed_tensor_is_taken_as_the_weight():
    plain = nn.Linear(256, 64)
    c = hc.compress_tensor(plain.weight.detach(), bits=3)
    layer = hct.CompressedLinear.from_module(plain, c)
    assert torch.equal(dense(layer), c.decompress())
    assert layer.weight.compressed() == c
    with pytest.raises(hc.InvalidArgumentError, match=r"weight of shape \(64, 256\) for a Linear"):
        hct.CompressedLinear.from_module(nn.Linear(64, 256), c)


def test_an_embedding_decodes_the_rows_asked_for():
    plain = nn.Embedding(100, 96, padding_idx=3)
    table = hct.CompressedEmbedding.from_module(plain)
    indices = torch.tensor([[0, 99], [3, 7]])
    assert torch.equal(table(indices), F.embedding(indices, dense(table)))
    assert table.to(torch.bfloat16)(indices).dtype == torch.bfloat16
    with pytest.raises(IndexError):
        table(torch.tensor([100]))
    with pytest.raises(hc.InvalidArgumentError, match="max_norm writes"):
        hct.CompressedEmbedding.from_module(nn.Embedding(100, 96, max_norm=1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2},
        {"groups": 4},
        {"padding": "same"},
        {"padding": 2, "padding_mode": "circular"},
        {"padding": "same", "padding_mode": "reflect"},
        {"bias": False},
    ],
    ids=str,
)
def test_convolutions_convolve_with_their_decoded_weights(options):
    for dimensions, plain_class, compressed_class, convolve in (
        (1, nn.Conv1d, hct.CompressedConv1d, F.conv1d),
        (2, nn.Conv2d, hct.CompressedConv2d, F.conv2d),
    ):
        plain = plain_class(16, 32, 3, **options)
        layer = compressed_class.from_module(plain)
        plain.weight = nn.Parameter(dense(layer))
        assert isinstance(layer, plain_class)
        x = torch.randn(2, 16, *[12] * dimensions)
        assert torch.equal(layer(x), plain(x))
        assert torch.equal(layer(x[0]), plain(x[0]))
        assert layer(x).shape == plain(x).shape
        del convolve


def test_gradients_of_a_convolution_are_those_of_the_dense_one():
    plain = nn.Conv2d(16, 32, 3, padding=1)
    layer = hct.CompressedConv2d.from_module(plain)
    plain.weight = nn.Parameter(dense(layer), requires_grad=False)
    gradients = []
    for module in (plain, layer):
        x = torch.ones(2, 16, 6, 6, requires_grad=True)
        module.zero_grad()
        module(x).square().sum().backward()
        gradients.append((x.grad, module.bias.grad.clone()))
    assert all(map(torch.equal, *gradients))


def test_only_the_class_itself_is_replaced():
    attention = nn.MultiheadAttention(64, 4)
    with pytest.raises(hc.InvalidArgumentError, match="not exactly a Linear"):
        hct.CompressedLinear.from_module(attention.out_proj)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(64, 64))
    with pytest.raises(hc.InvalidArgumentError, match="not exactly a Linear"):
        hct.CompressedLinear.from_module(normed)
    hooked = nn.Linear(64, 64)
    hooked.weight_v = hooked._parameters.pop("weight")
    with pytest.raises(hc.InvalidArgumentError, match="no parameter"):
        hct.CompressedLinear.from_module(hooked)
    bad = nn.Linear(64, 64)
    bad.weight.data[0, 0] = torch.nan
    with pytest.raises(hc.NonFiniteError):
        hct.CompressedLinear.from_module(bad)


def test_what_stands_for_the_weight_answers_and_decodes():
    layer = linear()
    weight = layer.weight
    assert (weight.shape, weight.dtype) == ((64, 256), torch.float32)
    assert weight.device == torch.device("cpu")
    assert (weight.ndim, weight.dim(), weight.numel()) == (2, 2, 64 * 256)
    assert (weight.size(), weight.size(1)) == ((64, 256), 256)
    assert weight.is_floating_point()
    assert not weight.requires_grad
    assert torch.equal(F.linear(X, weight), F.linear(X, dense(layer)))
    assert torch.equal(torch.stack([weight, weight])[1], dense(layer))
    assert "shape=(64, 256)" in repr(weight)
    assert layer.half().weight.dtype == torch.float16
    assert weight.decompress(torch.float64).dtype == torch.float64
    for use in (lambda: weight.data.zero_(), lambda: weight.copy_(X), lambda: weight.add_(1)):
        with pytest.raises(AttributeError, match=r"decompress\(\) gives a tensor"):
            use()
    with pytest.raises(hc.InvalidArgumentError, match="cannot be reset"):
        layer.reset_parameters()


def test_torch_s_own_encoder_layer_takes_its_slow_path():
    layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True).eval()
    x = torch.randn(2, 5, 64)
    with torch.inference_mode():
        before = layer(x)
        for name in ("linear1", "linear2"):
            plain = getattr(layer, name)
            setattr(layer, name, hct.CompressedLinear.from_module(plain, bits=8))
        assert torch.allclose(layer(x), before, atol=0.02)


def test_casts_change_what_is_decoded_and_not_the_codes():
    layer, before = linear(), linear().state_dict()
    for cast in (
        lambda m: m.to(torch.bfloat16),
        lambda m: m.half(),
        lambda m: m.double(),
        lambda m: m.type(torch.float16),
        lambda m: m.to("cpu", torch.float32),
    ):
        cast(layer)
        assert layer.weight.dtype == layer.bias.dtype
        assert dense(layer).dtype == layer.dtype
        for name, buffer in layer.named_buffers():
            assert torch.equal(buffer, before[name])
        x = X.to(layer.dtype)
        assert torch.allclose(
            layer(x).float(), F.linear(X, linear().weight, linear().bias), atol=0.1
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_activations_of_any_float_are_taken(dtype):
    layer = linear()
    assert layer(X.to(dtype)).dtype == dtype
    assert torch.allclose(layer(X.to(dtype)).float(), layer(X), atol=0.1)


@pytest.mark.parametrize(
    "again",
    [
        copy.deepcopy,
        lambda module: pickle.loads(pickle.dumps(module)),
        lambda module: torch.load(saved(module), weights_only=False),
        lambda module: module.share_memory(),
    ],
    ids=["deepcopy", "pickle", "torch.save", "share_memory"],
)
def test_copies_compute_the_same(again):
    layer = linear()
    expected = layer(X)
    other = again(layer)
    assert torch.equal(other(X), expected)
    assert torch.equal(other(X), layer(X))
    assert list(other.state_dict()) == list(layer.state_dict())


def saved(what):
    file = io.BytesIO()
    torch.save(what, file)
    file.seek(0)
    return file


def test_a_state_dict_names_what_a_checkpoint_names():
    layer = linear(bits=3.3)
    description, parts = layer.weight.compressed().to_parts()
    state = layer.state_dict()
    assert set(state) == {"bias", "weight_description", *(f"weight_{part}" for part in parts)}
    assert bytes(state["weight_description"].numpy()).decode() == description
    for name, part in parts.items():
        assert state[f"weight_{name}"].dtype == torch.uint8
        assert bytes(state[f"weight_{name}"].numpy()) == part.tobytes()


@pytest.mark.parametrize("assign", [False, True])
def test_other_codes_are_loaded_whatever_their_length(assign):
    expected = linear(0, bits=3)
    for options in ({"bits": 6}, {"bits": 3}, {"codec": "winding"}):
        layer = linear(7, **options)
        layer(X)
        found = layer.load_state_dict(
            torch.load(saved(expected.state_dict()), weights_only=True), assign=assign
        )
        assert not found.missing_keys
        assert torch.equal(layer(X), expected(X))
        assert torch.equal(copy.deepcopy(layer)(X), expected(X))
    again = linear(7)
    again.load_state_dict(expected.state_dict())
    again.weight_path[50] ^= 1
    assert not torch.equal(again(X), expected(X))
    assert torch.equal(linear(0, bits=3)(X), expected(X))


def test_a_state_dict_that_does_not_fit_is_refused():
    layer, before = linear(), linear()(X)
    more = {**linear().state_dict(), "weight_more": torch.zeros(1)}
    with pytest.raises(RuntimeError, match=r"Unexpected key.* \"weight_more\""):
        layer.load_state_dict(more)

    def refused(match, **changes):
        state = {**linear(bits=3).state_dict(), **changes}
        with pytest.raises(RuntimeError, match=match):
            layer.load_state_dict({k: v for k, v in state.items() if v is not None})
        assert torch.equal(layer(X), before)

    refused(r"parts are missing: path", weight_path=None)
    refused(r"weight: part path", weight_path=torch.zeros(3, dtype=torch.uint8))
    refused(r"description", weight_description=torch.ones(3, dtype=torch.uint8))
    other = hct.CompressedLinear.from_module(nn.Linear(64, 256))
    with pytest.raises(RuntimeError, match=r"compressed \(256, 64\), this module has \(64, 256\)"):
        layer.load_state_dict({**other.state_dict(), "bias": layer.bias})
    with pytest.raises(RuntimeError, match="weight_description"):
        layer.load_state_dict(nn.Linear(256, 64).state_dict())


def test_on_the_meta_device_there_is_a_shape_and_no_memory():
    layer = linear().to("meta")
    assert layer.weight.device.type == "meta"
    assert layer(X.to("meta")).shape == (3, 64)
    layer.load_state_dict(linear().state_dict(), assign=True)
    assert torch.equal(layer(X), linear()(X))


def _in_another_process(layer, x, results):
    results.put(layer(x).tolist())


def test_processes_share_a_layer():
    layer = linear().share_memory()
    addresses = [buffer.data_ptr() for buffer in layer.weight_buffers()]
    expected = layer(X).tolist()
    assert [buffer.data_ptr() for buffer in layer.weight_buffers()] == addresses
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = torch.multiprocessing.get_context("spawn").Process(
        target=_in_another_process, args=(layer, X, results)
    )
    process.start()
    found = results.get()
    process.join()
    assert found == expected


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_models_are_one_graph_and_compute_the_same(backend):
    torch._dynamo.reset()
    model = nn.Sequential(
        hct.CompressedConv1d.from_module(nn.Conv1d(8, 64, 3, padding=1)),
        nn.Flatten(1),
        hct.CompressedLinear.from_module(nn.Linear(64 * 32, 64)),
        nn.GELU(),
        hct.CompressedLinear.from_module(nn.Linear(64, 16)),
    )
    table = hct.CompressedEmbedding.from_module(nn.Embedding(50, 256))

    def run(indices):
        return model(table(indices).view(-1, 8, 32))

    compiled = torch.compile(run, fullgraph=True, backend=backend)
    indices = torch.arange(5)
    with torch.no_grad():
        assert torch.allclose(compiled(indices), run(indices), atol=1e-5)
    with torch.inference_mode():
        assert torch.allclose(compiled(indices), run(indices), atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(compiled(indices).float(), run(indices).float(), atol=0.05)
    x = torch.randn(4, 8, 32)
    gradients = []
    for call in (model, torch.compile(model, fullgraph=True, backend=backend)):
        own = x.clone().requires_grad_()
        call(own).square().sum().backward()
        gradients.append(own.grad)
    assert torch.allclose(*gradients, atol=1e-4)
    # The buffers that a compiled graph hands over are the modules' own: nothing is made anew.
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_codes, "Weight", lambda *a: made.append(a) or pytest.fail("made anew"))
        with torch.no_grad():
            compiled(indices)
    assert not made


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(100, 128)
        self.head = nn.Linear(128, 100, bias=False)
        self.head.weight = self.table.weight


def test_tied_modules_stay_tied_on_their_way():
    def tied(model):
        pairs = zip(model.table.weight_buffers(), model.head.weight_buffers(), strict=True)
        return all(a is b or a.data_ptr() == b.data_ptr() for a, b in pairs)

    model = Tied()
    report = hct.compress_model(model, bits=5)
    assert len(report.layers) == 1
    assert tied(model)
    for moved in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        model.to(torch.bfloat16),
        model.share_memory(),
        copy.deepcopy(model).to("meta").to_empty(device="cpu"),
    ):
        assert tied(moved)
    other = Tied()
    hct.compress_model(other, bits=3)
    other.load_state_dict(model.state_dict())
    assert tied(other)
    x, i = torch.randn(2, 128, dtype=torch.float32), torch.tensor([5, 7])
    assert torch.equal(other.head(x), model.head(x))
    assert torch.equal(other.table(i), model.float().table(i))
    assert other.head.description == other.table.description == model.table.description
    hct.decompress_model(model)
    assert model.head.weight is model.table.weight


@pytest.fixture
def dispatched(monkeypatch):
    """Products that torch's dispatcher has had."""
    calls = []
    operator = direct._operator

    def counted(*arguments):
        calls.append(arguments)
        return operator(*arguments)

    monkeypatch.setattr(direct, "_operator", counted)
    return calls


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_a_call_past_the_dispatcher_gives_the_same_bits(mode, dtype, bias, dispatched):
    plain = nn.Linear(256, 64, bias=bias).requires_grad_(False).to(dtype)
    layer = hct.CompressedLinear.from_module(plain)
    operator = torch.ops.hypercomp.linear.default
    with mode():
        for shape in ((256,), (1, 256), (3, 256), (2, 1, 256)):
            first, x = torch.randn(2, *shape).to(dtype)
            for _ in range(3):
                layer(first)
            dispatched.clear()
            y = layer(x)
            assert not dispatched
            expected = operator(x, layer.weight_buffers(), layer.description, layer.bias)
            assert torch.equal(y, expected)
            assert (y.dtype, y.is_inference()) == (dtype, expected.is_inference())
    assert not y.requires_grad


def _called_before(**options):
    """A layer that no longer needs the dispatcher."""
    layer = linear(**options).requires_grad_(False)
    for _ in range(4):
        layer(X)
    return layer


class _Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


class _LogFunctions(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


class _Own(torch.Tensor):
    pass


def _traced(make):
    return lambda layer: [node.target for node in make(layer).graph.nodes]


WATCHERS = {
    "make_fx": _traced(lambda layer: make_fx(lambda x: layer(x))(X)),
    "make_fx, before dispatch": _traced(
        lambda layer: make_fx(lambda x: layer(x), pre_dispatch=True)(X)
    ),
    "export": _traced(lambda layer: torch.export.export(layer, (X,), strict=False)),
    "strict export": _traced(lambda layer: torch.export.export(layer, (X,), strict=True)),
}


@pytest.mark.parametrize("watcher", WATCHERS)
def test_who_traces_sees_the_operator(watcher):
    with torch.no_grad():
        assert torch.ops.hypercomp.linear.default in WATCHERS[watcher](_called_before())


@pytest.mark.parametrize("mode", [_Log, _LogFunctions])
def test_modes_see_the_operator(mode):
    layer = _called_before()
    with torch.no_grad(), mode() as log:
        layer(X)
    assert torch.ops.hypercomp.linear.default in log.seen


def test_compilers_see_the_operator():
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    layer = _called_before()
    with torch.no_grad():
        y = torch.compile(layer, fullgraph=True, backend=backend)(X)
    (graph,) = graphs
    assert torch.ops.hypercomp.linear.default in [node.target for node in graph.graph.nodes]
    assert torch.equal(y, layer(X))


@pytest.mark.filterwarnings("ignore:.torch.jit.* is deprecated", "ignore:.torch.jit.* may break")
def test_the_profiler_and_torchscript_see_the_operator():
    layer = _called_before()
    with torch.no_grad():
        with torch.profiler.profile() as profile:
            layer(X)
        assert "hypercomp::linear" in [event.name for event in profile.events()]
        traced = torch.jit.trace(lambda x: layer(x), (X,), check_trace=False)
        assert "hypercomp::linear" in str(traced.graph)


def test_what_is_no_plain_tensor_is_the_dispatcher_s(dispatched):
    layer = _called_before()
    expected = layer(X)
    with torch.no_grad():
        dispatched.clear()
        negated = torch._neg_view(-X)
        assert torch.equal(layer(negated), expected)
        assert isinstance(layer(X.as_subclass(_Own)), _Own)
        assert layer(X.to("meta")).is_meta
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(X).dtype == torch.bfloat16
        assert len(dispatched) == 4
        with pytest.raises(RuntimeError, match="Batching rule not implemented"):
            torch.vmap(layer)(X)
        # A bias for this call alone.
        bias = torch._neg_view(-layer.bias)
        for _ in range(3):
            assert torch.equal(torch.func.functional_call(layer, {"bias": bias}, X), expected)


def test_gradients_are_recorded_after_calls_without():
    layer = _called_before()
    x = X.clone().requires_grad_()
    expected = layer(X)
    y = layer(x)
    y.sum().backward()
    assert torch.equal(y, expected)
    assert torch.allclose(x.grad, dense(layer).sum(0).expand_as(x), atol=1e-4)
    layer.bias.requires_grad_()
    layer(X).sum().backward()
    assert torch.equal(layer.bias.grad, torch.full((64,), 3.0))
    with torch.inference_mode():
        inside = X.clone()
    assert torch.equal(layer(inside), expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer, other: layer.load_state_dict(other.state_dict()),
        lambda layer, other: layer.load_state_dict(other.state_dict(), assign=True),
        lambda layer, other: layer._set_buffers(other.description, other.weight_buffers()),
        lambda layer, other: layer.to(torch.float64),
        lambda layer, other: layer.share_memory(),
        lambda layer, other: layer.bias.add_(1),
        lambda layer, other: setattr(layer.bias, "data", other.bias.data),
        lambda layer, other: setattr(layer, "bias", None),
        lambda layer, other: setattr(layer, "bias", other.bias),
        lambda layer, other: setattr(layer.weight_path, "data", other.weight_path),
        lambda layer, other: layer.weight_scales.copy_(other.weight_scales),
    ],
)
def test_what_has_changed_is_seen_by_the_next_call(change):
    operator = torch.ops.hypercomp.linear.default
    layer, other = _called_before(), _called_before(seed=1)
    twin = copy.deepcopy(layer)
    before = layer(X)
    with torch.no_grad():
        change(layer, other)
    for _ in range(3):
        # Of copies, of which no call is cached.
        buffers = [buffer.clone() for buffer in layer.weight_buffers()]
        expected = operator(X, buffers, layer.description, layer.bias)
        assert torch.equal(layer(X), expected)
        assert torch.equal(twin(X), before)


def test_a_shape_that_does_not_fit_is_refused_after_one_that_does():
    layer = _called_before()
    for _ in range(2):
        with pytest.raises(hc.InvalidArgumentError, match=r"x has shape \(3, 24\)"):
            layer(torch.randn(3, 24))
        with pytest.raises(hc.DtypeError, match="int64"):
            layer(torch.ones(3, 256, dtype=torch.int64))
