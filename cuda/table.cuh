// Products at one whole rate with a table of offsets: half the width, a third of the instructions.
//
// Four consecutive weights are W + 3 path bits, and their offsets are four bytes: one load from a table in
// shared memory (8·2^W words) replaces four evaluations of the state map. After that, every instruction
// serves two weights, 16 columns apart, as the halves of a word:
//
// 1. *Phase.* A shift and two logical operations move the cells of both weights above their offsets.
// 2. *Line.* A phase n < 2^11 as the bits of a half has the value n·2^−24. One fused multiply-add turns it
//    into T = t/2^j, exactly. (j keeps the factor within the range of a half.)
// 3. *Logarithm.* −u = T² − 2^−2j; the bits of a half approximate a logarithm, like those of a float. Their
//    upper ten, inverted, become the mantissa of a number w in [1, 2): v = 16·w − d, in steps of 1/64.
// 4. *Level* = T·(c₀ + c₁·w + c₂·w²), the polynomial of level.cuh in another variable.
// 5. *Product.* Eight pairs are added in halves; then both sums are added to a float, times the scales of the
//    stream and of the vector's tile.
//
// The rounding errors (docs/gpu.md has the bound) are about those of rounding the weights to bfloat16, and a
// hundredth of the error of codes of 4 bits.
#pragma once
#include "level.cuh"
#include "plane.cuh"

// Words of the table at W = 10: 32 KiB.
enum : uint32_t { TABLE_MOST = 8192 };

#ifdef HC_ONLY_RATE
#define HC_EACH_TABLE_RATE(rate, call) \
    if (rate == HC_ONLY_RATE) { \
        call(HC_ONLY_RATE); \
    }
#else
#define HC_EACH_TABLE_RATE(rate, call) \
    switch (rate) { \
        case 2: call(2); break; \
        case 4: call(4); break; \
        case 6: call(6); break; \
        case 8: call(8); break; \
        case 10: call(10); break; \
    }
#endif

// One word of the table: byte j has the offset of the j-th of four weights, whose path bits and the W − 1
// bits before are `index`.
static __device__ __forceinline__ void table_word(const HcTensor& tensor, uint32_t half_bits, uint32_t* table) {
    uint32_t index = blockIdx.x * 256 + threadIdx.x;
    if (index >= hc_table_words(tensor.window, half_bits)) return;
    Winding winding(tensor, tensor.codes[half_bits - 1], 0);
    uint32_t word = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j)
        word |= winding.offset(0, index >> (3 - j)) >> winding.low_bits << (8 * j);
    table[index] = word;
}

// The cells of weights i and i + 16 of a group, at bit 7 of the upper and the lower half of a word,
// with other bits around them.
template <int CELL> struct PairedCells {
    uint32_t words[CELL + 1];  // 16 bits of the first 16 weights' cells above 16 of the others'

    __device__ __forceinline__ PairedCells(const uint32_t* cells) {
#pragma unroll
        for (int k = 0; k < CELL; ++k) {
            uint32_t upper = cells[k / 2], lower = cells[(k + CELL) / 2];
            uint32_t from = k % 2 ? 0x5400 : 0x7600;         // the lower or the upper two bytes
            uint32_t to = (k + CELL) % 2 ? 0x0010 : 0x0032;
            words[k] = __byte_perm(lower, upper, from | to);
        }
    }

    __device__ __forceinline__ uint32_t at_bit_7(int i) const {
        constexpr uint32_t ALL = ((1u << CELL) - 1) * 0x00010001u;
        int first = i * CELL, k = first / 16, below = 16 - CELL - first % 16;
        if (CELL == 0) return 0;
        if (below >= 0) return below >= 7 ? words[k] >> (below - 7) : words[k] << (7 - below);
        // The cell goes on in the next word.
        uint32_t upper = words[k] << -below & ALL & (ALL << -below), lower = words[k + 1] >> (16 + below);
        return (upper | (lower & ALL & ~(ALL << -below))) << 7;
    }
};

static __device__ __forceinline__ uint32_t at_byte(const uint32_t* table, uint32_t place) {
    return *reinterpret_cast<const uint32_t*>(reinterpret_cast<const char*>(table) + place);
}

// What the pairs of a stream share.
template <int H> struct PairCode {
    static constexpr int CELL = (H - 1) / 2;
    static constexpr int PHASE = 7 + CELL;                    // L
    static constexpr int DOWN = PHASE < 10 ? 10 - PHASE : 0;  // j
    __half2 factor, start, one, shape[3];
    // 0x03FF03FF, because s is 7. It is not a constant in the source: an instruction takes only one constant,
    // and the compiler would then split it in two.
    uint32_t mantissa;

    __device__ __forceinline__ PairCode(const HcCode& code, uint32_t offset_bits) {
        mantissa = ((8u << offset_bits) - 1) * 0x00010001;
        // n·2^−24 to T, and u·2^−2j = 2^−2j − T².
        factor = both(__uint_as_float((127 + 25 - PHASE - DOWN) << 23));
        float step = __uint_as_float((127 - PHASE) << 23);
        start = both((step - 1.0f) * __uint_as_float((127 - DOWN) << 23));
        one = both(-__uint_as_float((127 - 2 * DOWN) << 23));
        // v = 16·w − d; the bits cut off below the upper ten are 7.5/1024 on average.
        float d = 16.0f + (1023 - 64 * (15 - 2 * DOWN)) / 64.0f + 7.5f / 1024.0f;
        float a = code.shape[0], b = code.shape[1] * 8388608.0f, c = code.shape[2] * 70368744177664.0f;
        float up = 1 << DOWN;
        shape[0] = both(up * fmaf(fmaf(c, d, -b), d, a));
        shape[1] = both(up * 16.0f * fmaf(-2.0f * c, d, b));
        shape[2] = both(up * 256.0f * c);
    }

    static __device__ __forceinline__ __half2 both(float value) { return __floats2half2_rn(value, value); }

    // The levels of two weights, from the offsets in byte `j` of two words of the table, and from their
    // cells.
    __device__ __forceinline__ __half2 levels(uint32_t lower, uint32_t upper, int j, uint32_t cells) const {
        constexpr uint32_t CELLS = ((1u << CELL) - 1) * 0x00800080u;
        uint32_t offsets = __byte_perm(lower, upper, 0x4400 + 0x1111 * j) & 0x007F007F;
        __half2 t = __hfma2(as_halves(offsets | (cells & CELLS)), factor, start);
        uint32_t u = as_word(__hfma2(t, t, one));
        __half2 w = as_halves((~(u >> 4) & mantissa) | 0x3C003C00);
        return __hmul2(t, __hfma2(__hfma2(shape[2], w, shape[1]), w, shape[0]));
    }
};

// Add a lane's products of a stream to `totals`.
template <int H, int SLOTS, int ALL>
static __device__ __forceinline__ void table_product(const HcTensor& tensor, const HcStream& stream,
                                                     const uint32_t* table, const uint32_t* halves,
                                                     const float* scales, float* totals) {
    using Group = Codes<H, 32>;
    const PairCode<H> code(tensor.codes[H - 1], tensor.offset_bits);
    Plane path(tensor.path, tensor.path_bytes, stream.path_bit);
    Plane cell(tensor.cells, tensor.cell_bytes, stream.cell_bit);
    uint32_t mask = 4 * ((8u << tensor.window) - 1);  // of a place in bytes
    const uint4* quads = reinterpret_cast<const uint4*>(halves) + threadIdx.x % 32;
    for (uint32_t at = threadIdx.x % 32 * 32; at < stream.length;
         at += HC_STEP, quads += ALL * HC_STEP / 8, scales += ALL * 4) {
        Group codes(path, cell, stream.history, at);
        PairedCells<Group::CELL> cells(codes.cells);
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            __half2 added[SLOTS];
#pragma unroll
            for (int q = 2 * part; q < 2 * part + 2; ++q) {
                uint32_t first = at_byte(table, codes.reg_times_4(4 * q + 3) & mask);
                uint32_t second = at_byte(table, codes.reg_times_4(4 * q + 19) & mask);
                __half2 levels[4];
#pragma unroll
                for (int j = 0; j < 4; ++j)
                    levels[j] = code.levels(second, first, j, cells.at_bit_7(4 * q + j));
#pragma unroll
                for (int v = 0; v < SLOTS; ++v) {
                    uint4 x = quads[v * (HC_STEP / 8) + q * 32];
                    added[v] = q % 2 ? __hfma2(levels[0], as_halves(x.x), added[v])
                                     : __hmul2(levels[0], as_halves(x.x));
                    added[v] = __hfma2(levels[1], as_halves(x.y), added[v]);
                    added[v] = __hfma2(levels[2], as_halves(x.z), added[v]);
                    added[v] = __hfma2(levels[3], as_halves(x.w), added[v]);
                }
            }
#pragma unroll
            for (int v = 0; v < SLOTS; ++v) {
                float scale = stream.scale * scales[4 * v];
                totals[v] = fmaf(__high2float(added[v]), scale, totals[v]);
                totals[v] = fmaf(__low2float(added[v]), scale, totals[v]);
            }
        }
    }
}
