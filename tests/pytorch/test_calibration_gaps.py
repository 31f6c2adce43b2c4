"""Layers that calibration knows little or nothing of: how they are compressed, and what is said."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import hypercomp_rs as hc
import hypercomp_rs.torch as hct

WIDTH, ROWS = 128, 64
NO_VECTOR = "without calibration: no vector came to it"
ZEROS = "without calibration: all vectors that came to it are zero"
NO_COST = "bits by its weights alone: the output's gradient says nothing of it"


class Layers(nn.Module):
    """Three layers, and a function that says how they are called."""

    def __init__(self, call):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.call = call

    def forward(self, x, attention_mask=None):
        return self.call(self, x)


def batches(count=3, signs=None):
    """Vectors whose very first number has these signs."""
    made = []
    for i in range(count):
        x = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(i))
        if signs is not None:
            x[0, 0] = signs[i]
        made.append(x)
    return made


def compressed(call, given=None, **options):
    """The report's layers by name, and the mean of their bits."""
    net = Layers(call)
    options = {"target_bits": 4} | options
    report = hct.compress_model(
        net, effort="fast", calibration=given or batches(), progress=False, **options
    )
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(type(m) is hct.CompressedLinear for m in (net.a, net.b, net.c))
    return {layer.name.removesuffix(".weight"): layer for layer in report.layers}, report


BY_WEIGHTS, _ = compressed(lambda m, x: x, target_bits=4)
BITS = {name: layer.bits_per_weight for name, layer in BY_WEIGHTS.items()}


def within_no_grad(m, x):
    with torch.no_grad():
        aside = m.c(x)
    return m.b(m.a(x)) + aside


def within_inference(m, x):
    with torch.inference_mode():
        aside = m.c(x)
    return m.b(m.a(x)) + aside.clone()


def on_some_batches(m, x):
    y = m.b(m.a(x))
    return y + m.c(x) if x[0, 0] > 0 else y


def chain(m, x):
    return m.c(m.b(torch.relu(m.a(x))))


# By what the last layer gets: whether it is calibrated, and its note.
@pytest.mark.parametrize(
    ("call", "calibrated", "note"),
    [
        (lambda m, x: m.b(torch.relu(m.a(x))), False, NO_VECTOR),
        (lambda m, x: torch.cat([m.b(m.a(x)), m.c(x[:0])]), False, NO_VECTOR),
        (lambda m, x: torch.cat([m.b(m.a(x)), m.c(x[None, :0])[0]]), False, NO_VECTOR),
        (lambda m, x: m.b(m.a(x)) + m.c(0 * x), False, ZEROS),
        (lambda m, x: torch.cat([m.b(m.a(x)), m.c(x[:3])]), True, "9 vectors for 128 inputs"),
        (lambda m, x: torch.cat([m.b(m.a(x)), m.c(x[:1])]), True, "3 vectors for 128 inputs"),
        (within_no_grad, True, NO_COST),
        (within_inference, True, NO_COST),
        (lambda m, x: m.b(m.a(x)) + m.c(x).detach(), True, NO_COST),
        (lambda m, x: (m.c(x), m.b(m.a(x)))[1], True, NO_COST),
        (lambda m, x: m.b(m.a(x)) + 0 * m.c(x), True, NO_COST),
        (lambda m, x: m.b(m.a(x)) + m.c(x) * torch.tensor([float("inf")]) * 0, True, NO_COST),
        (on_some_batches, True, "64 vectors for 128 inputs came to it"),
    ],
)
def test_a_layer_that_little_is_known_of_keeps_its_bits_and_says_so(call, calibrated, note):
    found, report = compressed(call, batches(signs=[-1, 1, -1]))
    assert found["a"].calibrated
    assert found["b"].calibrated
    assert found["a"].note == found["b"].note == ""
    assert found["c"].calibrated == calibrated
    assert note in found["c"].note
    assert f"({found['c'].note})" in str(report)
    # The bits of the others are spread among them; this one has what its weights give it.
    assert found["c"].bits_per_weight == pytest.approx(BITS["c"], abs=0.05)
    assert report.bits_per_weight == pytest.approx(sum(BITS.values()) / 3, abs=0.05)


@dataclasses.dataclass
class Output:
    loss: object
    scores: torch.Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: (None, y, None),
        lambda y: (y.argmax(-1), y),
        lambda y: {"logits": None, "loss": y.sum(), "layers": [None, y]},
        lambda y: {"logits": y.detach(), "features": y},
        lambda y: Output(None, y),
        torch.fft.fft,
    ],
)
def test_the_output_is_found_in_whatever_a_model_gives(wrap):
    found, _ = compressed(lambda m, x: wrap(chain(m, 10 * x)))
    assert all(layer.calibrated and not layer.note for layer in found.values())
    # Of layers one behind the other, the first is before the nonlinearity that takes half away.
    assert abs(found["a"].bits_per_weight - found["c"].bits_per_weight) > 0.2


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: y.argmax(-1),
        lambda y: None,
        lambda y: y.sum(),
        lambda y: [y.detach()],
        lambda y: 60000.0 * y,
    ],
)
def test_a_model_without_gradients_is_calibrated_with_the_bits_of_its_weights(wrap):
    def call(m, x):
        return wrap(chain(m, x))

    net = Layers(call).half()
    given = [x.half() for x in batches()]
    report = hct.compress_model(net, target_bits=4, effort="fast", calibration=given)
    for layer in report.layers:
        assert layer.calibrated
        assert layer.note == NO_COST
        name = layer.name.removesuffix(".weight")
        assert layer.bits_per_weight == pytest.approx(BITS[name], abs=0.05)


@pytest.mark.parametrize("given", [[torch.zeros(0, WIDTH)], [torch.zeros(0, WIDTH), *batches()]])
def test_an_empty_batch_is_a_batch(given):
    found, _ = compressed(chain, given)
    assert {layer.calibrated for layer in found.values()} == {len(given) > 1}
    assert {layer.note for layer in found.values()} == ({""} if len(given) > 1 else {NO_VECTOR})


def test_padding_alone_is_no_input():
    mask = torch.zeros(4, 8)
    given = [{"x": torch.randn(4, 8, WIDTH), "attention_mask": mask} for _ in range(2)]
    found, _ = compressed(chain, given)
    assert {layer.note for layer in found.values()} == {NO_VECTOR}


def test_a_layer_that_runs_several_times_counts_each_time():
    once, _ = compressed(lambda m, x: m.c(m.b(m.a(x))))
    often, _ = compressed(lambda m, x: m.c(m.b(m.a(m.a(m.a(x))))))
    assert often["a"].bits_per_weight > once["a"].bits_per_weight + 0.5
    assert all(layer.calibrated and not layer.note for layer in often.values())


def test_activations_that_are_computed_anew_are_counted_once():
    def call(m, x):
        return checkpoint(lambda y: m.c(m.b(torch.relu(y))), m.a(x), use_reentrant=False)

    # With gradients both layers are called again on the way back.
    anew, _ = compressed(call, batches(1))
    plain, _ = compressed(chain, batches(1))
    for name, layer in anew.items():
        assert layer.bits_per_weight == pytest.approx(plain[name].bits_per_weight, abs=0.05)


def test_a_batch_that_calls_no_layer_is_passed_over():
    free = nn.Parameter(torch.ones(1))
    found, _ = compressed(
        lambda m, x: chain(m, x) if x[0, 0] > 0 else x * free, batches(signs=[-1, 1, 1])
    )
    assert all(layer.calibrated and not layer.note for layer in found.values())


class Experts(nn.Module):
    """Each token goes to one of four experts; the last of them gets none."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gate = nn.Linear(WIDTH, 4)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x):
        chosen = self.gate(x)[..., :3].argmax(-1)
        y = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            y[chosen == i] = expert(x[chosen == i])
        return y


@pytest.mark.parametrize("options", [{"bits": 4}, {"target_bits": 4}], ids=str)
@pytest.mark.parametrize("nbytes", [None, 0])
def test_an_expert_without_tokens_is_compressed_without_calibration(options, nbytes):
    net, given = Experts(), [torch.randn(2, 100, WIDTH) for _ in range(4)]
    report = hct.compress_model(
        net, calibration=given, calibration_nbytes=nbytes, progress=False, **options
    )
    assert [layer.calibrated for layer in report.layers] == [True, True, True, False]
    assert [layer.note for layer in report.layers] == ["", "", "", NO_VECTOR]
    assert str(report).count(NO_VECTOR) == 1
    # What it gets without calibration is what it gets where there is none.
    plain = Experts()
    bits = report.layers[-1].bits_per_weight
    hct.compress_model(plain, bits=4, progress=False)
    if "bits" in options:
        assert all(
            map(torch.equal, net.experts[3].weight_buffers(), plain.experts[3].weight_buffers())
        )
    else:
        assert bits == pytest.approx(BITS["c"], abs=0.1)
    assert net(given[0]).isfinite().all()


def test_what_is_no_linear_layer_says_so():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(WIDTH, WIDTH)
            self.head = nn.Linear(WIDTH, WIDTH, bias=False)
            self.head.weight = self.table.weight
            self.conv = nn.Conv1d(WIDTH, WIDTH, 1)
            self.exact = nn.Linear(WIDTH, WIDTH)

        def forward(self, i):
            x = self.conv(self.table(i).transpose(1, 2)).transpose(1, 2)
            return self.head(self.exact(x))

    report = hct.compress_model(
        Model(),
        bits=4,
        rules=["exact.*=sqnr:20"],
        calibration=[torch.randint(WIDTH, (4, 8))],
        progress=False,
    )
    assert {layer.name: layer.note for layer in report.layers} == {
        "table.weight": "without calibration: a weight of Embedding and Linear",
        "conv.weight": "without calibration: a weight of Conv1d",
        "exact.weight": "without calibration: decibels of its weights are asked for",
    }
    plain = hct.compress_model(Model(), bits=4, progress=False)
    assert not any(layer.note for layer in plain.layers)


@pytest.mark.parametrize("rank", [12, WIDTH])
@pytest.mark.parametrize("count", [1, 16, WIDTH])
def test_few_vectors_do_little_harm_where_they_tell_nothing_and_good_where_they_do(rank, count):
    mix = torch.randn(rank, WIDTH, generator=torch.Generator().manual_seed(9))

    def inputs(count, seed):
        drawn = torch.Generator().manual_seed(seed)
        return torch.randn(count, rank, generator=drawn) @ mix

    if rank == WIDTH:
        mix = torch.eye(WIDTH)
    held_out = inputs(2000, 5)

    def error(**options):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(WIDTH, 256))
        with torch.no_grad():
            expected = net(held_out)
            hct.compress_model(net, bits=3, effort="fast", progress=False, **options)
            return float((net(held_out) - expected).norm() / expected.norm())

    change = error(calibration=[inputs(count, 1)]) / error()
    # As many white vectors as inputs, with a second moment taken as it is, would double it.
    assert change < (1.4 if rank == WIDTH else {1: 1.02, 16: 0.6, WIDTH: 0.3}[count])


def test_an_error_of_ours_is_not_the_models(monkeypatch):
    from hypercomp_rs.torch import calibration

    def full(self, x, mask):
        raise MemoryError("no room for a second moment")

    monkeypatch.setattr(calibration.Site, "_add", full)
    with pytest.raises(MemoryError, match="no room"):
        compressed(chain)


def test_a_layer_that_is_called_with_something_else_refuses_it_itself():
    for given in (torch.randn(4, WIDTH + 1), [1.0]):
        with pytest.raises(hc.InvalidArgumentError, match="batch 1: the model does not take it"):
            compressed(chain, [*batches(1), (given,)])
