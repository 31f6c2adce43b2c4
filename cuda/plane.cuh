// Reads planes of bits: loads the codes of consecutive weights of a stream into registers.
//
// A plane is read in aligned words, most significant byte first, as docs/format.md packs its fields. Only
// words that hold a byte of the plane are read; other words count as zeros.
#pragma once
#include "device.h"
#include "launch.h"

// For counting instructions (budget.py), the code for the ends of planes and chains is moved out of the
// counted loops.
#ifdef HC_ONLY_RATE
#define HC_USUAL true
#else
#define HC_USUAL false
#endif

// A plane, from a stream's first bit on.
struct Plane {
    const uint32_t* words;  // from the word before that of the stream's first bit, if there is one
    uint32_t count;         // words of the plane from there on
    uint32_t bit;           // the stream's first bit, from `words`

    __device__ __forceinline__ Plane(const uint8_t* plane, uint64_t bytes, uint64_t first_bit) {
        uint64_t word = first_bit / 32;
        uint32_t before = word > 0;
        uint64_t left = (bytes + 3) / 4 - min(word - before, (bytes + 3) / 4);
        words = reinterpret_cast<const uint32_t*>(plane) + (word - before);
        count = (uint32_t)min(left, (uint64_t)0x7FFFFFFF);
        bit = (uint32_t)(first_bit % 32) + 32 * before;
    }

    // Load words `first` to first + N − 1. Some may lie before the start or beyond the end.
    template <int N> __device__ __forceinline__ void load(int first, uint32_t* out) const {
        if (HC_USUAL || (first >= 0 && (uint32_t)first + N <= count)) {
#pragma unroll
            for (int i = 0; i < N; ++i) out[i] = big_endian(words[first + i]);
        } else {
#pragma unroll
            for (int i = 0; i < N; ++i)
                out[i] = (uint32_t)(first + i) < count ? big_endian(words[(uint32_t)(first + i)]) : 0;
        }
    }

    static __device__ __forceinline__ uint32_t big_endian(uint32_t word) { return __byte_perm(word, 0, 0x0123); }
};

// The codes of N = 16 or 32 consecutive weights at a rate of H half bits.
template <int H, int N> struct Codes {
    enum : int {
        SHARED = 1 + H % 2,              // weights a path bit
        CELL = (H - 1) / 2,              // bits of a cell
        STEPS = N / SHARED,              // path bits
        WORDS = (N * CELL + 31) / 32,    // words of cells, and of what they are read from
        LOADED = CELL > 0 ? (N * CELL + 31 + 31) / 32 : 0,
    };

    uint32_t newer, older;  // the last 32 path bits, the newest lowest, and the 32 before
    uint32_t cells[WORDS + 1];

    // Load the codes from weight `at` of the stream on, a multiple of N. `history` path bits of the chain lie
    // before the stream. Bits before the chain are zeros.
    __device__ __forceinline__ Codes(const Plane& path, const Plane& cell, uint32_t history, uint32_t at) {
        int last = (int)(path.bit + at / SHARED + STEPS - 1);
        uint32_t after = 31 - (last & 31);
        // 15 bits before the first weight's are needed.
        constexpr int BACK = STEPS > 17 ? 2 : 1;
        uint32_t words[3];
        path.load<BACK + 1>((last >> 5) - BACK, words);
        newer = __funnelshift_r(words[BACK], words[BACK - 1], after);
        older = BACK == 2 ? __funnelshift_r(words[1], words[0], after) : 0;
        uint32_t known = history + at / SHARED + STEPS;
        if (!HC_USUAL && known < 64) {
            if (known < 32) newer &= (1u << known) - 1;
            older &= known <= 32 ? 0 : (1u << (known - 32)) - 1;
        }
        if (CELL > 0) {
            uint32_t first = cell.bit + at * CELL;
            uint32_t loaded[LOADED + 1];
            cell.load<LOADED>((int)(first >> 5), loaded);
            loaded[LOADED] = 0;
#pragma unroll
            for (int i = 0; i < WORDS; ++i)
                cells[i] = __funnelshift_l(loaded[i + 1], loaded[i], first & 31);
        }
        cells[WORDS] = 0;
    }

    // The register of weight `i`, with older path bits above it.
    __device__ __forceinline__ uint32_t reg(int i) const {
        return __funnelshift_r(newer, older, STEPS - 1 - i / SHARED);
    }

    // Four times the register; only for whole rates, where a step is one weight.
    __device__ __forceinline__ uint32_t reg_times_4(int i) const {
        int down = STEPS - 3 - i;
        return down >= 0 ? __funnelshift_r(newer, older, down) : newer << -down;
    }

    // The cell of weight `i`, with other bits above it.
    __device__ __forceinline__ uint32_t cell(int i) const {
        if (CELL == 0) return 0;
        int end = (i + 1) * CELL;              // the bit after it
        int word = (end - 1) / 32;
        int below = 32 * (word + 1) - end;     // bits of its last word after it
        if (32 - below >= CELL) return cells[word] >> below;
        return __funnelshift_r(cells[word], cells[word - 1], below);
    }
};
