// Signs and Walsh–Hadamard blocks of a tile in shared memory (rust/core/src/codec/kernels/hadamard).
//
// The order of the levels of butterflies is fixed, from neighbours to halves, and every output is one
// sum or one difference. Which butterflies of a level come first does not matter: so a thread takes
// up to four levels over 16 values in registers, and the bits are those of the plain loop.
#pragma once
#include "device.h"
#include "launch.h"

// Threads that share a tile, and the most values of a tile.
enum : uint32_t {
    TILE_THREADS = 64,
    TILE_MOST = 2 * HC_TILE,
    TILE_FLOATS = TILE_MOST + TILE_MOST / 16,  // with padding
};

// The index of a value in shared memory: one float is unused after every 16, so that threads that read every
// 16th value access different banks.
static __device__ __forceinline__ uint32_t padded(uint32_t i) { return i + (i >> 4); }

// The sign bits of 64 weights (SplitMix64).
static __device__ __forceinline__ uint64_t sign_word(uint64_t seed, uint64_t word) {
    uint64_t z = seed + (word + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// Signs of the weights of a tile from `start` on, a multiple of 64. Ends without a barrier.
static __device__ __forceinline__ void load_signs(uint64_t seed, uint32_t start, uint64_t* signs) {
    if (threadIdx.x < TILE_MOST / 64) signs[threadIdx.x] = sign_word(seed, start / 64 + threadIdx.x);
}

static __device__ __forceinline__ float signed_by(const uint64_t* signs, uint32_t i, float value) {
    uint32_t bit = (uint32_t)(signs[i / 64] >> (i % 64)) & 1;
    return __uint_as_float(__float_as_uint(value) ^ bit << 31);
}

// Levels `first` to first + LEVELS − 1 over the values from `base` on. `norm` is 1, except for the last
// levels.
template <int LEVELS>
static __device__ __forceinline__ void butterflies(float* tile, uint32_t base, uint32_t count,
                                                   uint32_t first, float norm) {
    for (uint32_t item = threadIdx.x; item < count >> LEVELS; item += TILE_THREADS) {
        uint32_t low = item & ((1u << first) - 1);
        uint32_t start = base + low + (item >> first << (first + LEVELS));
        float values[1 << LEVELS];
#pragma unroll
        for (int j = 0; j < 1 << LEVELS; ++j) values[j] = tile[padded(start + (j << first))];
#pragma unroll
        for (int half = 1; half < 1 << LEVELS; half *= 2)
#pragma unroll
            for (int j = 0; j < 1 << LEVELS; ++j)
                if (!(j & half)) {
                    float a = values[j], b = values[j + half];
                    values[j] = a + b;
                    values[j + half] = a - b;
                }
#pragma unroll
        for (int j = 0; j < 1 << LEVELS; ++j) tile[padded(start + (j << first))] = values[j] * norm;
    }
    __syncthreads();
}

// 1/√2^i, rounded.
static __device__ __forceinline__ float hadamard_norm(uint32_t levels) {
    return __uint_as_float((levels & 1 ? 0x3F3504F3 : 0x3F800000) - (levels / 2 << 23));
}

// The orthonormal transform of each block of 2^levels ≤ 1024 of the `count` values from `base` on.
// Begins and ends with all threads at a barrier.
static __device__ __forceinline__ void hadamard(float* tile, uint32_t base, uint32_t count,
                                                uint32_t levels) {
    __syncthreads();
    for (uint32_t first = 0; first < levels; first += 4) {
        float norm = first + 4 >= levels ? hadamard_norm(levels) : 1.0f;
        switch (min(levels - first, 4u)) {
            case 1: butterflies<1>(tile, base, count, first, norm); break;
            case 2: butterflies<2>(tile, base, count, first, norm); break;
            case 3: butterflies<3>(tile, base, count, first, norm); break;
            default: butterflies<4>(tile, base, count, first, norm);
        }
    }
}

// A tile of a stream of n weights.
struct Tile {
    uint32_t start, length;  // its weights
    HcBlocks blocks;
    bool last;

    __device__ __forceinline__ Tile(uint32_t n, uint32_t index, uint32_t tiles) {
        start = index * HC_TILE;
        last = index + 1 == tiles;
        length = last ? n - start : HC_TILE;
        blocks = hc_blocks(n);
    }

    __device__ __forceinline__ uint32_t levels() const { return 31 - __clz((int)blocks.size); }
    __device__ __forceinline__ uint32_t whole() const { return length / blocks.size * blocks.size; }
    __device__ __forceinline__ bool overlapped() const { return last && blocks.overlapping; }

    // Transform back from the basis of the codes.
    __device__ __forceinline__ void inverse(float* tile) const {
        if (overlapped()) hadamard(tile, length - blocks.size, blocks.size, levels());
        hadamard(tile, 0, whole(), levels());
    }

    // Transform to the basis of the codes.
    __device__ __forceinline__ void forward(float* tile) const {
        hadamard(tile, 0, whole(), levels());
        if (overlapped()) hadamard(tile, length - blocks.size, blocks.size, levels());
    }
};
