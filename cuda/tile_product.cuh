// Rows in tiles times a few vectors, at any rate, in floats. The order of the sums is that of product.cuh
// without a table; scale and unit are multiplied at the end of a piece.
#pragma once
#include "product.cuh"
#include "tile_codes.cuh"
#include "tile_level.cuh"

// Add a lane's products of a stream to `totals`.
template <int SLOTS, int ALL>
static __device__ __forceinline__ void tile_piece(const HcTensor& tensor, const HcTiles& tiles,
                                                  const TileLevels& levels, const HcStream& stream,
                                                  const float* floats, float* totals) {
    uint32_t rate = stream.half_bits;
    const TileCode code(tiles, rate, tensor.window);
    const TilePlane plane(tensor.cells, tensor.cell_bytes, stream.cell_bit / 8);
    float sums[SLOTS] = {};
    for (uint32_t column = threadIdx.x % 32 * COLUMNS; column < stream.length; column += HC_STEP) {
        const StoredTile stored(plane, rate, stream.length, column / TILE_WEIGHTS);
        uint32_t octet = column % TILE_WEIGHTS / OCTET;
        uint32_t path = stored.path(octet), older = stored.before(octet);
        const Nibbles cells = stored.cells(octet);
        const float4* quads =
            reinterpret_cast<const float4*>(floats + (uint64_t)(column / HC_STEP) * ALL * HC_STEP) + threadIdx.x % 32;
        // A loop, as all of it would need too many registers.
#pragma unroll 1
        for (int q = 0; q < COLUMNS / 4; ++q) {
            float values[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                uint32_t u = code.offset(rate % 2 ? i % 2 : 0, stored.reg(older, path, 4 * q + i));
                values[i] = levels.level(code, rate, cell_of(cells, 4 * q + i), u);
            }
#pragma unroll
            for (int v = 0; v < SLOTS; ++v) {
                float4 x = quads[v * (HC_STEP / 4) + q * 32];
                sums[v] = fmaf(values[0], x.x, sums[v]);
                sums[v] = fmaf(values[1], x.y, sums[v]);
                sums[v] = fmaf(values[2], x.z, sums[v]);
                sums[v] = fmaf(values[3], x.w, sums[v]);
            }
        }
    }
    float factor = stream.scale * code.unit;
#pragma unroll
    for (int v = 0; v < SLOTS; ++v) totals[v] = fmaf(sums[v], factor, totals[v]);
}

template <int SLOTS, int ALL>
static __device__ __forceinline__ void tile_matvec(const HcTensor& tensor, const HcTiles& tiles,
                                                   const HcMatrix& matrix, float* image, void* y,
                                                   uint64_t y_stride, uint32_t dtype) {
    __shared__ uint4 room[HC_TILE_LEVELS / 8];
    const TileLevels levels(tiles, reinterpret_cast<int16_t*>(room), 32 * HC_ROWS);
    __syncthreads();
    const float* floats = Image(image, image_parts(matrix)).floats;
    each_row<SLOTS, ALL>(tensor, matrix, y, y_stride, dtype, [&](uint32_t row, uint32_t first, float* totals) {
        for (int v = 0; v < SLOTS; ++v) totals[v] = 0.0f;
        for (uint32_t piece = 0; piece < matrix.pieces; ++piece) {
            const HcStream stream = tensor.streams[(uint64_t)row * matrix.pieces + piece];
            uint64_t part = (uint64_t)piece * steps_of(matrix.piece) * ALL + first;
            if (stream.half_bits)
                tile_piece<SLOTS, ALL>(tensor, tiles, levels, stream, floats + part * HC_STEP, totals);
        }
    });
}
