"""The weight of a compressed module, used as models use tensors."""

import copy
import operator
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hypercomp_rs as hc
import hypercomp_rs.torch as hct

torch.manual_seed(0)
LAYER = hct.CompressedLinear.from_module(nn.Linear(96, 64))
TABLE = hct.CompressedEmbedding.from_module(nn.Embedding(64, 96))
FILTERS = hct.CompressedConv1d.from_module(nn.Conv1d(16, 32, 3))
W, DENSE = LAYER.weight, LAYER.weight.decompress()
X = torch.randn(5, 96)
MASK = torch.arange(64) % 3 == 0

READS = {
    "T": lambda w: w.T,
    "t": lambda w: w.t(),
    "mT": lambda w: w.mT,
    "transpose": lambda w: w.transpose(0, 1),
    "permute": lambda w: w.permute(1, 0),
    "slice": lambda w: w[:3],
    "mask": lambda w: w[MASK],
    "element": lambda w: w[2, 5],
    "rows": lambda w: w[torch.tensor([1, 7])],
    "index_select": lambda w: w.index_select(0, torch.tensor([1, 7])),
    "ellipsis": lambda w: w[..., None, 1:4],
    "iteration": lambda w: torch.stack(list(w)),
    "unpacking": lambda w: list(w)[-1],
    "reversed": lambda w: torch.stack(list(reversed(w))),
    "float": lambda w: w.float(),
    "half": lambda w: w.half(),
    "bfloat16": lambda w: w.bfloat16(),
    "double": lambda w: w.double(),
    "to dtype": lambda w: w.to(torch.float16),
    "to device": lambda w: w.to("cpu"),
    "to device and dtype": lambda w: w.to("cpu", torch.float64, copy=True),
    "to another": lambda w: w.to(torch.zeros(1, dtype=torch.bfloat16)),
    "type": lambda w: w.type(torch.float16),
    "type_as": lambda w: w.type_as(torch.zeros(1, dtype=torch.float64)),
    "cpu": lambda w: w.cpu(),
    "clone": lambda w: w.clone(),
    "contiguous": lambda w: w.contiguous(),
    "detached clone": lambda w: w.detach().clone(),
    "data": lambda w: w.data.clone(),
    "norm": lambda w: w.norm(dim=1),
    "mean": lambda w: w.mean(),
    "std": lambda w: w.std(0),
    "abs": lambda w: w.abs().max(),
    "isnan": lambda w: w.isnan().any(),
    "view": lambda w: w.view(-1, 2),
    "reshape": lambda w: w.reshape(32, -1),
    "flatten": lambda w: w.flatten(),
    "unsqueeze": lambda w: w.unsqueeze(0),
    "chunk": lambda w: w.chunk(2)[1],
    "expand": lambda w: w.expand(2, 64, 96),
    "matmul": lambda w: X @ w.T,
    "from the left": lambda w: w @ X.T,
    "from the right": lambda w: X.T.matmul(torch.ones(5, 64)) @ w,
    "einsum": lambda w: torch.einsum("bi,oi->bo", X, w),
    "tensor first": lambda w: torch.ones(96) - w,
    "itself": lambda w: w * w + w,
    "number first": lambda w: 2 - w,
    "divided": lambda w: 1 / (w + 3),
    "power": lambda w: w**2,
    "power of two": lambda w: 2**w,
    "negative": lambda w: -w,
    "absolute": lambda w: abs(w),
    "comparison": lambda w: w > 0,
    "comparison with a tensor": lambda w: torch.zeros(96) <= w,
    "equal": lambda w: w == 1 * w,
    "not equal": lambda w: w != 0,
    "cat": lambda w: torch.cat([w, torch.ones(1, 96)]),
    "stack": lambda w: torch.stack((w, w)),
    "where": lambda w: torch.where(w > 0, w, 0),
    "zeros_like": lambda w: torch.zeros_like(w),
    "new_ones": lambda w: w.new_ones(3),
    "softmax": lambda w: F.softmax(w, -1),
    "normalize": lambda w: F.normalize(w),
    "tensor": lambda w: torch.tensor(w.tolist()),
    "numpy": lambda w: torch.from_numpy(w.numpy()),
    "asarray": lambda w: torch.from_numpy(np.asarray(w).copy()),
    "numpy on the left": lambda w: torch.as_tensor(np.float32(2.0) * w),
    "copied into": lambda w: torch.empty(64, 96).copy_(w),
    "set into": lambda w: operator.setitem(t := torch.zeros(64, 96), slice(None), w) or t,
    "into a parameter": lambda w: nn.Parameter(w.clone()).detach(),
    "size": lambda w: torch.tensor([*w.size(), w.size(-1), w.shape[0], len(w), w.numel()]),
    "layout": lambda w: torch.tensor([*w.stride(), w.element_size(), w.nbytes, w.itemsize]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*__array_wrap__")
@pytest.mark.parametrize("name", READS)
def test_what_reads_a_weight_reads_the_decoded_one(name):
    found, expected = READS[name](W), READS[name](DENSE)
    assert type(found) is torch.Tensor
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("module", [TABLE, FILTERS])
def test_weights_of_other_modules_read_alike(module):
    w, dense = module.weight, module.weight.decompress()
    assert torch.equal(w[1:3], dense[1:3])
    assert torch.equal(w.flatten(1) * 2, dense.flatten(1) * 2)
    assert torch.equal(w.transpose(0, 1), dense.transpose(0, 1))


def test_what_is_known_without_decoding(monkeypatch):
    monkeypatch.setattr(hct.CompressedWeight, "decompress", pytest.fail)
    assert (W.device, W.is_cpu, W.is_cuda, W.is_meta) == (torch.device("cpu"), True, False, False)
    assert (W.shape, W.size(), W.size(-1), W.ndim, W.dim()) == ((64, 96), (64, 96), 96, 2, 2)
    assert (W.dtype, W.numel(), W.nelement(), len(W)) == (torch.float32, 6144, 6144, 64)
    assert (W.stride(), W.element_size(), W.nbytes) == ((96, 1), 4, 4 * 6144)
    assert (W.layout, W.is_contiguous(), W.is_sparse) == (torch.strided, True, False)
    assert W.is_floating_point()
    assert not W.is_complex()
    assert (W.grad, W.grad_fn, W.is_leaf, W.requires_grad) == (None, None, True, False)
    assert not isinstance(W, torch.Tensor)
    assert F.embedding(torch.tensor([3]), TABLE.weight).shape == (1, 96)


WRITES = {
    "add_": lambda w: w.add_(1),
    "copy_": lambda w: w.copy_(DENSE),
    "zero_": lambda w: w.zero_(),
    "data copy_": lambda w: w.data.copy_(DENSE),
    "data normal_": lambda w: w.data.normal_(),
    "data index": lambda w: operator.setitem(w.data, slice(0, 2), 0),
    "detached": lambda w: w.detach().mul_(2),
    "index": lambda w: operator.setitem(w, 0, 1),
    "plus": lambda w: operator.iadd(w, 1),
    "data plus": lambda w: operator.iadd(w.data, DENSE),
    "times": lambda w: operator.imul(w, 2),
    "set data": lambda w: setattr(w, "data", DENSE),
    "set grad": lambda w: setattr(w, "grad", DENSE),
    "set requires_grad": lambda w: setattr(w, "requires_grad", True),
    "requires_grad_": lambda w: w.requires_grad_(),
    "set_": lambda w: w.set_(DENSE),
    "resize_": lambda w: w.resize_(3),
    "share_memory_": lambda w: w.share_memory_(),
    "init": lambda w: nn.init.normal_(w),
    "another init": lambda w: nn.init.xavier_uniform_(tensor=w),
    "out": lambda w: torch.mul(DENSE, 2, out=w),
    "inplace": lambda w: F.relu(w, inplace=True),
    "foreach": lambda w: torch._foreach_mul_([w, w], 2),
    "max_norm": lambda w: F.embedding(torch.tensor([0]), w, max_norm=1.0),
    "parameter": lambda w: nn.Parameter(w, requires_grad=False),
    "trained parameter": lambda w: nn.Parameter(w),
    "storage": lambda w: w.untyped_storage(),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_would_write_is_refused_by_name(name):
    with pytest.raises(hc.errors.ReadOnlyError, match=r"shape \(64, 96\).*decompress"):
        WRITES[name](W)
    assert torch.equal(LAYER.weight.decompress(), DENSE)


def test_what_python_asks_of_a_tensor_of_many_elements():
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(W)
    with pytest.raises((RuntimeError, ValueError), match=r"(?i)scalar"):
        W.item()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = W.nonsense
    assert getattr(W, "_no_such_flag", None) is None
    assert not hasattr(W, "nonsense")


def test_functions_of_torch_give_what_they_give_of_decoded_weights():
    bias = torch.randn(64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hct.CompressedWeight, "decompress", pytest.fail)
        rows = F.embedding(torch.tensor([[0, 63]]), TABLE.weight, padding_idx=0)
    assert torch.equal(rows, F.embedding(torch.tensor([[0, 63]]), TABLE.weight.decompress()))
    assert torch.equal(F.linear(X, W), F.linear(X, DENSE))
    assert torch.equal(F.linear(X, weight=W, bias=bias), F.linear(X, DENSE, bias))
    assert torch.equal(F.linear(X.double(), W.double()), F.linear(X.double(), DENSE.double()))
    assert torch.equal(
        F.bilinear(X[:, :1], X, W[None, :, :].permute(1, 0, 2)),
        F.bilinear(X[:, :1], X, DENSE[:, None, :]),
    )
    x = X.clone().requires_grad_()
    F.linear(x, W).sum().backward()
    assert torch.allclose(x.grad, DENSE.sum(0).expand(5, 96), atol=1e-5)
    dense = TABLE.weight.decompress()
    bags = torch.tensor([[1, 2], [3, 4]])
    assert torch.equal(F.embedding_bag(bags, TABLE.weight), F.embedding_bag(bags, dense))
    assert torch.equal(
        F.conv1d(torch.ones(1, 16, 9), FILTERS.weight),
        F.conv1d(torch.ones(1, 16, 9), FILTERS.weight.decompress()),
    )


def test_a_weight_is_the_same_object_each_time():
    layer = hct.CompressedLinear.from_module(nn.Linear(96, 64))
    w = layer.weight
    w.no_weight_decay = True
    layer.to(torch.bfloat16)
    assert layer.weight is w
    assert w.no_weight_decay
    assert (w.dtype, w.decompress().dtype) == (torch.bfloat16, torch.bfloat16)
    layer.load_state_dict(hct.CompressedLinear.from_module(nn.Linear(96, 64), bits=2).state_dict())
    assert layer.weight is w
    assert torch.equal(w.decompress(), layer.weight.decompress())
    assert len({w, layer.weight}) == 1
    other = copy.deepcopy(layer)
    assert other.weight is other.weight is not w
    # It outlives its module.
    del layer
    assert torch.equal(w.decompress(), other.weight.decompress())
    for again in (copy.copy(w), copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
        assert torch.equal(again.decompress(), w.decompress())
        assert (again.dtype, again.shape) == (w.dtype, w.shape)


class Small(nn.Module):
    """A language model as many are: its head is its table, and it asks where it is."""

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(300, 96)

    def forward(self, i):
        i = i.to(next(self.parameters()).device)
        return self.wte(i) @ self.wte.weight.T


class Functional(nn.Module):
    """One that goes around its layers."""

    def __init__(self):
        super().__init__()
        self.proj, self.conv = nn.Linear(96, 96), nn.Conv1d(96, 64, 3)

    def forward(self, x):
        x = F.linear(x, self.proj.weight * 0.5, self.proj.bias)
        x = torch.einsum("bti,oi->bto", x, self.proj.weight[: x.shape[-1]])
        weight = self.conv.weight / self.conv.weight.norm(dim=(1, 2), keepdim=True)
        return F.conv1d(x.mT, weight.to(x.dtype), self.conv.bias)


@pytest.mark.parametrize("make", [Small, Functional])
def test_models_that_take_weights_into_their_own_hands(make):
    model = make()
    x = torch.tensor([[1, 7, 3]]) if make is Small else torch.randn(2, 7, 96)
    report = hct.compress_model(model, bits=4, progress=False)
    assert report.layers
    found = model(x)
    assert torch.allclose(found, hct.decompress_model(model)(x), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_modules_without_other_parameters_say_where_they_are(dtype):
    model = nn.Sequential(nn.Embedding(300, 96), nn.Linear(96, 96, bias=False)).to(dtype)
    hct.compress_model(model, bits=4, progress=False)
    for module in (model, *model, nn.Sequential(model[0])):
        parameter = next(module.parameters())
        assert (parameter.device, parameter.dtype) == (torch.device("cpu"), dtype)
        assert parameter.numel() == 0
        assert not parameter.requires_grad
    assert next(model.half().parameters()).dtype == torch.float16
    assert next(copy.deepcopy(model).to("meta").parameters()).is_meta
    assert not any("compressed" in name for name in model.state_dict())
    assert "parameters" not in repr(model)
    assert not list(model[1].named_parameters(recurse=False))
    expected = model(torch.tensor([3]))
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(torch.tensor([3])), expected)
        assert next(again.parameters()).dtype == torch.float16
    # A load on the meta device ends with placeholders where the codes are.
    empty = copy.deepcopy(model).to("meta")
    hct.load_compressed(empty, model.state_dict())
    assert [p.device.type for p in empty.parameters()] == ["cpu", "cpu"]
    assert torch.equal(empty(torch.tensor([3])), expected)


def test_exports_and_function_calls_take_the_placeholders():
    model = nn.Sequential(nn.Linear(96, 96, bias=False), nn.Linear(96, 64))
    hct.compress_model(model, bits=4, progress=False)
    expected = model(X)
    exported = torch.export.export(model, (X,))
    assert torch.allclose(exported.module()(X), expected, atol=1e-5)
    called = torch.func.functional_call(model, dict(model.named_parameters()), X)
    assert torch.equal(called, expected)
    assert torch.equal(model(X), expected)


def test_transformer_layers_of_torch_still_compute():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval()
    attention = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    x = torch.randn(2, 5, 64)
    hct.compress_model(layer, bits=8, progress=False)
    hct.compress_model(attention, bits=8, progress=False)
    dense, plain = hct.decompress_model(copy.deepcopy(layer)), copy.deepcopy(attention)
    for mode in (torch.enable_grad, torch.inference_mode):
        with mode():
            assert torch.allclose(layer(x), dense(x), atol=1e-5)
            assert torch.equal(attention(x, x, x)[0], plain(x, x, x)[0])
