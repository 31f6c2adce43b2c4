// Decodes planes to weights: levels, scale, Hadamard blocks, signs, multiplication by 2^e.
//
// A block of threads decodes a tile: the Hadamard blocks of 1024 weights of a stream, or of up to 2047 at its
// end. A thread decodes 16 consecutive weights from their own bits, without a serial dependency. Every step
// is the same as in rust/core/src/codec/operations/decoder.rs, in the same order and with the same rounding.
#pragma once
#include "element.cuh"
#include "hadamard.cuh"
#include "level.cuh"
#include "plane.cuh"

static constexpr int DECODED = 16;  // weights a thread decodes at a time

// Call `call(h)` for the stream's rate, which is a constant there because loops are unrolled by it.
// HC_ONLY_RATE leaves one rate, so that its instructions can be counted (budget.py).
#ifdef HC_ONLY_RATE
#define HC_EACH_RATE(rate, call) \
    if (rate == HC_ONLY_RATE) { \
        call(HC_ONLY_RATE); \
    }
#else
#define HC_EACH_RATE(rate, call) \
    switch (rate) { \
        case 1: call(1); break; \
        case 2: call(2); break; \
        case 3: call(3); break; \
        case 4: call(4); break; \
        case 5: call(5); break; \
        case 6: call(6); break; \
        case 7: call(7); break; \
        case 8: call(8); break; \
        case 9: call(9); break; \
        case 10: call(10); break; \
        case 11: call(11); break; \
        case 12: call(12); break; \
        case 13: call(13); break; \
        case 14: call(14); break; \
        case 15: call(15); break; \
        case 16: call(16); break; \
    }
#endif

// Write the scaled levels of a tile to shared memory.
template <int H>
static __device__ __forceinline__ void decode_levels(const HcTensor& tensor, const HcStream& stream,
                                                  uint32_t start, uint32_t length, float* tile) {
    using Group = Codes<H, DECODED>;
    Winding winding(tensor, tensor.codes[H - 1], Group::CELL);
    Plane path(tensor.path, tensor.path_bytes, stream.path_bit);
    Plane cells(tensor.cells, tensor.cell_bytes, stream.cell_bit);
    for (uint32_t at = DECODED * threadIdx.x; at < length; at += TILE_THREADS * DECODED) {
        Group codes(path, cells, stream.history, start + at);
        float* out = tile + padded(at);
#pragma unroll
        for (int i = 0; i < DECODED; ++i) {
            uint32_t phase = winding.phase(i % Group::SHARED, codes.reg(i), codes.cell(i));
            // Values after the last weight have no meaning, but lie within the tile.
            out[i] = stream.scale * winding.level(phase);
        }
    }
}

// Decode a tile; `levels(stream, start, length, tile)` writes its scaled levels to shared memory.
template <class Levels>
static __device__ __forceinline__ void decode_by(const HcTensor& tensor, uint64_t first_stream,
                                                 uint32_t tiles, uint64_t origin, void* out,
                                                 uint32_t dtype, const Levels& levels) {
    __shared__ float tile[TILE_FLOATS];
    __shared__ uint64_t signs[TILE_MOST / 64];
    const HcStream stream = tensor.streams[first_stream + blockIdx.x / tiles];
    uint32_t index = blockIdx.x % tiles, mine = hc_tiles(stream.length);
    // With a mask, a stream may have no coded weights at any rate.
    if (index >= mine || stream.length == 0) return;
    Tile at(stream.length, index, mine);
    uint64_t place = stream.first + at.start - origin;
    if (stream.half_bits == 0) {
        for (uint32_t i = threadIdx.x; i < at.length; i += TILE_THREADS)
            store_result(out, place + i, dtype, 0.0f);
        return;
    }
    if (tensor.transformed) load_signs(tensor.seed, at.start, signs);
    levels(stream, at.start, at.length, tile);
    if (tensor.transformed) at.inverse(tile);
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < at.length; i += TILE_THREADS) {
        float value = tile[padded(i)];
        if (tensor.transformed) value = signed_by(signs, i, value);
        store_weight(tensor, out, place + i, dtype, value);
    }
}

static __device__ __forceinline__ void decode(const HcTensor& tensor, uint64_t first_stream,
                                              uint32_t tiles, uint64_t origin, void* out,
                                              uint32_t dtype) {
    auto levels = [&](const HcStream& stream, uint32_t start, uint32_t length, float* tile) {
#define HC_DECODE(h) decode_levels<h>(tensor, stream, start, length, tile)
        HC_EACH_RATE(stream.half_bits, HC_DECODE)
#undef HC_DECODE
    };
    decode_by(tensor, first_stream, tiles, origin, out, dtype, levels);
}

// Move coded weights to their places among zeros.
template <class U>
static __device__ __forceinline__ void spread(const U* coded, uint64_t coded_origin,
                                              const uint32_t* mask, const uint64_t* ranks,
                                              uint64_t start, uint64_t count, U* out) {
    uint64_t i = (uint64_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    uint64_t weight = start + i;
    uint32_t word = mask[weight / 32];
    uint32_t bit = (uint32_t)(weight % 32);
    U value = 0;
    if (word >> bit & 1) {
        uint64_t rank = ranks[weight / 1024] + __popc(word & ((1u << bit) - 1));
        for (uint64_t w = weight / 1024 * 32; w < weight / 32; ++w) rank += __popc(mask[w]);
        value = coded[rank - coded_origin];
    }
    out[i] = value;
}

template <class U>
static __device__ __forceinline__ void patch(U* out, const uint64_t* places, const U* values,
                                             uint64_t count) {
    uint64_t i = (uint64_t)blockIdx.x * 256 + threadIdx.x;
    if (i < count) out[places[i]] = values[i];
}
