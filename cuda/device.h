// What the kernels are compiled against: CUDA's headers, or the header that runs them on the CPU.
#pragma once
#ifdef HC_FIBER
#include "proof/fiber.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif
