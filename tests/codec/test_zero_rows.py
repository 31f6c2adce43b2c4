"""Rows that are zero stay zero, in any tensor, whatever is asked for."""

import ml_dtypes
import numpy as np
import plain_decoder
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercomp_rs as hc
import hypercomp_rs.torch as hct


def table(rows, width, zeros, dtype=np.float32, seed=0):
    """Weights with rows of zeros at these numbers."""
    w = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    w[list(zeros)] = 0
    return w.astype(dtype)


def zero_rows(w):
    return np.flatnonzero(~np.asarray(w, np.float64).any(-1)).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    ("rows", "width", "zeros"),
    [(1000, 64, [0]), (300, 16, [299]), (300, 16, [1, 2, 3, 50, 77]), (500, 96, [0, 499])],
)
def test_the_padding_of_a_narrow_table_stays_zero(dtype, rows, width, zeros):
    w = table(rows, width, zeros, dtype)
    for options in (
        {"bits": 4},
        {"bits": 1, "effort": "fast"},
        {"bits": 3, "incoherence": "none"},
        {"target_sqnr_db": 20, "effort": "fast"},
        {"bits": 4, "sparsity": "keep"},
        {"bits": 6, "max_error": 0.5, "effort": "fast"},
    ):
        c = hc.compress_tensor(w, **options)
        assert zero_rows(c.decompress()) == zeros
        assert c.bits_per_weight <= options.get("bits", 8)
        assert np.array_equal(plain_decoder.decode(c.to_bytes()).astype(dtype), c.decompress())


def test_no_zero_row_costs_nothing_and_few_cost_next_to_nothing():
    dense, padded = table(30000, 64, []), table(30000, 64, [0])
    dense, padded = (hc.compress_tensor(w, bits=4, effort="fast") for w in (dense, padded))
    assert set(dense.to_parts()[1]) == {"path", "cells", "scales", "rates"}
    assert padded.bits_per_weight <= 4
    assert padded.sqnr_db > dense.sqnr_db - 0.05


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 60),
    width=st.integers(1, 200),
    share=st.sampled_from([0.02, 0.5, 0.95]),
    bits=st.floats(1, 8),
    incoherence=st.sampled_from(["hadamard", "none"]),
    moment=st.sampled_from([None, 0, 1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_of_zeros_stay_in_any_small_matrix(
    rows, width, share, bits, incoherence, moment, seed
):
    zeros = np.flatnonzero(np.random.default_rng(seed).random(rows) < share)
    w = table(rows, width, zeros, seed=seed)
    calibrated = {}
    if moment is not None:
        x = np.random.default_rng(seed).standard_normal((300, w.shape[moment]))
        calibrated = {"second_moment": x.T @ x, "input_axis": moment}
    c = hc.compress_tensor(
        w, bits=bits, effort="fast", incoherence=incoherence, threads=1, **calibrated
    )
    q = c.decompress()
    assert not q[zeros].any()
    assert hc.CompressedTensor.from_bytes(c.to_bytes()) == c
    if c.codec == "trellis":
        assert np.array_equal(plain_decoder.decode(c.to_bytes()).astype(np.float32), q)


@pytest.mark.parametrize("zeros", [[7], [0, 1, 2, 150, 299]])
@pytest.mark.parametrize("width", [48, 192])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_calibrated_layers_rows_of_zeros_stay_and_its_errors_are_no_larger(zeros, width, axis):
    w = table(300, width, zeros)
    rng = np.random.default_rng(1)
    inputs = w.shape[axis]
    x = rng.standard_normal((1000, 20)) @ rng.standard_normal((20, inputs))
    x += 0.1 * rng.standard_normal(x.shape)
    options = {"bits": 3, "effort": "fast", "second_moment": x.T @ x, "input_axis": axis}
    c = hc.compress_tensor(w, **options)
    q = c.decompress()
    assert zero_rows(q) == zeros
    assert c.bits_per_weight <= 3
    error = ((w - q) ** 2).sum()
    assert c.sqnr_db == pytest.approx(10 * np.log10((w**2).sum() / error), abs=0.01)

    def missed(q):
        return ((x @ (w - q if axis == 0 else (w - q).T)) ** 2).sum()

    plain = hc.compress_tensor(w, bits=3, effort="fast").decompress()
    assert missed(q) < 0.7 * missed(plain)
    y = np.ones(width, np.float32)
    for products in (hc.matvec(c, y), *hc.matmul(c, np.stack([y, y]))):
        assert np.allclose(products, q @ y, atol=1e-3)
        assert not products[zeros].any()


@pytest.mark.parametrize("padding", [0, 2999])
def test_an_embeddings_padding_stays_zero(padding):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(3000, 32, padding_idx=padding))
    hct.compress_model(model)
    assert isinstance(model[0], hct.CompressedEmbedding)
    rows = model(torch.tensor([padding, 5, padding]))
    assert not rows[[0, 2]].any()
    assert rows[1].any()


def test_a_zero_row_of_a_stack_of_matrices_stays_zero():
    w = table(4 * 200, 40, [3, 250, 799]).reshape(4, 200, 40)
    q = hc.compress_tensor(w, bits=2, effort="fast").decompress()
    assert zero_rows(q.reshape(-1, 40)) == [3, 250, 799]
