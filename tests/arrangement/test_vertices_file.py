"""Vertices.save and Vertices.load."""

import zipfile
from fractions import Fraction

import numpy as np
import pytest

import hypercomp_rs as hc

ROWS = {
    "integers": ([[1, 0], [0, 1], [1, 1], [1, -2]], [0, 0, 1, 3]),
    "floats": (np.array([[0.1, 1], [1, 0.3], [0.5, 0.7]]), np.array([1, 0.2, 0.4])),
    "fractions": ([["1/3", 1], [1, Fraction(2, 7)], [0, 1]], [1, 2, "1/9"]),
    "long": ([[10**5000, 1], [1, 10**40], [3, 1]], [1, 2, 10**90]),
    "nothing": (np.empty((0, 2)), []),
}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("method", ["flats", "zero"])
def test_what_is_saved_is_loaded(kind, method, tmp_path):
    found = hc.vertices(*ROWS[kind], method=method)
    found.save(tmp_path / "found.npz")
    loaded = hc.arrangement.Vertices.load(tmp_path / "found.npz")
    assert loaded == found
    assert (loaded.method, loaded.cobases, loaded.complete) == (method, found.cobases, True)
    assert np.array_equal(loaded.incidence()[1], found.incidence()[1])


def test_a_partial_result_is_resumed(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 10, (30, 3)), rng.integers(-9, 10, 30)
    within = [[1, 1, 1]], ["1/2"]
    part = hc.vertices(a, b, within=within, max_vertices=100)
    part.save(str(tmp_path / "part"))
    loaded = hc.arrangement.Vertices.load(str(tmp_path / "part"))
    assert not loaded.complete
    assert hc.vertices(a, b, within=within, resume=loaded) == hc.vertices(a, b, within=within)


def test_a_selection_stays_one(tmp_path):
    found = hc.vertices(*ROWS["integers"])[1:]
    found.save(tmp_path / "part.npz")
    loaded = hc.arrangement.Vertices.load(tmp_path / "part.npz")
    assert loaded == found
    with pytest.raises(hc.InvalidArgumentError, match="part of a result"):
        hc.vertices(*ROWS["integers"], resume=loaded)


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "found.npz"
    hc.vertices(*ROWS["integers"]).save(path)
    data = path.read_bytes()
    for wrong in (b"", b"text", data[: len(data) // 2]):
        path.write_bytes(wrong)
        with pytest.raises(hc.FormatError, match=r"found\.npz is no file of Vertices\.save"):
            hc.arrangement.Vertices.load(path)
    np.savez(path, words=np.zeros(3, np.uint64))
    with pytest.raises(hc.FormatError):
        hc.arrangement.Vertices.load(path)
    # Coordinates of another shape.
    hc.vertices(*ROWS["integers"]).save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["words"] = arrays["words"][:, 1:]
    np.savez(path, **arrays)
    with pytest.raises(hc.FormatError, match="coordinates have shape"):
        hc.arrangement.Vertices.load(path)
    with pytest.raises(FileNotFoundError):
        hc.arrangement.Vertices.load(tmp_path / "none")
    with pytest.raises(hc.InvalidArgumentError, match="path"):
        hc.arrangement.Vertices.load(3)


def test_nothing_is_pickled(tmp_path):
    hc.vertices(*ROWS["long"]).save(tmp_path / "found.npz")
    with zipfile.ZipFile(tmp_path / "found.npz") as archive:
        assert sorted(archive.namelist()) == ["header.npy", "rows.npy", "words.npy"]
    with np.load(tmp_path / "found.npz", allow_pickle=False) as archive:
        assert archive["words"].dtype == np.uint64
