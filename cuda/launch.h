// The interface of host and kernels: structs that are passed by value, and the requirements on memory.
// kernels.def has the entry points with their grids.
//
// The host side (rust/gpu) mirrors the structs with #[repr(C)]; the static_asserts pin their sizes,
// and `tests/gpu/test_cuda.py` pins every offset. Nothing here depends on CUDA headers.
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
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
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

// One stream: the place of its codes, and its constants. See docs/format.md.
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

// The constants of one code whose streams are in tiles, from rust/core/src/codec/trellis/code_set_2.txt.
struct HcTileCode {
    uint32_t turn[2];     // of the first and the second weight of a step
    uint32_t skew[2][3];
    float unit;           // of integer levels, in standard deviations
    uint32_t levels;      // where its levels begin in HcTiles::levels
    uint32_t bytes;       // where its table begins in HcTiles::bytes
    uint32_t unused;
};

// What a trellis tensor in tiles has beside an HcTensor, whose `path`, `codes` and `table` are not read and whose
// `cells` is the plane of tiles. Of its HcStreams, `path_bit` and `history` are not read.
struct HcTiles {
    const HcTileCode* codes;  // 16 of them, of h = 1..16, for the tensor's W
    // For each code the integer level of each stored cell and u, at 128·cell + u. First those of h = 1..8, which
    // are HC_TILE_LEVELS; then those of higher rates that the tensor has.
    const int16_t* levels;
    // For each code that rows use which hc_tile_rows multiplies: the levels that tile_bytes.cuh reads, moved up by
    // 128, at most HC_LEVEL_BYTES. Those of register w, cell c and, at half rates, weight a of a step are at
    // c + cells·w or c + cells·(2·w + a).
    const uint8_t* bytes;
};

// Up to sixteen rows of one rate, which a block multiplies.
struct HcRowTile {
    uint32_t first;       // in HcRows::order
    uint16_t rows;
    uint16_t half_bits;   // 0: rows of zeros
};

// The rows of a product by tensor cores: of tensors in tiles whose rows are whole streams at rates up to 4 bits (8
// half bits), whose level bytes fit in HC_LEVEL_BYTES: W up to 12, but not 3.5 bits at W = 12. `columns` is a multiple
// of 256, and the plane of tiles begins at a multiple of 16.
struct HcRows {
    const uint32_t* order;   // the rows, by rate
    const HcRowTile* tiles;
    uint32_t columns;
    uint32_t vectors;        // 1..16
};

// What 512 columns of a vector have beside their bytes.
struct HcChunk {
    int32_t sum;  // of the integers
    float unit;   // of the vector; NaN if a value here is not finite
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

static_assert(sizeof(HcCode) == 32 && sizeof(HcTileCode) == 48 && sizeof(HcStream) == 32, "tables of structs");
static_assert(sizeof(HcRowTile) == 8 && sizeof(HcChunk) == 8, "tables of structs");
static_assert(sizeof(HcTensor) == 112 && sizeof(HcTiles) == 24 && sizeof(HcRows) == 24, "arguments");
static_assert(sizeof(HcMatrix) == 24 && sizeof(HcWinding) == 88, "arguments");

// The type of weights, activations or results, with the numbers of Dtype in rust/core.
enum HcDtype : uint32_t { HC_F32 = 0, HC_F16 = 2, HC_BF16 = 3 };

// Weights that a block decodes or transforms at a time: whole Hadamard blocks.
#define HC_TILE 1024u
// Rows that a block multiplies at a time, a warp each.
#define HC_ROWS 8u
// Columns that a warp multiplies in one step; what pieces of the image are padded to.
#define HC_STEP 1024u

// Integer levels of the codes of 1 to 8 half bits: 128·(1 + 1 + 2 + 2 + 4 + 4 + 8 + 8).
#define HC_TILE_LEVELS 3840u
// The most level bytes of a code: 2^W for each cell and weight of a step.
#define HC_LEVEL_BYTES 32768u

// The size of the Hadamard blocks of a stream of `n` > 0 weights, and whether one more block overlaps them at
// the end (rust/core/src/codec/kernels/hadamard).
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

// Tiles of a stream of `n` weights. All but the last have HC_TILE weights. The last has the rest, fewer than
// HC_TILE + 1024 weights, so that it contains every block that meets the overlapping one.
HC_BOTH uint32_t hc_tiles(uint32_t n) {
    if (n == 0) return 1;
    HcBlocks blocks = hc_blocks(n);
    if (!blocks.overlapping) return (n + HC_TILE - 1) / HC_TILE;
    return (n - blocks.size) / blocks.size * blocks.size / HC_TILE + 1;
}

// The number of vectors for which the product has sums: the next power of two.
HC_BOTH uint32_t hc_slots(uint32_t batch) { return batch <= 2 ? batch : batch <= 4 ? 4 : 8; }

// Floats of the image of a batch. For every step and vector: 1024 floats, 1024 halves for rows with a table,
// and a scale for these.
HC_BOTH uint64_t hc_image_floats(uint32_t columns, uint32_t pieces, uint32_t piece, uint32_t batch) {
    uint64_t last = columns - (uint64_t)(pieces - 1) * piece;
    uint64_t steps = (uint64_t)(pieces - 1) * ((piece + HC_STEP - 1) / HC_STEP) + (last + HC_STEP - 1) / HC_STEP;
    return steps * hc_slots(batch) * (HC_STEP + HC_STEP / 2 + 4);
}

// Words of the table for a rate; 0 if the rate has no table: half rates, rates above 5 bits, and W > 10.
HC_BOTH uint32_t hc_table_words(uint32_t window, uint32_t half_bits) {
    return window <= 10 && half_bits % 2 == 0 && half_bits >= 2 && half_bits <= 10 ? 8u << window : 0;
}
