// Reads the codes of streams in tiles (rust/core/src/codec/kernels/tiles/order.rs), in the order in which
// they are stored.
//
// What docs/format.md calls a lane of a tile, eight consecutive weights, is an *octet* here, because lanes are
// threads. A tile has vectors of one byte for each octet, so a word of a vector has the same codes of four
// octets, 32 consecutive weights. These four octets are what a thread decodes at a time: a word of each vector.
//
// Cells are brought to words of nibbles: byte j of word a has weight a of octet j in its upper nibble and
// weight a + 4 in its lower one. That is how fields of four bits are stored, and one step from all others.
#pragma once
#include "device.h"
#include "launch.h"

enum : uint32_t {
    OCTET = 8,             // weights of an octet
    OCTETS = 64,           // octets of a whole tile
    TILE_WEIGHTS = 512,    // weights of a whole tile
    EACH_NIBBLE = 0x11111111,
};

static __device__ __forceinline__ uint32_t reversed_bytes(uint32_t word) { return __byte_perm(word, 0, 0x0123); }

// The plane of tiles, from a stream's first byte on.
struct TilePlane {
    const uint32_t* words;
    uint32_t count;  // words of the plane from there on
    uint32_t skip;   // bytes of the first word that are before the stream

    __device__ __forceinline__ TilePlane(const uint8_t* plane, uint64_t bytes, uint64_t first_byte) {
        uint64_t word = first_byte / 4;
        uint64_t left = (bytes + 3) / 4 - min(word, (bytes + 3) / 4);
        words = reinterpret_cast<const uint32_t*>(plane) + word;
        count = (uint32_t)min(left, (uint64_t)0x7FFFFFFF);
        skip = (uint32_t)(first_byte % 4);
    }

    // The four bytes from byte `at` on, the first one lowest. Those beyond the end of the plane count as zeros.
    __device__ __forceinline__ uint32_t four(uint32_t at) const {
        at += skip;
        uint32_t word = at / 4, shift = at % 4 * 8;
        if (shift == 0) return words[word];
        uint32_t next = word + 1 < count ? words[word + 1] : 0;
        return __funnelshift_r(words[word], next, shift);
    }
};

// Cells of four octets as words of nibbles: the lower four bits of each cell, and those above.
struct Nibbles {
    uint32_t low[4], high[4];
};

// A tile of a stream of `n` weights at a rate of `half_bits`.
struct StoredTile {
    const TilePlane& plane;
    uint32_t half_bits;
    uint32_t octets;  // of this tile
    uint32_t at;      // its first byte in the stream

    __device__ __forceinline__ StoredTile(const TilePlane& stream, uint32_t rate, uint32_t n, uint32_t number)
        : plane(stream), half_bits(rate), octets((min(n - number * TILE_WEIGHTS, (uint32_t)TILE_WEIGHTS) + 7) / OCTET),
          at(number * 4 * OCTET * rate) {}

    __device__ __forceinline__ bool shared() const { return half_bits % 2; }  // two weights share a path bit
    __device__ __forceinline__ uint32_t cell_bits() const { return (half_bits - 1) / 2; }
    __device__ __forceinline__ uint32_t half() const { return (octets + 1) / 2; }

    // The path bits of the octets `first` to first + 3, the oldest highest: 32, or 16 in the upper half of the
    // word if weights share them. Those of octets that do not exist have no meaning.
    __device__ __forceinline__ uint32_t path(uint32_t first) const {
        if (half_bits == 8) {
            uint32_t bits = 0;
#pragma unroll
            for (int a = 0; a < 4; ++a) bits |= (plane.four(at + a * octets + first) & 8 * EACH_NIBBLE) >> a;
            return reversed_bytes(bits);
        }
        if (!shared()) return reversed_bytes(plane.four(at + first));
        uint32_t nibbles;
        if (first + 4 <= half()) {
            nibbles = plane.four(at + first) >> 4;
        } else if (first >= half()) {
            nibbles = plane.four(at + first - half());
        } else {
            // The second half begins among these octets.
            uint32_t bits = 8 * (half() - first), upper = plane.four(at + first) >> 4;
            nibbles = (upper & ((1u << bits) - 1)) | plane.four(at) << bits;
        }
        nibbles = reversed_bytes(nibbles & 0x0F0F0F0F);
        return __byte_perm(nibbles | nibbles >> 4, 0, 0x2044);
    }

    // The path bits before those of octet `first`, a multiple of four: at least 15 of them, the newest lowest.
    // The chain is closed: before the first octet are the bits of the last ones.
    __device__ __forceinline__ uint32_t before(uint32_t first) const {
        uint32_t down = shared() ? 16 : 0;
        if (first > 0) return path(first - 4) >> down;
        if (octets >= 4) return path(octets - 4) >> down;
        // All bits of the tile, repeated until there are 16 or more.
        uint32_t count = octets * (shared() ? 4 : 8), bits = path(0) >> (32 - count);
        bits |= bits << count;
        return count < 16 ? bits | bits << 2 * count : bits;
    }

    // The cells of the octets `first` to first + 3.
    __device__ __forceinline__ Nibbles cells(uint32_t first) const {
        Nibbles cells;
        uint32_t bits = cell_bits(), vector = at + first;
        if (half_bits != 8) vector += shared() ? half() : octets;
        uint32_t fours[4] = {};
        if (half_bits == 8 || bits & 4) {
#pragma unroll
            for (int a = 0; a < 4; ++a) fours[a] = plane.four(vector + a * octets);
            vector += 4 * octets;
        }
        if (half_bits == 8) {
            // The path bit is above the cell.
#pragma unroll
            for (int a = 0; a < 4; ++a) {
                cells.low[a] = fours[a] & 7 * EACH_NIBBLE;
                cells.high[a] = 0;
            }
            return cells;
        }
        // The bits below the field of four.
        uint32_t below = bits & 3, twos[2] = {}, ones = 0;
        if (bits & 2) {
            twos[0] = plane.four(vector);
            twos[1] = plane.four(vector + octets);
            vector += 2 * octets;
        }
        if (bits & 1) ones = plane.four(vector);
#pragma unroll
        for (int a = 0; a < 4; ++a) {
            uint32_t two = twos[a % 2] >> (a < 2 ? 2 : 0) & 3 * EACH_NIBBLE, one = ones >> (3 - a) & EACH_NIBBLE;
            uint32_t rest = two << (bits & 1) | one;
            cells.low[a] = (fours[a] & (15 >> below) * EACH_NIBBLE) << below | rest;
            cells.high[a] = fours[a] >> (4 - below) & ((1u << below) - 1) * EACH_NIBBLE;
        }
        return cells;
    }

    // The register of weight i of 32, with older path bits above it.
    __device__ __forceinline__ uint32_t reg(uint32_t older, uint32_t path, uint32_t i) const {
        return __funnelshift_r(path, older, 31 - (shared() ? i / 2 : i));
    }
};

// The cell of weight i of the 32 weights of four octets.
static __device__ __forceinline__ uint32_t cell_of(const Nibbles& cells, uint32_t i) {
    uint32_t at = i / OCTET * 8 + (i % OCTET < 4 ? 4 : 0);
    return (cells.low[i % 4] >> at & 15) | (cells.high[i % 4] >> at & 15) << 4;
}
