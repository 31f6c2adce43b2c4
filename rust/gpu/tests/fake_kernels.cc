// The kernels compiled for the host, one block after the other, for fake_driver.c to run.
#define HC_FIBER
#include "../../../cuda/kernels.cu"

#include <string>
#include <tuple>
#include <utility>

namespace {

// The struct of the same name in fake_driver.c.
struct Kernel {
    const char* name;
    unsigned count;
    const size_t* sizes;
    void (*run)(const unsigned* grid, const unsigned* block, unsigned shared, void** arguments);
};

template <auto function> struct Of;
template <class... P, void (*function)(P...)> struct Of<function> {
    static constexpr size_t sizes[] = {sizeof(P)...};

    static void run(const unsigned* grid, const unsigned* block, unsigned, void** arguments) {
        auto values = [&]<size_t... I>(std::index_sequence<I...>) {
            return std::tuple<P...>{*static_cast<P*>(arguments[I])...};
        }(std::index_sequence_for<P...>{});
        hc::body = [values] { std::apply(function, values); };
        hc::grid_size = {grid[0]};
        hc::block_size = {block[0]};
        for (unsigned x = 0; x < grid[0]; ++x) {
            hc::block_index = {x, 0, 0};
            hc::run_block();
        }
    }

    static constexpr Kernel named(const char* name) { return {name, sizeof...(P), sizes, run}; }
};

#define NAMED(name) Of<name>::named(#name)
const Kernel KERNELS[] = {
    NAMED(hc_decode),   NAMED(hc_transform), NAMED(hc_winding),  NAMED(hc_spread_16),
    NAMED(hc_spread_32), NAMED(hc_patch_16), NAMED(hc_patch_32), NAMED(hc_matvec_1),
    NAMED(hc_matvec_2), NAMED(hc_matvec_4),  NAMED(hc_matvec_8),  NAMED(hc_offsets),
};

}  // namespace

extern "C" const void* fake_kernel(const char* name) {
    for (const Kernel& kernel : KERNELS)
        if (std::string(kernel.name) == name) return &kernel;
    return nullptr;
}
