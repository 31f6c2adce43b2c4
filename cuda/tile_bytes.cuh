// Level bytes of rows in tiles, four weights an instruction.
//
// A table in shared memory (2^(W+1) words, 2^W at half rates) has for the registers of two consecutive weights two
// bytes each: what the offset adds to a line, and the level in the tail. Cells select bytes of small tables by
// PRMT. Levels are bytes moved up by 128: so the parts of a line are added as words, without a carry between bytes.
//
//     level = start of the cell's line + g_inner + (g_outer − g_inner, in outermost cells), or the tail in cell 0
//
// A byte of a level has the weights of an octet in the order 4, 0, 5, 1 and 6, 2, 7, 3, which is how cells lie beside
// each other.
#pragma once
#include "instructions.cuh"
#include "tile_codes.cuh"

#ifdef HC_ONLY_RATE
#define HC_EACH_BYTE_RATE(rate, call) \
    if (rate == HC_ONLY_RATE) { \
        call(HC_ONLY_RATE); \
    }
#else
#define HC_EACH_BYTE_RATE(rate, call) \
    switch (rate) { \
        case 1: call(1); break; \
        case 2: call(2); break; \
        case 3: call(3); break; \
        case 4: call(4); break; \
        case 5: call(5); break; \
        case 6: call(6); break; \
        case 7: call(7); break; \
        case 8: call(8); break; \
    }
#endif

enum : uint32_t {
    PAIRS_MOST = 8192,  // words of a table, at W = 12
    INNER_BITS = 5,  // of a byte of the table: what an inner line adds; above, what an outermost one adds more
    INNER_MASK = 0x1F1F1F1F,
};

// What the words of four octets at a rate mean, a word of each vector of a tile.
template <int H> struct OctetWords {
    enum : int { CELL = (H - 1) / 2, SHARED = H % 2, VECTORS = H == 8 ? 4 : 1 + CELL };
    uint32_t words[VECTORS];

    // The path bits (see StoredTile::path). `upper`: whether shared ones are in the upper halves of their bytes.
    __device__ __forceinline__ uint32_t path(bool upper) const {
        if (H == 8) {
            uint32_t bits = 0;
#pragma unroll
            for (int a = 0; a < 4; ++a) bits |= (words[a % VECTORS] & 8 * EACH_NIBBLE) >> a;
            return reversed_bytes(bits);
        }
        if (!SHARED) return reversed_bytes(words[0]);
        uint32_t nibbles = reversed_bytes((upper ? words[0] >> 4 : words[0]) & 0x0F0F0F0F);
        return __byte_perm(nibbles | nibbles >> 4, 0, 0x2044);
    }

    // The cells: of each octet a word of nibbles, weights 4, 0, 5, 1, 6, 2, 7, 3.
    __device__ __forceinline__ void cells(uint32_t (&octets)[4]) const {
        uint32_t nibbles[4];
        constexpr int LAST = VECTORS - 1;
#pragma unroll
        for (int a = 0; a < 4; ++a) {
            uint32_t one = words[LAST] >> (3 - a) & EACH_NIBBLE;
            uint32_t two = words[(1 + a % 2) % VECTORS] >> (a < 2 ? 2 : 0) & 3 * EACH_NIBBLE;
            nibbles[a] = H == 8      ? words[a % VECTORS] & 7 * EACH_NIBBLE
                         : CELL == 1 ? one
                         : CELL == 2 ? two
                                     : two << 1 | one;
        }
        // Bytes of four words as columns.
        uint32_t low[2], high[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            low[i] = __byte_perm(nibbles[2 * i], nibbles[2 * i + 1], 0x5140);
            high[i] = __byte_perm(nibbles[2 * i], nibbles[2 * i + 1], 0x7362);
        }
        octets[0] = __byte_perm(low[0], low[1], 0x5410);
        octets[1] = __byte_perm(low[0], low[1], 0x7632);
        octets[2] = __byte_perm(high[0], high[1], 0x5410);
        octets[3] = __byte_perm(high[0], high[1], 0x7632);
    }
};

// Words of the table of a rate.
static __device__ __forceinline__ uint32_t pair_words(uint32_t half_bits, uint32_t window) {
    return (half_bits % 2 ? 1u : 2u) << window;
}

// The table of a rate to shared memory. Ends without a barrier.
static __device__ __forceinline__ void load_pairs(const HcTiles& tiles, uint32_t half_bits, uint32_t window,
                                                  uint4* room, uint32_t threads) {
    const uint4* from = reinterpret_cast<const uint4*>(tiles.pairs + tiles.codes[half_bits - 1].pairs);
    for (uint32_t i = threadIdx.x; i < pair_words(half_bits, window) / 4; i += threads) room[i] = from[i];
}

// A code whose levels are bytes, with its table in shared memory.
template <int H> struct ByteCode {
    enum : int { CELL = (H - 1) / 2, SHARED = H % 2 };
    const uint32_t* table;
    uint32_t mask;  // of a place in bytes
    uint32_t base[2];

    __device__ __forceinline__ ByteCode(const HcTileCode& code, uint32_t window, const uint4* room)
        : table(reinterpret_cast<const uint32_t*>(room)), mask((pair_words(H, window) - 1) * 4),
          base{code.base[0], code.base[1]} {}

    // The entry of weights i and i + 1 of 32, for even i. `older` has the path bits before.
    __device__ __forceinline__ uint32_t pair(uint32_t older, uint32_t path, int i) const {
        int down = SHARED ? 29 - i / 2 : 28 - i;
        uint32_t place = down >= 0 ? __funnelshift_r(path, older, down) : path << -down;
        return *reinterpret_cast<const uint32_t*>(reinterpret_cast<const char*>(table) + (place & mask));
    }

    // The levels of an octet: of weights 4, 0, 5, 1, and of 6, 2, 7, 3. It is number `o` of 32 weights.
    __device__ __forceinline__ uint2 octet(uint32_t older, uint32_t path, int o, uint32_t cells) const {
        return {levels(pair(older, path, 8 * o + 4), pair(older, path, 8 * o), cells),
                levels(pair(older, path, 8 * o + 6), pair(older, path, 8 * o + 2), cells >> 16)};
    }

private:
    // The levels of four weights by two entries and the cells: bytes of the first entry alternate with bytes of the
    // second one.
    __device__ __forceinline__ uint32_t levels(uint32_t first, uint32_t second, uint32_t cells) const {
        uint32_t tail = __byte_perm(first, second, 0x7351);
        if (CELL == 0) return tail;
        uint32_t added = __byte_perm(first, second, 0x6240);
        uint32_t start = permuted(base[0], base[1], cells), line = permuted(0xFFFFFF00, 0xFFFFFFFF, cells);
        if (CELL == 1) return (start + (added & line)) | (tail & ~line);
        // The outermost lines are cells 1 and 3 of four, 1 and 7 of eight.
        constexpr uint32_t MORE = (1u << (8 - INNER_BITS)) - 1;
        uint32_t outer = permuted(MORE << 8 | (CELL == 2 ? MORE << 24 : 0), CELL == 3 ? MORE << 24 : 0, cells);
        return (start + (added & line & INNER_MASK) + (added >> INNER_BITS & outer)) | (tail & ~line);
    }
};
