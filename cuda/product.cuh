// A compressed matrix times a few vectors, without the matrix.
//
// A stream's weights are w = s·T⁻¹·q, with levels q, a scale s and the orthonormal transform T; so
// w·x = s·q·(T·x), as rust/core/src/codec/tensor/product.rs has it. The vectors are transformed once,
// by `transform`; then a warp has a row, and a lane 32 consecutive columns of every 1024.
//
// Order of the sums, the same for every batch: a lane adds its products of a piece (a stream) by
// fused multiply-adds in the order of the columns, multiplies by the scale and adds that to its total
// by one more, piece after piece; the lanes' totals are added in a butterfly, distance 16 first.
// The image has zeros beyond a piece's last column, so what a lane decodes there counts for nothing.
#pragma once
#include "decode.cuh"

static constexpr int COLUMNS = 32;  // of a lane in a step

// Where the image has column `c` of a step: quads of columns, so that the lanes of a warp read 512
// bytes in a row.
static __device__ __forceinline__ uint32_t image_place(uint32_t c) {
    return (c % COLUMNS / 4 * 32 + c / COLUMNS) * 4 + c % 4;
}

static __device__ __forceinline__ void transform(const HcTensor& tensor, const HcMatrix& matrix,
                                                 const void* x, uint64_t x_stride, uint32_t dtype,
                                                 float* image) {
    __shared__ float tile[TILE_FLOATS];
    __shared__ uint64_t signs[TILE_MOST / 64];
    uint32_t slots = hc_slots(matrix.batch), tiles = hc_tiles(matrix.piece);
    uint32_t vector = blockIdx.x % slots, rest = blockIdx.x / slots;
    uint32_t index = rest % tiles, piece = rest / tiles;
    uint32_t first = piece * matrix.piece;
    uint32_t n = min(matrix.piece, matrix.columns - first), mine = hc_tiles(n);
    if (index >= mine) return;
    Tile at(n, index, mine);
    if (tensor.transformed) load_signs(tensor.seed, at.start, signs);
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < at.length; i += TILE_THREADS) {
        float value = 0.0f;
        if (vector < matrix.batch)
            value = load_value(x, vector * x_stride + first + at.start + i, dtype);
        tile[padded(i)] = tensor.transformed ? signed_by(signs, i, value) : value;
    }
    if (tensor.transformed) at.forward(tile);
    __syncthreads();
    uint32_t step = piece * ((matrix.piece + HC_STEP - 1) / HC_STEP) + at.start / HC_STEP;
    float* out = image + ((uint64_t)step * slots + vector) * HC_STEP;
    uint32_t end = (at.length + HC_STEP - 1) / HC_STEP * HC_STEP;
    for (uint32_t i = threadIdx.x; i < end; i += TILE_THREADS) {
        float value = i < at.length ? tile[padded(i)] : 0.0f;
        out[(uint64_t)(i / HC_STEP) * slots * HC_STEP + image_place(i % HC_STEP)] = value;
    }
}

// Add a lane's products of a stream to `sums`.
template <int H, int SLOTS>
static __device__ __forceinline__ void piece_product(const HcTensor& tensor, const HcStream& stream,
                                                     const float* image, float* sums) {
    using Group = Codes<H, COLUMNS>;
    Winding winding(tensor, tensor.codes[H - 1], Group::CELL);
    Plane path(tensor.path, tensor.path_bytes, stream.path_bit);
    Plane cells(tensor.cells, tensor.cell_bytes, stream.cell_bit);
    const float4* quads = reinterpret_cast<const float4*>(image) + threadIdx.x % 32;
    for (uint32_t at = threadIdx.x % 32 * COLUMNS; at < stream.length;
         at += HC_STEP, quads += SLOTS * HC_STEP / 4) {
        Group codes(path, cells, stream.history, at);
#pragma unroll
        for (int q = 0; q < COLUMNS / 4; ++q) {
            float levels[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int weight = 4 * q + i;
                levels[i] = winding.level(
                    winding.phase(weight % Group::SHARED, codes.reg(weight), codes.cell(weight)));
            }
#pragma unroll
            for (int v = 0; v < SLOTS; ++v) {
                float4 x = quads[v * (HC_STEP / 4) + q * 32];
                sums[v] = fmaf(levels[0], x.x, sums[v]);
                sums[v] = fmaf(levels[1], x.y, sums[v]);
                sums[v] = fmaf(levels[2], x.z, sums[v]);
                sums[v] = fmaf(levels[3], x.w, sums[v]);
            }
        }
    }
}

template <int SLOTS>
static __device__ __forceinline__ void matvec(const HcTensor& tensor, const HcMatrix& matrix,
                                              const float* image, void* y, uint64_t y_stride,
                                              uint32_t dtype) {
    uint64_t row = (uint64_t)blockIdx.x * HC_ROWS + threadIdx.x / 32;
    if (row >= matrix.rows) return;
    float totals[SLOTS];
    for (int v = 0; v < SLOTS; ++v) totals[v] = 0.0f;
    uint32_t steps = (matrix.piece + HC_STEP - 1) / HC_STEP;
    for (uint32_t piece = 0; piece < matrix.pieces; ++piece) {
        const HcStream stream = tensor.streams[row * matrix.pieces + piece];
        const float* part = image + (uint64_t)piece * steps * SLOTS * HC_STEP;
        float sums[SLOTS];
        for (int v = 0; v < SLOTS; ++v) sums[v] = 0.0f;
#define HC_PRODUCT(h) piece_product<h, SLOTS>(tensor, stream, part, sums)
        HC_EACH_RATE(stream.half_bits, HC_PRODUCT)
#undef HC_PRODUCT
        for (int v = 0; v < SLOTS; ++v) totals[v] = fmaf(stream.scale, sums[v], totals[v]);
    }
    for (int v = 0; v < SLOTS; ++v) {
        for (int distance = 16; distance > 0; distance /= 2)
            totals[v] += __shfl_xor_sync(0xFFFFFFFFu, totals[v], distance);
        if (threadIdx.x % 32 == 0 && v < (int)matrix.batch)
            store_result(y, v * y_stride + row, dtype,
                         __double2float_rn(wide_product(tensor, totals[v])));
    }
}
