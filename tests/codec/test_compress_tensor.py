"""compress_tensor and decompress_tensor on every kind of array that they take, and do not take."""

import itertools
import pickle
import threading

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hypercomp_rs as hc

FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)


def gaussian(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def sqnr_db(w, decoded):
    w, decoded = np.asarray(w, np.float64), np.asarray(decoded, np.float64)
    return 10 * np.log10((w**2).sum() / ((w - decoded) ** 2).sum())


@pytest.mark.parametrize("dtype", FLOATS)
def test_numpy_comes_back_as_numpy_of_its_dtype(dtype):
    w = gaussian(16, 512, dtype=dtype)
    c = hc.compress_tensor(w)
    back = hc.decompress_tensor(c)
    assert isinstance(back, np.ndarray)
    assert (back.dtype, back.shape) == (w.dtype, w.shape)
    assert back.flags.c_contiguous
    assert sqnr_db(w, back) > 22.8
    assert c.sqnr_db == pytest.approx(sqnr_db(w, back), abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_torch_comes_back_as_torch_of_its_dtype(dtype):
    w = torch.randn(16, 512, generator=torch.Generator().manual_seed(0)).to(dtype)
    back = hc.decompress_tensor(hc.compress_tensor(w.requires_grad_()))
    assert isinstance(back, torch.Tensor)
    assert (back.dtype, back.shape) == (w.dtype, w.shape)
    assert not back.requires_grad
    assert sqnr_db(w.detach().double().numpy(), back.double().numpy()) > 22.8


def test_torch_and_numpy_give_the_same_bytes():
    w = gaussian(8, 256)
    for tensor, array in [
        (torch.from_numpy(w), w),
        (torch.from_numpy(w).half(), w.astype(np.float16)),
        (torch.from_numpy(w).bfloat16(), w.astype(ml_dtypes.bfloat16)),
    ]:
        assert hc.compress_tensor(tensor).to_bytes() == hc.compress_tensor(array).to_bytes()


@pytest.mark.parametrize(
    "view",
    [
        lambda w: w.T,
        lambda w: w[::-1, ::3],
        lambda w: w[:, 7],
        lambda w: w.reshape(16, 2, 8, 32).transpose(2, 0, 3, 1),
        lambda w: w.astype(">f4"),
        lambda w: np.broadcast_to(w[0], (5, 512)),
    ],
)
def test_strides_and_byte_order_do_not_matter(view):
    w = view(gaussian(16, 512))
    plain = np.ascontiguousarray(w, dtype=np.float32)
    assert hc.compress_tensor(w) == hc.compress_tensor(plain)
    turned = torch.from_numpy(plain).swapaxes(0, -1)
    assert hc.compress_tensor(turned) == hc.compress_tensor(plain.swapaxes(0, -1))


def test_a_read_only_array_is_taken_and_left_alone():
    w = gaussian(4, 256)
    copy = w.copy()
    w.flags.writeable = False
    hc.compress_tensor(w)
    assert (w == copy).all()


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (7,), (2, 3, 5, 7), (1, 997)])
@pytest.mark.parametrize("codec", ["trellis", "winding"])
def test_any_shape(shape, codec):
    w = np.full(shape, 0.25, np.float32)
    c = hc.compress_tensor(w, codec=codec)
    back = hc.decompress_tensor(c)
    assert back.shape == c.shape == shape
    assert c.size == w.size
    if w.size:
        assert c.bits_per_weight == 8 * c.nbytes / w.size
        assert abs(float(back.mean()) - 0.25) < 0.2
    else:
        assert c.bits_per_weight == 0
        assert c.codec == "zeros"
    assert c.nbytes == len(c.to_bytes())


def test_a_numpy_scalar_is_a_0_d_array():
    assert hc.decompress_tensor(hc.compress_tensor(np.float32(3.5))) == 3.5


def test_decompress_takes_the_dtype_of_either_library():
    w = gaussian(4, 256)
    c = hc.compress_tensor(w)
    reference = c.decompress()
    assert c.decompress("float64").dtype == np.float64
    assert c.decompress(np.float16).dtype == np.float16
    assert c.decompress("bfloat16").dtype == ml_dtypes.bfloat16
    tensor = c.decompress(torch.bfloat16)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.bfloat16
    assert (tensor.float().numpy() == reference.astype(ml_dtypes.bfloat16)).all()
    for dtype in (np.int8, "complex64", torch.int8, "no such dtype", object()):
        with pytest.raises(hc.DtypeError, match="float32, float64, float16 and bfloat16"):
            c.decompress(dtype)


def test_bytes_and_pickle_round_trip():
    for w in (gaussian(4, 256), torch.randn(4, 256), np.zeros(3)):
        for codec in ("trellis", "winding"):
            c = hc.compress_tensor(w, codec=codec)
            copy = pickle.loads(pickle.dumps(c))
            assert copy == c
            assert hash(copy) == hash(c)
            assert type(hc.decompress_tensor(copy)) is type(w)
            read = hc.CompressedTensor.from_bytes(c.to_bytes())
            assert read == c
            assert isinstance(hc.decompress_tensor(read), np.ndarray)
    assert c != object()


def test_bytes_that_are_no_tensor_are_refused():
    data = hc.compress_tensor(gaussian(4, 256)).to_bytes()
    for bad, message in [
        (b"", "truncated"),
        (b"PK\x03\x04rest", "HYPC"),
        (data[:-1], "checksum"),
        (data[:100] + b"\xff" + data[101:], "checksum"),
        (data[:4] + b"\xff\xff" + data[6:], "version"),
    ]:
        with pytest.raises(hc.FormatError, match=message):
            hc.CompressedTensor.from_bytes(bad)
    assert issubclass(hc.FormatError, ValueError)
    assert issubclass(hc.FormatError, hc.HypercompError)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_first_weight_that_is_not_finite_is_named(bad, dtype):
    w = np.zeros((300, 400), dtype)
    w[250, 17] = bad
    w[299, 0] = np.nan
    for codec in ("trellis", "winding"):
        with pytest.raises(hc.NonFiniteError, match=f"index {250 * 400 + 17} "):
            hc.compress_tensor(w, codec=codec)
    assert issubclass(hc.NonFiniteError, ValueError)


@pytest.mark.parametrize(
    ("w", "says"),
    [
        (np.arange(10), "int64"),
        (np.zeros(4, bool), "bool"),
        (np.zeros(4, np.complex64), "complex64"),
        (np.array([1.5, None]), "object"),
        ([1.0, 2.0], "list"),
        (None, "NoneType"),
        (np.ma.masked_array([1.0], [True]), "masked"),
        (torch.arange(4), "torch.int64"),
        (torch.randn(4, 4).to_sparse(), "layout"),
    ],
)
def test_other_inputs_are_refused(w, says):
    with pytest.raises(hc.DtypeError, match=says):
        hc.compress_tensor(w)
    assert issubclass(hc.DtypeError, TypeError)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"bits": 0}, "1 to 8"),
        ({"bits": 9}, "1 to 8"),
        ({"bits": float("nan")}, "1 to 8"),
        ({"bits": True}, "a number"),
        ({"bits": "4"}, "a number"),
        ({"bits": 4, "target_sqnr_db": 20}, "one of the two"),
        ({"target_sqnr_db": 61}, "0 to 60"),
        ({"max_error": -1.0}, "max_error=-1.0"),
        ({"max_error": 1e-9}, "max_error"),
        ({"sparsity": "drop"}, "'keep' and None"),
        ({"incoherence": "fourier"}, "'hadamard' and 'none'"),
        ({"codec": "winding", "bits": 4}, "for codec='trellis' only"),
        ({"codec": "zip"}, "'trellis', 'winding'"),
        ({"effort": "extreme"}, "'fast', 'balanced', 'high', 'max'"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**64}, "0 to 18446744073709551615"),
        ({"threads": 0}, "threads=0"),
        ({"threads": -3}, "threads=-3"),
        ({"codec": hc.Winding(group=5)}, "1 to 4"),
        ({"codec": hc.Winding(side=0.0)}, "side"),
        ({"codec": hc.Winding(side=float("nan"))}, "side"),
        ({"codec": hc.Winding(samples=0)}, "samples"),
        ({"codec": hc.Winding(threshold=-1.0)}, "threshold"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(hc.InvalidArgumentError, match=says):
        hc.compress_tensor(gaussian(4, 256), **arguments)


def test_any_rate_is_met():
    w = gaussian(300, 400)
    for bits in (1, 2.71828, np.float32(3.3), 4.06, 8):
        c = hc.compress_tensor(w, bits=bits, effort="fast")
        assert bits - 0.01 < c.bits_per_weight <= bits


def test_a_ratio_is_reached_and_not_much_exceeded():
    w = gaussian(300, 400)
    for db in (10, 23.4):
        assert db <= hc.compress_tensor(w, target_sqnr_db=db).sqnr_db < db + 0.05


def test_no_weight_is_missed_by_more_than_allowed():
    w = gaussian(64, 1024, dtype=np.float16)
    c = hc.compress_tensor(w, bits=5.5, max_error=0.11)
    assert 0 < c.exceptions < w.size / 20
    assert c.bits_per_weight <= 5.5
    assert np.abs(c.decompress().astype(float) - w.astype(float)).max() <= 0.11
    assert hc.compress_tensor(w).exceptions == 0


def test_pruned_weights_stay_zero_and_pruning_multiplies():
    w = gaussian(256, 768)
    w[np.abs(w) < np.quantile(np.abs(w), 0.8)] = 0
    c = hc.compress_tensor(w, bits=1.6, sparsity="keep")
    dense = hc.compress_tensor(w, bits=1.6)
    back = c.decompress()
    assert not back[w == 0].any()
    # 0.72 bits of entropy for the mask leave 4.4 bits to each of the others.
    assert sqnr_db(w, back) > 24.5 > dense.sqnr_db + 10


def test_mostly_pruned_tensors_get_down_to_their_zeros_cost():
    w = gaussian(256, 768)
    w[np.abs(w) < np.quantile(np.abs(w), 0.95)] = 0
    # 0.286 bits of entropy for the mask; k bits for each of the others are k / 20 a weight.
    for bits in (0.35, 0.4, 0.45, 0.5):
        c = hc.compress_tensor(w, bits=bits, sparsity="keep")
        assert bits - 0.02 < c.bits_per_weight <= bits
        assert ((c.decompress() == 0) >= (w == 0)).all()
    sizes = []
    for db in (5, 10, 15, 20, 30):
        c = hc.compress_tensor(w, target_sqnr_db=db, sparsity="keep")
        assert db <= c.sqnr_db < db + 0.5
        sizes.append(c.bits_per_weight)
    assert sorted(sizes) == sizes
    # 20 dB are 3.4 bits for each that is not zero.
    assert sizes[3] < 0.286 + 3.5 / 20 + 0.02
    with pytest.raises(hc.InvalidArgumentError, match=r"zeros takes 0\.29\d?.*weight 0\.025"):
        hc.compress_tensor(w, bits=0.3, sparsity="keep")
    with pytest.raises(hc.InvalidArgumentError):
        hc.compress_tensor(w, bits=0, sparsity="keep")
    with pytest.raises(hc.InvalidArgumentError, match="1 to 8"):
        hc.compress_tensor(w, bits=0.5)
    # Few weights have few rates between them: some of those that are asked for change nothing.
    w = gaussian(64, 9)
    for sparsity in (0, 0.5, 0.8, 0.9, 0.95, 0.99):
        w[np.abs(w) < np.quantile(np.abs(w), sparsity)] = 0
        for db in range(1, 40):
            c = hc.compress_tensor(w, target_sqnr_db=db, sparsity="keep", effort="fast")
            assert c.sqnr_db >= db
    # A mask of a few bytes is a part of the header.
    small = hc.compress_tensor(np.tile([0.0, 1.0], (1, 32)), bits=0.5, sparsity="keep")
    assert (small.decompress()[0] == 0).tolist() == [True, False] * 32


def test_filters_lose_nothing_against_rows():
    filters = gaussian(128, 64, 3, 3)
    rows = filters.reshape(128, 576)
    ours, theirs = hc.compress_tensor(filters), hc.compress_tensor(rows)
    assert ours.sqnr_db == pytest.approx(theirs.sqnr_db, abs=0.01)
    assert ours.bits_per_weight == pytest.approx(theirs.bits_per_weight, abs=0.001)


def test_a_curve_tells_what_rates_will_reach():
    w = gaussian(700, 640)
    curve = hc.rate_distortion(w)
    assert curve.bits.shape == curve.sqnr_db.shape == (15,)
    assert (np.diff(curve.sqnr_db) > 0).all()
    c = hc.compress_tensor(w, bits=4)
    assert np.interp(c.bits_per_weight, *curve) == pytest.approx(c.sqnr_db, abs=0.15)
    one = hc.rate_distortion(torch.from_numpy(w.reshape(-1)))
    assert np.interp(4, *one) == pytest.approx(c.sqnr_db, abs=0.3)
    for bad in (np.zeros((100, 100), np.float32), gaussian(999), np.float32(1) * np.ones(())):
        with pytest.raises(hc.InvalidArgumentError, match="curve"):
            hc.rate_distortion(bad)


def test_only_compress_tensor_makes_one():
    with pytest.raises(TypeError, match="compress_tensor"):
        hc.CompressedTensor()
    with pytest.raises(hc.DtypeError, match="ndarray"):
        hc.decompress_tensor(gaussian(3))


@pytest.mark.parametrize("codec", ["trellis", "winding"])
def test_the_bytes_do_not_depend_on_the_threads(codec):
    w = gaussian(67, 1031)
    reference = hc.compress_tensor(w, codec=codec, threads=1)
    for threads in (2, 3, None):
        c = hc.compress_tensor(w, codec=codec, threads=threads)
        assert c == reference
        assert (c.decompress(threads=threads) == reference.decompress(threads=1)).all()


def test_several_python_threads_at_once():
    w = gaussian(64, 1024)
    expected = hc.compress_tensor(w)
    found = []
    workers = [
        threading.Thread(target=lambda: found.append(hc.compress_tensor(w, threads=2)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 4


def test_effort_buys_quality_and_bits_buy_more():
    w = gaussian(32, 1024)
    efforts = [hc.compress_tensor(w, effort=e) for e in ("fast", "balanced", "high", "max")]
    assert [c.sqnr_db for c in efforts] == sorted(c.sqnr_db for c in efforts)
    assert len({c.nbytes for c in efforts}) == 1
    rates = [hc.compress_tensor(w, bits=k) for k in range(1, 9)]
    for less, more in itertools.pairwise(rates):
        assert 5 < more.sqnr_db - less.sqnr_db < 7
        assert more.bits_per_weight - less.bits_per_weight == pytest.approx(1)


def test_seeds_give_other_codes_of_the_same_quality():
    w = gaussian(16, 1024)
    one, two = (hc.compress_tensor(w, seed=s) for s in (1, 2))
    assert one != two
    assert abs(one.sqnr_db - two.sqnr_db) < 0.1


def test_outliers_are_spread_by_the_transform():
    w = gaussian(64, 512)
    w[np.arange(64), np.arange(64)] *= 300
    assert hc.compress_tensor(w).sqnr_db > 21


def test_repr_is_short_and_says_it():
    c = hc.compress_tensor(gaussian(4, 256))
    assert repr(c).startswith("CompressedTensor(shape=(4, 256), dtype=float32, codec=trellis, 3.")


def test_a_hundred_million_weights():
    w = np.tile(gaussian(1000, 1000), (100, 1))
    c = hc.compress_tensor(w, bits=2, effort="fast")
    assert 1.99 < c.bits_per_weight <= 2
    back = c.decompress()
    assert c.sqnr_db > 11.3
    for first in (0, 50_000, 99_000):
        here = slice(first, first + 1000)
        assert sqnr_db(w[here], back[here]) == pytest.approx(c.sqnr_db, abs=0.3)


finite = {
    np.float32: st.floats(allow_nan=False, allow_infinity=False, width=32),
    np.float64: st.floats(allow_nan=False, allow_infinity=False),
    np.float16: st.floats(allow_nan=False, allow_infinity=False, width=16),
}


@settings(deadline=None)
@given(st.data())
def test_any_finite_array_survives(data):
    dtype = data.draw(st.sampled_from(list(finite)))
    w = data.draw(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_side=20), elements=finite[dtype])
    )
    codec = data.draw(st.sampled_from(["trellis", "winding"]))
    bits = data.draw(st.floats(1, 8)) if codec == "trellis" else None
    c = hc.compress_tensor(w, codec=codec, bits=bits, effort="fast")
    back = hc.decompress_tensor(hc.CompressedTensor.from_bytes(c.to_bytes()))
    assert (back.shape, back.dtype) == (w.shape, w.dtype)
    assert np.isfinite(back).all()
    # Codes of a few weights, most of them zeros, may be off by more than nothing is, by a hair.
    assert c.sqnr_db >= -1e-3
