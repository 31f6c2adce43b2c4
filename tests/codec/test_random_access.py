"""Parts of a compressed tensor against the same parts of the whole."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hypercomp_rs as hc

SHAPES = [(40, 700), (3, 20_000), (70, 33), (16, 8, 3, 3), (2000,), (5, 0, 3), (9,), ()]


def compressed(shape, seed=0, dtype=np.float32, **options):
    w = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return hc.compress_tensor(np.asarray(w), **options)


CASES = [compressed(shape, bits=3.3, effort="fast") for shape in SHAPES]
CASES += [compressed((40, 300), incoherence="none"), compressed((40, 301), codec="winding")]
CASES += [compressed((40, 300), dtype=dtype) for dtype in (np.float64, np.float16)]
CASES += [compressed((40, 300), dtype=ml_dtypes.bfloat16), hc.compress_tensor(np.zeros((4, 5)))]
WHOLES = [c.decompress() for c in CASES]


@settings(deadline=None, max_examples=300)
@given(st.data(), st.integers(0, len(CASES) - 1))
def test_what_numpy_selects_is_what_is_decoded(data, case):
    c, whole = CASES[case], WHOLES[case]
    if 0 in whole.shape:
        index = data.draw(st.sampled_from([(), ..., slice(1, 3), (1, slice(None)), (-1, ..., 0)]))
    else:
        index = data.draw(hnp.basic_indices(whole.shape))
    expected = whole[index]
    part = c[index]
    assert type(part) is type(expected)
    assert (part.dtype, part.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_rows_are_those_of_the_whole(case):
    c, whole = CASES[case], WHOLES[case]
    if not c.shape:
        with pytest.raises(hc.OutOfBoundsError):
            c.rows(0, 1)
        return
    n = len(c)
    assert n == len(whole)
    for start, stop in [(0, n), (0, 0), (n, n), (n // 3, n - n // 4), (n // 2, n // 2 + 1)]:
        np.testing.assert_array_equal(c.rows(start, stop, threads=1), whole[start:stop])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_torch_selects_as_torch(dtype):
    w = torch.randn(40, 300, generator=torch.Generator().manual_seed(0)).to(dtype)
    c = hc.compress_tensor(w)
    whole = c.decompress()
    for index in [3, (3, 7), slice(4, 20, 5), (..., -1), (slice(None), slice(7, 9))]:
        part = c[index]
        assert isinstance(part, torch.Tensor)
        assert part.dtype == dtype
        assert torch.equal(part, whole[index])
    assert torch.equal(c[::-1, 5], whole.flip(0)[:, 5])
    assert torch.equal(c.rows(3, 6), whole[3:6])
    assert c.rows(3, 6, np.float32).dtype == np.float32


def test_a_tensor_is_iterated_by_rows_and_read_as_an_array():
    c, whole = CASES[0], WHOLES[0]
    for i, row in enumerate(c):
        np.testing.assert_array_equal(row, whole[i])
    assert i == 39
    assert bool(c)
    assert bool(compressed((0, 4)))
    np.testing.assert_array_equal(np.asarray(c), whole)
    assert np.asarray(c, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy=False"):
        np.array(c, copy=False)
    with pytest.raises(TypeError, match="without axes"):
        len(compressed(()))


@pytest.mark.parametrize(
    ("index", "error", "says"),
    [
        (40, hc.OutOfBoundsError, "index 40 of axis 0, which has length 40"),
        ((0, -701), hc.OutOfBoundsError, "index -701 of axis 1"),
        ((0, 0, 0), hc.OutOfBoundsError, "3 indices for a tensor of 2 axes"),
        ((..., ...), hc.OutOfBoundsError, "one ellipsis"),
        (None, hc.DtypeError, "NoneType"),
        (1.0, hc.DtypeError, "float"),
        (True, hc.DtypeError, "bool"),
        (np.zeros(40, bool), hc.DtypeError, "ndarray"),
        ([1, 2], hc.DtypeError, "list"),
    ],
)
def test_a_bad_index_is_refused(index, error, says):
    with pytest.raises(error, match=says):
        CASES[0][index]


def test_bad_rows_are_refused():
    for start, stop in [(-1, 3), (5, 3), (0, 41)]:
        with pytest.raises(IndexError, match="0 <= start <= stop <= 40"):
            CASES[0].rows(start, stop)
    with pytest.raises(TypeError):
        CASES[0].rows(0.0, 3)
    with pytest.raises(hc.InvalidArgumentError):
        CASES[0].rows(0, 3, threads=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_an_array_can_be_decoded_into(dtype):
    c, whole = CASES[0], CASES[0].decompress(dtype)
    out = np.ones(c.shape, dtype)
    assert c.decompress(out=out) is out
    np.testing.assert_array_equal(out, whole)


def test_a_torch_tensor_can_be_decoded_into():
    c = CASES[0]
    for dtype in (torch.float32, torch.bfloat16):
        out = torch.empty(2, *c.shape, dtype=dtype)
        assert c.decompress(out=out[1]) is not None
        assert torch.equal(out[1], c.decompress(dtype))


def test_what_cannot_be_decoded_into_is_refused():
    c = CASES[0]
    read_only = np.zeros(c.shape, np.float32)
    read_only.flags.writeable = False
    for out in (
        np.zeros((700, 40), np.float32).T,
        np.zeros(c.shape, ">f4"),
        read_only,
        torch.zeros(700, 40).T,
    ):
        with pytest.raises(hc.InvalidArgumentError, match="out must be contiguous"):
            c.decompress(out=out)
    with pytest.raises(hc.InvalidArgumentError, match="shape"):
        c.decompress(out=np.zeros(28_000, np.float32))
    with pytest.raises(hc.InvalidArgumentError, match="both given"):
        c.decompress(np.float32, out=np.zeros(c.shape, np.float32))
    with pytest.raises(hc.DtypeError, match="int64"):
        c.decompress(out=np.zeros(c.shape, np.int64))
    with pytest.raises(hc.DtypeError, match="list"):
        c.decompress(out=[])
