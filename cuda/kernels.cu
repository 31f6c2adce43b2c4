// The entry points. launch.h says what each is given, and what its grid and its block are.
#include "decode.cuh"
#include "product.cuh"
#include "winding.cuh"

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)

KERNEL(64) hc_decode(HcTensor tensor, uint64_t first_stream, uint32_t tiles, uint64_t origin, void* out,
                     uint32_t dtype) {
    decode(tensor, first_stream, tiles, origin, out, dtype);
}

KERNEL(256) hc_spread_16(const uint16_t* coded, uint64_t coded_origin, const uint32_t* mask,
                         const uint64_t* ranks, uint64_t start, uint64_t count, uint16_t* out) {
    spread(coded, coded_origin, mask, ranks, start, count, out);
}

KERNEL(256) hc_spread_32(const uint32_t* coded, uint64_t coded_origin, const uint32_t* mask,
                         const uint64_t* ranks, uint64_t start, uint64_t count, uint32_t* out) {
    spread(coded, coded_origin, mask, ranks, start, count, out);
}

KERNEL(256) hc_patch_16(uint16_t* out, const uint64_t* places, const uint16_t* values, uint64_t count) {
    patch(out, places, values, count);
}

KERNEL(256) hc_patch_32(uint32_t* out, const uint64_t* places, const uint32_t* values, uint64_t count) {
    patch(out, places, values, count);
}

KERNEL(256) hc_offsets(HcTensor tensor, uint32_t half_bits, uint32_t* table) {
    table_word(tensor, half_bits, table);
}

KERNEL(64) hc_transform(HcTensor tensor, HcMatrix matrix, const void* x, uint64_t x_stride,
                        uint32_t dtype, float* image) {
    transform(tensor, matrix, x, x_stride, dtype, image);
}

// `slots` is in the name, `together` of them are multiplied at once. For one, registers are limited so
// that three blocks fit on a multiprocessor, as their tables do.
#define MATVEC(slots, together, blocks) \
    extern "C" __global__ void __launch_bounds__(32 * HC_ROWS, blocks) \
        hc_matvec_##slots(HcTensor tensor, HcMatrix matrix, float* image, void* y, uint64_t y_stride, \
                          uint32_t dtype) { \
        matvec<together, slots>(tensor, matrix, image, y, y_stride, dtype); \
    }
MATVEC(1, 1, 3)
MATVEC(2, 2, 2)
MATVEC(4, 4, 1)
MATVEC(8, 4, 1)

KERNEL(256) hc_winding(HcWinding tensor, uint64_t first, uint64_t count, void* out, uint32_t dtype) {
    winding(tensor, first, count, out, dtype);
}
