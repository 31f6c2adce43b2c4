"""Models whose compressed tensors lie in several files, and readers that have no ml_dtypes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from models import save_model
from safetensors.numpy import load_file, save_file

import hypercomp_rs as hc

INDEX = "model.safetensors.index.json"
FAST = {"effort": "fast"}
ENDS = {"bos_token_id": 0, "eos_token_id": 0}


def dealt(folder, target, count, *, index=INDEX, drop=()):
    """The entries of a compressed model dealt out to `count` files in turn."""
    entries = {}
    for path in sorted(folder.glob("*.safetensors")):
        entries |= load_file(path)
    entries = {name: entry for name, entry in sorted(entries.items()) if name not in drop}
    target.mkdir()
    weight_map = {}
    for number in range(count):
        name = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        here = {n: entries[n] for n in list(entries)[number::count]}
        save_file(here, target / name, {"format": "pt"})
        weight_map |= dict.fromkeys(here, name)
    (target / index).write_text(json.dumps({"weight_map": weight_map}))
    return target


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    hc.compress_checkpoint(save_model(folder / "src"), folder / "small", **FAST).close()
    return folder


@pytest.mark.parametrize("count", [2, 3, 7, 60])
def test_parts_may_be_in_any_shard(made, tmp_path, count):
    split = dealt(made / "small", tmp_path / "split", count)
    with hc.Checkpoint(split) as checkpoint, hc.Checkpoint(made / "small") as whole:
        assert set(checkpoint) == set(whole)
        for name in whole:
            assert np.asarray(checkpoint[name]).tobytes() == np.asarray(whole[name]).tobytes()
            mine, theirs = checkpoint.info(name), whole.info(name)
            assert mine._replace(shard="") == theirs._replace(shard="")
    verdicts = hc.verify_checkpoint(split, against=made / "src")
    assert {v.name for v in verdicts} == set(checkpoint)
    assert not [v for v in verdicts if v.problem]
    hc.decompress_checkpoint(split, tmp_path / "back")
    told = json.loads((tmp_path / "back" / INDEX).read_text())["weight_map"]
    assert set(told) == set(checkpoint)
    # Files that had only parts of others' tensors are not made.
    assert {p.name for p in (tmp_path / "back").glob("*.safetensors")} == set(told.values())
    for name in checkpoint:
        w = load_file(tmp_path / "back" / told[name])[name]
        assert w.tobytes() == np.asarray(whole[name]).tobytes()
    with pytest.raises(hc.InvalidArgumentError, match="compressed already"):
        hc.compress_checkpoint(split, tmp_path / "again")


def test_a_part_that_is_nowhere_is_named(made, tmp_path):
    gone = "lm_head.weight_path"
    split = dealt(made / "small", tmp_path / "split", 5, drop={gone})
    with (
        hc.Checkpoint(split) as checkpoint,
        pytest.raises(hc.FormatError, match=r"lm_head\.weight: .*path is missing"),
    ):
        checkpoint["lm_head.weight"]
    problems = {v.name: v.problem for v in hc.verify_checkpoint(split) if v.problem}
    assert set(problems) == {"lm_head.weight"}
    with pytest.raises(hc.FormatError, match=r"lm_head\.weight"):
        hc.decompress_checkpoint(split, tmp_path / "back")
    # One file of several has not everything; it says where the rest may be.
    split = dealt(made / "small", tmp_path / "more", 2, drop=set())
    for shard in split.glob("*.safetensors"):
        with (
            pytest.raises(hc.FormatError, match="is missing; it may be in another shard"),
            hc.Checkpoint(shard) as checkpoint,
        ):
            [checkpoint[name] for name in checkpoint]


def test_codes_whose_description_is_nowhere_are_named(made, tmp_path):
    gone = "lm_head.weight_description"
    split = dealt(made / "small", tmp_path / "split", 3, drop={gone})
    for call in (
        hc.Checkpoint,
        hc.verify_checkpoint,
        lambda path: hc.decompress_checkpoint(path, tmp_path / "d"),
        lambda path: hc.compress_checkpoint(path, tmp_path / "c", rules=["*=keep"]),
    ):
        with pytest.raises((hc.FormatError, hc.InvalidArgumentError)) as caught:
            call(split)
        assert "is missing" in str(caught.value) or "compressed already" in str(caught.value)
    with pytest.raises(hc.FormatError, match=f"lm_head.weight: {gone} is missing"):
        hc.Checkpoint(split)
    # Tensors that are called so are nobody's parts.
    plain = {"shortest_path": np.ones(5, np.uint8), "color_scales": np.ones(5, np.uint8)}
    save_file(plain, tmp_path / "plain.safetensors")
    with hc.Checkpoint(tmp_path / "plain.safetensors") as checkpoint:
        assert set(checkpoint) == set(plain)


def test_a_tensor_in_two_forms_in_two_files_is_refused(made, tmp_path):
    split = dealt(made / "small", tmp_path / "split", 3)
    save_file({"lm_head.weight": np.ones(3, "f4")}, split / "more.safetensors")
    index = json.loads((split / INDEX).read_text())
    index["weight_map"]["lm_head.weight"] = "more.safetensors"
    (split / INDEX).write_text(json.dumps(index))
    with pytest.raises(hc.FormatError, match=r"lm_head\.weight is there twice"):
        hc.Checkpoint(split)


@pytest.mark.parametrize("size", ["15KB", "30KB"])
def test_what_transformers_saves_in_shards_is_read(tmp_path, size):
    transformers = pytest.importorskip("transformers")
    hct = pytest.importorskip("hypercomp_rs.torch")
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=100, n_embd=64, n_layer=2, n_head=2, n_positions=32, **ENDS
        )
    )
    hct.compress_model(model, bits=4, **FAST)
    model.save_pretrained(tmp_path / "s", max_shard_size=size)
    with hc.Checkpoint(tmp_path / "s") as saved:
        assert len(saved.source.shards) > 1
        compressed = [info for info in saved.tensors if info.codec is not None]
        shards = saved.source.shards.values()
        # Some tensor's parts are in two files: that is the situation.
        assert any(
            len({n for n, f in enumerate(shards) if any(e.startswith(i.name) for e in f.stored)})
            > 1
            for i in compressed
        )
    assert not [v for v in hc.verify_checkpoint(tmp_path / "s") if v.problem]
    hc.decompress_checkpoint(tmp_path / "s", tmp_path / "d")
    dense = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "d")
    hct.decompress_model(model)
    for name, parameter in model.named_parameters():
        assert (dense.get_parameter(name) == parameter).all(), name


# Names without weights


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """A model in bfloat16, of which some is kept."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    folder = tmp_path_factory.mktemp("brain")
    (folder / "m").mkdir()
    w = {"a.weight": torch.randn(64, 256), "norm.weight": torch.ones(64)}
    w["f8"] = torch.ones(8, 8).to(torch.float8_e4m3fn)
    save_torch(
        {n: x.bfloat16() if n != "f8" else x for n, x in w.items()}, folder / "m/m.safetensors"
    )
    return folder


HIDDEN = """
import sys
sys.modules["ml_dtypes"] = None
from hypercomp_rs.cli import main
main()
"""


def test_no_command_needs_ml_dtypes(brain):
    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", HIDDEN, *map(str, arguments)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("compress", brain / "m", brain / "s", "--target-bits", "5")
    assert "BF16" in run("inspect", brain / "s")
    assert run("verify", brain / "s").endswith("3 of 3 tensors are well\n")
    assert run("verify", brain / "s", "--against", brain / "m").endswith(
        "3 of 3 tensors are well\n"
    )
    run("decompress", brain / "s", brain / "d")


def test_asking_for_a_name_reads_no_tensor(made, monkeypatch):
    with hc.Checkpoint(made / "small") as checkpoint:
        monkeypatch.setattr(checkpoint.source, "read", None)
        assert "lm_head.weight" in checkpoint
        assert "lm_head.weight_path" not in checkpoint
        assert "nothing" not in checkpoint
        assert 3 not in checkpoint
        assert "lm_head.weight" in checkpoint.keys()  # noqa: SIM118
        assert checkpoint.get("nothing", 7) == 7
        assert len(checkpoint.keys() & {"lm_head.weight", "nothing"}) == 1
        for name in ("nothing", "lm_head.weight_path"):
            with pytest.raises(KeyError):
                checkpoint[name]
        with hc.Checkpoint(made / "small") as same:
            assert checkpoint == same
            assert len({checkpoint, same}) == 1
        (shard, *_) = (made / "small").glob("*.safetensors")
        with hc.Checkpoint(shard) as other:
            assert checkpoint != other
        assert checkpoint != {}
