"""The tiles of versions 3 and 4, decoded from ``docs/format.md`` alone."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

CONSTANTS = Path(__file__).parents[1] / "rust/core/src/codec/trellis/code_set_2.txt"


class Code(NamedTuple):
    """A line of the constants."""

    axes: tuple  # (turn, skews) of the first weight of a step, and of the second
    units: np.float32 | None  # of levels that are bytes
    lines: tuple
    tail: tuple
    shape: tuple | None  # of levels that are words
    error: float


@functools.cache
def codes():
    """(W, h) -> the constants, as the file in the source has them."""
    found = {}
    for line in CONSTANTS.read_text().splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        window, h, *axes = map(int, words[:10])
        axes = ((axes[0], axes[1:4]), (axes[4], axes[5:8]))
        error = float(words[-1])
        if words[10] == "w":
            shape = tuple(np.float32(x) for x in words[11:14])
            code = Code(axes, None, (), (), shape, error)
        else:
            lines = 16 * max(1, 2 ** ((h - 1) // 2) // 4)
            tables = (words[12 : 12 + lines], words[12 + lines : 28 + lines])
            tables = (tuple(map(int, table)) for table in tables)
            code = Code(axes, np.float32(words[11]), *tables, None, error)
        found[window, h] = code
    return found


def offset(axis, register):
    """u of a register."""
    turn, skews = axis
    low = register % 16
    u = 64 * (low % 2) + turn * (low // 2)
    for skew in skews:
        register >>= 4
        u += (skew * (register % 16) % 2**32) >> 25
    return u % 128


def byte_level(code, cell_bits, cell, u):
    """A level in units."""
    c = 2 * u - 127
    a = abs(c)
    mask = {0: 15, 1: 14}.get(cell_bits, 12)
    level = code.lines[16 * (cell // 4) + (a // 8 & mask) + cell % 4]
    if cell == 0:
        far = max(64 - a, 0)
        level += code.tail[far // 8 + (max(far - 48, 0) + 1) // 2]
    return level if c > 0 else -level


@functools.cache
def levels(window, h, quantile):
    """The level of each stored cell and u, float32."""
    code, cell_bits = codes()[window, h], (h - 1) // 2
    table = np.zeros((2**cell_bits, 128), np.float32)
    if code.units is not None:
        unit = np.float32(1) / code.units
        for cell in range(2**cell_bits):
            for u in range(128):
                table[cell, u] = np.float32(byte_level(code, cell_bits, cell, u)) * unit
        return table
    curve = quantile(7 + cell_bits, code.shape)
    words = np.rint(curve * np.float32(4096)) / np.float32(4096)
    for cell in range(2**cell_bits):
        for u in range(128):
            v = (u + 64) % 128
            below = cell if v < 64 else 2**cell_bits - 1 - cell
            table[cell, u] = words[below * 128 + v]
    return table


def size(h, lanes):
    """Bytes of a tile."""
    path = {0: lanes, 1: -(-lanes // 2)}[h % 2]
    return path + lanes * ((h - 1) // 2)


def stream_size(h, n):
    """Bytes of the tiles of a stream of n weights."""
    whole, rest = divmod(n, 512)
    return whole * size(h, 64) + size(h, -(-rest // 8))


def path_and_cells(tile, h, lanes):
    """The path bits of a tile, and its stored cells."""
    cell_bits = (h - 1) // 2
    steps = 8 if h % 2 == 0 else 4
    path = np.zeros((lanes, steps), int)
    cells = np.zeros((lanes, 8), int)
    if h == 8:
        fields, at = [4], 0
    else:
        fields = [width for width in (4, 2, 1) if cell_bits & width]
        half = -(-lanes // 2)
        for lane in range(lanes):
            byte, top = (lane, 7) if h % 2 == 0 or lane < half else (lane - half, 3)
            path[lane] = [tile[byte] >> (top - step) & 1 for step in range(steps)]
        at = lanes if h % 2 == 0 else half
    for width in fields:
        for lane in range(lanes):
            for weight in range(8):
                vector, place = weight % width, weight // width
                byte = tile[at + vector * lanes + lane]
                field = byte >> (8 - width * (place + 1)) & (2**width - 1)
                cells[lane, weight] = cells[lane, weight] << width | field
        at += width * lanes
    if h == 8:
        path = cells >> 3
        cells = cells & 7
    return path.ravel(), cells.ravel()


def decode(stream, window, h, n, quantile):
    """The levels of a stream of n weights, float32."""
    code = codes()[window, h]
    group = 1 + h % 2
    found = []
    for first in range(0, n, 512):
        lanes = -(-min(512, n - first) // 8)
        tile, stream = stream[: size(h, lanes)], stream[size(h, lanes) :]
        path, cells = path_and_cells(tile, h, lanes)
        for weight, cell in enumerate(cells[: n - first]):
            step = weight // group
            register = sum(int(path[(step - back) % len(path)]) << back for back in range(window))
            u = offset(code.axes[weight % group], register)
            found.append(levels(window, h, quantile)[cell, u])
    return np.array(found, np.float32)
