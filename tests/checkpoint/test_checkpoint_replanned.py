"""Runs that end at a weight, and go on with other rules; what they take over, and what not."""

import concurrent.futures
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from models import digests
from safetensors.numpy import save_file

import hypercomp_rs as hc

FAST = {"effort": "fast", "threads": 1}


def save(folder, shards, *, bad=(), value=np.nan, seed=0):
    """A model of so many tensors in each shard; one weight of those in `bad` is bad."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    weight_map = {}
    for number, count in enumerate(shards):
        name = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        tensors = {}
        for i in range(count):
            w = rng.standard_normal((80, 64)).astype("f4")
            if f"{number}.{i}.weight" in bad:
                w[3, 5] = value
            tensors[f"{number}.{i}.weight"] = w
        tensors[f"{number}.norm"] = np.ones(64, "f4")
        save_file(tensors, folder / name)
        weight_map |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text("{}")
    return folder


def ends(source, dst, **options):
    """A run that ends at a bad weight; what its message says to add."""
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(hc.NonFiniteError) as caught,
    ):
        # One after the other, so all before the bad one are finished.
        hc.compress_checkpoint(source, dst, executor=executor, **FAST | options)
    return json.loads(re.search(r'rules=(\[".*"\])', str(caught.value))[1])


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("shards", [[6], [3, 3], [2, 1, 3]])
def test_the_rule_that_the_error_says_is_enough(tmp_path, shards, value):
    bad = f"{len(shards) - 1}.{shards[-1] - 1}.weight"
    source = save(tmp_path / "m", shards, bad={bad}, value=value)
    rules = ends(source, tmp_path / "s")
    assert rules == [f"{bad}=keep"]
    with hc.compress_checkpoint(source, tmp_path / "s", rules=rules, **FAST) as made:
        # All others had been finished, those of finished shards among them.
        assert made.report.reused >= sum(shards) - 3
        assert made.info(bad).codec is None
    with hc.compress_checkpoint(source, tmp_path / "anew", rules=rules, **FAST) as anew:
        assert anew.report.reused == 0
    assert digests(tmp_path / "s") == digests(tmp_path / "anew")


def test_bad_weights_are_found_one_after_the_other(tmp_path):
    bad = {"0.1.weight", "1.0.weight", "2.2.weight"}
    source = save(tmp_path / "m", [3, 3, 3], bad=bad)
    rules = []
    for _ in bad:
        rules += ends(source, tmp_path / "s", rules=rules)
    assert set(rules) == {f"{name}=keep" for name in bad}
    hc.compress_checkpoint(source, tmp_path / "s", rules=rules, **FAST).close()
    hc.compress_checkpoint(source, tmp_path / "anew", rules=rules, **FAST).close()
    assert digests(tmp_path / "s") == digests(tmp_path / "anew")


@pytest.mark.parametrize(
    ("changed", "reused"),
    [
        ({"rules": ["0.0.weight=bits:6", "1.2.weight=keep"]}, 4),
        ({"rules": ["0.*=keep", "1.2.weight=keep"]}, 2),
        ({"bits": 5, "rules": ["1.2.weight=keep"]}, 0),
        ({"bits": 4.0, "rules": ["1.2.weight=keep"]}, 5),
        ({"seed": 1, "rules": ["1.2.weight=keep"]}, 0),
        ({"rules": ["1.2.weight=keep"], "copy_all": True}, 5),
        ({"bits": None, "target_bits": 8, "rules": ["1.2.weight=keep"]}, 0),
    ],
)
def test_only_what_has_the_same_parameters_is_taken_over(tmp_path, changed, reused):
    source = save(tmp_path / "m", [3, 3], bad={"1.2.weight"})
    (source / "model.onnx").write_text("x")
    ends(source, tmp_path / "s", bits=4)
    options = FAST | {"bits": 4} | changed
    with hc.compress_checkpoint(source, tmp_path / "s", **options) as made:
        assert made.report.reused == reused
    hc.compress_checkpoint(source, tmp_path / "anew", **options).close()
    assert digests(tmp_path / "s") == digests(tmp_path / "anew")


def test_bits_that_are_spread_anew_are_other_parameters(tmp_path):
    source = save(tmp_path / "m", [3, 3], bad={"1.2.weight"}, value=np.inf)
    options = {"target_bits": 10.0}
    # The sample of a tensor has all of its rows, so it ends before anything is compressed.
    rules = ends(source, tmp_path / "s", **options)
    assert not (tmp_path / "s.partial").exists()
    with hc.compress_checkpoint(source, tmp_path / "s", rules=rules, **options, **FAST) as made:
        assert made.report.reused == 0


def test_a_rule_that_is_wrong_leaves_what_is_finished(tmp_path):
    source = save(tmp_path / "m", [4], bad={"0.3.weight"})
    ends(source, tmp_path / "s")
    before = digests(tmp_path / "s.partial")
    with pytest.raises(hc.InvalidArgumentError, match="matches no tensor"):
        hc.compress_checkpoint(source, tmp_path / "s", rules=["none=keep"], **FAST)
    assert digests(tmp_path / "s.partial") == before


def test_another_source_is_refused(tmp_path):
    source = save(tmp_path / "m", [4], bad={"0.3.weight"})
    other = save(tmp_path / "other", [4], seed=1)
    ends(source, tmp_path / "s")
    with pytest.raises(hc.InvalidArgumentError, match=r"source differ.*restart"):
        hc.compress_checkpoint(other, tmp_path / "s", **FAST)
    with pytest.raises(hc.InvalidArgumentError, match=r"source differ.*restart"):
        hc.compress_checkpoint(other, tmp_path / "s", rules=["*=keep"], **FAST)
    hc.compress_checkpoint(other, tmp_path / "s", restart=True, **FAST).close()
    hc.compress_checkpoint(other, tmp_path / "anew", **FAST).close()
    assert digests(tmp_path / "s") == digests(tmp_path / "anew")


def test_compressing_does_not_go_on_from_decompressing(tmp_path):
    source = save(tmp_path / "m", [2])
    hc.compress_checkpoint(source, tmp_path / "s", **FAST).close()
    (tmp_path / "d.partial").mkdir()

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hc.decompress_checkpoint(tmp_path / "s", tmp_path / "d", follow=stop)
    with pytest.raises(hc.InvalidArgumentError, match="of another run"):
        hc.compress_checkpoint(source, tmp_path / "d", **FAST)


@pytest.mark.parametrize("name", ["it's", "a[0].weight", "what?*.weight", "größe.weight", 'a"b'])
def test_the_rule_can_be_copied_whatever_the_name(tmp_path, name):
    w = np.random.default_rng(0).standard_normal((80, 64)).astype("f4")
    nan = w.copy()
    nan[0, 0] = np.nan
    save_file({name: nan, "aaa": w, "bbb": w}, tmp_path / "model.safetensors")
    command = [sys.executable, "-m", "hypercomp_rs", "compress", "model.safetensors", "s"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    rule = re.search(r"--rule '.*=keep'", done.stderr)[0]
    line = f"{' '.join(command)} {rule}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with hc.Checkpoint(tmp_path / "s") as made:
        assert {n for n in made if made.info(n).codec is None} == {name}
