"""Second moments of what layers get, and models compressed for them."""

import copy
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.torch import calibration, conversion
from hypercomp_rs.torch.calibration import Calibration, Layer


class Block(nn.Module):
    """What a transformer's layer has: layers with one input, and one that is called twice."""

    def __init__(self, width=96):
        super().__init__()
        self.q, self.k = nn.Linear(width, 64), nn.Linear(width, 64, bias=False)
        self.twice = nn.Linear(64, width)
        self.up, self.down = nn.Linear(width, 160), nn.Linear(160, width)
        self.unused = nn.Linear(width, 64)
        self.dropout = nn.Dropout(0.5)
        self.mask_seen = None

    def forward(self, x, attention_mask=None):
        h = torch.tanh(self.q(x)) * torch.sigmoid(self.k(x))
        x = self.dropout(x + self.twice(h) + self.twice(h * h))
        return x + self.down(F.gelu(self.up(x)))


def gaussian(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def correlated(*shape, seed=0):
    """Vectors near a subspace that is the same for all seeds."""
    mix = gaussian(12, shape[-1], seed=99)
    return gaussian(*shape[:-1], 12, seed=seed) @ mix + 0.1 * gaussian(*shape, seed=seed + 1)


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(Block(), Block())


BATCHES = [correlated(4, 10, 96, seed=10 * i) for i in range(12)]
HELD_OUT = correlated(8, 10, 96, seed=1000)


def layers_of(net):
    linear = {name: m for name, m in net.named_modules() if isinstance(m, nn.Linear)}
    return [Layer(name, m.in_features, (m,)) for name, m in linear.items()]


def inputs_of(net, calls):
    """Plainly: every vector that each linear layer of a model gets."""
    met = {name: [] for name, m in net.named_modules() if isinstance(m, nn.Linear)}
    handles = [
        net.get_submodule(name).register_forward_pre_hook(
            lambda m, args, name=name: met[name].append(args[0].detach())
        )
        for name in met
    ]
    net.eval()
    with torch.no_grad():
        for args, kwargs in calls:
            net(*args, **kwargs)
    for handle in handles:
        handle.remove()
    return met


def hooks(net):
    return [hook for m in net.modules() for hook in m._forward_pre_hooks.values()]


def state(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("columns", [7, 512])
def test_second_moments_are_those_of_all_vectors_and_shared_where_tensors_are(columns, monkeypatch):
    monkeypatch.setattr(calibration, "COLUMNS", columns)
    net = model()
    found = Calibration(net, BATCHES)
    sites = found.sites(layers_of(net))
    names = [[layer.name for layer in site.layers] for site in sites]
    assert names == [
        [*group] if isinstance(group, tuple) else [group]
        for block in "01"
        for group in (
            (f"{block}.q", f"{block}.k"),
            f"{block}.twice",
            f"{block}.up",
            f"{block}.down",
        )
    ] + [["0.unused"], ["1.unused"]]
    found.collect(sites)
    met = inputs_of(net, [((batch,), {}) for batch in BATCHES])
    for site in sites:
        assert not site.apart
        for layer in site.layers:
            vectors = [x.reshape(-1, layer.inputs) for x in met[layer.name]]
            if not vectors:
                assert site.second_moment() is None
                continue
            x = torch.cat(vectors).double()
            expected = x.t() @ x / len(x)
            moment = site.second_moment()
            assert torch.equal(moment, moment.t())
            assert torch.allclose(moment.double(), expected, atol=1e-5 * expected.diag().mean())
            assert site.vectors == len(x)


def test_padding_is_no_input():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.pooled = nn.Linear(96, 64), nn.Linear(96, 64)

        def forward(self, x, attention_mask):
            kept = attention_mask[..., None]
            return self.tokens(x), self.pooled((x * kept).sum(1))

    net = Model()
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    x = gaussian(2, 3, 96)
    x[mask == 0] = torch.nan
    batch = {"x": x, "attention_mask": mask}
    for given in ([batch], [(torch.nan_to_num(x), mask)]):
        found = Calibration(net, given)
        sites = found.sites(layers_of(net))
        if isinstance(given[0], dict):
            sites.pop()
        found.collect(sites)
        # A mask is known by its name; a pooled vector is a text's, and no token's.
        assert [site.vectors for site in sites] == ([3] if isinstance(given[0], dict) else [6, 2])
    moment = Calibration(net, [batch]).sites(layers_of(net))[0]
    Calibration(net, [batch]).collect([moment])
    kept = x[mask.bool()]
    assert torch.allclose(moment.second_moment(), kept.t() @ kept / 3, atol=1e-5)


def test_inputs_whose_squares_are_no_floats_are_zeros():
    net = nn.Sequential(nn.Linear(128, 64))
    batches = [gaussian(300, 128, seed=i) for i in range(3)]
    for batch in batches:
        batch[:, 5] *= 1e-38
        batch[:, 7] = 0
    found = Calibration(net, batches)
    (site,) = found.sites(layers_of(net))
    found.collect([site])
    moment = site.second_moment()
    assert not moment[5].any()
    assert not moment[:, 5].any()
    assert torch.equal(moment, moment.t())
    report = hct.compress_model(net, bits=4, calibration=batches, progress=False)
    assert report.layers[0].calibrated
    constant = [torch.zeros(4, 128)]
    again = hct.compress_model(
        nn.Sequential(nn.Linear(128, 64)), bits=4, calibration=constant, progress=False
    )
    assert not again.layers[0].calibrated


def test_layers_that_part_after_the_first_batch_are_calibrated_each_for_itself():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(96, 64), nn.Linear(96, 64)

        def forward(self, x):
            return self.a(x) + self.b(x if x[0, 0] > 0 else x.clone())

    net = Model()
    batches = [gaussian(200, 96, seed=i) for i in range(3)]
    for batch, sign in zip(batches, (1, -1, 1), strict=True):
        batch[0, 0] = sign
    found = Calibration(net, batches)
    sites = found.sites(layers_of(net))
    assert len(sites) == 1
    found.collect(sites)
    assert sites[0].apart
    report = hct.compress_model(net, bits=4, calibration=batches, progress=False)
    assert [layer.calibrated for layer in report.layers] == [True, True]


def test_a_calibrated_model_errs_less_where_it_is_used():
    expected = model().eval()(HELD_OUT)

    def error(**options):
        net = model().eval()
        report = hct.compress_model(net, bits=3, progress=False, **options)
        return (net(HELD_OUT) - expected).norm() / expected.norm(), net, report

    plain, _, report = error()
    assert not any(layer.calibrated for layer in report.layers)
    calibrated, net, report = error(calibration=BATCHES)
    assert calibrated < 0.5 * plain
    names = [layer.name for layer in report.layers]
    assert names == [
        f"{name}.weight" for name, m in net.named_modules() if isinstance(m, nn.Linear)
    ]
    assert [layer.name for layer in report.layers if not layer.calibrated] == [
        "0.unused.weight",
        "1.unused.weight",
    ]
    assert report.bits_per_weight <= 3
    assert str(report).count("calibrated") == len(names) - 2
    assert not hooks(net)
    # The least memory: a pass for each place.
    several, *_ = error(calibration=BATCHES, calibration_nbytes=0)
    assert several < 0.5 * plain


@pytest.mark.parametrize("options", [{"bits": 4}, {"target_bits": 4}], ids=str)
def test_second_moments_are_let_go_before_the_next_pass(options, monkeypatch):
    alive, most = weakref.WeakSet(), []
    collect, add = Calibration.collect, calibration.Site._add

    def counted(self, sites, backward=None):
        most.append(len(alive))
        collect(self, sites, backward)

    monkeypatch.setattr(Calibration, "collect", counted)
    monkeypatch.setattr(
        calibration.Site, "_add", lambda site, *args: (alive.add(site), add(site, *args))
    )
    hct.compress_model(
        model(),
        effort="fast",
        calibration=BATCHES,
        calibration_nbytes=0,
        progress=False,
        **options,
    )
    # Each place once, and once more for bits to be spread.
    assert len(most) == (20 if "target_bits" in options else 10)
    assert max(most) <= 1
    assert not alive


def test_an_interrupt_ends_the_searches_and_keeps_what_is_done(monkeypatch):
    net = model()
    installed = conversion._install

    def interrupted(candidate, *args, **options):
        if candidate.name == "0.up.weight":
            raise KeyboardInterrupt
        return installed(candidate, *args, **options)

    monkeypatch.setattr(conversion, "_install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hct.compress_model(net, bits=4, calibration=BATCHES, progress=False)
    assert not [t for t in threading.enumerate() if t.name.startswith("hypercomp-layer")]
    assert isinstance(net[0].q, hct.CompressedLinear)
    assert type(net[0].up) is nn.Linear
    assert not hooks(net)
    assert net(HELD_OUT).isfinite().all()


def test_the_codes_do_not_depend_on_threads_nor_on_how_batches_come():
    def codes(**options):
        net = model().train()
        hct.compress_model(net, bits=4, effort="fast", progress=False, **options)
        assert all(module.training for module in net.modules())
        return state(net)

    expected = codes(calibration=BATCHES, threads=1)
    assert same(codes(calibration=BATCHES, threads=3), expected)
    assert same(codes(calibration=(batch for batch in BATCHES)), expected)
    assert same(codes(calibration=[(batch,) for batch in BATCHES]), expected)
    assert same(codes(calibration=({"input": batch} for batch in BATCHES)), expected)
    together = torch.utils.data.TensorDataset(torch.cat(BATCHES))
    loader = torch.utils.data.DataLoader(together, batch_size=4)
    assert same(codes(calibration=loader), expected)
    with torch.inference_mode():
        batches = [batch.clone() for batch in BATCHES]
    assert same(codes(calibration=batches), expected)
    assert not same(codes(), expected)


def test_modes_are_what_they_were_module_by_module():
    net = model()
    net[1].dropout.eval()
    flags = {name: module.training for name, module in net.named_modules()}
    hct.compress_model(net, bits=4, effort="fast", calibration=BATCHES, progress=False)
    assert {name: module.training for name, module in net.named_modules()} == flags
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("batches", "error", "match"),
    [
        ([], hc.InvalidArgumentError, "no batch"),
        (iter(()), hc.InvalidArgumentError, "no batch"),
        (BATCHES[0], hc.InvalidArgumentError, "calibration is a Tensor: a list"),
        ({"x": BATCHES[0]}, hc.InvalidArgumentError, "calibration is a dict: a list"),
        (7, hc.InvalidArgumentError, "calibration is a int: a list"),
        ([BATCHES[0], "text"], hc.InvalidArgumentError, "batch 1 is a str: a tensor, a tuple"),
        ([BATCHES[0], gaussian(3, 95)], hc.InvalidArgumentError, "batch 1: the model does not"),
        ([{"nothing": 1}], hc.InvalidArgumentError, "batch 0: the model does not take it"),
        (
            [*BATCHES, BATCHES[0] * torch.inf],
            hc.NonFiniteError,
            r"0\.q.*: an input of this layer is NaN or infinite \(calibration, batch 12\)",
        ),
    ],
)
@pytest.mark.parametrize("nbytes", [None, 0])
def test_a_calibration_that_fails_leaves_the_model_as_it_was(batches, error, match, nbytes):
    net = model()
    net[0].q.eval()
    before = state(net)
    flags = [module.training for module in net.modules()]
    with pytest.raises(error, match=match):
        hct.compress_model(
            net, bits=4, calibration=batches, calibration_nbytes=nbytes, progress=False
        )
    assert same(state(net), before)
    assert [module.training for module in net.modules()] == flags
    assert not hooks(net)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "options", [{"target_sqnr_db": 20}, {"sparsity": "keep"}, {"calibration_nbytes": -1}]
)
def test_what_cannot_be_calibrated_is_refused(options):
    with pytest.raises(hc.InvalidArgumentError, match="calibration"):
        hct.compress_model(model(), calibration=BATCHES, progress=False, **options)


def test_rules_and_spread_bits_go_with_it():
    net = model()
    report = hct.compress_model(
        net,
        target_bits=4,
        rules=["1.up.*=bits:6", "0.down.*=keep", "1.down.*=sqnr:20"],
        effort="fast",
        calibration=BATCHES,
        progress=False,
    )
    found = {layer.name: layer for layer in report.layers}
    assert "0.down.weight" not in found
    assert type(net[0].down) is nn.Linear
    assert abs(found["1.up.weight"].bits_per_weight - 6) < 0.1
    # Decibels of weights are what was asked for.
    assert not found["1.down.weight"].calibrated
    assert abs(found["1.down.weight"].sqnr_db - 20) < 0.5
    assert found["0.up.weight"].calibrated


def test_statistics_are_measured_once_for_several_rates(monkeypatch):
    runs = []
    run = Calibration.run
    monkeypatch.setattr(Calibration, "run", lambda *args, **kw: runs.append(kw) or run(*args, **kw))
    statistics = hct.CalibrationStatistics(batch for batch in BATCHES)

    def compressed(calibration, **options):
        net = model()
        hct.compress_model(net, effort="fast", calibration=calibration, progress=False, **options)
        return state(net)

    for options in ({"bits": 3}, {"target_bits": 3}, {"target_bits": 4}, {"bits": 2}):
        assert same(compressed(statistics, **options), compressed(BATCHES, **options))
    # A look at the first batch and a pass for second moments, which has the gradients too if they
    # are wanted by then; without statistics that for each rate.
    assert len(runs) == 3 + 2 + 2 + 2 + 2
    assert statistics.nbytes == 2 * 4 * (2 * 96**2 + 64**2 + 160**2)
    rules = ["1.up.*=keep"]
    assert same(
        compressed(statistics, bits=3, rules=rules), compressed(BATCHES, bits=3, rules=rules)
    )
    with pytest.raises(hc.InvalidArgumentError, match=r"0\.q\.weight: .* of other weights"):
        hct.compress_model(model(1), bits=3, calibration=statistics, progress=False)
    fewer = hct.CalibrationStatistics(BATCHES)
    compressed(fewer, bits=3, rules=rules)
    with pytest.raises(hc.InvalidArgumentError, match=r"1\.up\.weight: .* without this layer"):
        compressed(fewer, bits=3)


def test_tied_weights_stay_tied():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(200, 96)
            self.a, self.b = nn.Linear(96, 96), nn.Linear(96, 96)
            self.b.weight = self.a.weight
            self.head = nn.Linear(96, 200, bias=False)
            self.head.weight = self.table.weight

        def forward(self, indices):
            x = self.table(indices)
            return self.head(x + self.b(torch.tanh(self.a(x))))

    torch.manual_seed(0)
    net = Model()
    indices = torch.randint(200, (40, 30))
    found = Calibration(net, [indices])
    (site,) = found.sites([Layer("a", 96, (net.a, net.b))])
    found.collect([site])
    assert site.vectors == 2 * indices.numel()
    expected = net(indices)
    report = hct.compress_model(net, bits=5, calibration=[indices], progress=False)
    # A row of a table is looked up, so its error is not that of a product.
    assert {layer.name: layer.calibrated for layer in report.layers} == {
        "table.weight": False,
        "a.weight": True,
    }
    assert net.a.weight_buffers()[0] is net.b.weight_buffers()[0]
    assert net.head.weight_buffers()[0] is net.table.weight_buffers()[0]
    assert (net(indices) - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_models_of_any_dtype_are_calibrated(dtype):
    net = model().eval().to(dtype)
    expected = net(HELD_OUT.to(dtype))
    batches = [batch.to(dtype) for batch in BATCHES]
    hct.compress_model(net, bits=5, calibration=batches, progress=False)
    assert net[0].up.weight.dtype == dtype
    found = net(HELD_OUT.to(dtype))
    assert found.dtype == dtype
    assert (found - expected).float().norm() < 0.03 * expected.float().norm()


def test_what_is_below_adapters_is_calibrated():
    from peft import LoraConfig, get_peft_model

    net = get_peft_model(model(), LoraConfig(r=4, target_modules=["up", "down"]))
    report = hct.compress_model(net, bits=4, calibration=BATCHES, progress=False)
    calibrated = {layer.name for layer in report.layers if layer.calibrated}
    assert {
        f"base_model.model.{i}.{n}.base_layer.weight" for i in "01" for n in ("up", "down")
    } <= (calibrated)
    net(HELD_OUT).square().sum().backward()


def test_a_calibrated_model_is_saved_copied_and_loaded(tmp_path):
    net = model().eval()
    hct.compress_model(net, bits=4, calibration=BATCHES, progress=False)
    expected = net(HELD_OUT)
    assert torch.equal(copy.deepcopy(net)(HELD_OUT), expected)
    torch.save(net.state_dict(), tmp_path / "state.pt")
    again = hct.load_compressed(model(1).eval(), torch.load(tmp_path / "state.pt"))
    assert torch.equal(again(HELD_OUT), expected)
    # Calibration might break the graph; other tests run what inductor makes of graphs.
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.allclose(compiled(HELD_OUT), expected, atol=1e-4)
    dense = hct.decompress_model(net)
    assert type(dense[0].up) is nn.Linear
    assert torch.allclose(dense(HELD_OUT), expected, atol=1e-4)


@pytest.mark.parametrize("head_too", [False, True])
def test_a_language_model_makes_logits_only_where_they_are_wanted(head_too):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    rows = []
    model.lm_head.register_forward_hook(lambda module, args, y: rows.append(y.shape[1]))
    modules = [model.model.layers[0].mlp.down_proj] + [model.lm_head] * head_too
    layers = [Layer(str(i), m.in_features, (m,)) for i, m in enumerate(modules)]
    seen = Calibration(model, [torch.arange(40).view(2, 20), {"input_ids": torch.arange(30)[None]}])
    sites = seen.sites(layers)
    seen.collect(sites)
    assert {site.vectors for site in sites} == {70}
    assert set(rows) == ({20, 30} if head_too else {1})
