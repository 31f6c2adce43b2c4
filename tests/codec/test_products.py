"""matvec and matmul against decompressing and multiplying."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercomp_rs as hc
from hypercomp_rs.torch.compressed_module import buffers_of

SHAPES = [(40, 700), (3, 20_000), (70, 33), (130, 512), (1, 1), (5, 0), (0, 5), (20, 128)]
OPTIONS = [
    {"bits": 4.0},
    {"bits": 2.7, "effort": "fast"},
    {"bits": 1.5, "incoherence": "none"},
    {"codec": "winding"},
    {"codec": hc.Winding(group=3)},
]


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def expected(whole, x):
    """In float64, and the size that a rounding may have."""
    w, x = np.asarray(whole, np.float64), np.asarray(x, np.float64)
    size = np.linalg.norm(x, axis=-1)[..., None] * np.linalg.norm(w, axis=-1)
    return x @ w.T, size


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(SHAPES), st.sampled_from(OPTIONS), st.integers(0, 70), st.integers(0, 2**32 - 1)
)
def test_a_product_is_that_of_the_decoded_matrix(shape, options, batch, seed):
    w = gaussian(*shape, seed=seed)
    w[::3] *= np.random.default_rng(seed).integers(0, 2)
    c = hc.compress_tensor(w, **options)
    x = gaussian(batch, shape[1], seed=seed + 1)
    y = hc.matmul(c, x)
    assert (y.shape, y.dtype) == ((batch, shape[0]), np.float32)
    exact, size = expected(c.decompress(), x)
    assert np.all(np.abs(y - exact) <= 2e-6 * size + 1e-30)
    if batch:
        alone = hc.matvec(c, x[-1], threads=1)
        np.testing.assert_array_equal(alone, y[-1])
    np.testing.assert_array_equal(hc.matmul(c, x, threads=3), y)


# Vectors of 16 bits are multiplied in integers: at most 50 dB below the product of the norms off,
# and 60 dB as a rule (docs/codec.md, "Products in integers").
SHORT = 3.2e-3


@pytest.mark.parametrize(
    ("dtype", "rounding", "bound"),
    [
        (np.float32, 0, 2e-6),
        (np.float64, 0, 2e-6),
        (np.float16, 2**-11, SHORT),
        (ml_dtypes.bfloat16, 2**-8, SHORT),
    ],
)
@pytest.mark.parametrize("options", OPTIONS)
def test_numpy_comes_back_as_numpy_of_its_dtype(dtype, rounding, bound, options):
    c = hc.compress_tensor(gaussian(40, 700), **options)
    x = gaussian(3, 700).astype(dtype)
    y = hc.matmul(c, x)
    assert isinstance(y, np.ndarray)
    assert y.dtype == x.dtype
    exact, size = expected(c.decompress(), x)
    allowed = bound * size + rounding * (np.abs(exact) + bound * size)
    assert np.all(np.abs(y.astype(np.float64) - exact) <= allowed)
    np.testing.assert_array_equal(hc.matvec(c, x[1], threads=1), y[1])
    np.testing.assert_array_equal(hc.matmul(c, x, threads=3), y)


def of_a_kind(kind, shape, rng):
    """Rows whose levels are, or are not, spread as a Gaussian's."""
    w = rng.standard_normal(shape)
    if kind == "heavy":
        w = rng.standard_cauchy(shape).clip(-1e4, 1e4)
    elif kind == "sparse":
        w *= rng.random(shape) < 0.03
    elif kind == "one hot":
        w[:] = 0
        w[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = rng.uniform(0.5, 2, shape[0])
    elif kind == "constant":
        w[:] = w[:, :1]
    elif kind == "ternary":
        w = rng.integers(-1, 2, shape).astype(np.float64)
    elif kind == "outliers":
        w[:, ::97] *= 300
    elif kind == "the last columns":
        w[:, : -max(1, shape[1] // 10)] *= rng.choice([0, 0.003, 0.03])
    return w.astype(np.float32)


KINDS = [
    "gaussian",
    "heavy",
    "sparse",
    "one hot",
    "constant",
    "ternary",
    "outliers",
    "the last columns",
]


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(KINDS),
    st.sampled_from([(9, 512), (9, 130), (5, 1152), (200, 300), (3, 2500)]),
    st.sampled_from([1, 1.25, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]),
    st.sampled_from(["fast", "balanced"]),
    st.sampled_from(["none", "hadamard"]),
    st.sampled_from([np.float16, ml_dtypes.bfloat16]),
    st.integers(0, 2**32 - 1),
)
def test_products_in_16_bits_are_within_the_bound_whatever_rows_and_vectors_are(
    kind, of_vectors, shape, bits, effort, incoherence, dtype, seed
):
    rng = np.random.default_rng(seed)
    w = of_a_kind(kind, shape, rng)
    c = hc.compress_tensor(w, bits=bits, effort=effort, incoherence=incoherence)
    whole = c.decompress(np.float64)
    # Any vectors, and such as are most like a row, or have all of its signs.
    largest = np.abs(whole).max() or 1
    x = np.concatenate([of_a_kind(of_vectors, (3, shape[1]), rng), whole[:2] / largest])
    x = np.concatenate([x, np.where(whole[:2] < 0, -1, 1)]).astype(dtype)
    rounding = 2**-11 if dtype == np.float16 else 2**-8
    exact, size = expected(whole, x)
    y = hc.matmul(c, x).astype(np.float64)
    allowed = SHORT * size + rounding * (np.abs(exact) + SHORT * size) + 1e-7
    # Beyond float16 a result is infinite.
    fits = np.abs(exact) < 6e4
    assert np.all((np.abs(y - exact) <= allowed)[fits])
    np.testing.assert_array_equal(hc.matmul(c, x, threads=3).astype(np.float64), y)
    transposed = torch.ops.hypercomp.linear
    description, buffers = buffers_of(c)
    v = torch.from_numpy(of_a_kind(of_vectors, (1, shape[0]), rng) / 30)
    v = v.to(torch.float16 if dtype == np.float16 else torch.bfloat16)
    z = transposed(v, buffers, description, None, True).double().numpy()
    exact = v.double().numpy() @ whole
    size = np.linalg.norm(v.double()) * np.linalg.norm(whole)
    allowed = SHORT * size + rounding * (np.abs(exact) + SHORT * size) + 1e-7
    fits = np.abs(exact) < 6e4
    assert np.all((np.abs(z - exact) <= allowed)[fits])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_torch_comes_back_as_torch_of_its_dtype(dtype):
    c = hc.compress_tensor(torch.from_numpy(gaussian(40, 700)))
    x = torch.from_numpy(gaussian(2, 3, 700)).to(dtype).requires_grad_()
    y = hc.matmul(c, x)
    assert isinstance(y, torch.Tensor)
    assert (y.dtype, y.shape, y.requires_grad) == (dtype, (2, 3, 40), False)
    linear = torch.nn.functional.linear(x.detach().double(), c.decompress().double())
    short = dtype in (torch.float16, torch.bfloat16)
    assert torch.allclose(y.double(), linear, rtol=2**-8 if short else 0, atol=1 if short else 1e-3)
    if not short:
        assert torch.equal(y, hc.matmul(c, x.detach().float()).to(dtype))


def test_any_leading_axes_and_strides_are_taken():
    c = hc.compress_tensor(gaussian(40, 700))
    x = gaussian(700, 6, 5).transpose(2, 1, 0)[::-1]
    y = hc.matmul(c, x)
    assert y.shape == (5, 6, 40)
    np.testing.assert_array_equal(y[1, 2], hc.matvec(c, np.ascontiguousarray(x[1, 2])))
    np.testing.assert_array_equal(hc.matmul(c, x[1, 2]), y[1, 2])
    assert hc.matmul(c, np.zeros((0, 3, 700), np.float32)).shape == (0, 3, 40)


def test_values_that_are_not_finite_stay_in_their_vector():
    c = hc.compress_tensor(gaussian(40, 700))
    x = gaussian(3, 700)
    x[1, 5] = np.inf
    y = hc.matmul(c, x)
    assert not np.isfinite(y[1]).any()
    np.testing.assert_array_equal(y[[0, 2]], hc.matmul(c, x[[0, 2]]))
    assert np.isnan(hc.matmul(c, x.astype(ml_dtypes.bfloat16)).astype(np.float32)[1]).any()


def test_a_result_beyond_a_dtype_is_infinite():
    c = hc.compress_tensor(np.full((16, 256), 1e4, np.float32))
    assert np.isinf(hc.matvec(c, np.ones(256, np.float16))).all()


def test_bad_arguments_are_refused():
    c = hc.compress_tensor(gaussian(40, 700))
    x = gaussian(700)
    with pytest.raises(hc.InvalidArgumentError, match=r"x has shape \(2, 700\): one axis"):
        hc.matvec(c, gaussian(2, 700))
    with pytest.raises(hc.InvalidArgumentError, match=r"\(\.\.\., 700\) is accepted"):
        hc.matmul(c, gaussian(2, 40))
    with pytest.raises(hc.InvalidArgumentError, match="a matrix"):
        hc.matmul(hc.compress_tensor(gaussian(4, 5, 6)), gaussian(2, 6))
    with pytest.raises(hc.InvalidArgumentError):
        hc.matmul(c, np.float32(3))
    with pytest.raises(hc.InvalidArgumentError):
        hc.matvec(c, x, threads=0)
    with pytest.raises(hc.DtypeError, match="c is a ndarray"):
        hc.matvec(x, x)
    with pytest.raises(hc.DtypeError, match="x has dtype int64"):
        hc.matvec(c, np.arange(700))
    with pytest.raises(hc.DtypeError, match="x is a list"):
        hc.matvec(c, [1.0] * 700)


def test_parts_and_products_of_tensors_with_zeros_and_exact_weights():
    rng = np.random.default_rng(3)
    w = rng.standard_normal((40, 300)).astype(np.float32)
    w[rng.random(w.shape) < 0.4] = 0
    w[7] = 0
    c = hc.compress_tensor(w, bits=4.5, sparsity="keep", max_error=0.07)
    assert c.exceptions > 0
    whole = c.decompress()
    assert np.array_equal(c.rows(5, 23), whole[5:23])
    for i, j in [(0, 0), (7, 12), (39, 299), (20, 150)]:
        assert c[i, j] == whole[i, j]
    x = rng.standard_normal((3, 300)).astype(np.float32)
    expected = x.astype(float) @ whole.T.astype(float)
    assert np.abs(hc.matmul(c, x) - expected).max() < 1e-4
