// Decodes streams in tiles to weights: hc_decode with other levels.
#pragma once
#include "decode.cuh"
#include "tile_codes.cuh"
#include "tile_level.cuh"

static __device__ __forceinline__ void decode_tiles(const HcTensor& tensor, const HcTiles& tiles,
                                                    uint64_t first_stream, uint32_t most_tiles, uint64_t origin,
                                                    void* out, uint32_t dtype) {
    __shared__ uint4 room[HC_TILE_LEVELS / 8];
    auto decode = [&](const HcStream& stream, uint32_t start, uint32_t length, float* tile) {
        uint32_t rate = stream.half_bits;
        const TileLevels levels(tiles, reinterpret_cast<int16_t*>(room), TILE_THREADS);
        const TileCode code(tiles, rate, tensor.window);
        const TilePlane plane(tensor.cells, tensor.cell_bytes, stream.cell_bit / 8);
        __syncthreads();
        for (uint32_t at = DECODED * threadIdx.x; at < length; at += TILE_THREADS * DECODED) {
            const StoredTile stored(plane, rate, stream.length, (start + at) / TILE_WEIGHTS);
            uint32_t octet = (start + at) % TILE_WEIGHTS / 32 * 4, weight = at % 32;
            uint32_t path = stored.path(octet), older = stored.before(octet);
            const Nibbles cells = stored.cells(octet);
            float* to = tile + padded(at);
#pragma unroll
            for (int i = 0; i < DECODED; ++i) {
                uint32_t u = code.offset(rate % 2 ? i % 2 : 0, stored.reg(older, path, weight + i));
                uint32_t cell = cell_of(cells, i + weight);
                // Values after the last weight have no meaning, but lie within the tile.
                to[i] = stream.scale * (levels.level(code, rate, cell, u) * code.unit);
            }
        }
    };
    decode_by(tensor, first_stream, most_tiles, origin, out, dtype, decode);
}
