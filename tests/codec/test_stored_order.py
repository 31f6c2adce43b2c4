"""Matrices that are stored the other way round: whoever reads them gets the weight's own order."""

import json
import pickle
import struct
import zlib

import numpy as np
import plain_decoder
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hypercomp_rs as hc


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def turned(c, **changes):
    """The transpose of a compressed matrix: the same codes, said to be the other way round."""
    description, parts = c.to_parts()
    said = json.loads(description)
    said |= {"format": 2, "shape": said["shape"][::-1], "axes": [1, 0]} | changes
    return hc.CompressedTensor.from_parts(json.dumps(said), parts)


SPARSE = gaussian(300, 50) * (np.random.default_rng(1).random((300, 50)) < 0.4)
STORED = {
    "a row a stream": hc.compress_tensor(gaussian(70, 384), bits=3.3, effort="fast"),
    "pieces": hc.compress_tensor(gaussian(5, 20_000), bits=2.5, effort="fast"),
    "many outputs": hc.compress_tensor(gaussian(33, 5000), bits=2, effort="fast"),
    "joined": hc.compress_tensor(gaussian(301, 33), bits=4, effort="fast"),
    "bands": hc.compress_tensor(gaussian(700, 130), bits=4, effort="fast"),
    "overlapping": hc.compress_tensor(gaussian(40, 1000), bits=4, effort="fast"),
    "zeros and exact": hc.compress_tensor(
        SPARSE.astype(np.float32), bits=3, effort="fast", sparsity="keep", max_error=0.4
    ),
    "exact, wide": hc.compress_tensor(gaussian(20, 1500), bits=4, effort="fast", max_error=0.3),
    "half": hc.compress_tensor(gaussian(40, 300).astype(np.float16), incoherence="none"),
    "one output": hc.compress_tensor(gaussian(500, 1), effort="fast"),
    "one input": hc.compress_tensor(gaussian(1, 500), effort="fast"),
}
CASES = {name: (turned(c), c.decompress().T) for name, c in STORED.items()}


@pytest.mark.parametrize("name", CASES)
def test_all_of_it_is_the_transpose_of_what_is_stored(name):
    c, whole = CASES[name]
    assert c.stored_by_input
    assert not STORED[name].stored_by_input
    assert c.shape == whole.shape
    for threads in (1, 2, 5):
        assert np.array_equal(c.decompress(threads=threads), whole)
    out = np.empty(whole.shape, np.float64)
    c.decompress(out=out)
    assert np.array_equal(out, STORED[name].decompress(np.float64).T)
    assert torch.equal(c.decompress(torch.bfloat16), STORED[name].decompress(torch.bfloat16).t())


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(sorted(CASES)))
def test_what_numpy_selects_is_what_is_decoded(data, name):
    c, whole = CASES[name]
    index = data.draw(hnp.basic_indices(whole.shape))
    np.testing.assert_array_equal(c[index], whole[index])
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    np.testing.assert_array_equal(c.rows(start, stop), whole[start:stop])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 7])
def test_products_are_those_of_the_weight(name, batch):
    c, whole = CASES[name]
    x = gaussian(batch, whole.shape[1], seed=2)
    exact = x.astype(np.float64) @ c.decompress(np.float64).T
    # Results are transformed back together: each has a part of the roundings of the largest.
    size = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(whole, axis=1).max()
    y = hc.matmul(c, x)
    assert (np.abs(y - exact) <= 3e-6 * size + 1e-30).all()
    assert np.array_equal(hc.matmul(c, x, threads=3), y)
    assert np.array_equal(hc.matvec(c, x[0]), y[0])


@pytest.mark.parametrize("name", CASES)
def test_the_stored_form_comes_back_and_is_as_described(name):
    c, whole = CASES[name]
    data = c.to_bytes()
    assert len(data) == c.nbytes == STORED[name].nbytes + 2
    assert struct.unpack_from("<H", data, 4) == (2,)
    assert hc.CompressedTensor.from_bytes(data) == c
    again = pickle.loads(pickle.dumps(c))
    assert again.stored_by_input
    assert np.array_equal(again.decompress(), whole)
    description, parts = c.to_parts()
    assert json.loads(description)["axes"] == [1, 0]
    assert hc.CompressedTensor.from_parts(description, parts, verify=True) == c
    assert np.array_equal(plain_decoder.decode(data).astype(whole.dtype), whole)


def test_other_tensors_are_of_the_first_version():
    c = STORED["bands"]
    assert struct.unpack_from("<H", c.to_bytes(), 4) == (1,)
    said = json.loads(c.to_parts()[0])
    assert said["format"] == 1
    assert "axes" not in said


@pytest.mark.parametrize("name", ["a row a stream", "joined", "zeros and exact"])
def test_torch_has_the_weight_in_its_own_order(name):
    import hypercomp_rs.torch as hct

    c, whole = CASES[name]
    w = torch.from_numpy(whole.copy())
    outputs, inputs = w.shape
    linear = hct.CompressedLinear.from_module(torch.nn.Linear(inputs, outputs, bias=False), c)
    assert torch.equal(linear.decompress(), w)
    assert torch.equal(linear.weight + 0, w)
    x = torch.from_numpy(gaussian(3, inputs, seed=3)).requires_grad_()
    y = linear(x)
    assert torch.allclose(y, x @ w.t(), rtol=1e-4, atol=1e-3)
    y.square().sum().backward()
    assert torch.allclose(x.grad, 2 * y.detach() @ w, rtol=1e-4, atol=1e-2)
    table = hct.CompressedEmbedding.from_module(torch.nn.Embedding(outputs, inputs), c)
    rows = torch.tensor([[3, 0], [outputs - 1, 3]])
    assert torch.equal(table(rows), w[rows])


def test_a_model_with_such_weights_is_read_decoded_and_verified(tmp_path):
    import safetensors.numpy

    c, whole = CASES["a row a stream"]
    description, parts = c.to_parts()
    entries = {f"layer.weight_{name}": part for name, part in parts.items()}
    entries["layer.weight_description"] = np.frombuffer(description.encode(), np.uint8)
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(entries, path)
    with hc.Checkpoint.open(path) as model:
        read = model["layer.weight"]
        assert read.stored_by_input
        assert np.array_equal(read.decompress(), whole)
    hc.decompress_checkpoint(path, tmp_path / "decoded")
    (decoded,) = (tmp_path / "decoded").glob("*.safetensors")
    assert np.array_equal(safetensors.numpy.load_file(decoded)["layer.weight"], whole)
    reference = tmp_path / "reference.safetensors"
    safetensors.numpy.save_file({"layer.weight": np.ascontiguousarray(whole)}, reference)
    (verdict,) = hc.verify_checkpoint(path, against=reference)
    assert verdict.problem is None


def hostile(data, at, replaced):
    data = bytearray(data)
    data[at : at + len(replaced)] = replaced
    data[-4:] = struct.pack("<I", zlib.crc32(data[:-4]))
    return bytes(data)


def test_nonsense_axes_are_named_errors():
    c, _ = CASES["a row a stream"]
    data = c.to_bytes()
    # Magic, version, dtype, codec, number of axes, 384 in two bytes and 70 in one.
    at = 4 + 2 + 3 + 3
    assert data[at : at + 2] == b"\x01\x00"
    for axes in (b"\x00\x01", b"\x01\x01", b"\xff\x00", b"\x02\x00"):
        with pytest.raises(hc.FormatError, match="axes"):
            hc.CompressedTensor.from_bytes(hostile(data, at, axes))
    with pytest.raises(hc.FormatError, match="version 5"):
        hc.CompressedTensor.from_bytes(hostile(data, 4, b"\x05\x00"))
    for length in range(len(data)):
        with pytest.raises(hc.FormatError):
            hc.CompressedTensor.from_bytes(data[:length])
    for axes in ([0, 1], [1], [], [1, 0, 2], [1, 1], [0, 255]):
        with pytest.raises(hc.FormatError, match="axes"):
            turned(STORED["joined"], axes=axes)
    for axes in ([1, -1], [1, 256], "10", {"0": 1}, [1.5, 0]):
        with pytest.raises(hc.FormatError):
            turned(STORED["joined"], axes=axes)
    with pytest.raises(hc.FormatError, match="format 2"):
        turned(STORED["joined"], axes=None)
    with pytest.raises(hc.FormatError, match="format 1"):
        turned(STORED["joined"], format=1)
    with pytest.raises(hc.FormatError, match="format 3"):
        turned(STORED["joined"], format=3)


def test_codes_of_anything_but_a_matrix_have_one_order():
    for c in (
        hc.compress_tensor(gaussian(40, 51), codec="winding"),
        hc.compress_tensor(gaussian(2, 3)),
        hc.compress_tensor(np.zeros((4, 5), np.float32)),
    ):
        with pytest.raises(hc.FormatError, match="axes"):
            turned(c)
    with pytest.raises(hc.FormatError, match="axes"):
        turned(hc.compress_tensor(gaussian(4, 5, 60)), axes=[2, 1, 0])
    with pytest.raises(hc.FormatError, match="axes"):
        turned(hc.compress_tensor(gaussian(4, 5, 60)))


def test_a_device_without_torch_says_that_it_does_not_take_it():
    from hypercomp_rs import gpu

    with pytest.raises(hc.InvalidArgumentError, match="input by input"):
        gpu.load(CASES["joined"][0])
