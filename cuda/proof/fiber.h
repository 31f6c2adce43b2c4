// Runs kernel source on the CPU, one block of threads at a time.
//
// A block's threads are fibers (or, with HC_THREADS, threads of the system, for ThreadSanitizer), and
// a barrier is the only place where one gives way to another. The order in which they run is that of
// their numbers or, with a seed, drawn anew after every barrier: so what depends on an order that only
// a barrier would have given comes out wrong, or differs between two seeds. Shared memory starts as
// garbage in every block. What hangs or misuses a barrier or a shuffle aborts with the line.
//
// Only what the kernels use is here; anything else fails to compile.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>
#ifdef HC_THREADS
#include <barrier>
#include <thread>
#define HC_TLS thread_local
#else
#include <ucontext.h>
#define HC_TLS
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __shared__ static
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
struct alignas(8) int2 {
    int32_t x, y;
};

namespace hc {

enum class State { ready, at_barrier, at_warp_operation, done };

struct Warp;

struct Thread {
    dim3 index;
    int lane = 0, line = 0;
    uint32_t mask = 0;
    State state = State::ready;
    Warp* warp = nullptr;
#ifndef HC_THREADS
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    void* fake_stack = nullptr;
#endif
};

struct Warp {
    uint64_t slot[32] = {};
    uint32_t factors[32][2] = {};  // of tensor cores
    Thread* lanes[32] = {};
#ifdef HC_THREADS
    std::unique_ptr<std::barrier<>> barrier;
#endif
};

inline HC_TLS Thread* current;
inline HC_TLS dim3 block_index;
inline dim3 grid_size, block_size;
inline std::function<void()> body;
inline uint64_t seed = 0;

[[noreturn]] inline void fail(const char* what) {
    fprintf(stderr, "fiber: %s (block %u, thread %u, line %d)\n", what, block_index.x,
            current ? current->index.x : 0, current ? current->line : 0);
    abort();
}

#ifdef HC_THREADS

inline std::unique_ptr<std::barrier<>> block_barrier;
inline void sync_block(int line) {
    current->line = line;
    block_barrier->arrive_and_wait();
}
inline void sync_warp(uint32_t mask, int line) {
    current->line = line;
    if (mask != ~0u) fail("threads of the system know full masks only");
    current->warp->barrier->arrive_and_wait();
}

inline void run(std::vector<Thread>& threads, std::vector<Warp>& warps) {
    unsigned n = threads.size();
    block_barrier = std::make_unique<std::barrier<>>(n);
    for (unsigned w = 0; w < warps.size(); ++w)
        warps[w].barrier = std::make_unique<std::barrier<>>(std::min(32u, n - 32 * w));
    dim3 index = block_index;
    std::vector<std::thread> system;
    for (Thread& thread : threads)
        system.emplace_back([&thread, index] {
            block_index = index;
            current = &thread;
            body();
            block_barrier->arrive_and_drop();
            thread.warp->barrier->arrive_and_drop();
        });
    for (auto& thread : system) thread.join();
}

#else

inline ucontext_t scheduler;

// AddressSanitizer has to be told of every change of stack.
#if defined(__SANITIZE_ADDRESS__)
inline const void* scheduler_bottom;
inline size_t scheduler_size;
inline void leaving(void** kept, const void* bottom, size_t size) {
    __sanitizer_start_switch_fiber(kept, bottom, size);
}
inline void arrived(void* kept, const void** bottom, size_t* size) {
    __sanitizer_finish_switch_fiber(kept, bottom, size);
}
#else
inline const void* scheduler_bottom;
inline size_t scheduler_size;
inline void leaving(void**, const void*, size_t) {}
inline void arrived(void*, const void**, size_t*) {}
#endif

inline void leave_fiber(Thread* thread, bool for_good) {
    leaving(for_good ? nullptr : &thread->fake_stack, scheduler_bottom, scheduler_size);
    swapcontext(&thread->context, &scheduler);
    arrived(thread->fake_stack, &scheduler_bottom, &scheduler_size);
}

constexpr size_t STACK = 256 << 10;

inline void enter_fiber(Thread* thread) {
    current = thread;
    void* kept = nullptr;
    leaving(&kept, thread->stack.get(), STACK);
    swapcontext(&scheduler, &thread->context);
    arrived(kept, nullptr, nullptr);
}

inline void entry() {
    arrived(nullptr, &scheduler_bottom, &scheduler_size);
    body();
    current->state = State::done;
    leave_fiber(current, true);
}

inline void wait(State state, uint32_t mask, int line) {
    Thread* thread = current;
    thread->state = state;
    thread->mask = mask;
    thread->line = line;
    leave_fiber(thread, false);
}

inline void sync_block(int line) { wait(State::at_barrier, 0, line); }
inline void sync_warp(uint32_t mask, int line) {
    current->line = line;
    if (!(mask >> current->lane & 1)) fail("a lane is not in its own mask");
    wait(State::at_warp_operation, mask, line);
}

// Let lanes go on that all stand at the same warp operation.
inline bool release_warps(std::vector<Warp>& warps) {
    bool moved = false;
    for (Warp& warp : warps)
        for (Thread* thread : warp.lanes) {
            if (!thread || thread->state != State::at_warp_operation) continue;
            bool all = true;
            for (int k = 0; k < 32 && all; ++k) {
                if (!(thread->mask >> k & 1)) continue;
                Thread* other = warp.lanes[k];
                current = thread;
                if (!other || other->state == State::done)
                    fail("a warp operation waits for a lane that has left");
                if (other->state != State::at_warp_operation)
                    all = false;
                else if (other->mask != thread->mask || other->line != thread->line)
                    fail("lanes meet in different warp operations");
            }
            if (!all) continue;
            uint32_t mask = thread->mask;
            for (int k = 0; k < 32; ++k)
                if (mask >> k & 1) warp.lanes[k]->state = State::ready;
            moved = true;
        }
    return moved;
}

// Let all go on if every thread stands at the same barrier.
inline bool release_block(std::vector<Thread>& threads) {
    unsigned waiting = 0, done = 0;
    for (Thread& thread : threads) {
        waiting += thread.state == State::at_barrier;
        done += thread.state == State::done;
    }
    if (!waiting || waiting + done < threads.size()) return false;
    Thread* first = nullptr;
    for (Thread& thread : threads) {
        if (thread.state != State::at_barrier) continue;
        current = &thread;
        if (done) fail("some threads left before a barrier");
        if (!first) first = &thread;
        if (thread.line != first->line) fail("threads meet at different barriers");
        thread.state = State::ready;
    }
    return true;
}

inline void run(std::vector<Thread>& threads, std::vector<Warp>& warps) {
    unsigned n = threads.size();
    std::vector<unsigned> order(n);
    for (unsigned i = 0; i < n; ++i) {
        Thread& thread = threads[i];
        order[i] = i;
        thread.stack.reset(new char[STACK]);
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.get();
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, entry, 0);
    }
    uint64_t random = seed;
    for (unsigned done = 0; done < n;) {
        for (unsigned i = n - 1; seed && i; --i) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            std::swap(order[i], order[(random >> 33) % (i + 1)]);
        }
        bool moved = false;
        for (unsigned i : order) {
            if (threads[i].state != State::ready) continue;
            enter_fiber(&threads[i]);
            done += threads[i].state == State::done;
            moved = true;
        }
        moved |= release_warps(warps);
        moved |= release_block(threads);
        if (moved || done == n) continue;
        for (Thread& thread : threads)
            if (thread.state != State::done) current = &thread;
        fail("deadlock at a divergent barrier or warp operation");
    }
}

#endif

inline void run_block() {
    unsigned n = block_size.x;
    std::vector<Thread> threads(n);
    std::vector<Warp> warps((n + 31) / 32);
    for (unsigned i = 0; i < n; ++i) {
        threads[i].index = {i, 0, 0};
        threads[i].lane = i % 32;
        threads[i].warp = &warps[i / 32];
        warps[i / 32].lanes[i % 32] = &threads[i];
    }
    run(threads, warps);
    current = nullptr;
}

// What a lane `source(lane)` of the mask brought along.
template <class T, class Source> T exchange(uint32_t mask, T value, Source source, int line) {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    current->warp->slot[current->lane] = bits;
    sync_warp(mask, line);
    int from = source(current->lane);
    bits = current->warp->slot[from];
    sync_warp(mask, line);
    if (!(mask >> from & 1)) fail("a shuffle reads a lane outside the mask");
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class D, class S> D bits_as(S value) {
    static_assert(sizeof(D) == sizeof(S));
    D bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

}  // namespace hc

#define threadIdx (hc::current->index)
#define blockIdx (hc::block_index)
#define blockDim (hc::block_size)
#define gridDim (hc::grid_size)

inline void __syncthreads(int line = __builtin_LINE()) { hc::sync_block(line); }
inline void __syncwarp(uint32_t mask = 0xFFFFFFFF, int line = __builtin_LINE()) { hc::sync_warp(mask, line); }
template <class T> T __shfl_xor_sync(uint32_t mask, T value, int lanes, int line = __builtin_LINE()) {
    return hc::exchange(mask, value, [=](int lane) { return lane ^ lanes; }, line);
}
template <class T> T __shfl_sync(uint32_t mask, T value, int from, int line = __builtin_LINE()) {
    return hc::exchange(mask, value, [=](int) { return from & 31; }, line);
}

// Instructions that instructions.cuh wraps for a GPU.
inline uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
        if (selector >> (4 * i + 3) & 1) hc::fail("a nibble of a selector is above 7");
        result |= (uint32_t)(both >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    }
    return result;
}
inline void add_byte_products(int32_t (&sums)[2], uint32_t a, uint32_t b, int line = __builtin_LINE()) {
    hc::Warp& warp = *hc::current->warp;
    int lane = hc::current->lane;
    warp.factors[lane][0] = a;
    warp.factors[lane][1] = b;
    hc::sync_warp(0xFFFFFFFFu, line);
    for (int i = 0; i < 2; ++i)
        for (int k = 0; k < 16; ++k) {
            int row = lane / 4 * 4 + k / 4, column = (2 * (lane % 4) + i) * 4 + k / 4, byte = 8 * (k % 4);
            sums[i] += (int)(uint8_t)(warp.factors[row][0] >> byte) * (int8_t)(warp.factors[column][1] >> byte);
        }
    hc::sync_warp(0xFFFFFFFFu, line);
}

inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, uint32_t by) {
    return (uint32_t)(((uint64_t)high << 32 | low) >> (by & 31));
}
inline uint32_t __funnelshift_l(uint32_t low, uint32_t high, uint32_t by) {
    return (uint32_t)(((uint64_t)high << 32 | low) << (by & 31) >> 32);
}
inline uint32_t __byte_perm(uint32_t a, uint32_t b, uint32_t selector) {
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
        // The instruction would fill a byte with signs; CUDA's function does not let it.
        if (selector >> (4 * i + 3) & 1) hc::fail("__byte_perm knows bytes 0 to 7");
        result |= (uint32_t)(both >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    }
    return result;
}
inline int __popc(uint32_t value) { return __builtin_popcount(value); }
inline int __clz(int value) { return value ? __builtin_clz((uint32_t)value) : 32; }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
inline uint32_t __float_as_uint(float value) { return hc::bits_as<uint32_t>(value); }
inline float __uint_as_float(uint32_t bits) { return hc::bits_as<float>(bits); }
inline float __int2float_rn(int value) { return (float)value; }
inline float __double2float_rn(double value) { return (float)value; }

// The 16-bit types: storage and conversions, to the nearest, ties to even.
struct __half {
    uint16_t bits;
};
struct __nv_bfloat16 {
    uint16_t bits;
};
inline __half __float2half_rn(float value) {
    uint32_t bits = __float_as_uint(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return {0x7FFF};
    if (magnitude >= 0x477FF000) return {(uint16_t)(sign | 0x7C00)};
    // Subnormals count steps of 2^-24; adding ½ lets the hardware round to one.
    if (magnitude < 0x38800000) {
        float steps = __uint_as_float(magnitude) + 0.5f;
        return {(uint16_t)(sign | (__float_as_uint(steps) - 0x3F000000))};
    }
    return {(uint16_t)(sign | ((magnitude - 0x38000000 + 0xFFF + (magnitude >> 13 & 1)) >> 13))};
}
inline float __half2float(__half value) {
    int exponent = value.bits >> 10 & 31;
    float mantissa = value.bits & 1023, result;
    if (exponent == 31)
        result = mantissa ? NAN : INFINITY;
    else
        result = exponent ? ldexpf(mantissa + 1024, exponent - 25) : ldexpf(mantissa, -24);
    return value.bits & 0x8000 ? -result : result;
}
inline uint16_t __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(uint16_t bits) { return {bits}; }

// Arithmetic on two halves, each rounded once.
struct __half2 {
    __half x, y;
};
namespace hc {
// To a half from a double that holds the exact value or is within its last bit of it: the double is
// rounded to odd at the precision of a float, which a half's rounding does not see.
inline __half half_from(double value, double error) {
    float nearest = (float)value;
    double rest = (value - (double)nearest) + error;
    uint32_t bits = __float_as_uint(nearest);
    if (rest != 0 && !(bits & 1) && std::isfinite(nearest)) {
        bool outward = nearest == 0 ? true : (rest > 0) == (nearest > 0);
        if (nearest == 0 && rest < 0) bits = 0x80000000;
        bits = outward ? bits + 1 : bits - 1;
    }
    return __float2half_rn(__uint_as_float(bits));
}
inline __half fused(__half a, __half b, __half c) {
    double product = (double)__half2float(a) * __half2float(b), addend = __half2float(c);
    double sum = product + addend, back = sum - product;
    return half_from(sum, (product - (sum - back)) + (addend - back));
}
}  // namespace hc
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
    return {hc::fused(a.x, b.x, c.x), hc::fused(a.y, b.y, c.y)};
}
inline __half2 __hmul2(__half2 a, __half2 b) {
    auto product = [](__half x, __half y) { return hc::half_from((double)__half2float(x) * __half2float(y), 0); };
    return {product(a.x, b.x), product(a.y, b.y)};
}
inline __half2 __floats2half2_rn(float low, float high) { return {__float2half_rn(low), __float2half_rn(high)}; }
inline float __low2float(__half2 value) { return __half2float(value.x); }
inline float __high2float(__half2 value) { return __half2float(value.y); }
