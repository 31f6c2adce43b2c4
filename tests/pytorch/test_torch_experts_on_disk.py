"""Fused experts in files: slices, shards, files of older versions, missing weights."""

import json

import moe
import pytest
import torch
import transformers
from moe import FAST, all_compressed, answer, close, experts_of, small
from safetensors.torch import load_file, save_file
from torch import nn

import hypercomp_rs as hc
from hypercomp_rs import compress_checkpoint, decompress_checkpoint
from hypercomp_rs.checkpoint import Checkpoint, verify_checkpoint
from hypercomp_rs.checkpoint.slices import SlicedExperts
from hypercomp_rs.cli.program import run
from hypercomp_rs.torch.experts import Kind
from hypercomp_rs.torch.transformers import HypercompConfig


def test_slices_on_disk(tmp_path, capsys):
    torch.manual_seed(0)
    state = {
        "m.experts.gate_up_proj": torch.randn(12, 64, 128),
        "m.experts.down_proj": torch.randn(12, 64, 64).bfloat16(),
        "m.experts.down_proj_bias": torch.randn(12, 512),
        "k.experts.down_proj": torch.randn(2, 64, 64),
        # Of experts that are too small, and of nobody's.
        "n.experts.down_proj": torch.randn(3, 8, 8),
        "conv.weight": torch.randn(64, 64, 3),
        "m.q.weight": torch.randn(64, 128),
    }
    (tmp_path / "dense").mkdir()
    save_file(state, tmp_path / "dense" / "model.safetensors")
    rules = ["k.experts.down_proj=keep", "m.experts.down_proj=bits:4", "*[[]2]=bits:7"]
    made = compress_checkpoint(tmp_path / "dense", tmp_path / "small", rules=rules, **FAST)
    with made:
        names = set(made)
        bits = {name: made.info(name).bits_per_weight for name in made}
    assert names == {
        *(f"m.experts.gate_up_proj[{i}]" for i in range(12)),
        *(f"m.experts.down_proj[{i}]" for i in range(12)),
        *(name for name in state if not name.startswith("m.experts") or name.endswith("bias")),
    }
    assert bits["m.experts.down_proj_bias"] == 32
    assert bits["m.experts.down_proj[2]"] < 5 < bits["m.experts.gate_up_proj[3]"]
    assert bits["m.experts.gate_up_proj[2]"] > bits["m.experts.gate_up_proj[3]"] + 0.5
    verdicts = verify_checkpoint(tmp_path / "small", against=tmp_path / "dense")
    assert {verdict.name for verdict in verdicts} == names
    assert not [verdict for verdict in verdicts if verdict.problem]
    assert run(["inspect", str(tmp_path / "small")]) == 0
    assert "m.experts.down_proj[11]" in capsys.readouterr().out
    decompress_checkpoint(tmp_path / "small", tmp_path / "decoded")
    decoded = load_file(tmp_path / "decoded" / "model.safetensors")
    assert decoded.keys() == state.keys()
    for name, tensor in state.items():
        assert decoded[name].shape == tensor.shape
        assert decoded[name].dtype == tensor.dtype
        lost = (decoded[name].float() - tensor.float()).norm() / tensor.float().norm()
        assert lost < 0.15 if "conv" in name or "m." in name else lost == 0
    # Each expert is compressed as it is alone.
    alone = hc.compress_tensor(state["m.experts.gate_up_proj"][5], **FAST)
    with Checkpoint.open(tmp_path / "small") as again:
        assert again["m.experts.gate_up_proj[5]"] == alone


def test_a_slice_that_is_lost_is_named(tmp_path):
    moe.made("GptOssForCausalLM").save_pretrained(tmp_path / "dense")
    compress_checkpoint(tmp_path / "dense", tmp_path / "small", **FAST).close()
    state = load_file(tmp_path / "small" / "model.safetensors")
    lost = "model.layers.1.mlp.experts.down_proj[2]"
    left = {name: tensor for name, tensor in state.items() if not name.startswith(lost)}
    save_file(left, tmp_path / "small" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(hc.FormatError, match=r"down_proj\[2\] is missing"):
        decompress_checkpoint(tmp_path / "small", tmp_path / "decoded")
    with pytest.raises(hc.FormatError, match=r"experts\.2\.down_proj\.weight"):
        transformers.GptOssForCausalLM.from_pretrained(tmp_path / "small")


@pytest.mark.parametrize("name", moe.FUSED)
def test_codes_of_all_experts_at_once_are_decoded(name, tmp_path, monkeypatch):
    """What versions before slices have made of fused experts."""
    moe.made(name).save_pretrained(tmp_path / "dense")
    with monkeypatch.context() as patch:
        patch.setattr(SlicedExperts, "of", classmethod(lambda cls, source, rules: source))
        compress_checkpoint(tmp_path / "dense", tmp_path / "small", **FAST).close()
    decompress_checkpoint(tmp_path / "small", tmp_path / "decoded")
    cls = moe.t(name)
    with pytest.warns(hc.StaysDenseWarning, match="decoded and stay dense"):
        model = cls.from_pretrained(tmp_path / "small")
    assert not experts_of(model)
    assert close(answer(model), answer(cls.from_pretrained(tmp_path / "decoded")))


def test_slices_that_no_module_takes_are_decoded(tmp_path, monkeypatch):
    moe.made("GptOssForCausalLM").save_pretrained(tmp_path / "dense")
    compress_checkpoint(tmp_path / "dense", tmp_path / "small", **FAST).close()
    decompress_checkpoint(tmp_path / "small", tmp_path / "decoded")
    expected = answer(transformers.GptOssForCausalLM.from_pretrained(tmp_path / "decoded"))
    monkeypatch.setattr(Kind, "of", classmethod(lambda cls, module: None))
    with pytest.warns(hc.StaysDenseWarning, match=r"gate_up_proj"):
        model = transformers.GptOssForCausalLM.from_pretrained(tmp_path / "small")
    assert not experts_of(model)
    assert close(answer(model), expected)


def test_experts_in_shards(tmp_path):
    model, _ = small("GptOssForCausalLM")
    model.save_pretrained(tmp_path / "small", max_shard_size="20KB")
    index = json.loads((tmp_path / "small" / "model.safetensors.index.json").read_text())
    shards = {s for n, s in index["weight_map"].items() if "layers.0.mlp.experts.down_proj[" in n}
    assert len(shards) > 1
    again = transformers.GptOssForCausalLM.from_pretrained(tmp_path / "small")
    assert torch.equal(answer(again), answer(model))
    decompress_checkpoint(tmp_path / "small", tmp_path / "decoded")
    dense = transformers.GptOssForCausalLM.from_pretrained(tmp_path / "decoded")
    assert close(answer(dense), answer(model))


@pytest.mark.parametrize("name", ["MixtralForCausalLM", "GptOssForCausalLM"])
def test_device_maps_know_what_experts_take(name, tmp_path):
    moe.made(name).save_pretrained(tmp_path / "dense")
    compress_checkpoint(tmp_path / "dense", tmp_path / "small", **FAST).close()
    cls = moe.t(name)
    for folder, options in (
        (tmp_path / "small", {}),
        (tmp_path / "dense", {"quantization_config": HypercompConfig(**FAST)}),
    ):
        model = cls.from_pretrained(folder, device_map="auto", **options)
        sizes = model.hf_quantizer._element_sizes
        fused = {n: size for n, size in sizes.items() if n.endswith("experts.gate_up_proj")}
        assert len(fused) == 2
        assert all(0.6 < size < 0.9 for size in fused.values())


def test_weights_of_experts_by_the_names_of_modules(tmp_path):
    """As ``save_pretrained(save_original_format=False)`` writes them."""
    for name in ("MixtralForCausalLM", "GptOssForCausalLM"):
        model, _ = small(name)
        model.save_pretrained(tmp_path / name, save_original_format=False)
        again = moe.t(name).from_pretrained(tmp_path / name)
        assert all_compressed(again)
        assert torch.equal(answer(again), answer(model))


def test_experts_that_are_missing_from_a_dense_folder_are_new(tmp_path):
    moe.made("Qwen3MoeForCausalLM").save_pretrained(tmp_path / "dense")
    file = tmp_path / "dense" / "model.safetensors"
    state = load_file(file)
    lost = "model.layers.1.mlp.experts.2.up_proj.weight"
    del state[lost]
    save_file(state, file, metadata={"format": "pt"})
    model, info = transformers.Qwen3MoeForCausalLM.from_pretrained(
        tmp_path / "dense", quantization_config=HypercompConfig(**FAST), output_loading_info=True
    )
    assert info["missing_keys"] == {lost}
    layer = model.get_submodule(lost.removesuffix(".weight"))
    assert type(layer) is nn.Linear
    assert layer.weight.std() > 0
    assert answer(model).isfinite().all()
