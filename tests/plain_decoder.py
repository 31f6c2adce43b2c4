"""A decoder of stored tensors, written from ``docs/format.md`` alone: plain, slow, and in no hurry.

It reads the trellis codec only, and gives the values in float64 before they are rounded to a dtype.
"""

import functools
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import plain_tiles

CONSTANTS = Path(__file__).parents[1] / "rust/core/src/codec/trellis"
CODE_SETS = {1: 1, 2: 1}  # by the version of the stored form; plain_tiles.py has the other


class Code(NamedTuple):
    """A line of the constants."""

    s: int
    run: int
    axes: tuple  # (turn, skew) of the first weight of a step, and of the second
    shape: tuple
    error: float


@functools.cache
def codes(code_set=1):
    """(W, h) -> the constants, as the file in the source has them."""
    found = {}
    for line in (CONSTANTS / f"code_set_{code_set}.txt").read_text().splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        window, h, s, run, turn, skew, second_turn, second_skew = map(int, words[:8])
        *shape, error = words[8:]
        shape = tuple(np.float32(x) for x in shape)
        axes = ((turn, skew), (second_turn, second_skew))
        found[window, h] = Code(s, run, axes, shape, float(error))
    return found


def levels(code, h):
    """The level of every phase."""
    return quantile(code.s + (h - 1) // 2, code.shape)


def quantile(size, shape):
    """The level of each of 2^size phases."""
    t = ((2.0 * np.arange(2**size) + 1 - 2**size) / 2**size).astype(np.float32)

    def fma(a, b, c):
        # 48 bits of product and a few of distance fit in the 64 of an extended float.
        return (a.astype(np.longdouble) * b.astype(np.longdouble) + c).astype(np.float32)

    u = fma(-t, t, np.longdouble(1))
    v = (np.float32(1).view(np.int32) - u.view(np.int32)).astype(np.float32)
    inner = fma(v, np.full_like(v, shape[2] / np.float32(2**46)), shape[1] / np.float32(2**23))
    return t * fma(inner, v, shape[0])


def leb128(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data, bit, width, count):
    """`count` big-endian fields of `width` bits from bit `bit` on."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.int64)
    taken = bits[bit : bit + width * count].reshape(count, width)
    return taken @ (1 << np.arange(width)[::-1]) if width else np.zeros(count, np.int64)


def largest_power(n):
    return 1 << (n.bit_length() - 1)


def layout(shape):
    """Lengths of all streams, and streams a chain."""
    n = int(np.prod(shape, dtype=np.int64))
    row = shape[-1] if shape else 1
    for axis in reversed(shape[1:-1]):
        if row >= 128:
            break
        row *= axis
    if row < 128:
        p = row * -(-512 // row)
        count = max(1, n // p)
        lengths = [p] * (count - 1) + [n - p * (count - 1)]
    else:
        most = min(max(largest_power(max(1, n // 50)), 1024), 16384)
        pieces = -(-row // most)
        grain = min(1024, most // 4)
        p = row if pieces == 1 else grain * (((row + pieces - 1) // pieces + grain - 1) // grain)
        one = [min(p, row - at) for at in range(0, row, p)]
        lengths = one * (n // row)
    return lengths, -(-min(max(n // 8, 4096), 32768) // p)


def hadamard(x):
    size = 1
    x = x.copy()
    while size < len(x):
        pairs = x.reshape(-1, 2, size)
        x = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], 1).reshape(-1)
        size *= 2
    return x * np.float32(1 / np.sqrt(len(x)))


def signs(seed, n):
    out = []
    for word in range(-(-n // 64)):
        mask = 2**64 - 1
        z = (seed + (word + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        out += [1 - 2 * (z >> i & 1) for i in range(64)]
    return np.array(out[:n], np.float32)


def untransformed(x, seed):
    n = len(x)
    if n == 0:
        return x
    b = min(n & -n, 1024)
    ends = False
    if not (b >= 128 or n == largest_power(n)):
        b, ends = min(largest_power(n), 1024), True
    if ends:
        x[n - b :] = hadamard(x[n - b :])
    for at in range(0, n // b * b, b):
        x[at : at + b] = hadamard(x[at : at + b])
    return x * signs(seed, n)


def mask(data, at, lengths, chain):
    """A bit a weight, and where the mask ends."""
    contexts = data[at]
    model = struct.unpack_from(f"<{contexts}H", data, at + 1)
    at += 1 + 2 * contexts
    starts = range(0, len(lengths), chain)
    sizes = struct.unpack_from(f"<{len(starts)}I", data, at)
    at += 4 * len(starts)
    bits = []
    for start, size in zip(starts, sizes, strict=True):
        words = list(struct.unpack_from(f"<{size // 4}I", data, at))
        at += size
        x = words.pop(0) << 32 | words.pop(0)
        here = []
        for i in range(sum(lengths[start : start + chain])):
            last = sum(here[-1 - j] << j for j in range(min(3, i)))
            above = here[i - lengths[start]] if i >= lengths[start] else 2
            p = model[(last + 8 * (i % 4) + 32 * above) % contexts]
            r = x & 0xFFFF
            bit, low, length = (1, 0, p) if r < p else (0, p, 2**16 - p)
            x = length * (x >> 16) + r - low
            if x < 2**32:
                x = x << 32 | words.pop(0)
            here.append(bit)
        assert x == 2**32
        assert not words
        bits += here
    return np.array(bits, bool), at


def decode(data):
    """The weights of a stored tensor."""
    assert data[:4] == b"HYPC"
    (version,) = struct.unpack_from("<H", data, 4)
    assert version in (*CODE_SETS, 3, 4)
    assert zlib.crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0]
    dtype, codec, axes = data[6:9]
    assert codec == 2
    at, shape = 9, []
    for _ in range(axes):
        axis, at = leb128(data, at)
        shape.append(axis)
    order = list(range(axes))
    if version in (2, 4):
        order = list(data[at : at + axes])
        at += axes
        assert order == [1, 0]
    shape = [shape[axis] for axis in order]
    at += 8
    e, window, flags = struct.unpack_from("<hBB", data, at)
    at += 4
    seed = None
    if flags & 1:
        seed, at = leb128(data, at)
    top, step, a, w, b, v = struct.unpack_from("<bBBBBB", data, at)
    at += 6
    lengths, chain = layout(shape)
    numbers = fields(data, 8 * at, w, len(lengths))
    at += -(-len(lengths) * w // 8)
    rates = fields(data, 8 * at, v, len(lengths)) + b
    at += -(-len(lengths) * v // 8)
    zeros = (numbers == 2**w - 1) if flags & 4 else np.zeros(len(lengths), bool)
    coded = list(lengths)
    if flags & 2:
        kept, at = mask(data, at, lengths, chain)
        ends = np.cumsum(lengths)
        coded = [int(kept[end - n : end].sum()) for end, n in zip(ends, lengths, strict=True)]

    tiled = version in (3, 4)

    def bits_of(plane, i):
        if zeros[i]:
            return 0
        h = int(rates[i])
        if tiled:
            return plane * 8 * plain_tiles.stream_size(h, coded[i])
        return -(-coded[i] // (1 + h % 2)) if plane == 0 else coded[i] * ((h - 1) // 2)

    starts = range(0, len(lengths), chain)
    planes = []
    for plane in (0, 1):
        places = []
        for start in starts:
            bit = 8 * at
            for i in range(start, min(start + chain, len(lengths))):
                places.append(bit)
                bit += bits_of(plane, i)
            at = -(-bit // 8)
        planes.append(places)

    out = []
    for start in starts:
        register = 0
        for i in range(start, min(start + chain, len(lengths))):
            h, n = int(rates[i]), coded[i]
            if zeros[i]:
                values = np.zeros(n, np.float32)
            elif tiled:
                stream = data[planes[1][i] // 8 :]
                found = plain_tiles.decode(stream, window, h, n, quantile)
            else:
                code = codes(CODE_SETS[version])[window, h]
                s, run, axes_of = code.s, code.run, code.axes
                path = fields(data, planes[0][i], 1, bits_of(0, i))
                cells = fields(data, planes[1][i], (h - 1) // 2, n)
                phases = []
                for weight in range(n):
                    place = weight % (1 + h % 2)
                    if place == 0:
                        bit = int(path[weight // (1 + h % 2)])
                        register = (2 * register + bit) % 2**window
                    turn, skew = axes_of[place]
                    position = (skew * (register >> run) % 2**32) >> (32 - s)
                    offset = turn * (position + register % 2**run) % 2**s
                    phases.append((int(cells[weight]) << s) + offset)
                found = levels(code, h)[phases]
            if not zeros[i]:
                m = (int(numbers[i]) + a) << step
                root = np.float32(2.0 ** (-(m % 64) / 64))
                scale = np.float32(float(root) * 2.0 ** (top - m // 64))
                values = scale * found
                if seed is not None:
                    values = untransformed(values, seed)
            if flags & 2:
                spread = np.zeros(lengths[i], np.float32)
                first = len(out)
                spread[kept[first : first + lengths[i]]] = values
                values = spread
            out += values.astype(np.float64).tolist()
    out = np.array(out) * 2.0**e
    if flags & 8:
        kind = np.dtype(["<f4", "<f8", "<f2"][dtype])
        count, at = leb128(data, at)
        place, places = 0, []
        for _ in range(count):
            gap, at = leb128(data, at)
            places.append(place + gap)
            place += gap + 1
        out[places] = np.frombuffer(data, kind, count, at)
        at += count * kind.itemsize
    assert at == len(data) - 4
    return out.reshape(shape).transpose(order)
