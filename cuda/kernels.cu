// The entry points, generated from kernels.def, which has the parameters, grid and block of each.
#include "decode.cuh"
#include "product.cuh"
#include "tile_decode.cuh"
#include "tile_product.cuh"
#include "winding.cuh"

static_assert(HC_ROWS == 8, "blocks of hc_matvec_* in kernels.def have 32 threads for each of HC_ROWS");

#define HC_KERNEL(name, registers, shared, bounds, parameters, ...) \
    extern "C" __global__ void __launch_bounds__ bounds name parameters { __VA_ARGS__; }
#include "kernels.def"
#undef HC_KERNEL
