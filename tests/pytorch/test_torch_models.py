"""Whole models: compress_model, decompress_model, load_compressed, and adapters on top."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.checkpoint import compress_checkpoint


class Model(nn.Module):
    """Some of everything."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(200, 128)
        self.filters = nn.Conv1d(128, 64, 3, padding=1)
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))
        self.norm = nn.LayerNorm(64)
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.pattern = nn.Parameter(torch.randn(64, 80))
        self.up = nn.Linear(64, 128)
        self.head = nn.Linear(128, 200, bias=False)
        self.head.weight = self.table.weight

    def forward(self, indices):
        x = self.filters(self.table(indices).transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            x = x + F.gelu(layer(x))
        x = self.norm(x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.up(x))


INDICES = torch.arange(12).view(2, 6)


def model(seed=0):
    torch.manual_seed(seed)
    return Model()


def test_a_model_is_compressed_in_place_and_reported():
    net = model()
    layer = net.layers[1]
    expected = net(INDICES)
    report = hct.compress_model(net, bits=6, progress=False)
    assert net.layers[1] is layer
    assert (net(INDICES) - expected).norm() < 0.1 * expected.norm()
    assert [compressed.name for compressed in report.layers] == [
        "table.weight",
        "filters.weight",
        *(f"layers.{i}.weight" for i in range(3)),
        "up.weight",
    ]
    assert {name: why for name, _, why in report.skipped} == {
        "pattern": "no compressed form of Model.pattern",
        "attention.in_proj_weight": "no compressed form of MultiheadAttention.in_proj_weight",
        "attention.out_proj.weight": (
            "no compressed form of NonDynamicallyQuantizableLinear.weight"
        ),
    }
    assert report.bits_per_weight <= 6
    assert report.nbytes < report.dense_nbytes / 5
    assert "6 weights compressed, " in str(report)
    modules = [module for module in net.modules() if isinstance(module, hct.CompressedModule)]
    kept = sum(b.nbytes for m in modules[:-1] for b in m.weight_buffers())
    assert abs(kept - report.nbytes) < 1000 * len(modules)


def test_bits_are_spread_so_that_all_together_take_so_many():
    net = nn.Sequential(*(nn.Linear(512, 512) for _ in range(4)))
    dense = copy.deepcopy(net)
    # The same relative error costs a thousand times as much in one of them: 30 dB, 5 bits.
    report = hct.compress_model(net, target_bits=3.5, sensitivity={"1": 1e3}, progress=False)
    bits = {layer.name: layer.bits_per_weight for layer in report.layers}
    assert report.bits_per_weight == pytest.approx(3.5, abs=0.05)
    assert bits["1.weight"] == pytest.approx(bits["0.weight"] + 5, abs=0.5)
    report = hct.compress_model(dense, progress=False)
    assert report.bits_per_weight == pytest.approx(4, abs=0.05)


def test_rules_choose_layers():
    net = model()
    report = hct.compress_model(
        net, bits=4, rules=["layers.0=keep", "layers.*=bits:7", "head=bits:2"], progress=False
    )
    bits = {layer.name: round(layer.bits_per_weight) for layer in report.layers}
    # Tied weights go by the name that a rule is about.
    assert bits == {
        "head.weight": 2,
        "filters.weight": 4,
        "layers.1.weight": 7,
        "layers.2.weight": 7,
        "up.weight": 4,
    }
    assert ("layers.0.weight", (64, 64), "rule layers.0=keep") in report.skipped
    assert type(net.layers[0]) is nn.Linear
    with pytest.raises(hc.InvalidArgumentError, match="'nothing=keep': it matches no tensor"):
        hct.compress_model(model(), rules=["nothing=keep"])
    kept = hct.compress_model(model(), bits=4, rules=["*.weight=keep"], progress=False)
    assert not kept.layers
    assert "table.weight" not in [
        layer.name
        for layer in hct.compress_model(
            nn.ModuleDict({"word_embeddings": nn.Embedding(100, 64)}), embeddings="keep"
        ).layers
    ]


def test_whatever_hangs_on_a_module_stays():
    net = model().eval()
    net.layers[0].train()
    net.layers[0].weight.requires_grad_(False)
    net.layers[1].note = "mine"
    seen = []
    net.layers[0].register_forward_hook(lambda module, args, out: seen.append(type(module)))
    net.layers[0].register_forward_pre_hook(lambda module, args: seen.append("before"))
    bias = net.layers[0].bias
    hct.compress_model(net, progress=False)
    net(INDICES)
    assert seen == ["before", hct.CompressedLinear]
    assert net.layers[0].bias is bias
    assert (net.layers[0].training, net.layers[1].training) == (True, False)
    assert net.layers[1].note == "mine"
    hct.decompress_model(net)
    seen.clear()
    net(INDICES)
    assert seen == ["before", nn.Linear]
    assert not net.layers[0].weight.requires_grad
    assert net.layers[1].weight.requires_grad
    assert net.layers[1].note == "mine"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_of_any_float_stays_one(dtype):
    net = model().to(dtype)
    hct.compress_model(net, bits=6, progress=False)
    out = net(INDICES)
    assert out.dtype == dtype
    expected = hct.decompress_model(net)(INDICES)
    assert {p.dtype for p in net.parameters()} == {dtype}
    assert torch.allclose(
        out.float(), expected.float(), atol=0.2 if dtype != torch.float32 else 1e-4
    )


def test_decompression_undoes_it():
    net = model()
    before = [name for name, _ in net.named_parameters()]
    hct.compress_model(net, bits=6, progress=False)
    compressed = net(INDICES)
    assert hct.decompress_model(net) is net
    assert [name for name, _ in net.named_parameters()] == before
    assert net.head.weight is net.table.weight
    assert torch.allclose(net(INDICES), compressed, atol=1e-4)
    assert not any(isinstance(module, hct.CompressedModule) for module in net.modules())
    net.load_state_dict(model(1).state_dict())
    assert torch.equal(net(INDICES), model(1)(INDICES))


def test_a_model_that_is_compressed_already_is_left_alone():
    net = model()
    hct.compress_model(net, bits=6, progress=False)
    before = net(INDICES)
    again = hct.compress_model(net, bits=2, progress=False)
    assert not again.layers
    assert torch.equal(net(INDICES), before)


def test_a_root_module_and_one_in_two_places_are_compressed_in_place():
    root = nn.Linear(128, 64)
    hct.compress_model(root, progress=False)
    assert isinstance(root, hct.CompressedLinear)
    shared = nn.Linear(64, 64)
    twice = nn.Sequential(shared, nn.ReLU(), shared)
    assert len(hct.compress_model(twice, progress=False).layers) == 1
    assert twice[0] is twice[2]


def test_a_weight_shared_with_what_cannot_have_codes_is_left_alone():
    net = nn.Module()
    net.a = nn.Linear(64, 64)
    net.own = net.a.weight
    report = hct.compress_model(net, progress=False)
    assert not report.layers
    assert report.skipped[0].why == "no compressed form of Module.own"


def test_a_bad_weight_is_named_and_what_was_done_stays():
    net = model()
    net.layers[1].weight.data[3, 4] = torch.inf
    with pytest.raises(hc.NonFiniteError, match=r"layers\.1\.weight: .*"):
        hct.compress_model(net, bits=4, progress=False)
    assert isinstance(net.layers[0], hct.CompressedLinear)
    assert type(net.layers[1]) is nn.Linear
    meta = copy.deepcopy(model()).to("meta")
    report = hct.compress_model(meta, progress=False)
    assert not report.layers
    assert any("meta" in skipped.why for skipped in report.skipped)
    assert all("meta" in s.why or "no compressed" in s.why for s in report.skipped)


def test_dense_weights_are_let_go_one_by_one():
    net = nn.Sequential(*(nn.Linear(256, 256) for _ in range(8)))

    weights = [weakref.ref(layer.weight) for layer in net]
    counts = []
    original = hct.CompressedLinear.replace.__func__

    def counting(cls, *args):
        original(cls, *args)
        gc.collect()
        counts.append(sum(ref() is not None for ref in weights))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hct.CompressedLinear, "replace", classmethod(counting))
        hct.compress_model(net, bits=4, progress=False)
    # That of the layer at hand may still be there.
    assert counts == [8, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("how", ["file", "folder", "shards", "state"])
def test_a_model_is_loaded_without_ever_being_dense(tmp_path, how):
    net = model()
    path = tmp_path / "dense"
    path.mkdir()
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    del state["head.weight"]
    save_file(state, path / "model.safetensors")
    compress_checkpoint(path, tmp_path / "small", bits=5)
    source = {
        "file": tmp_path / "small" / "model.safetensors",
        "folder": tmp_path / "small",
        "shards": tmp_path / "small",
        "state": load_file(tmp_path / "small" / "model.safetensors"),
    }[how]
    with torch.device("meta"):
        empty = model()
        empty.head.weight = empty.table.weight
    loaded = hct.load_compressed(empty, source)
    assert loaded is empty
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
    same = model()
    hct.compress_model(same, bits=5, progress=False)
    # The folder has codes also for what has no compressed form: that is decoded.
    assert isinstance(loaded.attention.in_proj_weight, nn.Parameter)
    assert torch.equal(loaded.layers[0](torch.ones(64)), same.layers[0](torch.ones(64)))
    assert torch.equal(loaded.table(INDICES), same.table(INDICES))
    assert loaded.head.weight_path is loaded.table.weight_path
    assert (loaded(INDICES) - net(INDICES)).norm() < 0.2 * net(INDICES).norm()
    # What is compressed takes other codes.
    again = hct.load_compressed(loaded, source)
    assert torch.equal(again(INDICES), loaded(INDICES))


def test_what_cannot_be_loaded_is_named(tmp_path):
    net = nn.Sequential(nn.Linear(128, 64))
    hct.compress_model(net, progress=False)
    state = net.state_dict()

    def refused(error, match, **changes):
        with torch.device("meta"):
            empty = nn.Sequential(nn.Linear(128, 64))
        changed = {**state, **{key.replace("_0_", "0."): v for key, v in changes.items()}}
        with pytest.raises(error, match=match):
            hct.load_compressed(empty, {k: v for k, v in changed.items() if v is not None})

    refused(hc.FormatError, r"0\.weight: 0\.weight_path is missing", _0_weight_path=None)
    refused(
        hc.FormatError,
        r"0\.weight: the description",
        _0_weight_description=torch.zeros(9, dtype=torch.uint8),
    )
    short = state["0.weight_path"][:-1]
    refused(RuntimeError, r"weight: part path has", _0_weight_path=short)
    refused(RuntimeError, r"Unexpected key.*1\.weight_x", **{"1.weight_x": torch.zeros(1)})
    with torch.device("meta"):
        other = nn.Sequential(nn.Linear(64, 128))
    with pytest.raises(hc.FormatError, match=r"0\.weight: a weight of shape \(64, 128\)"):
        hct.load_compressed(other, state)
    with pytest.raises(FileNotFoundError):
        hct.load_compressed(other, tmp_path / "nothing")


class Adapted(nn.Module):
    """A frozen layer with a low-rank one beside it (LoRA, arXiv 2106.09685)."""

    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


def test_adapters_on_a_frozen_compressed_base_train_as_on_the_dense_one():
    torch.manual_seed(0)
    layers = [nn.Linear(96, 96) for _ in range(3)]
    hct.compress_model(nn.ModuleList(layers), bits=4, progress=False)
    net = nn.Sequential(*(Adapted(layer) for layer in layers))
    dense = copy.deepcopy(net)
    hct.decompress_model(dense)
    for adapted in dense:
        adapted.base.requires_grad_(False)
    x, target = torch.randn(16, 96), torch.randn(16, 96)
    losses = []
    for adapted in (net, dense):
        optimiser = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], 1e-2)
        losses.append([])
        for _ in range(20):
            optimiser.zero_grad()
            loss = F.mse_loss(adapted(x), target)
            loss.backward()
            if not losses[-1]:
                first = [p.grad.clone() for p in adapted.parameters() if p.requires_grad]
            optimiser.step()
            losses[-1].append(loss.item())
        adapted.first = first
    for one, other in zip(net.first, dense.first, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * other.abs().max())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert losses[0][-1] < losses[0][0]


def test_nothing_is_printed_without_a_terminal(capfd):
    hct.compress_model(nn.Linear(128, 128))
    assert capfd.readouterr() == ("", "")
