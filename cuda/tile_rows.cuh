// Rows in tiles times up to 16 vectors by tensor cores, for levels that are bytes.
//
// A block has sixteen rows of one rate. Its warps share the columns, a tile of 512 at a time; a thread decodes 128
// columns of two rows and multiplies them at once. Vectors are integers (tile_vectors.cuh), so all sums are exact,
// in any order: the result does not depend on the batch, the grid or the GPU. With x = unit·(256·hi + lo) and levels
// b − 128,
//
//     Σ level·x = unit·(256·Σ b·hi + Σ b·lo − 128·Σ x)
#pragma once
#include "tile_bytes.cuh"
#include "tile_vectors.cuh"

enum : uint32_t { ROW_WARPS = 8 };

// The codes of a row that a thread has of a tile: 16 octets, 128 consecutive columns, 16 bytes of each vector. So the
// four lanes of a row have a tile, and its closed chain is a rotation among them.
template <int H> struct RowCodes {
    using Words = OctetWords<H>;
    uint4 vectors[Words::VECTORS];
    bool upper;

    // Load from the first byte of a tile of 32 or 64 octets, whose lanes before `lanes` have codes.
    __device__ __forceinline__ void load(const uint8_t* tile, bool exists, uint32_t lane, uint32_t lanes) {
        const uint4* from = reinterpret_cast<const uint4*>(tile);
        bool on = exists && lane < lanes;
        uint32_t place = Words::SHARED ? lane % (lanes / 2) : lane, next = Words::SHARED ? lanes / 2 : lanes;
        upper = lane < lanes / 2;
#pragma unroll
        for (int k = 0; k < Words::VECTORS; ++k) {
            vectors[k] = on ? from[place] : uint4{0, 0, 0, 0};
            // The first vector has path bits, except at four bits a weight.
            place = k == 0 && H != 8 ? next + lane : place + lanes;
        }
    }

    // The first four octets.
    __device__ __forceinline__ Words first() const {
        Words words;
#pragma unroll
        for (int k = 0; k < Words::VECTORS; ++k) words.words[k] = vectors[k].x;
        return words;
    }

    // The last four octets.
    __device__ __forceinline__ Words last() const {
        Words words;
#pragma unroll
        for (int k = 0; k < Words::VECTORS; ++k) words.words[k] = vectors[k].w;
        return words;
    }

    // Make the next four octets the first ones.
    __device__ __forceinline__ void next() {
#pragma unroll
        for (int k = 0; k < Words::VECTORS; ++k) vectors[k] = {vectors[k].y, vectors[k].z, vectors[k].w, 0};
    }
};

// Add the products of a thread's part of the rows; `streams` has rows g and g + 8, if they exist.
template <int H, int GROUPS>
static __device__ __forceinline__ void add_tiles(const HcTensor& tensor, const ByteCode<H>& code,
                                                 const HcStream* const (&streams)[2], uint32_t columns,
                                                 const uint4* bytes, int32_t (&sums)[2][GROUPS][2]) {
    uint32_t lane = threadIdx.x % 32, quarter = lane % 4;
    const uint8_t* rows[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) rows[r] = tensor.cells + (streams[r] ? streams[r]->cell_bit / 8 : 0);
    for (uint32_t tile = threadIdx.x / 32; tile * TILE_WEIGHTS < columns; tile += ROW_WARPS) {
        uint32_t lanes = min(columns - tile * TILE_WEIGHTS, (uint32_t)TILE_WEIGHTS) / 128;
        RowCodes<H> codes[2];
        uint32_t before[2];  // path bits
#pragma unroll
        for (int r = 0; r < 2; ++r)
            codes[r].load(rows[r] + tile * 32 * H, streams[r] != nullptr, quarter, lanes);
        // The chain is closed: before the first lane is the last one that has codes.
        int other = (int)(lane - quarter + (quarter ? quarter : lanes) - 1);
#pragma unroll
        for (int r = 0; r < 2; ++r)
            before[r] = __shfl_sync(0xFFFFFFFFu, codes[r].last().path(codes[r].upper), other);
        const uint4* x = bytes + (uint64_t)tile * GROUPS * 256 + lane;
        // A loop, as its code for all rates would be four times as long.
#pragma unroll 1
        for (int j = 0; j < 4; ++j) {
            uint32_t path[2], older[2], cells[2][4] = {};
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const OctetWords<H> words = codes[r].first();
                path[r] = words.path(codes[r].upper);
                older[r] = H % 2 ? before[r] >> 16 : before[r];
                if (H > 2) words.cells(cells[r]);
                before[r] = path[r];
                codes[r].next();
            }
            // Two octets at a time; more would need too many registers.
#pragma unroll 1
            for (int p = 0; p < 2; ++p, x += 32) {
                uint4 pairs[GROUPS];
#pragma unroll
                for (int n = 0; n < GROUPS; ++n) pairs[n] = x[n * 256];
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    // Level bytes of the second row are not loaded before those of the first one are used: registers
                    // would not suffice.
                    if (r > 0) __syncwarp();
#pragma unroll
                    for (int o = 0; o < 2; ++o) {
                        uint2 levels = code.octet(older[r], path[r], o, cells[r][o]);
#pragma unroll
                        for (int n = 0; n < GROUPS; ++n) {
                            add_byte_products(sums[r][n], levels.x, o % 2 ? pairs[n].z : pairs[n].x);
                            add_byte_products(sums[r][n], levels.y, o % 2 ? pairs[n].w : pairs[n].y);
                        }
                    }
                    constexpr int DONE = H % 2 ? 8 : 16;  // path bits of two octets
                    older[r] = __funnelshift_l(path[r], older[r], DONE);
                    path[r] <<= DONE;
                    cells[r][0] = cells[r][2];
                    cells[r][1] = cells[r][3];
                }
            }
        }
    }
}

template <int GROUPS>
static __device__ __forceinline__ void multiply_rows(const HcTensor& tensor, const HcTiles& tiles,
                                                     const HcRows& rows, const uint4* bytes, const HcChunk* chunks,
                                                     void* y, uint64_t y_stride, uint32_t dtype) {
    __shared__ uint4 room[HC_LEVEL_BYTES / 16];
    __shared__ int32_t ones[GROUPS * GROUP];
    __shared__ float units[GROUPS * GROUP];
    const HcRowTile tile = rows.tiles[blockIdx.x];
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (threadIdx.x < GROUPS * GROUP) {
        int32_t sum = 0;
        float unit = 0.0f;
        for (uint32_t chunk = 0; chunk * TILE_WEIGHTS < rows.columns; ++chunk) {
            const HcChunk one = chunks[chunk * GROUPS * GROUP + threadIdx.x];
            sum += one.sum;
            // All are the same, or not a number.
            unit = unit == unit ? one.unit : unit;
        }
        ones[threadIdx.x] = sum;
        units[threadIdx.x] = unit;
    }
    const HcStream* streams[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        uint32_t row = lane / 4 + 8 * r;
        streams[r] = row < tile.rows ? tensor.streams + rows.order[tile.first + row] : nullptr;
    }
    int32_t sums[2][GROUPS][2] = {};
    if (tile.half_bits) load_level_bytes(tiles, tile.half_bits, tensor.window, room, 32 * ROW_WARPS);
    __syncthreads();
#define HC_ROWS_OF(h) \
    add_tiles<h, GROUPS>(tensor, ByteCode<h>(tensor.window, room), streams, rows.columns, bytes, sums)
    HC_EACH_BYTE_RATE(tile.half_bits, HC_ROWS_OF)
#undef HC_ROWS_OF
    __syncthreads();
    int2* parts = reinterpret_cast<int2*>(room);
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int n = 0; n < GROUPS; ++n)
            parts[((warp * 16 + lane / 4 + 8 * r) * GROUPS + n) * 4 + lane % 4] = {sums[r][n][0], sums[r][n][1]};
    __syncthreads();
    uint32_t place = threadIdx.x % 16, vector = threadIdx.x / 16;
    if (vector >= rows.vectors || place >= tile.rows) return;
    int64_t upper = 0, lower = 0;
    for (uint32_t w = 0; w < ROW_WARPS; ++w) {
        int2 part = parts[((w * 16 + place) * GROUPS + vector / GROUP) * 4 + vector % GROUP];
        upper += part.x;
        lower += part.y;
    }
    uint32_t row = rows.order[tile.first + place];
    float total = 0.0f;
    if (tile.half_bits) {
        int64_t exact = 256 * upper + lower - 128 * (int64_t)ones[vector];
        float unit = tiles.codes[tile.half_bits - 1].unit;
        total = (float)exact * units[vector] * (tensor.streams[row].scale * unit);
    }
    store_result(y, vector * y_stride + row, dtype, __double2float_rn(wide_product(tensor, total)));
}
