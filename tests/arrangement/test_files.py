"""read_ine, write_ine, read_ext, write_ext: round trips, other people's files, and bad ones."""

import io
import itertools
import shutil
import subprocess
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hypercomp_rs as hc

CUBE = b"""cube.ine
H-representation
begin
6 4 rational
1  1  0  0
1  0  1  0
1  0  0  1
1 -1  0  0
1  0  0 -1
1  0 -1  0
end
"""


def read(text, reader=hc.read_ine):
    return reader(io.BytesIO(text if isinstance(text, bytes) else text.encode()))


def test_the_sign_convention_is_that_of_cdd_and_lrs():
    # b + c·x >= 0 in the file is A·x <= b here.
    h = read("begin\n2 3 integer\n1 2 -3\n5 0 1\nend\n")
    assert h.A.tolist() == [[-2, 3], [0, -1]]
    assert h.b.tolist() == [1, 5]
    assert h.A.dtype == h.b.dtype == np.int64


def test_the_boundaries_of_a_cube_meet_in_its_corners():
    h = read(CUBE)
    assert repr(h) == "HRepresentation('cube.ine', 6 rows in R^3)"
    found = hc.vertices(*h.hyperplanes())
    assert set(found) == set(itertools.product((-1, 1), repeat=3))


def test_linearity_and_nonnegative_are_hyperplanes_too():
    h = read(
        "nonnegative\nlinearity 1 1\nbegin\n2 3 rational\n1/2 -1 -1\n1 0 0\nend\nmaximize 0 1 1\n"
    )
    assert h.linearity == (0,)
    assert h.options == ("maximize 0 1 1",)
    assert h.A.tolist() == [[1, 1], [0, 0], [-1, 0], [0, -1]]
    assert h.b.tolist() == [Fraction(1, 2), 1, 0, 0]
    assert repr(h) == "HRepresentation(4 rows in R^2, 1 of them equations)"
    # 1 >= 0 has no boundary.
    half = Fraction(1, 2)
    assert list(hc.vertices(*h.hyperplanes())) == [(0, 0), (0, half), (half, 0)]
    contradiction = read("linearity 1 2\nbegin\n2 2 integer\n0 1\n1 0\nend\n")
    with pytest.raises(hc.EmptyHyperplaneError):
        hc.vertices(*contradiction.hyperplanes())


def test_numbers_are_exact():
    h = read(
        "begin\n2 3 real\n0.1 1e-3 -7\n"
        "123456789012345678901234567890 -9223372036854775808 .5\nend\n"
    )
    assert h.A.tolist() == [[Fraction(-1, 1000), 7], [2**63, Fraction(-1, 2)]]
    assert h.b.tolist() == [Fraction(1, 10), 123456789012345678901234567890]
    # The negative of -2^63 is no int64.
    h = read("begin\n1 2 integer\n1 -9223372036854775808\nend\n")
    assert h.A.tolist() == [[2**63]]


def test_more_digits_than_python_writes():
    long = Fraction(10**9000 + 1, 10**8000 + 7)
    file = io.BytesIO()
    hc.write_ine(file, [[long, 1]], [-long])
    h = read(file.getvalue())
    assert (h.A.tolist(), h.b.tolist()) == ([[long, 1]], [-long])
    file = io.BytesIO()
    hc.write_ext(file, hc.vertices([[long.denominator]], [long.numerator]))
    assert read(file.getvalue(), hc.read_ext).vertices.tolist() == [[long]]


numbers = st.fractions() | st.integers() | st.integers(-(10**40), 10**40)
shapes = st.tuples(st.integers(0, 5), st.integers(0, 4))


@given(data=st.data(), shape=shapes, name=st.sampled_from(["", "a cube", "Würfel 3"]))
def test_h_representations_come_back(data, shape, name):
    n, d = shape
    a = data.draw(st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=n, max_size=n))
    b = data.draw(st.lists(numbers, min_size=n, max_size=n))
    linearity = data.draw(st.sets(st.integers(0, n - 1))) if n else set()
    file = io.BytesIO()
    # A list without rows does not say how many columns it has.
    hc.write_ine(file, np.array(a, object).reshape(n, d), b, linearity=linearity, name=name)
    h = read(file.getvalue())
    assert (h.A.tolist(), h.b.tolist(), h.A.shape) == (a, b, (n, d))
    assert (set(h.linearity), h.name) == (linearity, name)


def test_a_float_is_written_as_the_fraction_that_it_is(tmp_path):
    path = tmp_path / "float.ine"
    hc.write_ine(path, np.array([[0.1]]), np.array([1.5]))
    h = hc.read_ine(str(path))
    assert (h.A.item(), h.b.item()) == (Fraction(0.1), Fraction(1.5))


@pytest.mark.parametrize("scale", [1, Fraction(2, 3), 10**25])
def test_vertices_come_back(tmp_path, scale):
    a = [[1, 2, 0], [0, 3, 1], [5, 0, 7], [1, 1, 1], [2, -1, 3]]
    found = hc.vertices(a, [scale * x for x in (1, 0, 2, -1, 4)])
    path = tmp_path / "found.ext"
    hc.write_ext(path, found, name="found")
    v = hc.read_ext(path)
    assert [tuple(row) for row in v.vertices.tolist()] == list(found)
    assert (v.rays.shape, v.lines.shape, v.name) == ((0, 3), (0, 3), "found")
    stream = io.BytesIO()
    hc.write_ext(stream, (found[i : i + 3] for i in range(0, len(found), 3)), dimension=3)
    lines = stream.getvalue().decode().splitlines()
    assert lines[:3] == ["V-representation", "begin", "***** 4 rational"]
    assert read(stream.getvalue(), hc.read_ext).vertices.tolist() == v.vertices.tolist()


def test_nothing_is_a_file_too():
    empty = hc.vertices(np.zeros((0, 2)), [])
    file = io.BytesIO()
    hc.write_ext(file, empty)
    assert read(file.getvalue(), hc.read_ext).vertices.shape == (0, 2)
    file = io.BytesIO()
    hc.write_ext(file, [], dimension=2)
    assert read(file.getvalue(), hc.read_ext).dimension == 2
    point = io.BytesIO()
    hc.write_ext(point, hc.vertices([], []))
    assert point.getvalue() == b"V-representation\nbegin\n1 1 rational\n 1\nend\n"


def test_rays_and_lines_are_told_apart():
    v = read(
        "V-representation\nlinearity 1 3\nbegin\n3 3 rational\n1 1/2 0\n0 1 1\n0 0 1\nend\n",
        hc.read_ext,
    )
    assert v.vertices.tolist() == [[Fraction(1, 2), 0]]
    assert (v.rays.tolist(), v.lines.tolist()) == ([[1, 1]], [[0, 1]])
    assert repr(v) == "VRepresentation(1 vertices, 1 rays, 1 lines in R^2)"
    with pytest.raises(hc.FormatError, match="row 1 is a vertex"):
        read("linearity 1 1\nbegin\n1 2 integer\n1 2\nend", hc.read_ext)


def test_bad_files_are_named_with_path_line_and_column(tmp_path):
    path = tmp_path / "bad.ine"
    path.write_bytes(CUBE.replace(b"1  0  0 -1", b"1  0  O -1"))
    with pytest.raises(hc.FormatError, match=r"bad\.ine: line 9, column 7: 'O' is no number"):
        hc.read_ine(path)
    with pytest.raises(hc.FormatError, match="H-representation: a V-representation is expected"):
        hc.read_ext(io.BytesIO(CUBE))
    with pytest.raises(hc.TooLargeError, match="30000 digits"):
        read(b"begin\n1 1 integer\n" + b"9" * 30_000 + b"\nend\n")
    with pytest.raises(FileNotFoundError):
        hc.read_ine(tmp_path / "absent.ine")
    with pytest.raises(hc.InvalidArgumentError, match="binary mode"):
        hc.read_ine(io.StringIO("begin"))
    with pytest.raises(hc.InvalidArgumentError, match="int: a path"):
        hc.read_ine(3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"linearity": [1]}, "A has 1 rows"),
        ({"linearity": [-1]}, "A has 1 rows"),
        ({"name": "two\nlines"}, "one line"),
        ({"name": "* comment"}, "one line"),
        ({"name": "begin here"}, "one line"),
        ({"name": " "}, "one line"),
        ({"name": "V-REPRESENTATION"}, "one line"),
        ({"name": "digits 100"}, "one line"),
        ({"name": "hull"}, "one line"),
    ],
)
def test_what_would_be_read_as_something_else_is_not_written(arguments, says):
    with pytest.raises(hc.InvalidArgumentError, match=says):
        hc.write_ine(io.BytesIO(), [[1]], [0], **arguments)


def test_a_stream_has_one_dimension():
    with pytest.raises(hc.InvalidArgumentError, match=r"dimension=3, but the vertices are in R\^1"):
        hc.write_ext(io.BytesIO(), [[1]], dimension=3)
    with pytest.raises(hc.DtypeError, match="a block is a str: Vertices"):
        hc.write_ext(io.BytesIO(), iter(["x"]), dimension=3)
    with pytest.raises(hc.InvalidArgumentError, match="dimension=None"):
        hc.write_ext(io.BytesIO(), [])
    with pytest.raises(hc.InvalidArgumentError, match=r"R\^1"):
        hc.write_ext(io.BytesIO(), [hc.vertices([[1]], [1])], dimension=2)


CORNERS = "begin\n3 3 rational\n1 0 0\n1 1 0\n1 0 1\nend\n"


@pytest.mark.parametrize(
    "text",
    [
        "hull\n" + CORNERS,
        CORNERS + "hull\n",
        *(f"{k}\n" + CORNERS for k in ("V-representation", "V-Representation", "v-representation")),
    ],
)
def test_every_way_to_say_v_representation(text):
    with pytest.raises(hc.FormatError, match="V-representation: an H-representation is expected"):
        read(text)
    found = read(text, hc.read_ext)
    assert found.vertices.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert found.name == ""
    with pytest.raises(hc.FormatError, match="'hull' makes this"):
        read("H-representation\n" + CORNERS + "hull\n")


def test_a_second_representation_is_not_of_the_first():
    # As cddexec --repall prints it.
    first = "V-representation\nbegin\n 2 3 rational\n {}\nend\n\n"
    second = (
        "The first (input) representation\nH-representation\nlinearity 1  2\nbegin\n"
        " 2 3 rational\n -1 1 0\n 0 0 1\nend\nhull\nequality 1 1\n"
    )
    for rows in ("1 1 0\n 0 1 0", "0 1 0\n 1 1 0"):
        found = read(first.format(rows) + second, hc.read_ext)
        assert repr(found) == "VRepresentation(1 vertices, 1 rays, 0 lines in R^2)"
    again = read("H-representation\nbegin\n1 2 integer\n1 2\nend\nbegin\nlinearity 1 1")
    assert again.linearity == ()
    # Behind the only one they are its own, as in older files of cdd.
    assert read("begin\n2 2 integer\n1 2\n1 3\nend\nequality 1 2\n").linearity == (1,)


def test_rows_are_homogeneous_and_need_no_lines_of_their_own():
    found = read(
        "V-representation\nbegin\n4 3 real 2 1 3.0\n 1.0 5 6\n"
        "1.000000000E+00 7 -0.5 0.0\n 1\n 2 end\n",
        hc.read_ext,
    )
    half = Fraction(1, 2)
    assert found.vertices.tolist() == [[half, 3 * half], [5, 6], [7, -half]]
    assert found.rays.tolist() == [[1, 2]]
    for first in ("-1", "-1/2"):
        with pytest.raises(hc.FormatError, match="1 for a vertex and 0 for a ray"):
            read(f"begin\n1 2 rational\n{first} 2\nend\n", hc.read_ext)
    h = read("begin\n2 3 integer 1 2 3 4\n5\n6 end")
    assert (h.A.tolist(), h.b.tolist()) == ([[-2, -3], [-5, -6]], [1, 4])


def test_options_are_no_names_and_stay():
    text = "a cube\ndigits 100\nH-representation\nmaxoutput 7\nbegin\n1 2 integer\n1 1\nend\n{}"
    h = read(text.format("lrs of its own\nnonnegative\nvolume\n"))
    assert h.name == "a cube"
    assert h.options == ("digits 100", "maxoutput 7", "lrs of its own", "nonnegative", "volume")
    # lrs skips 'nonnegative' behind the rows.
    assert h.A.tolist() == [[-1]]
    assert read(text.replace("a cube\n", "").format("")).name == ""
    assert read(text.replace("digits 100", "x").format("")).name == "a cube"


def test_text_of_wide_characters_is_named():
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with pytest.raises(hc.FormatError, match=r"line 1, column 1: the file is text in UTF-\d\d"):
            hc.read_ine(io.BytesIO("H-representation\nbegin\n".encode(encoding)))
    assert read(CUBE.decode().encode("utf-8-sig")).name == "cube.ine"


fractions = st.fractions() | st.integers(-(2**70), 2**70)


@given(data=st.data(), dimension=st.integers(0, 3), name=st.sampled_from(["", "a cone"]))
def test_v_representations_come_back(data, dimension, name):
    def table():
        row = st.lists(fractions, min_size=dimension, max_size=dimension)
        rows = data.draw(st.lists(row, max_size=4))
        return np.array(rows, object).reshape(len(rows), dimension)

    parts = [table(), table(), table()]
    v = hc.VRepresentation(*parts, name=name)
    file = io.BytesIO()
    hc.write_ext(file, v)
    found = read(file.getvalue(), hc.read_ext)
    for part, one, other in zip(
        parts, (v.vertices, v.rays, v.lines), (found.vertices, found.rays, found.lines), strict=True
    ):
        assert one.tolist() == other.tolist() == part.tolist()
        assert one.shape == other.shape
    assert found.name == name
    quotients = zip(found.numerators.ravel(), found.denominators.ravel(), strict=True)
    assert [Fraction(int(n), int(d)) for n, d in quotients] == parts[0].ravel().tolist()
    again = io.BytesIO()
    hc.write_ext(again, found)
    assert again.getvalue() == file.getvalue()


def test_points_of_every_kind_are_written():
    expected = b"V-representation\nbegin\n2 3 rational\n 1 0 1/2\n 1 1 1\nend\n"
    for points in ([(0, "1/2"), (1, 1)], np.array([[0, 0.5], [1, 1]])):
        file = io.BytesIO()
        hc.write_ext(file, points)
        assert file.getvalue() == expected
    approximate = hc.vertices([[1, 0], [0, 2], [1, -1]], [0, 1, 0], exact=False)
    file = io.BytesIO()
    hc.write_ext(file, approximate)
    back = read(file.getvalue(), hc.read_ext)
    assert back.vertices.astype(float).tolist() == approximate.to_numpy().tolist()
    with pytest.raises(hc.InvalidArgumentError, match="rays have 1 coordinates and vertices 2"):
        hc.VRepresentation([[1, 2]], rays=[[1]])
    with pytest.raises(hc.DtypeError, match="vertices is a int"):
        hc.write_ext(io.BytesIO(), 3)


def test_many_vertices_are_read_at_speed(tmp_path):
    rng = np.random.default_rng(1)
    found = hc.vertices(rng.integers(-99, 100, (60, 3)), rng.integers(-99, 100, 60))
    path = tmp_path / "found.ext"
    hc.write_ext(path, found)
    start = time.process_time()
    back = hc.read_ext(path)
    # A hundred times what a quiet machine takes.
    assert time.process_time() - start < path.stat().st_size * 1e-6
    assert back.numerators.dtype == np.int64
    quotients = back.numerators / back.denominators
    assert quotients.tolist() == found.to_numpy().tolist()


@pytest.mark.skipif(not shutil.which("lrs"), reason="lrs is not installed")
def test_lrs_reads_what_is_written_and_is_read(tmp_path):
    rng = np.random.default_rng(7)
    normals = rng.integers(-9, 10, (12, 3))
    # The origin is inside, so there is a polytope or an unbounded polyhedron with vertices.
    sides = rng.integers(1, 10, 12)
    path = tmp_path / "random.ine"
    hc.write_ine(path, normals, [Fraction(int(b), 7) for b in sides], name="random")
    printed = subprocess.run(["lrs", path], capture_output=True, check=True).stdout
    v = read(printed, hc.read_ext)
    assert v.name == "random"
    assert len(v.vertices) > 3
    found = set(hc.vertices(*hc.read_ine(path).hyperplanes()))
    assert {tuple(map(Fraction, row)) for row in v.vertices.tolist()} <= found
