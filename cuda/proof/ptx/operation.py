"""What each instruction computes, by the PTX ISA's description (version 8.8).

A function here takes the instruction's modifiers and gives one from operand arrays to the result.
Everything is IEEE arithmetic with subnormals, rounded to the nearest, ties to even; another
rounding, ``.ftz``, ``.sat`` or ``.approx`` is not known, and raises.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .source import Unknown, numpy_type

Operation = Callable[..., np.ndarray]


def _odd(values: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Doubles that were rounded by `error`, rounded to odd instead.

    Rounding them once more, to a narrower type, then gives what rounding the exact value would.
    """
    bits = values.view(np.int64)
    inexact = (error != 0) & (bits & 1 == 0) & np.isfinite(values)
    outward = (error > 0) == (values > 0)
    return np.where(inexact, np.where(outward, bits + 1, bits - 1), bits).view(np.float64)


def fused(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a·b + c of floats of 16 or 32 bits, rounded once."""
    kind = np.result_type(a, b, c)
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)  # exact: 48 bits
    addend = np.asarray(c, np.float64)
    total = np.asarray(product + addend)
    # Knuth's TwoSum.
    back = total - product
    error = (product - (total - back)) + (addend - back)
    return _odd(total, np.asarray(error)).astype(kind)


def _least(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where((x == y) & np.signbit(x), x, np.fmin(x, y))


def _most(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where((x == y) & ~np.signbit(x), x, np.fmax(x, y))


_FLOATS: dict[str, Operation] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": _least,
    "max": _most,
    "neg": np.negative,
    "abs": np.abs,
}
_INTEGERS: dict[str, Operation] = {
    "add": np.add,
    "sub": np.subtract,
    "min": np.minimum,
    "max": np.maximum,
    "neg": np.negative,
    "abs": np.abs,
    "div": np.floor_divide,
    "rem": np.remainder,
}
_BITS: dict[str, Operation] = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
}
_COMPARISONS: dict[str, Operation] = {
    "eq": np.equal,
    "ne": lambda x, y: (x < y) | (x > y),
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "nan": lambda x, y: np.isnan(x) | np.isnan(y),
    "num": lambda x, y: ~(np.isnan(x) | np.isnan(y)),
    "equ": lambda x, y: ~((x < y) | (x > y)),
    "neu": np.not_equal,
    "ltu": lambda x, y: ~(x >= y),
    "leu": lambda x, y: ~(x > y),
    "gtu": lambda x, y: ~(x <= y),
    "geu": lambda x, y: ~(x < y),
}


def _only(modifiers: list[str], *known: str) -> None:
    if rest := [m for m in modifiers if m not in known]:
        raise Unknown(f"modifier .{rest[0]}")


def _shift(left: bool, dtype: np.dtype) -> Operation:
    bits = 8 * dtype.itemsize

    def run(x, by):
        within = np.minimum(by, bits - 1).astype(x.dtype)
        shifted = x << within if left else x >> within
        if left or dtype.kind == "u":
            return np.where(by >= bits, x.dtype.type(0), shifted)
        return shifted  # an arithmetic shift by bits − 1 is all signs already

    return run


def _funnel(left: bool) -> Operation:
    def run(low, high, by):
        both = np.asarray(high).astype(np.uint64) << np.uint64(32) | np.asarray(low).astype(
            np.uint64
        )
        by = np.asarray(by).astype(np.uint64) & np.uint64(31)
        return (both << by >> np.uint64(32) if left else both >> by).astype(np.uint32)

    return run


def _permute(a, b, selector):
    both = np.asarray(b).astype(np.uint64) << np.uint64(32) | np.asarray(a).astype(np.uint64)
    result = np.zeros(np.shape(both), np.uint32)
    for i in range(4):
        nibble = np.asarray(selector).astype(np.uint64) >> np.uint64(4 * i) & np.uint64(15)
        byte = both >> (nibble & np.uint64(7)) * np.uint64(8) & np.uint64(255)
        signs = np.where(byte >> np.uint64(7) == 1, 255, 0).astype(np.uint64)
        byte = np.where(nibble >= 8, signs, byte)
        result |= (byte << np.uint64(8 * i)).astype(np.uint32)
    return result


def _insert(field, into, start, count):
    start = np.minimum(np.asarray(start).astype(np.uint64) & np.uint64(255), np.uint64(32))
    count = np.minimum(np.asarray(count).astype(np.uint64) & np.uint64(255), np.uint64(32))
    mask = (((np.uint64(1) << count) - np.uint64(1)) << start).astype(np.uint32)
    moved = (np.asarray(field).astype(np.uint64) << start).astype(np.uint32)
    return (moved & mask) | (np.asarray(into) & ~mask)


def _leading_zeros(x):
    x = np.asarray(x).astype(np.uint64)
    return np.uint32(32) - sum((x >> np.uint64(i) > 0).astype(np.uint32) for i in range(32))


def _ones(x):
    x = np.asarray(x).astype(np.uint64)
    return sum((x >> np.uint64(i) & np.uint64(1)).astype(np.uint32) for i in range(64))


def _product(mode: str, dtype: np.dtype) -> tuple[Operation, np.dtype]:
    if mode == "lo":
        return np.multiply, dtype
    if mode == "wide" and dtype.itemsize < 8:
        wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
        return (lambda x, y: x.astype(wide) * y.astype(wide)), wide
    if mode == "hi" and dtype.itemsize == 4:
        wide = np.dtype(f"{dtype.kind}8")
        return (
            lambda x, y: (x.astype(wide) * y.astype(wide) >> wide.type(32)).astype(dtype)
        ), dtype
    raise Unknown(f"mul.{mode} of {dtype}")


def _convert(modifiers: list[str]) -> tuple[Operation, list[np.dtype], np.dtype]:
    to, source = numpy_type(modifiers[-2]), numpy_type(modifiers[-1])
    rounding = modifiers[:-2]
    if to.kind == "f" and source.kind == "f" and to.itemsize > source.itemsize:
        _only(rounding)
    elif to.kind == "f":
        _only(rounding, "rn")
        if rounding != ["rn"] or (source.kind != "f" and to.itemsize == 2):
            raise Unknown("cvt." + ".".join(modifiers))
    elif source.kind == "f":
        raise Unknown("cvt." + ".".join(modifiers))
    else:
        _only(rounding)
    if to == np.float16:
        return _to_half, [source], to
    return (lambda x: x.astype(to)), [source], to


def _to_half(x: np.ndarray) -> np.ndarray:
    """Floats as halves. All that are not numbers become 0x7FFF, as on a GPU."""
    half = np.asarray(x).astype(np.float16)
    return np.where(np.isnan(half), np.uint16(0x7FFF).view(np.float16), half)


def _halves(pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pair = np.atleast_1d(np.asarray(pair, np.uint32))
    low, high = (pair & np.uint32(0xFFFF)), pair >> np.uint32(16)
    return low.astype(np.uint16).view(np.float16), high.astype(np.uint16).view(np.float16)


def _paired(operation: Operation) -> Operation:
    """An operation on both halves of words."""

    def run(*pairs):
        lows, highs = zip(*(_halves(pair) for pair in pairs), strict=True)
        low = operation(*lows).astype(np.float16).view(np.uint16).astype(np.uint32)
        high = operation(*highs).astype(np.float16).view(np.uint16).astype(np.uint32)
        return low | high << np.uint32(16)

    return run


def _float_operation(name: str) -> Operation:
    if name == "fma":
        return fused
    if name in _FLOATS:
        return _FLOATS[name]
    raise Unknown(f"{name} of floats")


def operation(opcode: list[str]) -> tuple[Operation, list[np.dtype], np.dtype]:
    """What an instruction computes, and the dtypes of its operands and its result."""
    name, *modifiers = opcode
    u32, pred = np.dtype(np.uint32), np.dtype(bool)
    if name == "cvt":
        return _convert(modifiers)
    if name == "setp":
        _only(modifiers[1:-1])
        dtype = numpy_type(modifiers[-1])
        if modifiers[0] not in _COMPARISONS or (dtype.kind != "f" and len(modifiers[0]) > 2):
            raise Unknown(".".join(opcode))
        return _COMPARISONS[modifiers[0]], [dtype] * 2, pred
    if name == "shf":
        _only(modifiers, "l", "r", "wrap", "b32")
        if modifiers[1] != "wrap":
            raise Unknown(".".join(opcode))
        return _funnel(modifiers[0] == "l"), [u32] * 3, u32
    if modifiers and modifiers[-1] == "f16x2":
        _only(modifiers, "rn", "f16x2")
        arity = 3 if name == "fma" else 1 if name in ("neg", "abs") else 2
        return _paired(_float_operation(name)), [u32] * arity, u32
    dtype = numpy_type(modifiers[-1])
    if name in ("shl", "shr"):
        _only(modifiers[:-1])
        return _shift(name == "shl", dtype), [dtype, u32], dtype
    if name == "selp":
        return (lambda x, y, p: np.where(p, x, y)), [dtype, dtype, pred], dtype
    if name in _BITS:
        arity = 1 if name == "not" else 2
        return _BITS[name], [dtype] * arity, dtype
    if name == "prmt" and modifiers == ["b32"]:
        return _permute, [u32] * 3, u32
    if name == "bfi" and modifiers == ["b32"]:
        return _insert, [u32] * 4, u32
    if name == "clz" and modifiers == ["b32"]:
        return _leading_zeros, [u32], u32
    if name == "popc" and modifiers in (["b32"], ["b64"]):
        return _ones, [dtype], u32
    if dtype.kind == "f":
        _only(modifiers, "rn", modifiers[-1])
        if name == "fma" and (dtype.itemsize == 8 or "rn" not in modifiers):
            raise Unknown(".".join(opcode))
        arity = 3 if name == "fma" else 1 if name in ("neg", "abs") else 2
        return _float_operation(name), [dtype] * arity, dtype
    if name in ("mul", "mad"):
        product, wide = _product(modifiers[0], dtype)
        _only(modifiers[1:-1])
        if name == "mul":
            return product, [dtype] * 2, wide
        return (lambda x, y, z: product(x, y) + z), [dtype, dtype, wide], wide
    if name in _INTEGERS:
        _only(modifiers[:-1])
        if name in ("div", "rem") and dtype.kind != "u":
            raise Unknown(".".join(opcode))
        arity = 1 if name in ("neg", "abs") else 2
        return _INTEGERS[name], [dtype] * arity, dtype
    raise Unknown(".".join(opcode))
