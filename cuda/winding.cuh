// Decodes the trajectory codes of the published codec (rust/core/src/codec/published).
//
// Samples are integers in units of l/m^K. The weight is computed from them in f64, by the same operations in
// the same order as on the CPU, so the bits are the same. The code is compiled without contraction of
// floating-point operations, which would round differently.
#pragma once
#include "element.cuh"
#include "plane.cuh"

// Code number `index`: `bits` ≤ 32 bits of the plane, most significant first.
static __device__ __forceinline__ uint32_t winding_code(const HcWinding& tensor, uint64_t index) {
    Plane plane(tensor.codes, tensor.code_bytes, index * tensor.bits);
    uint32_t words[2];
    plane.load<2>((int)(plane.bit >> 5), words);
    uint32_t top = __funnelshift_l(words[1], words[0], plane.bit & 31);
    return top >> (32 - tensor.bits);
}

static __device__ __forceinline__ void winding(const HcWinding& tensor, uint64_t first, uint64_t count,
                                               void* out, uint32_t dtype) {
    uint64_t i = (uint64_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    uint64_t weight = first + i;
    uint32_t axis = (uint32_t)(weight % tensor.group);
    uint32_t code = winding_code(tensor, weight / tensor.group);
    uint32_t index = code % tensor.points, category = code / tensor.points;
    double coordinate = tensor.half;
    if (index > 0) {
        // x_i(θ) = m^i·(θ mod m^(K−i)); all below 2^32, as m^K < 2^32 for U ≤ 2^24.
        uint32_t scale = 1, modulus = 1;
        for (uint32_t j = 0; j < axis; ++j) scale *= tensor.base;
        for (uint32_t j = axis; j < tensor.group; ++j) modulus *= tensor.base;
        coordinate = (double)((index - 1) % modulus * scale);
    }
    double centre = axis == 0   ? tensor.centre[0]
                    : axis == 1 ? tensor.centre[1]
                    : axis == 2 ? tensor.centre[2]
                                : tensor.centre[3];
    double value = (coordinate - tensor.half) * tensor.units[category] + centre;
    store_clamped(out, i, dtype, clamped(__double2float_rn(value), F32_MAX));
}
