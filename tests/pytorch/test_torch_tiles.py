"""Layers whose codes are in tiles."""

import pytest
import torch
from torch import nn

import hypercomp_rs.torch as hct


def layer(inputs, outputs, dtype, **options):
    torch.manual_seed(0)
    dense = nn.Linear(inputs, outputs).to(dtype)
    return hct.CompressedLinear.from_module(dense, effort="fast", layout="tiles", **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("inputs", "outputs"), [(96, 256), (1000, 300), (2048, 64)])
@pytest.mark.parametrize("bits", [2, 3.5, 4.6])
def test_a_layer_is_the_product_with_its_weight(inputs, outputs, bits, dtype):
    module = layer(inputs, outputs, dtype, bits=bits)
    weight = module.weight.decompress().float()
    x = torch.randn(21, inputs, dtype=dtype)
    with torch.no_grad():
        got = module(x)
        expected = x.float() @ weight.T + module.bias.float()
        error = (got.float() - expected).norm() / expected.norm()
        assert error < {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 5e-3}[dtype]
        # A vector has the same bits alone and in any batch.
        for batch in (1, 2, 3, 8):
            assert torch.equal(module(x[:batch]), got[:batch])


def test_gradients_come_from_the_same_codes():
    module = layer(1000, 300, torch.bfloat16)
    x = torch.randn(5, 1000, dtype=torch.bfloat16, requires_grad=True)
    seed = torch.randn(5, 300, dtype=torch.bfloat16)
    module(x).backward(seed)
    expected = seed.float() @ module.weight.decompress().float()
    assert (x.grad.float() - expected).norm() < 6e-3 * expected.norm()


def test_a_model_in_tiles_is_saved_and_loaded(tmp_path):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 64)).eval()
    hct.compress_model(model, bits=3, layout="tiles", progress=False)
    x = torch.randn(4, 256)
    expected = model(x)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 64)).eval()
    hct.compress_model(other, bits=3, progress=False)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(other(x), expected)
