// Includes CUDA's headers, or the header that runs the kernels on the CPU.
#pragma once
#include "launch.h"
#ifdef HC_FIBER
#include "proof/fiber.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

// A word as two halves; the lower one is first.
static __device__ __forceinline__ __half2 as_halves(uint32_t word) {
    return *reinterpret_cast<const __half2*>(&word);
}
static __device__ __forceinline__ uint32_t as_word(__half2 halves) {
    return *reinterpret_cast<const uint32_t*>(&halves);
}
