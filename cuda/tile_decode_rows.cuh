// Decodes rows in tiles to weights at once for many: whole Hadamard blocks of 1024 in the registers of a warp.
//
// A lane decodes 32 consecutive weights to level bytes (tile_bytes.cuh) and makes five levels of butterflies of them.
// Then the block is turned in shared memory, so that a lane has every 32nd weight: it makes the other five levels,
// and neighbouring lanes write neighbouring weights. The levels come in the order of hadamard.cuh, so the bits are
// those of hc_tile_decode.
#pragma once
#include "element.cuh"
#include "hadamard.cuh"
#include "tile_bytes.cuh"

enum : uint32_t {
    EXPAND_WARPS = 4,
    EXPAND_PARTS = 4,  // blocks of threads that share the rows of a row tile
    LANE_WEIGHTS = 32,
};

static __device__ __forceinline__ void register_butterflies(float (&values)[LANE_WEIGHTS]) {
#pragma unroll
    for (int half = 1; half < (int)LANE_WEIGHTS; half *= 2)
#pragma unroll
        for (int j = 0; j < (int)LANE_WEIGHTS; ++j)
            if (!(j & half)) {
                float a = values[j], b = values[j + half];
                values[j] = a + b;
                values[j + half] = a - b;
            }
}

// Bit k: whether weight 32·k + lane of the block is negated.
static __device__ __forceinline__ uint32_t turned_signs(uint64_t seed, uint32_t block, uint32_t lane) {
    uint64_t word = sign_word(seed, (block * HC_TILE + lane * LANE_WEIGHTS) / 64);
    uint32_t mine = (uint32_t)(lane % 2 ? word >> 32 : word), turned = 0;
#pragma unroll
    for (int k = 0; k < (int)LANE_WEIGHTS; ++k)
        turned |= (__shfl_sync(0xFFFFFFFFu, mine, k) >> lane & 1) << k;
    return turned;
}

// The scaled levels of 32 consecutive weights of a stream, of whole tiles.
template <int H>
static __device__ __forceinline__ void lane_levels(const HcTensor& tensor, const ByteCode<H>& code, float unit,
                                                   const HcStream& stream, uint32_t block, uint32_t lane,
                                                   float (&values)[LANE_WEIGHTS]) {
    using Words = OctetWords<H>;
    uint32_t tile = 2 * block + lane / 16, quad = lane % 16;
    const uint32_t* from = reinterpret_cast<const uint32_t*>(tensor.cells + stream.cell_bit / 8 + tile * 32 * H);
    Words four;
    uint32_t place = Words::SHARED ? quad % 8 : quad;
#pragma unroll
    for (int k = 0; k < Words::VECTORS; ++k) {
        four.words[k] = from[place];
        place = k == 0 && H != 8 ? (Words::SHARED ? 8 : 16) + quad : place + 16;
    }
    uint32_t path = four.path(quad < 8), cells[4] = {};
    // The chain is closed within a tile.
    uint32_t older = __shfl_sync(0xFFFFFFFFu, path, (int)(lane / 16 * 16 + (quad + 15) % 16));
    if (Words::SHARED) older >>= 16;
    if (H > 2) four.cells(cells);
#pragma unroll
    for (int o = 0; o < 4; ++o) {
        const uint2 bytes = code.octet(older, path, o, cells[o]);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            // 2^23 plus a byte as the bits of a float.
            uint32_t bits = __byte_perm(i < 4 ? bytes.x : bytes.y, 0x4B000000, 0x7540 + i % 4);
            float level = __uint_as_float(bits) - 8388736.0f;
            int weight = 8 * o + (i % 2 ? 0 : 4) + (i % 4 / 2) + i / 4 * 2;
            values[weight] = stream.scale * (level * unit);
        }
    }
}

// Write a block of weights of which a lane has every 32nd, and of which none needs double precision.
template <class T>
static __device__ __forceinline__ void store_turned(const HcTensor& tensor, const float (&values)[LANE_WEIGHTS],
                                                    uint32_t lane, T* out) {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int k = 0; k < (int)LANE_WEIGHTS; ++k)
            out[k * LANE_WEIGHTS + lane] = Element<T>::in_floats(tensor, values[k]);
    } else {
        uint32_t odd = lane % 2;
#pragma unroll
        for (int k = 0; k < (int)LANE_WEIGHTS; k += 2) {
            // Of two rows of 32, even lanes write pairs of the first and odd lanes pairs of the second.
            uint32_t first = bits_of(Element<T>::in_floats(tensor, values[k]));
            uint32_t second = bits_of(Element<T>::in_floats(tensor, values[k + 1]));
            uint32_t mine = first | second << 16, other = __shfl_xor_sync(0xFFFFFFFFu, mine, 1);
            uint32_t pair = permuted(mine, other, odd ? 0x3276 : 0x5410);
            reinterpret_cast<uint32_t*>(out)[((k + odd) * LANE_WEIGHTS + lane) / 2] = pair;
        }
    }
}

// Whether a warp's weights need no double precision: 2^e fits in floats, and no bfloat16 is subnormal.
static __device__ __forceinline__ bool floats_suffice(const HcTensor& tensor, uint32_t dtype,
                                                      const float (&values)[LANE_WEIGHTS]) {
    if (!tensor.fits || dtype != HC_BF16) return tensor.fits;
    uint32_t subnormal = 0;
#pragma unroll
    for (int k = 0; k < (int)LANE_WEIGHTS; ++k) {
        float product = values[k] * tensor.narrow[0] * tensor.narrow[1];
        subnormal |= fabsf(product) < F32_MIN_NORMAL && values[k] != 0.0f;
    }
    for (int distance = 16; distance > 0; distance /= 2)
        subnormal |= __shfl_xor_sync(0xFFFFFFFFu, subnormal, distance);
    return !subnormal;
}

// The other five levels of a block whose first ones are in `turn`; signs; and the weights from out[place] on.
static __device__ __forceinline__ void finish_block(const HcTensor& tensor, float* turn, uint32_t signs,
                                                    uint32_t lane, void* out, uint64_t place, uint32_t dtype) {
    float values[LANE_WEIGHTS];
    const float norm = tensor.transformed ? hadamard_norm(10) : 1.0f;
#pragma unroll
    for (uint32_t k = 0; k < LANE_WEIGHTS; ++k) values[k] = turn[k * LANE_WEIGHTS + (lane ^ k)];
    if (tensor.transformed) register_butterflies(values);
#pragma unroll
    for (uint32_t k = 0; k < LANE_WEIGHTS; ++k)
        values[k] = __uint_as_float(__float_as_uint(values[k] * norm) ^ (signs >> k & 1) << 31);
    if (!floats_suffice(tensor, dtype, values)) {
#pragma unroll
        for (uint32_t k = 0; k < LANE_WEIGHTS; ++k) turn[k * LANE_WEIGHTS + (lane ^ k)] = values[k];
#pragma unroll 1
        for (uint32_t k = 0; k < LANE_WEIGHTS; ++k)
            store_weight(tensor, out, place + k * LANE_WEIGHTS + lane, dtype, turn[k * LANE_WEIGHTS + (lane ^ k)]);
    } else if (dtype == HC_F16) {
        store_turned(tensor, values, lane, (__half*)out + place);
    } else if (dtype == HC_BF16) {
        store_turned(tensor, values, lane, (__nv_bfloat16*)out + place);
    } else {
        store_turned(tensor, values, lane, (float*)out + place);
    }
}

// The first five levels of a block to `turn`.
template <int H>
static __device__ __forceinline__ void begin_block(const HcTensor& tensor, const HcTiles& tiles, const uint4* room,
                                                   const HcStream& stream, uint32_t block, uint32_t lane,
                                                   float* turn) {
    float values[LANE_WEIGHTS];
    const ByteCode<H> code(tensor.window, room);
    lane_levels<H>(tensor, code, tiles.codes[H - 1].unit, stream, block, lane, values);
    if (tensor.transformed) register_butterflies(values);
    // Numbers of lanes and weights are exchanged; the exclusive or spreads them over the banks.
#pragma unroll
    for (uint32_t j = 0; j < LANE_WEIGHTS; ++j) turn[lane * LANE_WEIGHTS + (j ^ lane)] = values[j];
}

static __device__ __forceinline__ void expand_rows(const HcTensor& tensor, const HcTiles& tiles, const HcRows& rows,
                                                   void* out, uint32_t dtype) {
    __shared__ uint4 room[HC_LEVEL_BYTES / 16];
    __shared__ float turns[EXPAND_WARPS * HC_TILE];
    const HcRowTile tile = rows.tiles[blockIdx.x / EXPAND_PARTS];
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, blocks = rows.columns / HC_TILE;
    float* turn = turns + warp * HC_TILE;
    if (tile.half_bits) load_level_bytes(tiles, tile.half_bits, tensor.window, room, 32 * EXPAND_WARPS);
    for (uint32_t first = 0; first < blocks; first += EXPAND_WARPS) {
        // All warps come to all barriers, also those without a block at the end.
        uint32_t block = first + warp;
        bool on = block < blocks;
        uint32_t signs = on && tensor.transformed ? turned_signs(tensor.seed, block, lane) : 0;
        for (uint32_t r = blockIdx.x % EXPAND_PARTS; r < tile.rows; r += EXPAND_PARTS) {
            const HcStream stream = tensor.streams[rows.order[tile.first + r]];
            uint64_t place = stream.first + block * HC_TILE;
            __syncthreads();
            if (on) {
#define HC_BEGIN(h) begin_block<h>(tensor, tiles, room, stream, block, lane, turn)
                HC_EACH_BYTE_RATE(tile.half_bits, HC_BEGIN)
#undef HC_BEGIN
            }
            __syncthreads();
            if (!on) continue;
            if (tile.half_bits) {
                finish_block(tensor, turn, signs, lane, out, place, dtype);
            } else {
                for (uint32_t k = 0; k < HC_TILE; k += 32) store_result(out, place + k + lane, dtype, 0.0f);
            }
        }
    }
}
