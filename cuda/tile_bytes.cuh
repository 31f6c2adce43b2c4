// Level bytes of rows in tiles, for rates up to 4 bits: each one by a load from shared memory.
//
// A table has the level of each register and cell as a byte, moved up by 128: those of a register's cells side by side,
// and at half rates those of the first weight of a step before those of the second. So a byte's place is the register
// with the cell behind it, whatever the definition of the levels. Lanes read single bytes, as random reads of 8 bytes
// would meet in the banks of shared memory nearly twice as often.
//
// A word of levels has the weights of an octet in the order 4, 0, 5, 1 or 6, 2, 7, 3, which is how cells lie beside
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

// Bytes of the table of a rate.
static __device__ __forceinline__ uint32_t level_bytes(uint32_t half_bits, uint32_t window) {
    return (1 + half_bits % 2) << (window + (half_bits - 1) / 2);
}

// The table of a rate to shared memory. Ends without a barrier.
static __device__ __forceinline__ void load_level_bytes(const HcTiles& tiles, uint32_t half_bits, uint32_t window,
                                                        uint4* room, uint32_t threads) {
    const uint4* from = reinterpret_cast<const uint4*>(tiles.bytes + tiles.codes[half_bits - 1].bytes);
    for (uint32_t i = threadIdx.x; i < level_bytes(half_bits, window) / 16; i += threads) room[i] = from[i];
}

// A code whose levels are bytes, with its table in shared memory.
template <int H> struct ByteCode {
    enum : int { CELL = (H - 1) / 2, SHARED = H % 2 };
    const uint8_t* table;
    uint32_t mask;  // of a register, in its place

    __device__ __forceinline__ ByteCode(uint32_t window, const uint4* room)
        : table(reinterpret_cast<const uint8_t*>(room)), mask(((1u << window) - 1) << (CELL + SHARED)) {}

    // The levels of an octet: of weights 4, 0, 5, 1, and of 6, 2, 7, 3. It is number `o` of 32 weights; `older` has the
    // path bits before them.
    __device__ __forceinline__ uint2 octet(uint32_t older, uint32_t path, int o, uint32_t cells) const {
        // Every other cell, a byte each.
        uint32_t last = cells & 0x0F0F0F0F, first = cells >> 4 & 0x0F0F0F0F;
        return {levels(older, path, 8 * o, last, first, 0), levels(older, path, 8 * o + 2, last, first, 2)};
    }

private:
    // The levels of weights i + 4, i, i + 5 and i + 1 of 32. Their cells are bytes `at` and at + 1 of `last` and `first`.
    __device__ __forceinline__ uint32_t levels(uint32_t older, uint32_t path, int i, uint32_t last, uint32_t first,
                                               int at) const {
        uint32_t word = level(older, path, i + 4, last, at);
        word = __byte_perm(word, level(older, path, i, first, at), 0x0040);
        word = __byte_perm(word, level(older, path, i + 5, last, at + 1), 0x0410);
        return __byte_perm(word, level(older, path, i + 1, first, at + 1), 0x4210);
    }

    // The level of weight i of 32, whose cell is byte `at` of `cells`.
    __device__ __forceinline__ uint32_t level(uint32_t older, uint32_t path, int i, uint32_t cells, int at) const {
        constexpr int BEHIND = CELL + SHARED;  // bits behind the register
        int down = 31 - (SHARED ? i / 2 : i) - BEHIND;
        uint32_t place = (down >= 0 ? __funnelshift_r(path, older, down) : path << -down) & mask;
        if (CELL > 0) place |= __byte_perm(cells, 0, 0x4440 + at);
        return table[place + (SHARED ? i % 2 << CELL : 0)];
    }
};
