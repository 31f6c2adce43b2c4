"""Models calibrated from their files, block by block."""

import numpy as np
import pytest
import torch
import transformers
from block_models import GROUPED, MODELS, made, saved, tokens, weights_of

import hypercomp_rs.torch as hct
import hypercomp_rs.torch.transformers as hctt
from hypercomp_rs import InvalidArgumentError, compress_checkpoint
from hypercomp_rs.checkpoint import Progress


@pytest.mark.parametrize("name", MODELS)
def test_one_block_is_compressed_as_compress_model_does(name, tmp_path):
    model = made(name, blocks=1)
    folder = saved(model, tmp_path / "model")
    options = {"bits": 3, "effort": "fast"}
    with compress_checkpoint(folder, tmp_path / "small", calibration=tokens(), **options) as small:
        assert not small.report.notes
    found = weights_of(tmp_path / "small")
    batches = [{"input_ids": torch.tensor([sample])} for sample in tokens()]
    report = hct.compress_model(model, calibration=batches, progress=False, **options)
    assert sum(layer.calibrated for layer in report.layers) >= 4
    compared = 0
    for layer in report.layers:
        module = model.get_submodule(layer.name.removesuffix(".weight"))
        # What follows the block is calibrated on what the compressed block gives.
        if layer.name.startswith("lm_head"):
            continue
        compared += layer.calibrated
        np.testing.assert_array_equal(found[layer.name], dense_weight(module))
    assert compared >= 4
    # Without calibration they are others.
    compress_checkpoint(folder, tmp_path / "plain", **options).close()
    plain = weights_of(tmp_path / "plain")
    assert plain.keys() == found.keys()
    assert sum(not np.array_equal(plain[n], found[n]) for n in found) >= 4


def dense_weight(module):
    return hct.decompress_model(module).weight.detach().float().numpy()


def moments_by_hand(folder, small, samples):
    """Plainly: what each linear layer of each block gets if the blocks before it are compressed."""
    original = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weights = weights_of(small)
    moments = {}
    with torch.no_grad():
        for i, block in enumerate(model.model.layers):
            sums = {}
            handles = []
            for name, module in block.named_modules():
                if isinstance(module, torch.nn.Linear):

                    def hook(module, args, name=name, sums=sums):
                        x = args[0].reshape(-1, args[0].shape[-1])
                        sums[name] = sums.get(name, 0) + x.T.double() @ x.double()

                    handles.append(module.register_forward_pre_hook(hook))
            for sample in samples:
                model(torch.tensor([sample]))
            for handle in handles:
                handle.remove()
            for name, total in sums.items():
                full = f"model.layers.{i}.{name}.weight"
                # Small ones are kept.
                if full not in weights:
                    continue
                moments[full] = total
                block.get_parameter(f"{name}.weight").copy_(torch.from_numpy(weights[full]))
    return moments, original


def test_each_block_is_calibrated_on_what_compressed_blocks_give(tmp_path):
    """The codes of the third block are best for inputs from two compressed blocks."""
    folder = saved(made("Llama", blocks=3), tmp_path / "model")
    options = {"bits": 2, "effort": "fast"}
    samples = tokens(24)
    compress_checkpoint(folder, tmp_path / "small", calibration=samples, **options).close()
    compress_checkpoint(folder, tmp_path / "plain", **options).close()
    moments, original = moments_by_hand(folder, tmp_path / "small", samples)
    assert len(moments) == 15
    found, plain = weights_of(tmp_path / "small"), weights_of(tmp_path / "plain")
    better = []
    for name, moment in moments.items():
        w = original.get_parameter(name).detach().numpy()
        errors = [
            np.trace((c[name] - w) @ moment.numpy() @ (c[name] - w).T) for c in (found, plain)
        ]
        better.append(errors[0] / errors[1])
    assert max(better) < 1.02, better
    assert np.mean(better) < 0.8, better


@pytest.mark.parametrize("name", ["Llama", "BERT"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_and_the_model_loads(name, dtype, tmp_path):
    folder = saved(made(name), tmp_path / "model", dtype)
    with compress_checkpoint(
        folder, tmp_path / "small", bits=4, effort="fast", calibration=tokens(4)
    ) as small:
        compressed = [small[name] for name in small.source.compressed]
    assert {c.dtype for c in compressed} == {str(dtype).removeprefix("torch.")}
    inputs = torch.tensor(tokens(1, seed=9))
    options = {"add_pooling_layer": False} if name == "BERT" else {}
    with torch.no_grad():
        got, wanted = (
            transformers.AutoModel.from_pretrained(place, dtype=torch.float32, **options)(inputs)
            for place in (tmp_path / "small", folder)
        )
    got, wanted = got.last_hidden_state, wanted.last_hidden_state
    assert (got - wanted).norm() < 0.3 * wanted.norm()


def test_target_bits_of_the_whole_model_are_met(tmp_path):
    folder = saved(made("Llama", blocks=3), tmp_path / "model")
    small = tmp_path / "small"
    compress_checkpoint(folder, small, target_bits=7, effort="fast", calibration=tokens(6)).close()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    weights = sum(p.numel() for p in model.parameters())
    nbytes = (small / "model.safetensors").stat().st_size
    # Tensors have far fewer than 10⁵ weights.
    assert 6.9 < 8 * nbytes / weights <= 7


def test_layers_in_no_block_and_rules(tmp_path):
    """OPT projects embeddings before the first block and after the last one."""
    config = transformers.OPTConfig(
        hidden_size=128,
        ffn_dim=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=100,
        max_position_embeddings=48,
        word_embed_proj_dim=64,
    )
    torch.manual_seed(0)
    folder = saved(transformers.OPTForCausalLM(config), tmp_path / "model")
    options = {"bits": 3, "effort": "fast", "rules": ["*.0.fc1=keep", "*.1.fc1=bits:6"]}
    with compress_checkpoint(folder, tmp_path / "small", calibration=tokens(), **options) as small:
        assert not small.report.notes
        assert "model.decoder.layers.0.fc1.weight" not in small.source.compressed
        assert small["model.decoder.layers.1.fc1.weight"].bits_per_weight > 5
    compress_checkpoint(folder, tmp_path / "plain", **options).close()
    found, plain = weights_of(tmp_path / "small"), weights_of(tmp_path / "plain")
    for name in ("project_in", "project_out"):
        full = f"model.decoder.{name}.weight"
        assert not np.array_equal(found[full], plain[full])


def test_experts_are_compressed_without_calibration(tmp_path):
    """transformers merges them: their inputs are of the merged tensor."""
    config = transformers.MixtralConfig(num_hidden_layers=2, num_local_experts=4, **GROUPED)
    torch.manual_seed(0)
    folder = saved(transformers.MixtralForCausalLM(config), tmp_path / "model")
    options = {"bits": 3, "effort": "fast"}
    with compress_checkpoint(folder, tmp_path / "small", calibration=tokens(), **options) as small:
        notes = small.report.notes
    assert len(notes) == 2 * 4 * 3
    assert all("experts" in name for name in notes)
    compress_checkpoint(folder, tmp_path / "plain", **options).close()
    found, plain = weights_of(tmp_path / "small"), weights_of(tmp_path / "plain")
    for name, w in found.items():
        same = "experts" in name or "embed" in name
        assert np.array_equal(w, plain[name]) == same, name


def test_progress_counts_every_weight_once(tmp_path):
    folder = saved(made("Llama"), tmp_path / "model")
    seen = []
    compress_checkpoint(
        folder, tmp_path / "small", bits=3, effort="fast", calibration=tokens(3), follow=seen.append
    ).close()
    assert all(isinstance(progress, Progress) for progress in seen)
    weights = [progress.weights for progress in seen]
    assert weights == sorted(weights)
    assert weights[-1] == seen[-1].of_weights
    assert {progress.of_tensors for progress in seen} == {12}
    assert [p.tensors for p in seen][:2] == [0, 1]


def test_from_pretrained_calibrates_as_compress_model_does(tmp_path):
    folder = saved(made("Llama"), tmp_path / "model")
    batches = [{"input_ids": torch.tensor([sample])} for sample in tokens()]
    options = {"bits": 3, "effort": "fast", "calibration": batches}
    config = hctt.HypercompConfig(
        **options, rules=["*.0.mlp.*=keep"], modules_to_not_convert=["lm_head"]
    )
    auto = transformers.AutoModelForCausalLM
    loaded = auto.from_pretrained(folder, quantization_config=config)
    plain = auto.from_pretrained(folder)
    rules = ["*.0.mlp.*=keep", "lm_head=keep"]
    hct.compress_model(plain, **options, rules=rules, progress=False)
    inputs = torch.tensor(tokens(1, seed=9))
    assert not isinstance(loaded.lm_head, hct.CompressedModule)
    assert not isinstance(loaded.model.layers[0].mlp.up_proj, hct.CompressedModule)
    assert isinstance(loaded.model.layers[1].mlp.up_proj, hct.CompressedModule)
    with torch.no_grad():
        wanted = plain(inputs).logits
        assert torch.equal(loaded(inputs).logits, wanted)
        said = loaded.config.quantization_config
        assert "calibration" not in said.to_dict()
        loaded.save_pretrained(tmp_path / "saved")
        assert torch.equal(auto.from_pretrained(tmp_path / "saved")(inputs).logits, wanted)
    with pytest.raises(InvalidArgumentError, match="calibration with sparsity"):
        hctt.HypercompConfig(bits=3, sparsity="keep", calibration=batches)
