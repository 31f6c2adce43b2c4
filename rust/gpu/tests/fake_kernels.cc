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

// `threads` is the size of a block that the kernel is declared with.
template <auto function, unsigned threads> struct Of;
template <class... P, void (*function)(P...), unsigned threads> struct Of<function, threads> {
    static constexpr size_t sizes[] = {sizeof(P)...};

    static void run(const unsigned* grid, const unsigned* block, unsigned, void** arguments) {
        auto values = [&]<size_t... I>(std::index_sequence<I...>) {
            return std::tuple<P...>{*static_cast<P*>(arguments[I])...};
        }(std::index_sequence_for<P...>{});
        if (block[0] != threads) {
            fprintf(stderr, "a kernel of %u threads is launched with %u\n", threads, block[0]);
            abort();
        }
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

// The first argument of __launch_bounds__.
constexpr unsigned threads_of(unsigned threads, unsigned = 0) { return threads; }

#define HC_KERNEL(name, registers, shared, bounds, ...) Of<name, threads_of bounds>::named(#name),
const Kernel KERNELS[] = {
#include "../../../cuda/kernels.def"
};
#undef HC_KERNEL

}  // namespace

extern "C" const void* fake_kernel(const char* name) {
    for (const Kernel& kernel : KERNELS)
        if (std::string(kernel.name) == name) return &kernel;
    return nullptr;
}
