"""Compressed tensors taken apart and put together: lent memory, and parts that do not fit."""

import gc
import json
import sys

import numpy as np
import pytest
import torch

import hypercomp_rs as hc

RNG = np.random.default_rng(5)
W = RNG.standard_normal((96, 512)).astype(np.float32)
SPARSE = np.where(np.abs(W) < 0.7, 0, W)

SAMPLES = {
    "trellis": hc.compress_tensor(W, bits=4, effort="fast"),
    "half rates": hc.compress_tensor(W, bits=2.3, effort="fast"),
    "sparse": hc.compress_tensor(SPARSE, bits=3, effort="fast", sparsity="keep"),
    "exact": hc.compress_tensor(W, bits=4, effort="fast", max_error=0.3),
    "winding": hc.compress_tensor(W, codec="winding"),
    "raw": hc.compress_tensor(W[0, :5]),
    "zeros": hc.compress_tensor(np.zeros((3, 400), np.float32)),
    "bfloat16": hc.compress_tensor(torch.from_numpy(W).bfloat16(), effort="fast"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_put_together_it_is_the_same(name):
    c = SAMPLES[name]
    description, parts = c.to_parts()
    told = json.loads(description)
    assert told["shape"] == list(c.shape)
    assert told["dtype"] == c.dtype
    assert told["codec"] == c.codec
    assert {n: p["bytes"] for n, p in told["parts"].items()} == {
        n: p.nbytes for n, p in parts.items()
    }
    for kind in (
        lambda p: p,
        torch.from_numpy,
        lambda p: p.tobytes(),
        lambda p: memoryview(p.tobytes()),
    ):
        again = hc.CompressedTensor.from_parts(
            description, {n: kind(p) for n, p in parts.items()}, verify=True
        )
        assert again == c
        assert np.array_equal(again.decompress(dtype=np.float32), c.decompress(dtype=np.float32))


def test_planes_are_lent_and_live_as_long_as_the_tensor():
    description, parts = SAMPLES["trellis"].to_parts()
    path = parts["path"]
    before = sys.getrefcount(path)
    c = hc.CompressedTensor.from_parts(description, parts)
    assert sys.getrefcount(path) == before + 1
    del c
    gc.collect()
    assert sys.getrefcount(path) == before
    c = hc.CompressedTensor.from_parts(description, parts)
    whole = c.decompress()
    # What the tensor reads is this very memory.
    kept = parts["path"].copy()
    parts["path"][:] = 0
    assert not np.array_equal(c.decompress(), whole)
    parts["path"][:] = kept
    del parts, path
    gc.collect()
    assert np.array_equal(c.decompress(), whole)


def test_of_torch_it_gives_torch():
    description, parts = SAMPLES["trellis"].to_parts()
    c = hc.CompressedTensor.from_parts(
        description, {n: torch.from_numpy(p) for n, p in parts.items()}
    )
    assert isinstance(c.decompress(), torch.Tensor)


@pytest.mark.parametrize("name", SAMPLES)
def test_an_altered_part_is_found_by_its_checksum(name):
    description, parts = SAMPLES[name].to_parts()
    for part in parts:
        altered = {n: p.copy() for n, p in parts.items()}
        altered[part][-1] ^= 1
        with pytest.raises(hc.FormatError, match=part):
            hc.CompressedTensor.from_parts(description, altered, verify=True)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (np.zeros(5, np.int8), "int8"),
        (np.zeros((2, 3), np.uint8), r"shape \(2, 3\)"),
        (np.zeros(10, np.uint8)[::2], "contiguous"),
        ([1, 2], "list"),
        (None, "NoneType"),
        ("text", "str"),
        (torch.zeros(5), "float32"),
    ],
)
def test_a_part_that_is_no_array_of_bytes_is_an_error(part, message):
    description, parts = SAMPLES["trellis"].to_parts()
    with pytest.raises(hc.DtypeError, match=message):
        hc.CompressedTensor.from_parts(description, {**parts, "path": part})


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("", "EOF"),
        ("{}", "missing field"),
        ("[1]", "description"),
        ('{"format": 2}', "missing field"),
    ],
)
def test_a_description_that_is_none_is_an_error(description, message):
    with pytest.raises(hc.FormatError, match=message):
        hc.CompressedTensor.from_parts(description, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"dtype": "int8"}, "int8"),
        ({"codec": "none"}, "none"),
        ({"shape": [2**40, 2**40]}, "2\\^60"),
        ({"shape": [2**20, 2**20]}, "truncated|bytes"),
        ({"shape": [96, 513]}, "bytes"),
        ({"signal": -1.0}, "negative"),
        ({"more": 1}, "unknown field"),
        ({"codec": "raw"}, "raw"),
        ({"codec": "winding"}, "codes"),
        ({"codec": "zeros"}, "codec has none"),
        ({"trellis": None}, "lacks the member trellis"),
    ],
)
def test_a_description_that_does_not_fit_is_an_error(change, message):
    description, parts = SAMPLES["trellis"].to_parts()
    told = {**json.loads(description), **change}
    with pytest.raises(hc.FormatError, match=message):
        hc.CompressedTensor.from_parts(json.dumps(told), parts)
