"""Tiles: what a user sees of them, beside chains."""

import json

import numpy as np
import pytest

import hypercomp_rs as hc


def weights(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def gap_db(c, w):
    """Distance to the rate-distortion bound of a Gaussian source, overhead counted."""
    error = np.mean((c.decompress() - w) ** 2) / np.mean(w**2)
    return 10 * np.log10(error) + 20 * np.log10(2) * 8 * c.nbytes / w.size


@pytest.mark.parametrize("effort", ["fast", "balanced", "high"])
@pytest.mark.parametrize("bits", [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 6])
def test_tiles_are_nearly_as_good_as_chains(bits, effort):
    w = weights((64, 2048))
    chains, tiles = (
        hc.compress_tensor(w, bits=bits, effort=effort, layout=layout)
        for layout in ("chains", "tiles")
    )
    for c in (chains, tiles):
        assert bits - 0.02 < 8 * c.nbytes / w.size <= bits
    assert gap_db(tiles, w) < gap_db(chains, w) + 0.06


def test_the_description_says_which_layout_it_is():
    w = weights((8, 300))
    for layout, number in (("chains", 1), ("tiles", 3)):
        description, parts = hc.compress_tensor(w, layout=layout).to_parts()
        assert json.loads(description)["format"] == number
        assert ("path" in parts) is (layout == "chains")


def test_another_layout_is_refused():
    with pytest.raises(hc.InvalidArgumentError, match=r"layout='rows': 'chains' and 'tiles'"):
        hc.compress_tensor(weights((4, 200)), layout="rows")


@pytest.mark.parametrize(
    "shape", [(48, 512), (7, 1000), (20, 130), (3, 5000), (60, 33), (2, 20000)]
)
def test_any_range_is_that_of_the_whole(shape):
    c = hc.compress_tensor(weights(shape), bits=3.3, effort="fast", layout="tiles")
    whole = c.decompress()
    rows, columns = shape
    for row in (0, rows // 2, rows - 1):
        assert np.array_equal(c[row], whole[row])
    for start in (0, columns // 3, columns - 5):
        assert np.array_equal(c[:, start : start + 4], whole[:, start : start + 4])
    assert np.array_equal(c.rows(1, rows), whole[1:])


@pytest.mark.parametrize("bits", [1.5, 2, 3, 4, 5.5])
@pytest.mark.parametrize("shape", [(40, 384), (33, 1000), (64, 4096), (5, 17000)])
def test_products_are_those_of_the_weights(shape, bits):
    c = hc.compress_tensor(weights(shape), bits=bits, effort="fast", layout="tiles")
    x = weights((9, shape[1]), seed=1)
    expected = x.astype(np.float64) @ c.decompress(np.float64).T
    got = hc.matmul(c, x)
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.array_equal(hc.matvec(c, x[3]), got[3])


def test_a_hostile_rate_or_length_is_refused():
    c = hc.compress_tensor(weights((3, 700)), bits=4, layout="tiles")
    description, parts = c.to_parts()
    told = json.loads(description)
    shorter = {**parts, "cells": parts["cells"][:-1]}
    told["parts"]["cells"] = {"bytes": len(shorter["cells"]), "crc32": 0}
    with pytest.raises(hc.FormatError, match="part cells has"):
        hc.CompressedTensor.from_parts(json.dumps(told), shorter, verify=False)
    # The same codes are not those of chains.
    chains = json.dumps({**json.loads(description), "format": 1})
    with pytest.raises(hc.FormatError, match="path"):
        hc.CompressedTensor.from_parts(chains, parts)
