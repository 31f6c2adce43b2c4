"""Kinds of numbers and of tables that arrangements are given as."""

import array
import decimal
import numbers
import time
from fractions import Fraction

import numpy as np
import pytest

import hypercomp_rs as hc


class Quotient(numbers.Rational):
    """A rational number of a library that knows nothing of ours, by `numbers.Rational` alone."""

    def __init__(self, above, below):
        self.above, self.below = above, below

    @property
    def numerator(self):
        return self.above

    @property
    def denominator(self):
        return self.below

    # What the abstract class asks for, and this package must not need.
    def _refuse(self, *_):
        raise AssertionError("only numerator and denominator are asked for")

    __abs__ = __add__ = __ceil__ = __eq__ = __floor__ = __floordiv__ = __le__ = __lt__ = _refuse
    __mod__ = __mul__ = __neg__ = __pos__ = __pow__ = __radd__ = __rfloordiv__ = __rmod__ = _refuse
    __rmul__ = __round__ = __rpow__ = __rtruediv__ = __truediv__ = __trunc__ = _refuse
    __hash__ = None


class Whole:
    """An integer by `__index__` alone, as gmpy2's mpz and flint's fmpz."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class SageRational:
    """Sage's numbers have methods where others have properties."""

    def numerator(self):
        return Whole(-1)

    def denominator(self):
        return Whole(3)


class Binary:
    """A binary float of any precision, as mpmath's and sympy's."""

    def __init__(self, sign, mantissa, exponent):
        self._mpf_ = (sign, mantissa, exponent, mantissa.bit_length())


NUMBERS = [
    (Quotient(1, 3), Fraction(1, 3)),
    (Quotient(Whole(2), Whole(-6)), Fraction(-1, 3)),
    (Whole(7), 7),
    (SageRational(), Fraction(-1, 3)),
    (Binary(1, 5, -3), Fraction(-5, 8)),
    (Binary(0, 5, 70), 5 * 2**70),
    (Binary(0, 0, 0), 0),
    (decimal.Decimal("-0.125"), Fraction(-1, 8)),
    (np.float16(0.5), Fraction(1, 2)),
    (np.longdouble(0.5), Fraction(1, 2)),
    (np.array(3), 3),
    (np.array(0.25), Fraction(1, 4)),
    (" -1_000/3 ", Fraction(-1000, 3)),
    ("+.5", Fraction(1, 2)),
    ("5.", 5),
    ("-1.5E+2", -150),
    ("7" * 5000, Fraction(int("7" * 2500)) * 10**2500 + int("7" * 2500)),
    ("1/" + "3" * 9000, Fraction(1, (10**9000 - 1) // 3)),
]


@pytest.mark.parametrize(("given", "value"), NUMBERS)
def test_numbers_are_known_by_protocol(given, value):
    assert list(hc.vertices([[1]], [given])) == [(value,)]
    assert list(hc.vertices([[1]], np.array([given], object))) == [(value,)]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ("", hc.InvalidArgumentError, "''"),
        (".", hc.InvalidArgumentError, "'.'"),
        ("1/2.5", hc.InvalidArgumentError, "'1/2.5'"),
        ("1e", hc.InvalidArgumentError, "'1e'"),
        ("٣", hc.InvalidArgumentError, "٣"),
        ("x" * 9999, hc.InvalidArgumentError, "x…'"),
        ("1e999999999", hc.TooLargeError, "exponents up to"),
        ("1e" + "9" * 5000, hc.TooLargeError, "exponents up to"),
        (True, hc.DtypeError, "truth values as integers"),
        (np.True_, hc.DtypeError, "truth values as integers"),
        (Binary(0, 0, -456), hc.NonFiniteError, "finite"),
        (decimal.Decimal("NaN"), hc.NonFiniteError, "finite"),
        (Quotient(1, 0), hc.NonFiniteError, "finite"),
        (Quotient(0.5, 1), hc.DtypeError, "Quotient"),
        ([1], hc.DtypeError, "list"),
        (b"1", hc.DtypeError, "bytes"),
    ],
)
def test_what_is_no_exact_number_is_named(given, error, says):
    with pytest.raises(error, match=says) as raised:
        hc.vertices([[1]], [given])
    assert str(raised.value).startswith("b[0] is ")
    assert len(str(raised.value)) < 400


def test_numbers_of_sympy():
    sympy = pytest.importorskip("sympy")
    third = sympy.Rational(1, 3)
    for number, value in (
        (third, Fraction(1, 3)),
        (sympy.Integer(3), 3),
        (sympy.Float("0.5"), 0.5),
    ):
        assert list(hc.vertices([[1]], [number])) == [(value,)]
    a = sympy.Matrix([[third, 0], [0, 2], [1, 1]])
    b = sympy.Matrix([1, 1, 1])
    assert hc.vertices(a, b) == hc.vertices([["1/3", 0], [0, 2], [1, 1]], [1, 1, 1])
    with pytest.raises(hc.DtypeError, match="irrational number has to be rounded first"):
        hc.vertices([[sympy.sqrt(2)]], [1])


class Tensor:
    """As a tensor of torch that gradients are asked of: an array only after `detach`."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return Detached(self.values)

    def cpu(self):
        return self


class Detached(Tensor):
    def is_floating_point(self):
        return self.values.dtype.kind == "f"

    def double(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


A = [[1, 0], [0, 3], [1, 1]]
B = [1, 2, 5]


def tables():
    a, b = np.array(A), np.array(B)
    floats = a / 4, b / 4
    yield "floats", *floats
    yield "tensors", *map(Tensor, floats)
    yield "memoryview", memoryview(np.ascontiguousarray(a)), memoryview(b)
    yield "array.array", [array.array("d", row) for row in A], array.array("q", B)
    yield "column", a, b[:, None]
    yield "rows of arrays", [np.array(row) for row in A], (1, 2, 5)
    yield "range", [range(1, -1, -1), (0, 3), (1, 1)], B
    yield "dict values", {0: A[0], 1: A[1], 2: A[2]}.values(), B


@pytest.mark.parametrize(("a", "b"), [pytest.param(a, b, id=name) for name, a, b in tables()])
def test_tables_are_what_turns_into_arrays(a, b):
    assert hc.vertices(a, b) == hc.vertices(A, B)


def test_tables_of_torch():
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(2, 3)
    weights, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert hc.vertices(layer.weight, -layer.bias) == hc.vertices(weights, -bias)
    halves = torch.tensor(A, dtype=torch.bfloat16), torch.tensor(B)
    assert hc.vertices(*halves) == hc.vertices(A, B)


def test_tables_of_scipy():
    sparse = pytest.importorskip("scipy.sparse")
    for kind in (sparse.csr_array, sparse.coo_matrix, sparse.csc_matrix):
        assert hc.vertices(kind(np.array(A)), B) == hc.vertices(A, B)
    with pytest.raises(hc.TooLargeError, match=r"A has shape \(100000, 100000\)"):
        hc.vertices(sparse.csr_array((100_000, 100_000)), B)


def test_tables_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(A, columns=["x", "y"])
    assert hc.vertices(frame, pandas.Series(B)) == hc.vertices(A, B)
    # A column of integers beyond 2^53 beside one of floats.
    large = 2**60 + 1
    mixed = pandas.DataFrame({"x": [large, 1], "y": [0.5, 0.25]})
    assert hc.vertices(mixed, [1, 1]) == hc.vertices([[large, 0.5], [1, 0.25]], [1, 1])


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        # A float that is an integer, floats beside short integers, and beside long ones.
        (np.array([[3, 1], [1, 4]]), np.array([2.0, -1.0]), "i"),
        (np.array([[3, 1], [1, 4]]), np.array([0.5, -1.0]), "f"),
        (np.array([[2**60 + 1, 1], [1, 4]]), np.array([0.5, -1.0]), None),
        (np.array([[2**63, 1], [1, 4]], np.uint64), np.array([1, 2], np.uint64), None),
        (np.array([[2**63 - 1, 1], [1, 4]], np.uint64), np.array([1, 2], np.int8), "i"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([2**62, 1]), "i"),
        (np.array([[1e300, 2.0], [3.0, 4.0]]), np.array([2**53, 1]), "f"),
    ],
)
def test_arrays_of_two_kinds_are_one_array_where_that_is_exact(a, b, kind):
    from hypercomp_rs.arrangement.rows import Rows

    entries = Rows.of(a, b).entries
    assert (entries.dtype.kind if isinstance(entries, np.ndarray) else None) == kind
    lists = a.tolist(), b.tolist()
    assert hc.vertices(a, b) == hc.vertices(*lists)


def test_integers_and_floats_together_cost_no_more():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-99, 100, (20_000, 30)), rng.standard_normal(20_000)
    from hypercomp_rs.arrangement.rows import Rows

    start = time.process_time()
    Rows.of(a, b)
    # 600,000 numbers one by one take a second.
    assert time.process_time() - start < 0.3
