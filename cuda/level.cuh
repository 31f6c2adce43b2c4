// Computes levels from registers and cells: the trellis code (rust/core/src/codec/trellis/code.rs).
//
// With hi and lo the upper and the lower part of the register,
//
//     position = (⌊(skew·hi mod 2^32) / 2^(32−s)⌋ + lo) mod 2^s,   offset = turn·position mod 2^s.
//
// Both are kept in the top bits of a word, where the modulus is free:
//
//     position·2^(32−s) = top s bits of  skew·hi + lo·2^(32−s)
//                       = top s bits of  (skew − 2^(run+32−s))·hi + register·2^(32−s),
//
// because the register is lo + 2^run·hi + 2^W·(older bits) and W ≥ s. So lo need not be extracted.
// offset·2^(32−s) is turn times this, modulo 2^32. A funnel shift by s then puts the cell above the offset.
#pragma once
#include "device.h"
#include "launch.h"

// The constants of a code in registers: the same for all weights of a stream.
struct Winding {
    uint32_t turn[2], skew[2];  // skew less 2^(run+32−s)
    uint32_t run_bits, offset_bits, low_bits;
    uint32_t upper_mask, top_mask, phase_mask;
    float scale, start;         // t = scale·phase + start
    float shape[3], near[3];

    __device__ __forceinline__ Winding(const HcTensor& tensor, const HcCode& code, int cell_bits) {
        run_bits = tensor.run_bits;
        offset_bits = tensor.offset_bits;
        low_bits = 32 - offset_bits;
        upper_mask = (1u << (tensor.window - run_bits)) - 1;
        top_mask = ~0u << low_bits;
        uint32_t phase_bits = offset_bits + cell_bits;
        phase_mask = (1u << phase_bits) - 1;
        // 2^(1−L) and 2^−L − 1.
        scale = __uint_as_float((128 - phase_bits) << 23);
        start = __uint_as_float((127 - phase_bits) << 23) - 1.0f;
        for (int i = 0; i < 2; ++i) {
            turn[i] = code.turn[i];
            skew[i] = code.skew[i] - (1u << ((run_bits + low_bits) & 31));
        }
        for (int i = 0; i < 3; ++i) shape[i] = code.shape[i];
        // v = 16·w − 16 in level's polynomial a + b·v + c·v²; shape's v counts steps of 2^−23.
        float a = shape[0], b = shape[1] * 8388608.0f, c = shape[2] * 70368744177664.0f;
        near[0] = fmaf(fmaf(c, 16.0f, -b), 16.0f, a);
        near[1] = 16.0f * fmaf(-32.0f, c, b);
        near[2] = 256.0f * c;
    }

    // The offset of a weight at the top of a word, from its register with other bits above it.
    __device__ __forceinline__ uint32_t offset(int axis, uint32_t reg) const {
        uint32_t upper = reg >> run_bits & upper_mask;
        uint32_t position = (upper * skew[axis] + (reg << low_bits)) & top_mask;
        return position * turn[axis];
    }

    // The phase of a weight, from its register and cell, both with other bits above them.
    __device__ __forceinline__ uint32_t phase(int axis, uint32_t reg, uint32_t cell) const {
        return __funnelshift_l(offset(axis, reg), cell, offset_bits) & phase_mask;
    }

    // t·2^L is odd and has at most 15 bits, so every step to t is exact.
    __device__ __forceinline__ float line(uint32_t phase) const {
        float whole = __uint_as_float(0x4B000000 | phase) - 8388608.0f;
        return fmaf(whole, scale, start);
    }

    // Code::level, bit for bit.
    __device__ __forceinline__ float level(uint32_t phase) const {
        float t = line(phase);
        float u = fmaf(-t, t, 1.0f);
        float v = __int2float_rn((int)(0x3F800000 - __float_as_uint(u)));
        return t * fmaf(fmaf(shape[2], v, shape[1]), v, shape[0]);
    }

    // The level within 2^−20, without a conversion from an integer, which costs as much as four other
    // instructions on older architectures. Instead, the upper bits of the logarithm become the mantissa of w
    // = 1 + v/16.
    __device__ __forceinline__ float near_level(uint32_t phase) const {
        float t = line(phase);
        float u = fmaf(-t, t, 1.0f);
        float w = __uint_as_float(0x3F800000 + (0x3F800000 >> 4) - (__float_as_uint(u) >> 4));
        return t * fmaf(fmaf(near[2], w, near[1]), w, near[0]);
    }
};
