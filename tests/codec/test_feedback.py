"""Codes with errors fed back: against a plain loop in numpy, against theory, and at the edges."""

import json
import os
import signal
import threading
import time

import ml_dtypes
import numpy as np
import plain_decoder
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hypercomp_rs as hc
from hypercomp_rs._core import Control, TensorCode


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def moment(inputs, *, rank=None, noise=0.1, samples=2000, seed=1):
    """The second moment of inputs that are mixtures of a few sources, and some noise."""
    rng = np.random.default_rng(seed)
    rank = rank or max(1, inputs // 8)
    x = rng.standard_normal((samples, rank)) @ rng.standard_normal((rank, inputs))
    x += noise * rng.standard_normal(x.shape)
    return x.T @ x / samples


def output_error(w, q, h):
    e = np.asarray(w, np.float64) - np.asarray(q, np.float64)
    return np.einsum("ij,jk,ik->", e, h, e, optimize=True)


def decibels(ratio):
    return 10 * np.log10(ratio)


def damped(h, damping=0.01):
    return h + damping * np.mean(np.diag(h)) * np.eye(len(h))


def factorised(h):
    """U and D of H = U·D·Uᵀ, U unit upper triangular, by numpy's own factorisation."""
    lower = np.linalg.cholesky(h[::-1, ::-1])
    d = np.diag(lower) ** 2
    return (lower / np.diag(lower))[::-1, ::-1], d[::-1]


def rates_of(c):
    """Half bits of each stream, as the description says that they are stored."""
    description, parts = c.to_parts()
    said = json.loads(description)["trellis"]
    lengths, _ = plain_decoder.layout(c.shape[::-1] if c.stored_by_input else c.shape)
    (lowest, width), (_, scale_width) = said["rates"], said["scales"]
    empty = np.zeros(0, np.uint8)
    rates = plain_decoder.fields(parts.get("rates", empty).tobytes(), 0, width, len(lengths))
    scales = plain_decoder.fields(
        parts.get("scales", empty).tobytes(), 0, scale_width, len(lengths)
    )
    zeros = (scales == 2**scale_width - 1) if said["zero_streams"] else np.zeros(len(lengths), bool)
    return np.where(zeros, 0, rates + lowest)


def noise(window, half_bits):
    """What a code leaves of a Gaussian source of variance 1, as the constants say."""
    return plain_decoder.codes()[window, half_bits].error if half_bits else 1.0


def fed_back(w, u, q_of_target):
    """The loop as it is defined: q row by row, (inputs, outputs), each of its target."""
    errors, decoded = np.zeros(w.shape), np.zeros(w.shape)
    for j in range(len(w)):
        target = w[j] + u[:j, j] @ errors[:j]
        decoded[j] = q_of_target(j, target)
        errors[j] = w[j] - decoded[j]
    return decoded


@pytest.mark.parametrize("bits", [1.5, 3, 4.2])
def test_targets_and_errors_are_those_of_the_plain_loop(bits):
    w, h = gaussian(1500, 96), moment(96)
    c = hc.compress_tensor(w, bits=bits, effort="fast", second_moment=h)
    q = c.decompress(np.float64)
    u, d = factorised(damped(h))
    targets = []
    fed_back(w.T.astype(np.float64), u, lambda j, target: targets.append(target) or q[:, j])
    targets = np.array(targets)
    missed = ((targets - q.T) ** 2).sum(1)
    # The errors of the outputs are those of the targets, each weighted by its pivot.
    assert np.isclose(d @ missed, output_error(w, q, damped(h)), rtol=1e-6)
    # What a target is missed by is what its rate leaves of it, so nothing was lost on the way.
    rates = rates_of(c)
    left = missed / (targets**2).sum(1)
    expected = np.array([noise(8, rate) for rate in rates])
    # (A weight beyond the outermost level by chance is a decibel of its row.)
    assert (np.abs(decibels(left / expected)) < 1.5).all()
    assert abs(np.mean(decibels(left / expected))) < 0.15


def test_it_is_as_good_as_the_plain_loop_with_the_plain_encoder():
    w, h = gaussian(2048, 64), moment(64)
    c = hc.compress_tensor(w, bits=3, effort="fast", second_moment=h)
    u, _ = factorised(damped(h))
    rates = rates_of(c)

    def plain(j, target):
        if rates[j] == 0:
            return 0
        row = target[None].astype(np.float32)
        # A row alone has a header: what is added to its rate pays for it, and for no more.
        code = hc.compress_tensor(row, bits=min(8, rates[j] / 2 + 0.2), effort="fast")
        assert rates_of(code).mean() <= rates[j] + 0.5
        return code.decompress()[0]

    twin = fed_back(w.T.astype(np.float64), u, plain).T
    ours, theirs = (output_error(w, q, damped(h)) for q in (c.decompress(), twin))
    assert decibels(ours / theirs) < 0.3


def test_with_inputs_that_do_not_go_together_it_is_plain_coding():
    w = gaussian(2048, 256)
    for scale in (1, 1e-30, 1e30):
        fed = hc.compress_tensor(w, bits=3, second_moment=scale * np.eye(256))
        plain = hc.compress_tensor(w, bits=3)
        assert abs(fed.sqnr_db - plain.sqnr_db) < 0.1
        assert fed.nbytes <= 3 * w.size / 8


@pytest.mark.parametrize("bits", [3, 4, 5])
def test_the_gain_is_what_the_determinant_promises(bits):
    # Mild enough for every input to be worth some bits.
    inputs = 256
    lag = np.abs(np.subtract.outer(np.arange(inputs), np.arange(inputs)))
    sizes = np.exp(np.random.default_rng(3).normal(0, 0.4, inputs))
    h = 0.9**lag * np.outer(sizes, sizes)
    w = gaussian(2048, inputs)
    plain = hc.compress_tensor(w, bits=bits).decompress()
    fed = hc.compress_tensor(w, bits=bits, second_moment=h, damping=0).decompress()
    _, d = factorised(h)
    predicted = decibels(np.mean(np.diag(h)) / np.exp(np.mean(np.log(d))))
    measured = decibels(output_error(w, plain, h) / output_error(w, fed, h))
    assert predicted > 6
    assert abs(measured - predicted) < 0.3


def test_bits_go_where_errors_count():
    h = np.diag(np.repeat([1.0, 256.0], 64))
    w = gaussian(1024, 128)
    c = hc.compress_tensor(w, bits=4, second_moment=h, damping=0)
    rates = rates_of(c)
    # A factor of 256 is four bits; and an input that adds nothing to the outputs gets none.
    assert abs(np.mean(rates[64:]) - np.mean(rates[:64]) - 8) < 0.3
    h[0, 0] = 0
    c = hc.compress_tensor(w, bits=4, second_moment=h, damping=0)
    assert rates_of(c)[0] == 0
    assert not c.decompress()[:, 0].any()


@pytest.mark.parametrize("effort", ["fast", "balanced", "high", "max"])
def test_the_budget_is_kept_and_met(effort):
    w, h = gaussian(384, 384), moment(384)
    for bits in (1, 2.3, 4, 6) if effort == "fast" else (3,):
        c = hc.compress_tensor(w, bits=bits, effort=effort, second_moment=h)
        assert bits - 0.01 < c.bits_per_weight <= bits
        assert np.array_equal(plain_decoder.decode(c.to_bytes()).astype(np.float32), c.decompress())


def test_threads_change_nothing():
    w, h = gaussian(300, 450), moment(450)
    one = hc.compress_tensor(w, bits=3, effort="fast", second_moment=h, threads=1)
    for threads in (2, 5, None):
        assert hc.compress_tensor(w, bits=3, effort="fast", second_moment=h, threads=threads) == one


def test_inputs_may_be_either_axis_and_arrays_of_any_kind():
    w, h = gaussian(200, 150), moment(150)
    c = hc.compress_tensor(w, effort="fast", second_moment=h)
    assert c.stored_by_input
    for axis in (0, -2):
        flipped = hc.compress_tensor(w.T, effort="fast", second_moment=h, input_axis=axis)
        assert not flipped.stored_by_input
        assert np.array_equal(flipped.decompress().T, c.decompress())
    assert hc.compress_tensor(w, effort="fast", second_moment=h, input_axis=1) == c
    assert hc.compress_tensor(w, effort="fast", second_moment=np.asfortranarray(h)) == c
    of_torch = hc.compress_tensor(
        torch.from_numpy(w), effort="fast", second_moment=torch.from_numpy(h)
    )
    assert of_torch == c
    assert isinstance(of_torch.decompress(), torch.Tensor)
    single = hc.compress_tensor(w, effort="fast", second_moment=h.astype(np.float32))
    assert (
        abs(
            decibels(output_error(w, single.decompress(), h))
            - decibels(output_error(w, c.decompress(), h))
        )
        < 0.1
    )
    for dtype in (np.float16, np.float64, ml_dtypes.bfloat16):
        typed = hc.compress_tensor(w.astype(dtype), effort="fast", second_moment=h)
        assert typed.decompress().dtype == dtype
        assert output_error(w, typed.decompress(), h) < 1.5 * output_error(w, c.decompress(), h)


def test_the_scale_of_weights_and_moment_does_not_matter():
    w, h = gaussian(200, 150), moment(150)
    c = hc.compress_tensor(w, effort="fast", second_moment=h)
    for power in (-900, -100, 100, 900):
        assert hc.compress_tensor(w, effort="fast", second_moment=np.ldexp(h, power)) == c
        scaled = hc.compress_tensor(
            np.ldexp(w.astype(np.float64), power), effort="fast", second_moment=h
        )
        assert np.array_equal(np.ldexp(scaled.decompress(), -power), c.decompress(np.float64))


def test_singular_moments():
    w = gaussian(256, 100)
    direction = np.random.default_rng(5).standard_normal(100)
    for h in (np.outer(direction, direction), np.ones((100, 100)), moment(100, rank=7, noise=0)):
        c = hc.compress_tensor(w, bits=3, effort="fast", second_moment=h)
        plain = hc.compress_tensor(w, bits=3, effort="fast")
        ours, theirs = (output_error(w, k.decompress(), damped(h)) for k in (c, plain))
        assert ours < 0.1 * theirs
        assert 2.9 < c.bits_per_weight <= 3
        with pytest.raises(hc.InvalidArgumentError, match=r"not positive definite.*input"):
            hc.compress_tensor(w, second_moment=h, damping=0)
    # Inputs that never vary need no damping.
    h = moment(100)
    h[[3, 50]] = 0
    h[:, [3, 50]] = 0
    for damping in (0, 0.01):
        c = hc.compress_tensor(w, bits=4, effort="fast", second_moment=h, damping=damping)
        assert np.isfinite(c.decompress()).all()
        assert output_error(w, c.decompress(), h) < 0.02 * output_error(w, 0 * w, h)


def test_rows_of_zeros_outliers_and_what_is_next_to_nothing():
    h = moment(120)
    w = gaussian(300, 120)
    w[:, 7] = 0
    w[:, 60:64] *= 1e-20
    w[:, 90] *= 1000
    w[11] = 0
    c = hc.compress_tensor(w, bits=3, effort="fast", second_moment=h)
    assert c.bits_per_weight <= 3
    plain = hc.compress_tensor(w, bits=3, effort="fast")
    assert output_error(w, c.decompress(), h) < output_error(w, plain.decompress(), h)
    assert hc.compress_tensor(0 * w, second_moment=h).codec == "zeros"
    few = hc.compress_tensor(w[:3, :3], second_moment=h[:3, :3])
    assert few.codec == "raw"
    assert np.array_equal(few.decompress(), w[:3, :3])
    empty = hc.compress_tensor(np.zeros((0, 120), np.float32), second_moment=h)
    assert empty.shape == (0, 120)
    none = hc.compress_tensor(np.zeros((7, 0), np.float32), second_moment=np.zeros((0, 0)))
    assert none.shape == (7, 0)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_inputs_without_weights_take_no_bits_from_the_others(bits):
    w = gaussian(144, 177)
    w[:, np.random.default_rng(0).random(177) < 0.95] = 0
    h = moment(177, rank=21, noise=0)
    q = hc.compress_tensor(w, bits=bits, effort="fast", second_moment=h).decompress()
    assert np.array_equal((q != 0).any(0), (w != 0).any(0))
    assert output_error(w, q, damped(h)) < 1e-3 * output_error(w, 0 * w, damped(h))


@settings(max_examples=120, deadline=None)
# Few weights among many zeros, and a single direction that counts.
@example(outputs=260, inputs=253, rank=1, noise=0.0, bits=1.0, seed=20, zeros=0.95, axis=0)
@given(
    outputs=st.one_of(st.integers(1, 40), st.integers(100, 400)),
    inputs=st.one_of(st.integers(1, 40), st.integers(100, 300)),
    rank=st.integers(1, 50),
    noise=st.sampled_from([0.0, 1e-3, 1.0]),
    bits=st.floats(1, 8),
    seed=st.integers(0, 2**32 - 1),
    zeros=st.sampled_from([0.0, 0.5, 0.95]),
    axis=st.integers(0, 1),
)
def test_any_small_layer(outputs, inputs, rank, noise, bits, seed, zeros, axis):
    w = gaussian(outputs, inputs, seed=seed)
    rng = np.random.default_rng(seed)
    w[:, rng.random(inputs) < zeros] = 0
    h = moment(inputs, rank=rank, noise=noise, samples=200, seed=seed)
    given_w = w if axis == 1 else np.ascontiguousarray(w.T)
    c = hc.compress_tensor(
        given_w, bits=bits, effort="fast", second_moment=h, input_axis=axis, threads=1
    )
    q = c.decompress()
    assert q.shape == given_w.shape
    assert np.isfinite(q).all()
    assert hc.CompressedTensor.from_bytes(c.to_bytes()) == c
    if c.codec == "trellis":
        # Plain codes are taken where they are better.
        assert axis == 1 or not c.stored_by_input
        assert np.array_equal(plain_decoder.decode(c.to_bytes()).astype(np.float32), q)
    plain = hc.compress_tensor(given_w, bits=bits, effort="fast").decompress()
    q, plain = (q, plain) if axis == 1 else (q.T, plain.T)
    # What is added and taken away again for damping leaves a rounding error.
    tiny = 1e-6 * output_error(w, 0 * w, h)
    assert output_error(w, q, h) <= (1 + 1e-6) * output_error(w, plain, h) + tiny
    # Where every input has a stream of its own, codes are better than none.
    if outputs >= 128 and w.any():
        assert output_error(w, q, damped(h)) < output_error(w, 0 * w, damped(h))
    assert (
        hc.compress_tensor(
            given_w, bits=bits, effort="fast", second_moment=h, input_axis=axis, threads=2
        )
        == c
    )


def refused(match, w=None, error=hc.InvalidArgumentError, **options):
    w = gaussian(30, 20) if w is None else w
    with pytest.raises(error, match=match):
        hc.compress_tensor(w, **({"second_moment": np.eye(20)} | options))


def test_what_is_no_second_moment_is_named():
    refused(r"shape \(30, 30\).*\(20, 20\)", second_moment=np.eye(30))
    refused(r"shape \(20,\)", second_moment=np.ones(20))
    refused(r"shape \(20, 20\).*\(30, 30\)", input_axis=0)
    refused("two axes", w=gaussian(30, 20, 1, 1))
    refused("float32 and float64", error=hc.DtypeError, second_moment=np.eye(20, dtype=np.float16))
    refused("second_moment has dtype int", error=hc.DtypeError, second_moment=np.eye(20, dtype=int))
    refused("second_moment is a list", error=hc.DtypeError, second_moment=[[1.0]])
    h = np.eye(20)
    h[3, 5] = 0.5
    refused(r"\[5, 3\].*\[3, 5\]|\[3, 5\].*\[5, 3\]", second_moment=h)
    h[5, 3] = 0.5
    hc.compress_tensor(gaussian(30, 20), second_moment=h)
    h[5, 3] = h[3, 5] = 1.5
    refused(r"not positive definite: \[3, 5\] is 1.5", second_moment=h)
    # Each pair of inputs could be one, and all together cannot.
    h = np.full((20, 20), -0.2)
    np.fill_diagonal(h, 1)
    refused(r"not positive definite.*pivot .* at input 14", second_moment=h, damping=0)
    for bad, name in ((np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")):
        h = np.eye(20)
        h[4, 7] = h[7, 4] = bad
        refused(rf"second_moment\[4, 7\] is {name}", error=hc.NonFiniteError, second_moment=h)
    refused(r"second_moment\[2, 2\] is -1", second_moment=np.diag([1.0, 1, -1] + 17 * [1]))
    refused("diagonal of zeros", second_moment=np.zeros((20, 20)))
    w = gaussian(30, 20)
    w[2, 3] = np.nan
    refused("flat index 43", w=w, error=hc.NonFiniteError)


def test_what_cannot_be_asked_for_beside_it_is_named():
    refused("target_sqnr_db and second_moment", target_sqnr_db=20)
    refused("max_error and second_moment", max_error=0.1)
    refused("sparsity and second_moment", sparsity="keep")
    refused("second_moment: for codec='trellis'", codec="winding")
    refused("damping", damping=-0.1)
    refused("damping", damping=np.nan)
    refused("input_axis", input_axis=2)
    refused("input_axis", input_axis=-3)


def test_calls_of_one_thread_run_side_by_side():
    control, done = Control(), threading.Event()
    w = gaussian(400, 1000).reshape(-1)

    def long():
        with pytest.raises(hc.CancelledError):
            TensorCode.trellis(
                w,
                "float32",
                [400, 1000],
                bits=4.0,
                sqnr_db=None,
                max_error=None,
                keep_zeros=False,
                window=16,
                seed=0,
                tiles=False,
                threads=1,
                control=control,
                second_moment=np.eye(1000).reshape(-1),
                damping=0.01,
                input_axis=1,
            )
        done.set()

    thread = threading.Thread(target=long)
    thread.start()
    try:
        while control.done == 0:
            assert thread.is_alive()
            time.sleep(0.001)
        hc.compress_tensor(gaussian(100, 50), effort="fast", threads=1)
        assert not done.is_set()
        before = control.done
        while control.done == before:
            assert thread.is_alive()
            time.sleep(0.001)
    finally:
        started = time.monotonic()
        control.cancel()
        thread.join()
    assert time.monotonic() - started < 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
@pytest.mark.parametrize("shape", [(3000, 1500), (3, 4000)])
def test_ctrl_c_stops_it(shape):
    w, h = gaussian(*shape), np.eye(shape[1])
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    started = []

    def interrupted():
        started.append(time.monotonic())
        while True:
            hc.compress_tensor(w, effort="max", second_moment=h)

    timer.start()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started[0] < 1.8
