"""Stored tensors as the kernels are given them, and stored tensors made up for the proof.

Reading goes by ``tests/plain_decoder.py``, which is written from docs/format.md alone, so that what
the kernels are given does not come from the code that they are compared with.
"""

from __future__ import annotations

import struct
import sys
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .case import Case, Pointer, Struct

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import plain_decoder as plain
import plain_tiles

STREAM = np.dtype(
    [
        ("path_bit", "<u8"),
        ("cell_bit", "<u8"),
        ("first", "<u8"),
        ("scale", "<f4"),
        ("length", "<u2"),
        ("half_bits", "u1"),
        ("history", "u1"),
    ]
)
CODE = np.dtype([("turn", "<u4", 2), ("skew", "<u4", 2), ("shape", "<f4", 3), ("unused", "<u4")])
TILE_CODE = np.dtype(
    [
        ("turn", "<u4", 2),
        ("skew", "<u4", (2, 3)),
        ("unit", "<f4"),
        ("levels", "<u4"),
        ("bytes", "<u4"),
        ("unused", "<u4"),
    ]
)
ROW_TILE = np.dtype([("first", "<u4"), ("rows", "<u2"), ("half_bits", "<u2")])
CHUNK = np.dtype([("sum", "<i4"), ("unit", "<f4")])
TENSOR = struct.Struct("<QQQQQQQddffIIIIIIQ")
MATRIX = struct.Struct("<QIIII")
TILE_LEVELS = 3840  # HC_TILE_LEVELS
LEVEL_BYTES = 32_768  # HC_LEVEL_BYTES
DTYPES = {"float32": 0, "float16": 2, "bfloat16": 3}
STORED = {"float32": np.uint32, "float16": np.uint16, "bfloat16": np.uint16}


@dataclass
class Prepared:
    """What a trellis tensor is on the device."""

    shape: tuple[int, ...]
    window: int
    seed: int | None
    exponent: int
    streams: np.ndarray
    path: bytes
    cells: bytes
    mask: np.ndarray | None
    exact: tuple[np.ndarray, np.ndarray]
    tiled: bool = False

    @property
    def lengths(self) -> list[int]:
        """Weights of each stream, coded or not."""
        return plain.layout(self.shape)[0]


def prepare(data: bytes) -> Prepared:
    """Take a stored tensor apart."""
    (version,) = struct.unpack_from("<H", data, 4)
    tiled, axes = version in (3, 4), data[8]
    at, shape = 9, []
    for _ in range(axes):
        axis, at = plain.leb128(data, at)
        shape.append(axis)
    if version in (2, 4):
        shape, at = shape[::-1], at + axes
    at += 8
    exponent, window, flags = struct.unpack_from("<hBB", data, at)
    at += 4
    seed = None
    if flags & 1:
        seed, at = plain.leb128(data, at)
    top, step, a, w, b, v = struct.unpack_from("<bBBBBB", data, at)
    at += 6
    lengths, chain = plain.layout(shape)
    numbers = plain.fields(data, 8 * at, w, len(lengths))
    at += -(-len(lengths) * w // 8)
    rates = plain.fields(data, 8 * at, v, len(lengths)) + b
    at += -(-len(lengths) * v // 8)
    zeros = (numbers == 2**w - 1) if flags & 4 else np.zeros(len(lengths), bool)
    coded, kept = list(lengths), None
    ends = np.cumsum(lengths)
    if flags & 2:
        kept, at = plain.mask(data, at, lengths, chain)
        coded = [int(kept[e - n : e].sum()) for e, n in zip(ends, lengths, strict=True)]

    streams = np.zeros(len(lengths), STREAM)
    path_bit = cell_bit = history = 0
    for i, n in enumerate(coded):
        if i % chain == 0:
            path_bit, cell_bit, history = -(-path_bit // 8) * 8, -(-cell_bit // 8) * 8, 0
        rate = 0 if zeros[i] else int(rates[i])
        m = (int(numbers[i]) + a) << step
        root = np.float32(2.0 ** (-(m % 64) / 64))
        scale = np.float32(float(root) * 2.0 ** (top - m // 64)) if rate else np.float32(0)
        first = sum(coded[:i]) if flags & 2 else int(ends[i]) - n
        streams[i] = (path_bit, cell_bit, first, scale, n, rate, min(history, 255))
        if rate and tiled:
            cell_bit += 8 * plain_tiles.stream_size(rate, n)
        elif rate:
            path_bit += -(-n // (1 + rate % 2))
            history += -(-n // (1 + rate % 2))
            cell_bit += n * ((rate - 1) // 2)
    path = data[at : at + -(-path_bit // 8)]
    at += len(path)
    cells = data[at : at + -(-cell_bit // 8)]
    at += len(cells)
    places, values = np.zeros(0, np.uint64), np.zeros(0)
    if flags & 8:
        kind = np.dtype(["<f4", "<f8", "<f2"][data[6]])
        count, at = plain.leb128(data, at)
        place, found = 0, []
        for _ in range(count):
            gap, at = plain.leb128(data, at)
            found.append(place + gap)
            place += gap + 1
        places = np.array(found, np.uint64)
        values = np.frombuffer(data, kind, count, at)
    return Prepared(
        tuple(shape), window, seed, exponent, streams, path, cells, kept, (places, values), tiled
    )


def _narrow(first: float, second: float) -> tuple[np.float32, np.float32, int]:
    """PowerOfTwo::narrow."""
    if 2.0**-126 <= first * second <= 2.0**127:
        first, second = first * second, 1.0
    fits = second == 1.0 or all(2.0**-120 <= x <= 2.0**120 for x in (first, second))
    return (np.float32(first), np.float32(second), 1) if fits else (np.float32(0), np.float32(0), 0)


def _power(exponent: int) -> float:
    """exp2i."""
    return float(np.ldexp(1.0, exponent))


def tensor_argument(case: Case, tensor: Prepared) -> Struct:
    """The struct HcTensor, with its buffers given to the case."""
    half = int(tensor.exponent / 2)
    wide = (_power(half), _power(tensor.exponent - half))
    first, second, fits = _narrow(*wide)
    s, run = (0, 0) if tensor.tiled else plain.codes()[tensor.window, 1][:2]
    data = TENSOR.pack(
        0, 0, len(tensor.path), len(tensor.cells), 0, 0,
        tensor.seed or 0, *wide, first, second, fits, tensor.seed is not None,
        tensor.window, s, run, 0, 0,
    )  # fmt: skip
    parts = {8: tensor.cells, 32: tensor.streams.tobytes()}
    if not tensor.tiled:
        parts |= {0: tensor.path, 40: _codes(tensor.window).tobytes()}
    return Struct(data, {offset: case.give(part) for offset, part in sorted(parts.items())})


def _codes(window: int) -> np.ndarray:
    """The HcCodes of a window."""
    table = np.zeros(16, CODE)
    for h in range(1, 17):
        code = plain.codes()[window, h]
        axes, shape = code.axes, code.shape
        scaled = [shape[0], shape[1] / np.float32(2**23), shape[2] / np.float32(2**46)]
        turns, skews = zip(*axes, strict=True)
        table[h - 1] = (turns, skews, scaled, 0)
    return table


@cache
def _integer_levels(window: int, h: int) -> tuple[np.ndarray, np.float32]:
    """The integer level of each stored cell and u, and the unit."""
    code = plain_tiles.codes()[window, h]
    unit = np.float32(1) / code.units if code.units is not None else np.float32(2.0**-12)
    found = plain_tiles.levels(window, h, plain.quantile) / unit
    return np.rint(found).astype(np.int16), unit


@cache
def _level_bytes(window: int, h: int) -> np.ndarray:
    """What tile_bytes.cuh reads of a code: a byte for each register, weight of a step and cell."""
    code, moved = plain_tiles.codes()[window, h], _integer_levels(window, h)[0].astype(int) + 128
    assert 0 <= moved.min() <= moved.max() <= 255
    axes = code.axes[: 1 + h % 2]
    u = [[plain_tiles.offset(axis, w) for axis in axes] for w in range(1 << window)]
    table = np.moveaxis(moved[:, u], 0, -1).astype(np.uint8)
    assert table.size <= LEVEL_BYTES
    return table.reshape(-1)


def tiles_argument(case: Case, tensor: Prepared, *, by_rows: bool = False) -> Struct:
    """The struct HcTiles, with its buffers given to the case; `by_rows`: with level bytes."""
    table, levels, level_bytes = np.zeros(16, TILE_CODE), [], []
    for h in range(1, 17):
        code = plain_tiles.codes()[tensor.window, h]
        turns, skews = zip(*code.axes, strict=True)
        found, unit = _integer_levels(tensor.window, h)
        places = (sum(map(len, levels)), sum(map(len, level_bytes)))
        table[h - 1] = (turns, skews, unit, *places, 0)
        levels.append(found.reshape(-1))
        if by_rows and h in tensor.streams["half_bits"]:
            level_bytes.append(_level_bytes(tensor.window, h))
    assert table["levels"][8] == TILE_LEVELS
    parts = [table.tobytes(), np.concatenate(levels).tobytes()]
    if level_bytes:
        parts.append(np.concatenate(level_bytes).tobytes())
    given = (case.give(part) for part in parts)
    return Struct(bytes(24), dict(zip((0, 8, 16), given, strict=False)))


def blocks(n: int) -> tuple[int, bool]:
    """hc_blocks."""
    dividing = n & -n
    if dividing >= 128 or dividing == n:
        return min(dividing, 1024), False
    return min(1 << (n.bit_length() - 1), 1024), True


def tiles(n: int) -> int:
    """hc_tiles."""
    if n == 0:
        return 1
    size, overlapping = blocks(n)
    return (n - size) // size * size // 1024 + 1 if overlapping else -(-n // 1024)


def add_decode(case: Case, tensor: Prepared, dtype: str, argument: Struct | None = None) -> Pointer:
    """The launches that decode all weights of a tensor; where the weights will be."""
    argument = argument or tensor_argument(case, tensor)
    count = sum(tensor.lengths)
    most = max(tiles(int(n)) for n in tensor.streams["length"])
    kind = STORED[dtype]
    coded = int(tensor.streams["length"].sum()) if tensor.mask is not None else count
    out = case.room(coded, kind)
    grid = len(tensor.streams) * most
    if tensor.tiled:
        tiles_of = tiles_argument(case, tensor)
        case.launch("hc_tile_decode", grid, argument, tiles_of, 0, most, 0, out, DTYPES[dtype])
    else:
        case.launch("hc_decode", grid, argument, 0, most, 0, out, DTYPES[dtype])
    bits = 8 * kind().itemsize
    grid = -(-count // 256)
    if tensor.mask is not None:
        ranks = np.concatenate([[0], np.cumsum(tensor.mask)])[:-1:1024].astype(np.uint64)
        words = np.packbits(
            np.resize(np.append(tensor.mask, np.zeros(31, bool)), -(-count // 32) * 32),
            bitorder="little",
        )
        spread = case.room(count, kind)
        tables = (case.give(words), case.give(ranks))
        case.launch(f"hc_spread_{bits}", grid, out, 0, *tables, 0, count, spread)
        out = spread
    places, values = tensor.exact
    if len(places):
        exact = as_dtype(values.astype(np.float64), dtype)
        given, n = (case.give(places), case.give(exact)), len(places)
        case.launch(f"hc_patch_{bits}", -(-n // 256), out, *given, n)
    return out


def add_product(
    case: Case, tensor: Prepared, x: np.ndarray, dtype: str, *, table_rate: int = 0, grid: int = 0
) -> Pointer:
    """The launches of a product with vectors `x`, shape (batch, columns) and bits of `dtype`."""
    argument = tensor_argument(case, tensor)
    rows, columns = tensor.shape
    batch, lengths = len(x), tensor.lengths
    pieces = len(lengths) // rows
    piece = lengths[0] if pieces > 1 else columns
    slots = batch if batch <= 2 else 4 if batch <= 4 else 8
    steps = (pieces - 1) * -(-piece // 1024) + -(-(columns - (pieces - 1) * piece) // 1024)
    image = case.room(steps * slots * (1024 + 512 + 4), np.float32)
    if table_rate:
        words = 8 << tensor.window
        table = case.room(words, np.uint32)
        case.launch("hc_offsets", -(-words // 256), argument, table_rate, table)
        data = argument.data[:100] + struct.pack("<I", table_rate) + bytes(8)
        argument = Struct(data, {**argument.pointers, 104: table})
    # One element more between vectors, as a batch may be a part of something larger.
    wide = np.zeros((batch, columns + 1), x.dtype)
    wide[:, :-1] = x
    matrix = Struct(MATRIX.pack(rows, columns, pieces, piece, batch))
    given, number = case.give(wide), DTYPES[dtype]
    blocks_of_x = slots * pieces * tiles(piece)
    case.launch("hc_transform", blocks_of_x, argument, matrix, given, columns + 1, number, image)
    y = case.room(batch * rows, STORED[dtype])
    rest = (matrix, image, y, rows, number)
    if tensor.tiled:
        kernel, given = f"hc_tile_matvec_{slots}", (argument, tiles_argument(case, tensor))
    else:
        kernel, given = f"hc_matvec_{slots}", (argument,)
    case.launch(kernel, grid or -(-rows // 8), *given, *rest)
    return y


def _rows_argument(case: Case, tensor: Prepared, batch: int) -> tuple[Struct, int]:
    """The struct HcRows, with its buffers given to the case, and the number of HcRowTiles."""
    rates = tensor.streams["half_bits"]
    order = np.argsort(rates, kind="stable").astype(np.uint32)
    row_tiles = []
    for h in np.unique(rates):
        mine = np.flatnonzero(rates[order] == h)
        row_tiles += [(mine[at], min(16, len(mine) - at), h) for at in range(0, len(mine), 16)]
    pointers = (case.give(order), case.give(np.array(row_tiles, ROW_TILE).tobytes()))
    data = struct.pack("<QQII", 0, 0, tensor.shape[1], batch)
    return Struct(data, dict(zip((0, 8), pointers, strict=True))), len(row_tiles)


def add_expand(case: Case, tensor: Prepared, dtype: str) -> Pointer:
    """The launch that decodes all rows of a matrix in tiles at once."""
    argument, tiles_of = tensor_argument(case, tensor), tiles_argument(case, tensor, by_rows=True)
    of_rows, count = _rows_argument(case, tensor, 0)
    out = case.room(sum(tensor.lengths), STORED[dtype])
    case.launch("hc_tile_expand", 4 * count, argument, tiles_of, of_rows, out, DTYPES[dtype])
    return out


def add_rows_product(case: Case, tensor: Prepared, x: np.ndarray, dtype: str) -> Pointer:
    """The launches of a product by tensor cores, with up to sixteen vectors."""
    rows, columns = tensor.shape
    batch, number = len(x), DTYPES[dtype]
    argument, tiles_of = tensor_argument(case, tensor), tiles_argument(case, tensor, by_rows=True)
    groups = 1 if batch <= 4 else 2 if batch <= 8 else 4
    chunks = -(-columns // 512)
    given = case.give(x)
    rounded = case.room(chunks * groups * 1024, np.uint32)
    sums = case.room(chunks * groups * 4, CHUNK)
    for first in range(0, 4 * groups, 8):
        some = max(1, min(8, batch - first))
        slots = some if some <= 2 else 4 if some <= 4 else 8
        matrix = Struct(MATRIX.pack(rows, columns, 1, columns, some))
        part = case.give(x[first:]) if first else given
        image = case.room(-(-columns // 1024) * slots * (1024 + 512 + 4), np.float32)
        grid = slots * tiles(columns)
        case.launch("hc_transform", grid, argument, matrix, part, columns, number, image)
        grid = chunks * min(groups - first // 4, 2)
        case.launch("hc_tile_round", grid, matrix, image, first // 4, groups, rounded, sums)
    of_rows, count = _rows_argument(case, tensor, batch)
    y = case.room(batch * rows, STORED[dtype])
    kernel, rest = f"hc_tile_rows_{groups}", (rounded, sums, y, rows, number)
    case.launch(kernel, count, argument, tiles_of, of_rows, *rest)
    return y


def add_winding(case: Case, data: bytes, dtype: str, first: int, count: int) -> Pointer:
    """The launch that decodes some weights of a tensor stored by the published codec."""
    axes, at, shape = data[8], 9, []
    for _ in range(axes):
        axis, at = plain.leb128(data, at)
        shape.append(axis)
    at += 8
    group, _, classes, bits = data[at : at + 4]
    samples, side, _, weights = struct.unpack_from("<IddQ", data, at + 4)
    at += 32
    centre = np.frombuffer(data, "<f4", group, at).astype(np.float64)
    farthest = np.frombuffer(data, "<f4", group, at + 4 * group).astype(np.float64)
    at += 8 * group
    base = next(m for m in range(1, samples + 1) if m**group >= samples)
    half = 0.5 * base**group
    reach = 0.0
    for offset in farthest - centre:
        reach += offset * offset
    reach = float(np.sqrt(reach))
    inner = side / 2
    sides = [inner] + [
        reach if j == classes else inner + j * (reach - inner) / classes
        for j in range(1, classes + 1)
    ]
    units = np.array([side / half for side in sides])
    codes = data[at:-4]
    padded = np.zeros(4)
    padded[:group] = centre
    argument = Struct(
        struct.pack(
            "<QQQQ5dIIII", 0, len(codes), weights, 0, *padded, half, group, bits, samples + 1, base
        ),
        {0: case.give(codes), 24: case.give(units)},
    )
    out = case.room(count, STORED[dtype])
    case.launch("hc_winding", -(-count // 256), argument, first, count, out, DTYPES[dtype])
    return out


def as_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """Finite values as the bits of a dtype, rounded once."""
    if dtype == "bfloat16":
        import ml_dtypes

        return values.astype(ml_dtypes.bfloat16).view(np.uint16)
    return values.astype(dtype).view(STORED[dtype])


def pack_fields(fields: np.ndarray, width: int) -> bytes:
    """Fields of `width` bits, first field and most significant bit first."""
    bits = (np.asarray(fields, np.int64)[:, None] >> np.arange(width)[::-1]) & 1
    return np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()


def _leb128(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(out)


def forge(
    shape: tuple[int, ...],
    window: int,
    rates: np.ndarray,
    rng: np.random.Generator,
    *,
    seed: int | None,
    exponent: int = 0,
    top: int = -2,
    tiled: bool = False,
) -> bytes:
    """A stored tensor of random codes, of any rates (0 for a stream of zeros) and exponent."""
    lengths, chain = plain.layout(shape)
    rates = np.resize(np.asarray(rates), len(lengths))
    zeros = rates == 0
    numbers = rng.integers(0, 30, len(lengths))
    scales = np.where(zeros, 63, numbers)
    lowest = int(rates[~zeros].min()) if (~zeros).any() else 0
    coded = list(zip(lengths, rates, strict=True))
    if tiled:
        size = sum(plain_tiles.stream_size(int(h), n) for n, h in coded if h)
        planes = rng.bytes(size)
    else:
        planes = b""
        path_bits = [0 if h == 0 else -(-n // (1 + h % 2)) for n, h in coded]
        cell_bits = [0 if h == 0 else n * ((h - 1) // 2) for n, h in coded]
        for bits in (path_bits, cell_bits):
            for start in range(0, len(lengths), chain):
                count = int(sum(bits[start : start + chain]))
                planes += np.packbits(rng.integers(0, 2, count, np.uint8)).tobytes()
    flags = (seed is not None) | (4 if zeros.any() else 0)
    body = b"HYPC" + struct.pack("<HBBB", 3 if tiled else 1, 0, 2, len(shape))
    body += b"".join(map(_leb128, shape)) + struct.pack("<ff", 1.0, 0.01)
    body += struct.pack("<hBB", exponent, window, flags)
    body += b"" if seed is None else _leb128(seed)
    body += struct.pack("<bBBBBB", top, 2, 0, 6, lowest, 4)
    body += pack_fields(scales, 6) + pack_fields(np.where(zeros, 0, rates - lowest), 4) + planes
    return body + struct.pack("<I", zlib.crc32(body))
