"""A compressed checkpoint loads as the model it was, or says by name what it cannot do; offline."""

import json
import os
import subprocess
import sys
import textwrap

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from small_transformers import FAST, PARENTS, SEEN, TEXT, compressed, made, same_weights, t
from torch import nn

import hypercomp_rs as hc
import hypercomp_rs.torch as hct
from hypercomp_rs import compress_checkpoint, decompress_checkpoint
from hypercomp_rs.torch.transformers import HypercompConfig

IDS = torch.arange(3, 12)[None]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """The folders of a language model with tied embeddings, and what the compressed one answers."""
    folder = tmp_path_factory.mktemp("llama")
    config = t("LlamaConfig")(**TEXT, tie_word_embeddings=True)
    made("LlamaForCausalLM", config).save_pretrained(folder / "dense")
    compress_checkpoint(folder / "dense", folder / "small", **FAST).close()
    return folder


def answer(model):
    with torch.no_grad():
        return model(IDS).logits


LLAMA = transformers.LlamaForCausalLM


def copied(folder, to, change=lambda state: state, change_config=lambda config: config):
    """A folder with other tensors, or another configuration."""
    to.mkdir()
    config = json.loads((folder / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(change_config(config)))
    state = change(load_file(folder / "model.safetensors"))
    save_file(state, to / "model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.parametrize(
    "lost",
    [
        "model.layers.0.mlp.up_proj.weight_",
        "model.embed_tokens.weight_",
        "model.layers.1.input_layernorm.weight",
    ],
)
def test_a_weight_that_is_lost_is_an_error(lost, llama, tmp_path):
    folder = copied(
        llama / "small",
        tmp_path / "lost",
        lambda state: {k: v for k, v in state.items() if not k.startswith(lost)},
    )
    name = lost.removesuffix("_")
    with pytest.raises(hc.FormatError, match=f"LlamaForCausalLM: .* lacks weights of it.*{name}"):
        LLAMA.from_pretrained(folder)


@pytest.mark.parametrize("part", ["path", "scales", "description"])
def test_a_part_that_is_lost_is_an_error(part, llama, tmp_path):
    name = "model.layers.0.mlp.up_proj.weight"
    folder = copied(
        llama / "small",
        tmp_path / "lost",
        lambda state: {k: v for k, v in state.items() if k != f"{name}_{part}"},
    )
    with pytest.raises(hc.FormatError, match=name):
        LLAMA.from_pretrained(folder)


def test_weights_by_other_names_are_an_error_unless_they_are_mapped(llama, tmp_path):
    def renamed(state):
        return {k.replace("model.", "backbone."): v for k, v in state.items()}

    folder = copied(llama / "small", tmp_path / "small", renamed)
    with pytest.raises(hc.FormatError, match=r"lacks weights.*without a place in it: backbone\."):
        LLAMA.from_pretrained(folder)
    model = LLAMA.from_pretrained(folder, key_mapping={"^backbone": "model"})
    expected = answer(LLAMA.from_pretrained(llama / "small"))
    assert torch.equal(answer(model), expected)
    dense = copied(llama / "dense", tmp_path / "dense", renamed)
    config = HypercompConfig(bits=7, effort="fast")
    model = LLAMA.from_pretrained(
        dense, key_mapping={"^backbone": "model"}, quantization_config=config
    )
    assert torch.equal(answer(model), expected)


def test_a_weight_that_nobody_wants_is_said(llama, tmp_path):
    def one_layer(config):
        return {**config, "num_hidden_layers": 1}

    folder = copied(llama / "small", tmp_path / "one", change_config=one_layer)
    with pytest.warns(hc.UnusedWeightsWarning, match=r"no place for .* model\.layers\.1\."):
        LLAMA.from_pretrained(folder)


def test_a_bias_that_is_lost_is_not_left_as_memory_was(tmp_path):
    model = made("BertModel", t("BertConfig")(**{**TEXT, "num_hidden_layers": 1}))
    model.save_pretrained(tmp_path / "dense")
    name = "encoder.layer.0.output.dense.bias"
    folder = copied(
        tmp_path / "dense",
        tmp_path / "lost",
        lambda state: {k: v for k, v in state.items() if k != name},
    )
    compress_checkpoint(folder, tmp_path / "small", **FAST).close()
    with pytest.raises(hc.FormatError, match=name):
        transformers.BertModel.from_pretrained(tmp_path / "small")
    config = HypercompConfig(bits=7, effort="fast")
    fly = transformers.BertModel.from_pretrained(folder, quantization_config=config)
    assert not fly.get_parameter(name).any()


def test_the_base_of_a_model_and_a_new_head_on_it(llama):
    base, info = transformers.LlamaModel.from_pretrained(llama / "small", output_loading_info=True)
    assert not info["missing_keys"]
    whole = LLAMA.from_pretrained(llama / "small")
    with torch.no_grad():
        assert torch.equal(base(IDS)[0], whole.model(IDS)[0])
    head, info = transformers.LlamaForSequenceClassification.from_pretrained(
        llama / "small", num_labels=3, output_loading_info=True
    )
    assert info["missing_keys"] == {"score.weight"}
    head(IDS, labels=torch.tensor([1])).loss.backward()
    assert head.score.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("compress", ["before", "while loading"])
@pytest.mark.parametrize("name", ["ViTForImageClassification", "BertForSequenceClassification"])
def test_a_head_of_another_size_is_a_new_one(name, compress, tmp_path):
    config = {
        "ViTForImageClassification": lambda: t("ViTConfig")(**SEEN, num_labels=100),
        "BertForSequenceClassification": lambda: t("BertConfig")(**TEXT, num_labels=100),
    }[name]()
    cls = t(name)
    made(name, config).save_pretrained(tmp_path / "dense")
    options = {"num_labels": 10, "ignore_mismatched_sizes": True}
    if compress == "before":
        folder = tmp_path / "small"
        compress_checkpoint(tmp_path / "dense", folder, **FAST).close()
    else:
        folder = tmp_path / "dense"
        options["quantization_config"] = HypercompConfig(bits=7, effort="fast")
    model, info = cls.from_pretrained(folder, output_loading_info=True, **options)
    assert {key for key, *_ in info["mismatched_keys"]} == {"classifier.weight", "classifier.bias"}
    assert type(model.classifier) is nn.Linear
    assert model.classifier.weight.std() > 0
    assert len(compressed(model)) > 5
    model.save_pretrained(tmp_path / "again")
    again = cls.from_pretrained(tmp_path / "again")
    assert torch.equal(again.classifier.weight, model.classifier.weight)
    assert same_weights(again, model)
    del options["ignore_mismatched_sizes"]
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        cls.from_pretrained(folder, **options)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(value, llama, tmp_path):
    name = "model.layers.1.self_attn.q_proj.weight"

    def spoilt(state):
        state[name][3, 4] = value
        return state

    folder = copied(llama / "dense", tmp_path / "spoilt", spoilt)
    with pytest.raises(hc.NonFiniteError, match=rf"{name}: .*index 196"):
        LLAMA.from_pretrained(folder, quantization_config=HypercompConfig(bits=4))
    config = HypercompConfig(bits=4, effort="fast", rules=[f"{name}=keep"])
    assert type(LLAMA.from_pretrained(folder, quantization_config=config).lm_head) is not nn.Linear


@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "100KB"}], ids=["one", "several"])
def test_variants_are_those_that_are_asked_for(shards, llama, tmp_path):
    whole = LLAMA.from_pretrained(llama / "dense")
    other = made("LlamaForCausalLM", whole.config, seed=1)
    other.save_pretrained(tmp_path, variant="fp16", **shards)
    config = HypercompConfig(bits=7, effort="fast")

    def loads(expected, **options):
        model = LLAMA.from_pretrained(tmp_path, quantization_config=config, **options)
        assert compressed(model)
        return (answer(model) - answer(expected)).norm() < 0.1 * answer(expected).norm()

    assert loads(other, variant="fp16")
    whole.save_pretrained(tmp_path / "plain", **shards)
    for file in (tmp_path / "plain").glob("model*"):
        file.rename(tmp_path / file.name)
    assert loads(other, variant="fp16")
    assert loads(whole)
    model = LLAMA.from_pretrained(tmp_path, variant="fp16", quantization_config=config)
    model.save_pretrained(tmp_path / "small", variant="fp16", **shards)
    again = LLAMA.from_pretrained(tmp_path / "small", variant="fp16")
    assert torch.equal(answer(again), answer(model))


def alone(code):
    """What a process without this package answers."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_transformers_alone_refuses_a_compressed_folder(llama, tmp_path):
    clip = made("CLIPModel", PARENTS["CLIPModel"]())
    hct.compress_model(clip, progress=False, **FAST)
    clip.save_pretrained(tmp_path / "clip")
    clip.config.save_pretrained(tmp_path / "config")
    answer = alone(f"""
        import transformers as t
        for cls, folder in (
            (t.AutoModel, {str(llama / "small")!r}),
            (t.AutoModelForCausalLM, {str(llama / "small")!r}),
            (t.LlamaModel, {str(llama / "small")!r}),
            (t.CLIPModel, {str(tmp_path / "clip")!r}),
            (t.CLIPVisionModel, {str(tmp_path / "clip")!r}),
            (t.CLIPTextModel, {str(tmp_path / "clip")!r}),
        ):
            try:
                cls.from_pretrained(folder)
                print("loaded")
            except ValueError as error:
                print("refused", "import hypercomp_rs.torch.transformers" in str(error))
    """)
    assert answer.count("refused True") == 6, answer
    assert "loaded" not in answer
    vision, info = transformers.CLIPVisionModel.from_pretrained(
        tmp_path / "clip", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert compressed(vision)
    hct.decompress_model(clip)
    clip.save_pretrained(tmp_path / "dense")
    assert "hypercomp" not in (tmp_path / "dense" / "config.json").read_text()
    decompress_checkpoint(tmp_path / "clip", tmp_path / "decoded")
    assert "hypercomp" not in (tmp_path / "decoded" / "config.json").read_text()


def test_the_command_says_how_its_result_is_loaded(llama, tmp_path):
    small = tmp_path / "it's small"
    command = [sys.executable, "-m", "hypercomp_rs", "compress", llama / "dense", small]
    options = ["--bits", "7", "--effort", "fast", "--threads", "1"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("to load it: "))
    statements, _, call = line.removeprefix("to load it: ").rpartition("; ")
    names = {}
    exec(statements, names)
    expected = answer(LLAMA.from_pretrained(llama / "small"))
    assert torch.equal(answer(eval(call, names)), expected)
    dense = tmp_path / "bare"
    dense.mkdir()
    (llama / "dense" / "model.safetensors").rename(dense / "model.safetensors")
    try:
        done = subprocess.run(
            [*command[:-2], dense, tmp_path / "out", *options],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        (dense / "model.safetensors").rename(llama / "dense" / "model.safetensors")
    assert "to load it: hypercomp_rs.torch.load_compressed(model, " in done.stdout


def test_a_file_of_weights_with_a_name_of_its_own_is_found(llama, tmp_path):
    folder = copied(
        llama / "dense",
        tmp_path / "named",
        change_config=lambda config: {**config, "transformers_weights": "mine.safetensors"},
    )
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    expected = answer(LLAMA.from_pretrained(llama / "small"))
    compress_checkpoint(folder, tmp_path / "small", **FAST).close()
    assert torch.equal(answer(LLAMA.from_pretrained(tmp_path / "small")), expected)
    decompress_checkpoint(tmp_path / "small", tmp_path / "decoded")
    said = json.loads((tmp_path / "decoded" / "config.json").read_text())
    assert said["transformers_weights"] == "mine.safetensors"
    assert torch.allclose(answer(LLAMA.from_pretrained(tmp_path / "decoded")), expected, atol=1e-4)


def part_of_it(model):
    hct.compress_model(model.model.layers, progress=False, **FAST)


def one_layer(model):
    model.lm_head = hct.CompressedLinear.from_module(model.lm_head, bits=4, effort="fast")


def loaded_into(model):
    other = made("LlamaForCausalLM", model.config, seed=2)
    hct.compress_model(other, progress=False, **FAST)
    hct.load_compressed(model, other.state_dict())


@pytest.mark.parametrize("compress", [part_of_it, one_layer, loaded_into])
def test_a_model_is_saved_as_compressed_however_it_came_to_be(compress, llama, tmp_path):
    model = made("LlamaForCausalLM", t("LlamaConfig")(**TEXT))
    compress(model)
    assert compressed(model)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["quantization_config"]["bits"] > 1
    again, info = LLAMA.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert compressed(again) == compressed(model)
    assert torch.equal(answer(again), answer(model))


def test_buffers_that_no_checkpoint_has_are_named(llama):
    config = t("LlamaConfig")(**TEXT, tie_word_embeddings=True)
    with torch.device("meta"):
        empty = LLAMA(config)
    with pytest.raises(hc.InvalidArgumentError, match=r"rotary_emb\.inv_freq.*meta device"):
        hct.load_compressed(empty, llama / "small")
    model = hct.load_compressed(LLAMA(config).eval(), llama / "small")
    assert torch.equal(answer(model), answer(LLAMA.from_pretrained(llama / "small")))


def test_configurations_from_elsewhere(llama, tmp_path):
    expected = answer(LLAMA.from_pretrained(llama / "small"))
    own = t("LlamaConfig")(**TEXT, tie_word_embeddings=True)
    model = LLAMA.from_pretrained(llama / "small", config=own)
    assert torch.equal(answer(model), expected)
    model.save_pretrained(tmp_path / "again")
    again = LLAMA.from_pretrained(tmp_path / "again")
    assert torch.equal(answer(again), expected)
    # That of a model that is loaded already.
    again = LLAMA.from_pretrained(llama / "small", config=again.config)
    assert torch.equal(answer(again), expected)
    state = load_file(llama / "small" / "model.safetensors")
    again = LLAMA.from_pretrained(None, config=own, state_dict=state)
    assert torch.equal(answer(again), expected)
    folder = copied(
        llama / "small",
        tmp_path / "unsaid",
        change_config=lambda c: {
            k: v for k, v in c.items() if k not in ("quantization_config", "transformers_weights")
        },
    )
    assert torch.equal(answer(LLAMA.from_pretrained(folder)), expected)
    with pytest.raises(hc.InvalidArgumentError, match=r"compressed by hypercomp-rs already"):
        LLAMA.from_pretrained(folder, quantization_config=HypercompConfig(bits=3))


def test_a_folder_without_a_dtype_and_without_floats(tmp_path):
    class Bare(transformers.PreTrainedModel):
        config_class = transformers.LlamaConfig

        def __init__(self, config):
            super().__init__(config)
            self.inner = nn.Linear(64, 64, bias=False)
            self.post_init()

        def forward(self, x):
            return self.inner(x)

    model = Bare(t("LlamaConfig")(**TEXT))
    hct.compress_model(model, progress=False, **FAST)
    model.save_pretrained(tmp_path / "bare")
    folder = copied(
        tmp_path / "bare",
        tmp_path / "undtyped",
        change_config=lambda c: {k: v for k, v in c.items() if k != "dtype"},
    )
    x = torch.randn(2, 64)
    assert torch.equal(Bare.from_pretrained(folder)(x), model(x))


def test_layers_on_the_disk(llama, tmp_path):
    expected = answer(LLAMA.from_pretrained(llama / "small"))
    parts = ("model.embed_tokens", "model.layers.0", "model.norm", "model.rotary_emb", "lm_head")
    device_map = {**dict.fromkeys(parts, "cpu"), "model.layers.1": "disk"}
    options = {"device_map": device_map, "offload_folder": tmp_path}
    with pytest.warns(hc.StaysInMemoryWarning, match="offload_buffers=True"):
        model = LLAMA.from_pretrained(llama / "small", **options)
    assert torch.equal(answer(model), expected)
    model = LLAMA.from_pretrained(llama / "small", offload_buffers=True, **options)
    assert model.model.layers[1].mlp.up_proj.weight.device.type == "meta"
    assert torch.equal(answer(model), expected)
