// A compressed matrix times a few vectors, without decoding the matrix to memory.
//
// A stream's weights are w = s·T⁻¹·q, with levels q, a scale s and the orthonormal transform T; so w·x =
// s·q·(T·x), as in the product on the CPU. The vectors are transformed once, by `transform`. Then each warp
// multiplies a row, and each lane 32 consecutive columns of every 1024.
//
// Order of the sums, the same for every batch: a lane processes its columns in order. Without a table it adds
// the products to its total by fused multiply-adds. With a table, it adds eight pairs of products, 16 columns
// apart, in halves, and then adds these sums to the total. The totals of the lanes are added in a butterfly,
// distance 16 first. The image has zeros beyond a piece's last column, so levels decoded there do not count.
#pragma once
#include "decode.cuh"
#include "table.cuh"

static constexpr int COLUMNS = 32;  // of a lane in a step

// The parts of an image: floats for all rates, halves for rows with a table (see table.cuh), and the scales
// of the halves. Each part has `slots` vectors for every step.
struct Image {
    float* floats;
    uint32_t* halves;
    float* scales;

    __device__ __forceinline__ Image(float* image, uint64_t parts) {
        floats = image;
        halves = reinterpret_cast<uint32_t*>(image + parts * HC_STEP);
        scales = image + parts * (HC_STEP + HC_STEP / 2);
    }
};

static __device__ __forceinline__ uint32_t steps_of(uint32_t columns) {
    return (columns + HC_STEP - 1) / HC_STEP;
}

static __device__ __forceinline__ uint64_t image_parts(const HcMatrix& matrix) {
    uint32_t last = matrix.columns - (matrix.pieces - 1) * matrix.piece;
    return (uint64_t)((matrix.pieces - 1) * steps_of(matrix.piece) + steps_of(last)) * hc_slots(matrix.batch);
}

// The place of column `c` of a step in the floats: columns are grouped in fours, so that the lanes of a warp
// read 512 consecutive bytes.
static __device__ __forceinline__ uint32_t float_place(uint32_t c) {
    return (c % COLUMNS / 4 * 32 + c / COLUMNS) * 4 + c % 4;
}

// The place of the pair of columns (c, c + 16), for c % 32 < 16, in the halves, grouped in the same way;
// column c is the upper half of the word.
static __device__ __forceinline__ uint32_t half_place(uint32_t c) {
    return (c % 16 / 4 * 32 + c / COLUMNS) * 4 + c % 4;
}

// The power of two above the largest magnitude of a tile, so that the halves of its quotients are
// neither infinite nor, where it matters, subnormal.
static __device__ __forceinline__ float tile_scale(const float* tile, uint32_t length) {
    __shared__ float most[TILE_THREADS / 32];
    float largest = 0.0f;
    for (uint32_t i = threadIdx.x; i < length; i += TILE_THREADS)
        largest = fmaxf(largest, fabsf(tile[padded(i)]));
    for (int distance = 16; distance > 0; distance /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xFFFFFFFFu, largest, distance));
    if (threadIdx.x % 32 == 0) most[threadIdx.x / 32] = largest;
    __syncthreads();
    uint32_t exponent = __float_as_uint(fmaxf(most[0], most[1])) >> 23;
    return __uint_as_float(min(max(exponent + 1, 1u), 253u) << 23);
}

// Write a tile, which is transformed, to an image.
static __device__ __forceinline__ void store_image(const float* tile, uint32_t length, const Image& image,
                                                   uint64_t part, uint32_t slots) {
    float scale = tile_scale(tile, length);
    float inverse = __uint_as_float((254u << 23) - __float_as_uint(scale));
    uint32_t steps = steps_of(length);
    for (uint32_t i = threadIdx.x; i < steps * HC_STEP; i += TILE_THREADS) {
        uint64_t here = part + (uint64_t)(i / HC_STEP) * slots;
        image.floats[here * HC_STEP + float_place(i % HC_STEP)] = i < length ? tile[padded(i)] : 0.0f;
        if (i % COLUMNS < 16) {
            float first = i < length ? tile[padded(i)] : 0.0f;
            float second = i + 16 < length ? tile[padded(i + 16)] : 0.0f;
            uint32_t pair = as_word(__floats2half2_rn(second * inverse, first * inverse));
            image.halves[here * (HC_STEP / 2) + half_place(i % HC_STEP)] = pair;
        }
    }
    // Four scales for each, so that all parts of the image begin at multiples of 16 bytes.
    for (uint32_t i = threadIdx.x; i < 4 * steps; i += TILE_THREADS)
        image.scales[4 * (part + (uint64_t)(i / 4) * slots) + i % 4] = scale;
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
    uint64_t part = (uint64_t)(piece * steps_of(matrix.piece) + at.start / HC_STEP) * slots + vector;
    store_image(tile, at.length, Image(image, image_parts(matrix)), part, slots);
}

// Add a lane's products of a stream to `totals`, at any rate. It takes sixteen columns at a time, because the
// codes of more would need too many registers.
template <int H, int SLOTS, int ALL>
static __device__ __forceinline__ void piece_product(const HcTensor& tensor, const HcStream& stream,
                                                     const float* floats, float* totals) {
    using Group = Codes<H, 16>;
    Winding winding(tensor, tensor.codes[H - 1], Group::CELL);
    for (float& coefficient : winding.near) coefficient *= stream.scale;
    Plane path(tensor.path, tensor.path_bytes, stream.path_bit);
    Plane cells(tensor.cells, tensor.cell_bytes, stream.cell_bit);
    for (uint32_t column = threadIdx.x % 32 * COLUMNS; column < stream.length;
         column += column % 32 ? HC_STEP - 16 : 16) {
        uint64_t step = column / HC_STEP;
        const float4* quads = reinterpret_cast<const float4*>(floats + step * ALL * HC_STEP) +
                              threadIdx.x % 32 + column % 32 * 8;
        Group codes(path, cells, stream.history, column);
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            float levels[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int weight = 4 * q + i;
                levels[i] = winding.near_level(
                    winding.phase(weight % Group::SHARED, codes.reg(weight), codes.cell(weight)));
            }
#pragma unroll
            for (int v = 0; v < SLOTS; ++v) {
                float4 x = quads[v * (HC_STEP / 4) + q * 32];
                totals[v] = fmaf(levels[0], x.x, totals[v]);
                totals[v] = fmaf(levels[1], x.y, totals[v]);
                totals[v] = fmaf(levels[2], x.z, totals[v]);
                totals[v] = fmaf(levels[3], x.w, totals[v]);
            }
        }
    }
}

// A lane's totals of a row, for `SLOTS` vectors from number `vector` on, of an image with ALL vectors.
template <int SLOTS, int ALL>
static __device__ __forceinline__ void row_product(const HcTensor& tensor, const HcMatrix& matrix,
                                                   uint32_t row, const uint32_t* table, float* image,
                                                   uint32_t vector, float* totals) {
    for (int v = 0; v < SLOTS; ++v) totals[v] = 0.0f;
    for (uint32_t piece = 0; piece < matrix.pieces; ++piece) {
        const HcStream stream = tensor.streams[(uint64_t)row * matrix.pieces + piece];
        uint64_t part = (uint64_t)piece * steps_of(matrix.piece) * ALL + vector;
        const Image whole(image, image_parts(matrix));
        if (stream.half_bits != 0 && stream.half_bits == tensor.table_rate) {
            const uint32_t* halves = whole.halves + part * (HC_STEP / 2);
            const float* scales = whole.scales + part * 4;
#define HC_TABLE_PRODUCT(h) table_product<h, SLOTS, ALL>(tensor, stream, table, halves, scales, totals)
            HC_EACH_TABLE_RATE(stream.half_bits, HC_TABLE_PRODUCT)
#undef HC_TABLE_PRODUCT
        } else {
            const float* floats = whole.floats + part * HC_STEP;
#define HC_PRODUCT(h) piece_product<h, SLOTS, ALL>(tensor, stream, floats, totals)
            HC_EACH_RATE(stream.half_bits, HC_PRODUCT)
#undef HC_PRODUCT
        }
    }
}

// The rows of a block of HC_ROWS warps, a warp each. It multiplies `SLOTS` vectors at a time, of ALL =
// hc_slots(batch). More than four at once would need too many registers. For eight vectors the codes are read
// twice, the second time from a cache. `product(row, vector, totals)` makes a lane's totals of a row, for the
// vectors from number `vector` on.
template <int SLOTS, int ALL, class Product>
static __device__ __forceinline__ void each_row(const HcTensor& tensor, const HcMatrix& matrix, void* y,
                                                uint64_t y_stride, uint32_t dtype, const Product& product) {
    for (uint32_t row = blockIdx.x * HC_ROWS + threadIdx.x / 32; row < matrix.rows;
         row += gridDim.x * HC_ROWS) {
#pragma unroll 1
        for (uint32_t first = 0; first < ALL; first += SLOTS) {
            float totals[SLOTS];
            product(row, first, totals);
#pragma unroll
            for (int v = 0; v < SLOTS; ++v) {
                for (int distance = 16; distance > 0; distance /= 2)
                    totals[v] += __shfl_xor_sync(0xFFFFFFFFu, totals[v], distance);
                uint32_t vector = first + v;
                if (threadIdx.x % 32 == 0 && vector < matrix.batch)
                    store_result(y, vector * y_stride + row, dtype,
                                 __double2float_rn(wide_product(tensor, totals[v])));
            }
        }
    }
}

template <int SLOTS, int ALL>
static __device__ __forceinline__ void matvec(const HcTensor& tensor, const HcMatrix& matrix, float* image,
                                              void* y, uint64_t y_stride, uint32_t dtype) {
    __shared__ uint4 table[TABLE_MOST / 4];
    uint32_t quads = hc_table_words(tensor.window, tensor.table_rate) / 4;
    for (uint32_t i = threadIdx.x; i < quads; i += 32 * HC_ROWS)
        table[i] = reinterpret_cast<const uint4*>(tensor.table)[i];
    __syncthreads();
    const uint32_t* words = reinterpret_cast<const uint32_t*>(table);
    each_row<SLOTS, ALL>(tensor, matrix, y, y_stride, dtype, [&](uint32_t row, uint32_t first, float* totals) {
        row_product<SLOTS, ALL>(tensor, matrix, row, words, image, first, totals);
    });
}
