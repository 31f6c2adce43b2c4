"""Models of diffusers: what they compute, and that their folders do not load as others."""

import json

import pytest
import torch
from torch import nn

import hypercomp_rs as hc
import hypercomp_rs.torch as hct

diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def unet():
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def autoencoder():
    return diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
    )


def transformer():
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=16,
        in_channels=4,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=10,
    )


def outputs(model):
    torch.manual_seed(1)
    x, step = torch.randn(1, 4, 8, 8), torch.tensor([3])
    with torch.no_grad():
        if isinstance(model, diffusers.UNet2DConditionModel):
            return model(x, step, torch.randn(1, 5, 32)).sample
        if isinstance(model, diffusers.AutoencoderKL):
            return model(torch.randn(1, 3, 16, 16)).sample
        return model(x, timestep=step, class_labels=torch.tensor([2])).sample


def compressed(make):
    torch.manual_seed(0)
    model = make().eval()
    before = outputs(model)
    report = hct.compress_model(model, bits=6, progress=False)
    assert len(report.layers) >= 8
    assert (outputs(model) - before).norm() < 0.2 * before.norm()
    return model


@pytest.mark.parametrize("make", [unet, autoencoder, transformer])
def test_a_folder_of_a_compressed_model_is_loaded_by_load_compressed_alone(make, tmp_path):
    model = compressed(make)
    expected = outputs(model)
    model.save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert said == {"quant_method": "hypercomp", "format": 1}
    kind = type(model)
    for options in ({}, {"low_cpu_mem_usage": False}):
        with pytest.raises(hc.FormatError, match=r"load_compressed\(model, folder\)"):
            kind.from_pretrained(tmp_path, **options)
    again = kind.from_config(kind.load_config(tmp_path)).eval()
    assert torch.equal(outputs(hct.load_compressed(again, tmp_path)), expected)
    assert (again.dtype, again.device) == (torch.float32, torch.device("cpu"))
    # What was loaded is saved as such, and what is dense again as any.
    again.save_pretrained(tmp_path / "again")
    with pytest.raises(hc.FormatError, match="diffusers does not load"):
        kind.from_pretrained(tmp_path / "again")
    dense = hct.decompress_model(again)
    dense.save_pretrained(tmp_path / "dense")
    loaded = kind.from_pretrained(tmp_path / "dense").eval()
    assert torch.allclose(outputs(loaded), outputs(dense), atol=1e-5)


def test_a_model_of_which_a_part_is_compressed_is_saved_as_compressed(tmp_path):
    torch.manual_seed(0)
    model = unet().eval()
    hct.compress_model(model.mid_block, bits=6, progress=False)
    model.save_pretrained(tmp_path)
    with pytest.raises(hc.FormatError, match="load_compressed"):
        diffusers.UNet2DConditionModel.from_pretrained(tmp_path)
    again = diffusers.UNet2DConditionModel.from_config(model.config).eval()
    assert torch.equal(outputs(hct.load_compressed(again, tmp_path)), outputs(model))


def test_adapters_on_a_network_of_diffusers_train():
    peft = pytest.importorskip("peft")
    model = compressed(unet)
    model.requires_grad_(False)
    model.add_adapter(peft.LoraConfig(r=4, target_modules=["to_q", "to_v", "conv1"]))
    model.enable_gradient_checkpointing()
    x, text = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 32)
    model.train()(x, torch.tensor([3]), text).sample.sum().backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora" in n and p.grad is not None for n, p in trained.items())
    assert any(isinstance(m, hct.CompressedConv2d) for m in model.modules())
    assert not any(isinstance(m, nn.Embedding) for m in model.modules())
