"""Adapters of peft on compressed layers."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hypercomp_rs.torch as hct

peft = pytest.importorskip("peft")


def adapted(targets, dense=False):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(96, 128), nn.GELU(), nn.Linear(128, 96))
    hct.compress_model(net, bits=4, progress=False)
    if dense:
        hct.decompress_model(net)
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    return peft.get_peft_model(net, config)


@pytest.mark.parametrize("targets", [["0", "2"], "0|2"])
def test_peft_adapts_compressed_layers_as_it_does_dense_ones(targets):
    ours, dense = adapted(targets), adapted(targets, dense=True)
    assert isinstance(ours.base_model.model[0].base_layer, hct.CompressedLinear)
    trained = [name for name, p in ours.named_parameters() if p.requires_grad]
    assert len(trained) == 4
    assert all("lora" in name for name in trained)
    x, target = torch.randn(16, 96), torch.randn(16, 96)
    gradients = []
    for model in (ours, dense):
        F.mse_loss(model(x), target).backward()
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * other.abs().max())


def test_adapters_are_saved_loaded_and_merged_into_a_dense_model(tmp_path):
    ours = adapted(["0", "2"])
    x = torch.randn(3, 96)
    expected = ours(x)
    ours.save_pretrained(tmp_path)
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(96, 128), nn.GELU(), nn.Linear(128, 96))
    hct.compress_model(base, bits=4, progress=False)
    again = peft.PeftModel.from_pretrained(base, tmp_path)
    assert torch.equal(again(x), expected)
    # Codes cannot take an adapter's sum: it is refused, and not lost.
    with pytest.raises(AttributeError, match="decompress_model first"):
        copy.deepcopy(again).merge_and_unload()
    hct.decompress_model(again)
    merged = again.merge_and_unload()
    assert torch.allclose(merged(x), expected, atol=1e-4)
