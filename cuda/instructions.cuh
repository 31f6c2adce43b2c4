// Instructions of PTX without an intrinsic that compiles to them alone, each wrapped and named once. proof/fiber.h
// has the same functions for the CPU.
#pragma once
#include "device.h"

#ifndef HC_FIBER
// Bytes of b:a by the nibbles of the lower half of `selector`, which are below 8. (__byte_perm clears the highest
// bit of each nibble first, with an instruction of its own.)
static __device__ __forceinline__ uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
    uint32_t result;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(selector));
    return result;
}

// Tensor cores: add products of unsigned and signed bytes. With g = lane/4 and t = lane%4, `a` has row g and
// columns 4t to 4t + 3 of a matrix of 8x16, and `b` the same rows of column g of a matrix of 16x8. `sums` has row g
// and columns 2t and 2t + 1 of their product. All lanes of a warp call it together.
static __device__ __forceinline__ void add_byte_products(int32_t (&sums)[2], uint32_t a, uint32_t b) {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(sums[0]), "+r"(sums[1])
        : "r"(a), "r"(b));
}
#endif
