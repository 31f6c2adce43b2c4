// Levels of code set 2 (rust/core/src/codec/trellis): the offset u of a register, and integer levels from a
// table.
//
// u is a sum of one number for each four bits of the register, modulo 128:
//
//     64·(w mod 2) + turn·⌊w/2⌋ mod 8  +  Σ ⌊(skew_n·nibble_n mod 2^32) / 2^25⌋
#pragma once
#include "device.h"
#include "launch.h"

// The constants of a code in registers.
struct TileCode {
    uint32_t turn[2], skew[2][3], mask;  // of the first and the second weight of a step
    float unit;
    uint32_t levels;

    __device__ __forceinline__ TileCode(const HcTiles& tiles, uint32_t half_bits, uint32_t window) {
        const HcTileCode& code = tiles.codes[half_bits - 1];
        for (int axis = 0; axis < 2; ++axis) {
            turn[axis] = code.turn[axis];
            for (int n = 0; n < 3; ++n) skew[axis][n] = code.skew[axis][n];
        }
        mask = (1u << window) - 1;
        unit = code.unit;
        levels = code.levels;
    }

    // u of a weight, from its register with other bits above it.
    __device__ __forceinline__ uint32_t offset(uint32_t axis, uint32_t reg) const {
        uint32_t w = reg & mask;
        uint32_t u = 64 * (w & 1) + (axis ? turn[1] : turn[0]) * (w >> 1 & 7);
#pragma unroll
        for (int n = 0; n < 3; ++n) u += (axis ? skew[1][n] : skew[0][n]) * (w >> (4 * n + 4) & 15) >> 25;
        return u & 127;
    }
};

// Levels of rates up to 4 bits, in shared memory; those of higher rates are read from device memory.
struct TileLevels {
    const int16_t* near;
    const int16_t* far;

    // `room` has HC_TILE_LEVELS levels. Ends without a barrier.
    __device__ __forceinline__ TileLevels(const HcTiles& tiles, int16_t* room, uint32_t threads)
        : near(room), far(tiles.levels) {
        for (uint32_t i = threadIdx.x; i < HC_TILE_LEVELS / 8; i += threads)
            reinterpret_cast<uint4*>(room)[i] = reinterpret_cast<const uint4*>(tiles.levels)[i];
    }

    __device__ __forceinline__ float level(const TileCode& code, uint32_t half_bits, uint32_t cell, uint32_t u) const {
        uint32_t place = code.levels + (cell << 7 | u);
        return __int2float_rn(half_bits <= 8 ? near[place] : far[place]);
    }
};
