"""What errors in a layer do to a model's output, against errors that are made."""

import math

import pytest
import torch
from torch import nn

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.torch import calibrated
from hypercomp_rs.torch.calibration import Calibration, Layer
from hypercomp_rs.torch.output_sensitivity import (
    DIFFERENCES,
    OutputSensitivity,
    WaterFilling,
    drawn_together,
)


class Encoder(nn.Module):
    """Tokens to one vector a text, their mean; what is said of tokens comes before it."""

    def __init__(self, output="sentence_embedding", width=48):
        super().__init__()
        self.output = output
        self.first, self.second = nn.Linear(width, 64), nn.Linear(64, width)
        self.ahead, self.aside = nn.Linear(width, 64), nn.Linear(width, 64)

    def forward(self, x, attention_mask=None):
        tokens = x + self.second(torch.relu(self.first(x).mul_(2)))
        self.aside(tokens)
        given = self.ahead(tokens)
        if self.output == "tensor":
            return given
        if self.output == "logits":
            return {"loss": torch.zeros(()), "logits": given}
        if self.output == "nothing":
            return "nothing"
        if self.output == "detached":
            return given.detach()
        mask = torch.ones(x.shape[:2]) if attention_mask is None else attention_mask.float()
        mean = (given * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return {"token_embeddings": given, "sentence_embedding": mean}


def model(output="sentence_embedding"):
    torch.manual_seed(0)
    return Encoder(output).eval()


BATCHES = [
    torch.randn(16, 10, 48, generator=torch.Generator().manual_seed(i)) + 0.5 for i in range(5)
]


def layers_of(net):
    linear = {name: m for name, m in net.named_modules() if isinstance(m, nn.Linear)}
    return [Layer(name, m.in_features, (m,)) for name, m in linear.items()]


def change(net, output, generator):
    """The mean square change of a sample's output: of logits twice the divergence."""
    given = net(torch.cat(BATCHES))
    if output == "tensor":
        return given
    return given["logits"].log_softmax(-1) if output == "logits" else given["sentence_embedding"]


# Without memory for activations they are computed anew.
@pytest.mark.parametrize("limit", [1 << 30, 0])
@pytest.mark.parametrize("output", ["sentence_embedding", "tensor", "logits"])
def test_costs_are_what_errors_of_such_a_kind_do(output, limit):
    net = model(output)
    found = Calibration(net, BATCHES)
    layers = layers_of(net)
    sites = found.sites(layers)
    sensitivity = OutputSensitivity(net, layers, limit)
    found.collect(sites, sensitivity)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        before = change(net, output, generator)
        for site in sites:
            factor = calibrated._factor(site)
            for layer in site.layers:
                weight = layer.modules[0].weight
                curve = sensitivity.curve(layer, weight, 1, factor)
                if layer.name == "aside":
                    assert curve is None
                    continue
                size = 1e-5
                kept, done = weight.clone(), []
                for _ in range(30):
                    noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
                    error = torch.linalg.solve_triangular(factor.t(), noise.t(), upper=True)
                    weight.copy_(kept + size**0.5 * error.flip(0).t())
                    after = change(net, output, generator)
                    if output == "logits":
                        each = 2 * (before.exp() * (before - after)).sum(-1)
                    else:
                        each = (after - before).square().sum(-1)
                    done.append(each.sum() / len(before))
                weight.copy_(kept)
                measured = float(torch.stack(done).mean()) / size
                assert 0.6 < curve.sensitivity / measured < 1.6, layer.name


def test_the_rate_is_that_of_the_least_error_for_its_slope():
    """Plainly: the level of water that spends a rate, and the error's slope by a difference."""
    generator = torch.Generator().manual_seed(0)
    variances = torch.randn(60, generator=generator, dtype=torch.float64).mul(2).exp()
    variances[7] = 0
    weights, sensitivity = 6000, 3.0
    curve = WaterFilling(weights, sensitivity, variances)

    def error(rate):
        low, high = -30.0, 30.0
        for _ in range(100):
            level = (low + high) / 2
            spent = (variances.clamp_min(1e-300).log() - level).clamp_min(0).mean() / math.log(4)
            low, high = (level, high) if spent > rate else (low, level)
        # Inputs below the level are left out, and their errors do not depend on it.
        return sensitivity / 60 * float(variances.clamp_max(math.exp(level)).sum())

    for rate in (1.2, 2.0, 3.5, 6.0):
        slope = (error(rate - 1e-3) - error(rate + 1e-3)) / 2e-3 / weights
        assert curve.rate(math.log10(slope)) == pytest.approx(rate, abs=0.01)
    assert (curve.rate(100.0), curve.rate(-100.0)) == (1, 8)


def test_rates_of_layers_are_drawn_together():
    variances = torch.ones(8, dtype=torch.float64)
    curves = [WaterFilling(64, 4.0**bits, variances) for bits in (0, 2)]
    rates = [curve.rate(-4.5) for curve in curves]
    assert rates[1] - rates[0] == pytest.approx(2)
    drawn = [curve.rate(-4.5) for curve in drawn_together(curves)]
    assert drawn[1] - drawn[0] == pytest.approx(2 * DIFFERENCES)
    assert sum(drawn) == pytest.approx(sum(rates))


def test_bits_go_where_the_output_minds_and_are_no_more():
    wide = Encoder(width=128)
    with torch.no_grad():
        wide.first.weight.mul_(0.01)
    batches = [
        torch.randn(8, 10, 128, generator=torch.Generator().manual_seed(i)) for i in range(9)
    ]
    requires = [p.requires_grad for p in wide.parameters()]
    before = [p.grad for p in wide.parameters()]
    assert before == [None] * len(before)
    state = torch.get_rng_state()
    report = hct.compress_model(
        wide, target_bits=4, calibration=batches, effort="fast", progress=False
    )
    assert torch.equal(torch.get_rng_state(), state)
    found = {layer.name.removesuffix(".weight"): layer.bits_per_weight for layer in report.layers}
    assert found["first"] + 2 < found["ahead"]
    # What nothing hangs on keeps what it has by its weights.
    plain = hct.compress_model(Encoder(width=128), target_bits=4, progress=False)
    assert plain.layers[-1].name == "aside.weight"
    assert abs(found["aside"] - plain.layers[-1].bits_per_weight) < 0.3
    assert abs(report.bits_per_weight - plain.bits_per_weight) < 0.1
    assert requires == [True] * len(requires)
    assert all(p.grad is None for p in wide.parameters())


@pytest.mark.parametrize("output", ["nothing", "detached"])
@pytest.mark.parametrize("nbytes", [None, 0])
def test_models_without_gradients_get_the_bits_of_their_weights(output, nbytes):
    def codes(net, **options):
        report = hct.compress_model(net, target_bits=4, effort="fast", progress=False, **options)
        return [layer.bits_per_weight for layer in report.layers]

    torch.manual_seed(0)
    net = Encoder(output, width=128)
    batches = [torch.randn(8, 10, 128) for _ in range(9)]
    found = codes(net, calibration=batches, calibration_nbytes=nbytes)
    torch.manual_seed(0)
    assert found == pytest.approx(codes(Encoder(output, width=128)), abs=0.05)


def test_a_pass_for_each_place_gives_the_same_bits():
    def codes(mode=torch.enable_grad, **options):
        torch.manual_seed(0)
        net = Encoder(width=128)
        with mode():
            return bits(net, **options)

    def bits(net, **options):
        report = hct.compress_model(
            net, target_bits=4, effort="fast", calibration=batches, progress=False, **options
        )
        return [layer.bits_per_weight for layer in report.layers]

    batches = [torch.randn(8, 10, 128) for _ in range(9)]
    # Codes of the same rate differ by some bytes.
    assert codes(calibration_nbytes=0) == pytest.approx(codes(), abs=0.02)
    before = codes()
    with torch.inference_mode():
        batches = [batch.clone() for batch in batches]
    assert codes() == codes(torch.inference_mode) == codes(torch.no_grad) == before


def test_sensitivities_that_are_given_are_heard():
    batches = [torch.randn(8, 10, 128) for _ in range(3)]
    net = Encoder(width=128)
    report = hct.compress_model(
        net,
        target_bits=4,
        sensitivity={"aside*": 1000.0},
        calibration=batches,
        effort="fast",
        progress=False,
    )
    found = {layer.name: layer.bits_per_weight for layer in report.layers}
    assert found["aside.weight"] > max(b for n, b in found.items() if n != "aside.weight") + 2
    assert all(layer.calibrated for layer in report.layers)


def test_a_backward_that_fails_is_a_batch_that_is_refused():
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("no backward pass")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(128, 128)

        def forward(self, x):
            return Odd.apply(self.layer(x))

    net = Model()
    with pytest.raises(
        hc.InvalidArgumentError,
        match="batch 0: the model does not take it with gradients, which target_bits asks for",
    ):
        hct.compress_model(net, target_bits=4, calibration=[torch.randn(4, 128)], progress=False)
    assert type(net.layer) is nn.Linear
    assert not net.layer._forward_hooks
