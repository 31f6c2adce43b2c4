"""Which files of a folder are the model, and what the result's files are called."""

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import save_file

import hypercomp_rs as hc
from hypercomp_rs.checkpoint import open_source

FAST = {"effort": "fast"}


def weights(seed=0, shards=2):
    rng = np.random.default_rng(seed)
    return [{f"{i}.weight": rng.standard_normal((80, 64)).astype("f4")} for i in range(shards)]


def save_shards(folder, index, names, seed=0):
    """Shards by these names, and an index by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    weight_map = {}
    for name, tensors in zip(names, weights(seed, len(names)), strict=True):
        save_file(tensors, folder / name)
        weight_map |= dict.fromkeys(tensors, name)
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def save_one(folder, name, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(seed, 1)[0], folder / name)
    return folder


def names(folder):
    return {path.name for path in pathlib.Path(folder).iterdir()}


SETS = {
    "one shard": ("model.safetensors.index.json", ["model-00001-of-00001.safetensors"]),
    "one shard by the usual name": ("model.safetensors.index.json", ["model.safetensors"]),
    "as Qwen publishes it": (
        "model.safetensors.index.json",
        ["model.safetensors-00001-of-00001.safetensors"],
    ),
    "diffusers": (
        "diffusion_pytorch_model.safetensors.index.json",
        [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)],
    ),
    "one shard of diffusers": (
        "diffusion_pytorch_model.safetensors.index.json",
        ["diffusion_pytorch_model-00001-of-00001.safetensors"],
    ),
    "another name": ("encoder.safetensors.index.json", ["e-1.safetensors", "e-2.safetensors"]),
    "variant": (
        "model.safetensors.index.fp16.json",
        [f"model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)],
    ),
    "variant in one shard": (
        "model.safetensors.index.bf16.json",
        ["model.bf16-00001-of-00001.safetensors"],
    ),
    "variant of diffusers": (
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        [f"diffusion_pytorch_model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)],
    ),
    "variant as diffusers had it": (
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        [f"diffusion_pytorch_model-0000{i}-of-00002.fp16.safetensors" for i in (1, 2)],
    ),
}


@pytest.mark.parametrize("case", SETS)
def test_an_index_stays_and_keeps_its_name(tmp_path, case):
    index, shards = SETS[case]
    source = save_shards(tmp_path / "m", index, shards)
    with hc.compress_checkpoint(source, tmp_path / "s", **FAST) as made:
        assert names(tmp_path / "s") == {index, *shards}
        told = json.loads((tmp_path / "s" / index).read_text())
        assert set(told["weight_map"].values()) == set(shards)
        assert set(made) == {f"{i}.weight" for i in range(len(shards))}
    # The index itself opens the same.
    with hc.Checkpoint(tmp_path / "s" / index) as same:
        assert list(same) == list(hc.Checkpoint(tmp_path / "s"))
    against = hc.verify_checkpoint(tmp_path / "s", against=source)
    assert not [v for v in against if v.problem]
    hc.decompress_checkpoint(tmp_path / "s", tmp_path / "d")
    assert names(tmp_path / "d") == {index, *shards}
    assert set(open_source(tmp_path / "d").entries) == set(open_source(source).entries)
    told = json.loads((tmp_path / "d" / index).read_text())["weight_map"]
    assert told == json.loads((source / index).read_text())["weight_map"]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("model.fp16.safetensors", []),
        ("diffusion_pytorch_model.non_ema.safetensors", []),
        ("model.safetensors", ["model.fp16.safetensors"]),
        ("diffusion_pytorch_model.safetensors", ["diffusion_pytorch_model.fp16.safetensors"]),
        ("encoder.safetensors", ["encoder.fp16.safetensors", "encoder.int8.safetensors"]),
    ],
)
def test_plain_files_are_the_model_and_variants_the_same_again(tmp_path, name, others):
    source = save_one(tmp_path / "m", name)
    for number, other in enumerate(others, 1):
        save_one(source, other, seed=number)
    (source / "config.json").write_text("{}")
    with hc.compress_checkpoint(source, tmp_path / "s", **FAST) as made:
        assert names(tmp_path / "s") == {name, "config.json"}
        assert sorted(made.report.left_out) == sorted(others)
    assert not [v for v in hc.verify_checkpoint(made.path, against=source / name) if v.problem]


@pytest.mark.parametrize("plain", ["model.safetensors", "shards", "pytorch_model.bin"])
def test_a_sharded_variant_beside_plain_files_is_left_out(tmp_path, plain):
    index, shards = SETS["variant"]
    source = save_shards(tmp_path / "m", index, shards, seed=1)
    if plain == "shards":
        kept = {"model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"}
        save_shards(source, "model.safetensors.index.json", sorted(kept)[:2])
    elif plain == "pytorch_model.bin":
        torch = pytest.importorskip("torch")
        w = weights(0, 1)[0]
        torch.save({name: torch.from_numpy(x) for name, x in w.items()}, source / plain)
        kept = {"model.safetensors"}
    else:
        save_one(source, plain)
        kept = {plain}
    with hc.compress_checkpoint(source, tmp_path / "s", **FAST) as made:
        assert names(tmp_path / "s") == kept
        assert set(made.report.left_out) == {index, *shards}
        assert made["0.weight"] == hc.compress_tensor(weights(0, 1)[0]["0.weight"], **FAST)
    # Asked for by its index, the variant is the model, and the rest of the folder goes along.
    (source / "config.json").write_text("{}")
    chosen = open_source(source / index)
    assert set(chosen.files()) == {"config.json"}
    with hc.compress_checkpoint(source / index, tmp_path / "v", **FAST) as made:
        assert names(tmp_path / "v") == {index, *shards, "config.json"}
        assert made["0.weight"] == hc.compress_tensor(weights(1, 1)[0]["0.weight"], **FAST)
    with pytest.raises(hc.InvalidArgumentError, match="is inside of"):
        hc.compress_checkpoint(source / index, source / "small", **FAST)


def test_an_index_of_other_files_is_no_index_of_the_model(tmp_path):
    source = save_shards(tmp_path / "m", "model.safetensors.index.json", ["a.safetensors"])
    save_one(source, "model.safetensors")
    with hc.compress_checkpoint(source, tmp_path / "s", **FAST) as made:
        assert names(tmp_path / "s") == {"model.safetensors"}
        assert set(made.report.left_out) == {"a.safetensors", "model.safetensors.index.json"}


def test_the_file_that_the_configuration_names_is_the_model(tmp_path):
    source = save_one(tmp_path / "m", "consolidated.safetensors")
    save_one(source, "model.safetensors", seed=1)
    (source / "config.json").write_text('{"transformers_weights": "consolidated.safetensors"}')
    assert open_source(source).weights_files() == [source / "consolidated.safetensors"]


def test_what_cannot_be_told_apart_is_an_error(tmp_path):
    source = save_one(tmp_path / "m", "model.fp16.safetensors")
    save_one(source, "model.bf16.safetensors", seed=1)
    with pytest.raises(hc.InvalidArgumentError, match=r"several variants \(model\.bf16"):
        open_source(source)
    source = save_one(tmp_path / "n", "a.safetensors")
    save_one(source, "b.safetensors", seed=1)
    with pytest.raises(hc.InvalidArgumentError, match=r"a\.safetensors, b\.safetensors and no"):
        open_source(source)
    source = save_shards(tmp_path / "o", "a.safetensors.index.json", ["a1.safetensors"])
    save_shards(source, "b.safetensors.index.json", ["b1.safetensors"])
    with pytest.raises(hc.InvalidArgumentError, match=r"a\.safetensors\.index\.json, b\."):
        open_source(source)
    (tmp_path / "p/unet").mkdir(parents=True)
    (tmp_path / "p/model_index.json").write_text("{}")
    with pytest.raises(hc.InvalidArgumentError, match="pipeline of diffusers"):
        open_source(tmp_path / "p")


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("count", [1, 2])
def test_files_of_torch_stay_as_many(tmp_path, variant, count):
    torch = pytest.importorskip("torch")
    source = tmp_path / "m"
    source.mkdir()
    mark = f".{variant}" if variant else ""
    weight_map = {}
    for number, tensors in enumerate(weights(0, count), 1):
        name = f"pytorch_model{mark}-0000{number}-of-0000{count}.bin"
        torch.save({n: torch.from_numpy(w) for n, w in tensors.items()}, source / name)
        weight_map |= dict.fromkeys(tensors, name)
    index = f"pytorch_model.bin.index{mark}.json"
    (source / index).write_text(json.dumps({"weight_map": weight_map}))
    for path in (source, source / index):
        dst = tmp_path / f"s{len(names(tmp_path))}"
        hc.compress_checkpoint(path, dst, **FAST).close()
        assert names(dst) == {
            f"model.safetensors.index{mark}.json",
            *(f"model{mark}-0000{i + 1}-of-0000{count}.safetensors" for i in range(count)),
        }


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("size", ["10GB", "60KB"])
def test_transformers_opens_the_result(tmp_path, variant, size):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("hypercomp_rs.torch.transformers")
    config = transformers.LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "m", variant=variant, max_shard_size=size)
    if size == "10GB":
        (one,) = (tmp_path / "m").glob("*.safetensors")
        mark = f".{variant}" if variant else ""
        shard = one.rename(one.with_name(f"model{mark}-00001-of-00001.safetensors"))
        index = {"weight_map": dict.fromkeys(open_source(shard).entries, shard.name)}
        (tmp_path / f"m/model.safetensors.index{mark}.json").write_text(json.dumps(index))
    hc.compress_checkpoint(tmp_path / "m", tmp_path / "s", **FAST).close()
    hc.decompress_checkpoint(tmp_path / "s", tmp_path / "d")
    with hc.Checkpoint(tmp_path / "s") as small:
        for folder in ("s", "d"):
            read = transformers.LlamaForCausalLM.from_pretrained(tmp_path / folder, variant=variant)
            weight = read.dequantize() if folder == "s" else read
            w = weight.model.layers[0].mlp.up_proj.weight.detach().numpy()
            assert (w == np.asarray(small["model.layers.0.mlp.up_proj.weight"])).all()
