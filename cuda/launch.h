// What the host hands to the kernels: structs by value, entry points, grids, and what memory must be.
//
// The host side (rust/gpu) mirrors the structs with #[repr(C)]; the static_asserts pin their sizes,
// and `tests/test_cuda.py` pins every offset. Nothing here depends on CUDA headers.
//
// Memory. Every pointer is a device pointer. The planes (`path`, `cells`, winding `codes`) are read
// in aligned words of 4 bytes, and only in words that hold at least one byte of the plane: so a plane
// must begin at a multiple of 4, and an allocation of its own (cudaMalloc, torch) needs no slack, as
// its size is rounded up. Tables of structs begin at a multiple of 16. Weights, activations and
// results begin at a multiple of their own size. Nothing is allocated by a kernel, no kernel needs
// dynamic shared memory, another stream, or a launch attribute.
#pragma once
#ifdef __CUDACC_RTC__
// NVRTC has no C library.
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

// The constants of one code (rate h, window W), from rust/core/src/codec/trellis/code_set_1.txt.
struct HcCode {
    uint32_t turn[2];  // of the first and the second weight of a step
    uint32_t skew[2];
    float shape[3];    // Code::scaled_shape()
    uint32_t unused;
};

// One stream: where its codes are and what they mean. See docs/format.md.
struct HcStream {
    uint64_t path_bit;  // where its path bits begin, in bits from `path`
    uint64_t cell_bit;  // where its cells begin, in bits from `cells`
    uint64_t first;     // index of its first weight in the output (with a mask: among the coded ones)
    float scale;
    uint16_t length;    // weights that have codes, at most 16384 + 127
    uint8_t half_bits;  // h, 1..16; 0: all its weights are zero and it has no codes
    uint8_t history;    // path bits of its chain that lie before it, at most 255 (W − 1 are needed)
};

// A trellis tensor.
struct HcTensor {
    const uint8_t* path;
    const uint8_t* cells;
    uint64_t path_bytes;
    uint64_t cell_bytes;
    const HcStream* streams;
    const HcCode* codes;    // 16 of them, of h = 1..16, for this tensor's W
    uint64_t seed;          // of the signs
    double wide[2];         // PowerOfTwo(e): the two factors
    float narrow[2];        // PowerOfTwo(e)::narrow(), if `fits`
    uint32_t fits;          // 1 where narrow() is Some
    uint32_t transformed;   // 1 if there is a seed: signs and Hadamard blocks
    uint32_t window;        // W
    uint32_t offset_bits;   // s
    uint32_t run_bits;      // run
    uint32_t table_rate;    // the h that `table` is for; 0 if there is none
    const uint32_t* table;  // hc_offsets' result; only hc_matvec reads it
};

// The shape of a product. Only for tensors whose rows are whole streams (Layout::streams_a_row is
// Some), without a mask and without exact weights; for others decode and multiply.
struct HcMatrix {
    uint64_t rows;      // below 2^32 − 2^20
    uint32_t columns;
    uint32_t pieces;    // streams a row
    uint32_t piece;     // columns of each but the last, which has what is left; = columns if pieces = 1
    uint32_t batch;     // vectors, 1..8
};

// A winding tensor (the published codec). `units` has a double for each category 0..=classes:
// half_side / half, the second of Coder::units. `centre` and `half` as in the Rust coder.
struct HcWinding {
    const uint8_t* codes;
    uint64_t code_bytes;
    uint64_t weights;
    const double* units;
    double centre[4];
    double half;            // m^K / 2
    uint32_t group;         // K, 1..4
    uint32_t bits;          // of a code, 1..32
    uint32_t points;        // U + 1
    uint32_t base;          // m
};

static_assert(sizeof(HcCode) == 32 && sizeof(HcStream) == 32, "tables of structs");
static_assert(sizeof(HcTensor) == 112 && sizeof(HcMatrix) == 24 && sizeof(HcWinding) == 88, "arguments");

// The type of weights, activations or results: the numbers of rust/core's Dtype.
enum HcDtype : uint32_t { HC_F32 = 0, HC_F16 = 2, HC_BF16 = 3 };

// Entry points. All are extern "C", all grids and blocks are one-dimensional, blocks have exactly the
// threads given.
//
// hc_decode(HcTensor tensor, uint64_t first_stream, uint32_t tiles, uint64_t origin, void* out,
//           uint32_t dtype)
//     Weights of the streams from `first_stream` on: weight i of the tensor to out[i − origin].
//     tiles = the most that hc_tiles() gives for the length of any of these streams.
//     grid streams·tiles, which must be below 2^31 (else: several launches), block 64.
//     With a mask, `first` counts coded weights only and `out` is a buffer of them for hc_spread.
//
// hc_spread_16, hc_spread_32(const U* coded, uint64_t coded_origin, const uint32_t* mask,
//                            const uint64_t* ranks, uint64_t start, uint64_t count, U* out)
//     out[i − start] = weight i for i in start..start + count, as its 16 or 32 bits: zero where bit
//     i % 32 of mask[i / 32] is 0, else coded[rank − coded_origin], rank the number of set bits before
//     i. ranks[j] is the number of set bits before weight 1024·j. grid ⌈count / 256⌉, block 256.
//
// hc_patch_16, hc_patch_32(U* out, const uint64_t* places, const U* values, uint64_t count)
//     out[places[i]] = values[i]: exact weights, rounded to the dtype by the host (Element::from_f64).
//     grid ⌈count / 256⌉, block 256.
//
// hc_offsets(HcTensor tensor, uint32_t half_bits, uint32_t* table)
//     The table of offsets that makes products at one rate fast, to be made once for a tensor: for the
//     rate that most of its rows have, if hc_table_words() of it is not 0. 16-byte aligned.
//     Products without a table, or of rows at another rate, are right too, but take three times the
//     instructions. grid ⌈hc_table_words() / 256⌉, block 256.
//
// hc_transform(HcTensor tensor, HcMatrix matrix, const void* x, uint64_t x_stride, uint32_t dtype,
//              float* image)
//     The vectors x + v·x_stride, v < batch, in the basis of the codes, in the order in which the
//     product reads them, to `image`: hc_image_floats() floats, 16-byte aligned, every one written.
//     grid slots·pieces·tiles with slots = hc_slots(batch) and tiles = hc_tiles(piece), block 64.
//
// hc_matvec_1, _2, _4, _8(HcTensor tensor, HcMatrix matrix, const float* image, void* y,
//                         uint64_t y_stride, uint32_t dtype)
//     y[v·y_stride + row] = Σ weights of the row times vector v, for all rows and v < batch. The
//     number in the name is hc_slots(batch). The order of the sums is stated in product.cuh and does
//     not depend on the batch or the grid. Any grid from 1 to ⌈rows / HC_ROWS⌉, best the blocks that
//     the device holds at once (3 a multiprocessor); block 32·HC_ROWS = 256.
//
// hc_winding(HcWinding tensor, uint64_t first, uint64_t count, void* out, uint32_t dtype)
//     Weights first..first + count to out[0..count]. grid ⌈count / 256⌉, block 256.
//
// Strides count elements. A grid of 0 must not be launched.

// Weights that a block decodes or transforms at a time: whole Hadamard blocks.
#define HC_TILE 1024u
// Rows that a block multiplies at a time, a warp each.
#define HC_ROWS 8u
// Columns that a warp multiplies in one step; what pieces of the image are padded to.
#define HC_STEP 1024u

// The size of the Hadamard blocks of a stream of `n` > 0 weights, and whether one more block lies
// over its last weights (rust/core/src/codec/kernels/hadamard).
struct HcBlocks {
    uint32_t size;
    uint32_t overlapping;
};

#ifdef __CUDACC__
#define HC_BOTH static __host__ __device__ __forceinline__
#else
#define HC_BOTH static inline
#endif

HC_BOTH HcBlocks hc_blocks(uint32_t n) {
    uint32_t dividing = n & (0u - n);
    if (dividing >= 128 || dividing == n) return {dividing < 1024 ? dividing : 1024, 0};
    uint32_t largest = 1;
    while (2 * largest <= n && largest < 1024) largest *= 2;
    return {largest, 1};
}

// Tiles of a stream of `n` weights. All but the last have HC_TILE weights; the last has the rest,
// fewer than HC_TILE + 1024, and with it every block that the overlapping one reaches.
HC_BOTH uint32_t hc_tiles(uint32_t n) {
    if (n == 0) return 1;
    HcBlocks blocks = hc_blocks(n);
    if (!blocks.overlapping) return (n + HC_TILE - 1) / HC_TILE;
    return (n - blocks.size) / blocks.size * blocks.size / HC_TILE + 1;
}

// Vectors that the product keeps sums of: the next power of two.
HC_BOTH uint32_t hc_slots(uint32_t batch) { return batch <= 2 ? batch : batch <= 4 ? 4 : 8; }

// Floats of the image of a batch: 1024 of every step and vector, as many in half the width for rows
// with a table, and a scale for those.
HC_BOTH uint64_t hc_image_floats(uint32_t columns, uint32_t pieces, uint32_t piece, uint32_t batch) {
    uint64_t last = columns - (uint64_t)(pieces - 1) * piece;
    uint64_t steps = (uint64_t)(pieces - 1) * ((piece + HC_STEP - 1) / HC_STEP) + (last + HC_STEP - 1) / HC_STEP;
    return steps * hc_slots(batch) * (HC_STEP + HC_STEP / 2 + 4);
}

// Words of the table for a rate; 0 where there can be none: at half rates, more than 5 bits or W > 10.
HC_BOTH uint32_t hc_table_words(uint32_t window, uint32_t half_bits) {
    return window <= 10 && half_bits % 2 == 0 && half_bits >= 2 && half_bits <= 10 ? 8u << window : 0;
}
