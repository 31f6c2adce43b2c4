"""The stored form against a decoder written from its description, and against golden files."""

from pathlib import Path

import numpy as np
import plain_decoder
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hypercomp_rs as hc

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("format-*.hypc"))


def weights(shape, seed=0, zeros=0.0):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(shape).astype(np.float32)
    w[rng.random(shape) < zeros] = 0
    return w


def agrees(c):
    expected = plain_decoder.decode(c.to_bytes())
    assert np.array_equal(c.decompress(np.float64), expected)
    assert np.array_equal(c.decompress(np.float32), expected.astype(np.float32))


LAYOUTS = ["chains", "tiles"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("effort", ["fast", "balanced", "high"])
@pytest.mark.parametrize("bits", [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8])
def test_every_code_is_decoded_as_described(effort, bits, layout):
    # Eight rows and a header: about a tenth of a bit is left for the codes' neighbours to fill.
    w = weights((8, 500), seed=int(2 * bits))
    agrees(hc.compress_tensor(w, bits=bits, effort=effort, layout=layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_widest_register_is_decoded_as_described(layout):
    agrees(hc.compress_tensor(weights((3, 700)), bits=3.3, effort="max", layout=layout))


@pytest.mark.parametrize(
    "shape",
    [(40,), (3, 7), (9, 130), (2, 3, 5, 7), (5, 64, 3, 3), (1, 20_011), (60, 1100), (17, 384)],
)
@pytest.mark.parametrize("incoherence", ["hadamard", "none"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_shape_is_decoded_as_described(shape, incoherence, layout):
    w = weights(shape, seed=len(shape))
    options = {"effort": "fast", "incoherence": incoherence, "layout": layout}
    agrees(hc.compress_tensor(w, **options, seed=12345678901234567890))


def test_calibrated_tiles_are_decoded_as_described():
    moment = np.diag(np.logspace(-2, 0, 96))
    c = hc.compress_tensor(weights((640, 96)), bits=3, second_moment=moment, layout="tiles")
    assert c.stored_by_input
    agrees(c)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 12),
    row=st.integers(1, 600),
    bits=st.floats(1, 8),
    zeros=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    max_error=st.sampled_from([None, 0.3, 1.0]),
    exponent=st.integers(-40, 40),
    layout=st.sampled_from(LAYOUTS),
)
def test_masks_and_exact_weights_are_decoded_as_described(
    rows, row, bits, zeros, max_error, exponent, layout
):
    w = weights((rows, row), zeros=zeros)
    w[0] = 0
    w = np.ldexp(w, exponent)
    bound = None if max_error is None else max_error * 2.0**exponent
    try:
        c = hc.compress_tensor(
            w, bits=bits, effort="fast", sparsity="keep", max_error=bound, layout=layout
        )
    except hc.InvalidArgumentError as error:
        # Too few bits: for the bound, or for which weights are zero.
        assert any(why in str(error) for why in ("max_error", "the mask of zeros"))  # noqa: PT017
        return
    if c.codec == "trellis":
        agrees(c)
    assert not c.decompress()[w == 0].any()
    if bound is not None:
        assert np.abs(c.decompress() - w.astype(np.float64)).max() <= bound


def test_there_are_golden_files():
    assert GOLDEN


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_are_decoded_for_ever(path):
    with np.load(path.with_suffix(".npz")) as expected:
        c = hc.CompressedTensor.from_bytes(path.read_bytes())
        assert c.to_bytes() == path.read_bytes()
        assert np.array_equal(c.decompress(np.float32), expected["decoded"])
