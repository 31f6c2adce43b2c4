// Vectors in the basis of the codes, rounded to integers of 15 bits in two byte halves, in the order of tensor cores.
//
// A vector has one unit, a power of two: 2^-14 of the power of two above its largest magnitude. An integer is 256·hi
// + lo with signed bytes. Four vectors are a group: the eight columns of a matrix of tensor cores are the upper and
// the lower bytes of each.
#pragma once
#include "product.cuh"
#include "tile_codes.cuh"

enum : uint32_t { GROUP = 4 };  // vectors

// The words of eight bytes in the order of RowCodes::cells.
static __device__ __forceinline__ uint2 in_cell_order(uint32_t lower, uint32_t upper) {
    return {__byte_perm(lower, upper, 0x1504), __byte_perm(lower, upper, 0x3726)};
}

// Round a chunk of 512 columns of a group. A warp has a vector, a lane two octets.
static __device__ __forceinline__ void round_vectors(const HcMatrix& matrix, float* image, uint32_t first_group,
                                                     uint32_t groups, uint4* bytes, HcChunk* chunks) {
    // Eight vectors at a time; those after the last one are zeros.
    uint32_t slots = hc_slots(matrix.batch), mine = min(groups - first_group, 2u);
    uint32_t chunk = blockIdx.x / mine, group = blockIdx.x % mine;
    uint32_t lane = threadIdx.x % 32, within = threadIdx.x / 32, vector = group * GROUP + within;
    bool there = vector < matrix.batch;
    const Image whole(image, image_parts(matrix));
    float scale = 0.0f;
    for (uint32_t step = lane; there && step < steps_of(matrix.columns); step += 32)
        scale = fmaxf(scale, whole.scales[4 * ((uint64_t)step * slots + vector)]);
    for (int distance = 16; distance > 0; distance /= 2)
        scale = fmaxf(scale, __shfl_xor_sync(0xFFFFFFFFu, scale, distance));
    // Both powers of two are normal numbers.
    uint32_t exponent = max(__float_as_uint(scale) >> 23, 15u);
    float inverse = __uint_as_float((268 - exponent) << 23), unit = __uint_as_float((exponent - 14) << 23);
    uint32_t upper[4] = {}, lower[4] = {};
    int32_t sum = 0, wrong = 0;
#pragma unroll
    for (int q = 0; q < 4; ++q) {
        uint32_t column = chunk * TILE_WEIGHTS + lane * 16 + 4 * q;
        float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
        if (there && column < matrix.columns) {
            const float* step = whole.floats + ((uint64_t)(column / HC_STEP) * slots + vector) * HC_STEP;
            x = *reinterpret_cast<const float4*>(step + float_place(column % HC_STEP));
        }
        const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            wrong |= !(fabsf(values[i]) <= F32_MAX);
            // Adding 1.5·2^23 rounds to an integer, ties to even.
            float moved = clamped(values[i] * inverse, 16384.0f) + 12582912.0f;
            int32_t integer = (int32_t)(__float_as_uint(moved) - 0x4B400000);
            sum += integer;
            lower[q] |= ((uint32_t)integer & 255) << 8 * i;
            upper[q] |= ((uint32_t)(integer + 128) >> 8 & 255) << 8 * i;
        }
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        sum += __shfl_xor_sync(0xFFFFFFFFu, sum, distance);
        wrong |= __shfl_xor_sync(0xFFFFFFFFu, wrong, distance);
    }
    uint64_t place = (uint64_t)chunk * groups + first_group + group;
    if (lane == 0) {
        // A vector with a value that is not finite has no finite results.
        if (wrong) unit = __uint_as_float(0x7FC00000);
        chunks[place * GROUP + within] = {sum, unit};
    }
    // Octets 2l and 2l + 1 are number l%8 of the pairs of thread l/8 of a row.
    uint4* to = bytes + (place * 8 + lane % 8) * 32 + lane / 8;
    uint2 first = in_cell_order(upper[0], upper[1]), second = in_cell_order(upper[2], upper[3]);
    to[4 * (2 * within)] = {first.x, first.y, second.x, second.y};
    first = in_cell_order(lower[0], lower[1]);
    second = in_cell_order(lower[2], lower[3]);
    to[4 * (2 * within + 1)] = {first.x, first.y, second.x, second.y};
}
