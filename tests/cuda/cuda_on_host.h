// Enough of CUDA to run a kernel on the CPU, one block at a time, with real barriers, shared memory and warp shuffles.
//
// By default the threads of a block are fibers that take turns on one thread of the host, each until it waits: quick, and
// a barrier that some thread never reaches is found. With -DGM_HOST_THREADS they are threads of the host, so that
// ThreadSanitizer sees a race between them. Shared memory starts out as NaN.
#pragma once
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>
#ifdef GM_HOST_THREADS
#include <condition_variable>
#include <mutex>
#include <thread>
#else
#include <csetjmp>
#include <memory>
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) alignas(n)
#define __shared__ static __attribute__((section("gm_shared")))
#define GM_SHARED(type, name) type* name = reinterpret_cast<type*>(host::dynamic_shared)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
#ifdef GM_HOST_THREADS
inline thread_local dim3 threadIdx;
#else
inline dim3 threadIdx;
#endif
inline dim3 blockIdx, blockDim, gridDim;  // the same for all threads of the block that runs

namespace host {

constexpr int WARP = 32;
inline unsigned char* dynamic_shared;

// A meeting point of `size` threads. `wait` returns once all have come.
#ifdef GM_HOST_THREADS
struct Barrier {
    std::mutex mutex;
    std::condition_variable all_here;
    int arrived = 0;
    unsigned generation = 0;
    void wait(int size) {
        std::unique_lock lock(mutex);
        const unsigned mine = generation;
        if (++arrived == size) {
            arrived = 0;
            ++generation;
            all_here.notify_all();
        } else {
            all_here.wait(lock, [&] { return generation != mine; });
        }
    }
};
#else
inline long progress = 0;  // arrivals and ends: a round of all fibers without any is a deadlock
void yield();
struct Barrier {
    int arrived = 0;
    unsigned generation = 0;
    void wait(int size) {
        const unsigned mine = generation;
        ++progress;
        if (++arrived == size) {
            arrived = 0;
            ++generation;
        } else {
            while (generation == mine) yield();
        }
    }
};
#endif

struct Warp {
    Barrier barrier;
    alignas(8) unsigned char slots[WARP][8];
};
inline Barrier* block_barrier;
inline Warp* warps;

inline int lane() { return threadIdx.x % WARP; }
inline Warp& warp() { return warps[threadIdx.x / WARP]; }
inline unsigned existing_lanes() {
    const unsigned in_warp = std::min(blockDim.x - threadIdx.x / WARP * WARP, unsigned(WARP));
    return in_warp == 32 ? ~0u : (1u << in_warp) - 1;
}
inline void meet(unsigned mask) { warp().barrier.wait(std::popcount(mask & existing_lanes())); }

// The value of every lane in `mask`; f(read) computes this lane's result from read(other lane).
template <class T, class F>
auto exchange(unsigned mask, T value, F f) {
    static_assert(sizeof(T) <= 8);
    Warp& w = warp();
    std::memcpy(w.slots[lane()], &value, sizeof value);
    meet(mask);
    const auto result = f([&](int other) {
        T found;
        std::memcpy(&found, w.slots[other], sizeof found);
        return found;
    });
    meet(mask);
    return result;
}

}  // namespace host

inline void __syncthreads() { host::block_barrier->wait(blockDim.x); }
inline int __syncthreads_or(int predicate) {
    static std::atomic<int> any;  // raised between the first two barriers, read between the last two
    if (threadIdx.x == 0) any = 0;
    __syncthreads();
    if (predicate) any = 1;
    __syncthreads();
    const int result = any;
    __syncthreads();
    return result;
}
inline int __syncthreads_count(int predicate) {
    static std::atomic<int> count;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    if (predicate) ++count;
    __syncthreads();
    const int result = count;
    __syncthreads();
    return result;
}
inline void __syncwarp(unsigned mask = ~0u) { host::meet(mask); }
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    return host::exchange(mask, value, [&](auto read) { return read(host::lane() / width * width + source % width); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const int l = host::lane(), from = l + int(delta);
    return host::exchange(mask, value, [&](auto read) { return from / width == l / width ? read(from) : read(l); });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const int l = host::lane(), from = l - int(delta);
    return host::exchange(mask, value, [&](auto read) { return from >= l / width * width ? read(from) : read(l); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
    return host::exchange(mask, value, [&](auto read) { return read(host::lane() ^ bits); });
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return host::exchange(mask, int(predicate != 0), [&](auto read) {
        unsigned bits = 0;
        for (int i = 0; i < host::WARP; ++i)
            if ((mask & host::existing_lanes()) >> i & 1) bits |= unsigned(read(i)) << i;
        return bits;
    });
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
    return __ballot_sync(mask, predicate) == (mask & host::existing_lanes());
}

// Integers alone: no kernel may add floats in whatever order threads come.
template <class T>
T atomicMin(T* p, T value) {
    static_assert(std::is_integral_v<T>);
    std::atomic_ref<T> cell(*p);
    T old = cell.load();
    while (value < old && !cell.compare_exchange_weak(old, value)) {
    }
    return old;
}
template <class T>
T atomicMax(T* p, T value) {
    static_assert(std::is_integral_v<T>);
    std::atomic_ref<T> cell(*p);
    T old = cell.load();
    while (value > old && !cell.compare_exchange_weak(old, value)) {
    }
    return old;
}
template <class T>
T atomicAdd(T* p, T value) {
    static_assert(std::is_integral_v<T>);
    return std::atomic_ref<T>(*p).fetch_add(value);
}
template <class T>
T atomicOr(T* p, T value) {
    static_assert(std::is_integral_v<T>);
    return std::atomic_ref<T>(*p).fetch_or(value);
}

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline int __clzll(long long x) { return std::countl_zero((unsigned long long)x); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(unsigned(x)) + 1; }
inline int __ffsll(long long x) { return x == 0 ? 0 : std::countr_zero((unsigned long long)x) + 1; }
template <class T>
T __ldg(const T* p) {
    return *p;
}
using std::max;
using std::min;
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }

namespace host {

// What Python has to pass for a parameter of type T: 'p' and the element's kind and size for a pointer to numbers, "p*" for
// one to a structure, kind and size for a number.
template <class T>
void describe(char* out) {
    if constexpr (std::is_pointer_v<T>) {
        using E = std::remove_cv_t<std::remove_pointer_t<T>>;
        if constexpr (std::is_arithmetic_v<E>) {
            out[0] = 'p';
            describe<E>(out + 1);
        } else {
            std::strcpy(out, "p*");
        }
    } else {
        std::snprintf(out, 4, "%c%d", std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u', int(sizeof(T)));
    }
}
template <class... A>
void signature(void (*)(A...), char* out) {
    (([&] { describe<A>(out), out += std::strlen(out), *out++ = ' '; }()), ...);
    *out = 0;
}

template <class... A, std::size_t... I>
void invoke(void (*f)(A...), void** p, std::index_sequence<I...>) {
    f(*static_cast<A*>(p[I])...);
}

#ifdef GM_HOST_THREADS
template <class Body>
bool run_block(unsigned threads, Body& body) {
    std::vector<std::thread> all;
    for (unsigned t = 0; t < threads; ++t)
        all.emplace_back([t, &body] {
            threadIdx = {t, 0, 0};
            body();
        });
    for (auto& thread : all) thread.join();
    return true;
}
#else
// A fiber lives as long as the library and runs one thread of every block. Jumps switch between fibers, for contexts would
// ask the system for the signal mask each time; a context only makes the stack.
struct Fiber {
    std::unique_ptr<unsigned char[]> stack;
    jmp_buf state;
    bool ended;
};
inline std::vector<Fiber> fibers;
inline jmp_buf scheduler;
inline unsigned current;
inline void (*body_of_block)(void*);
inline void* argument_of_body;
constexpr std::size_t STACK = 64 * 1024;

inline void yield() {
    if (_setjmp(fibers[current].state) == 0) _longjmp(scheduler, 1);
}
inline void fiber_main() {
    for (;;) {
        body_of_block(argument_of_body);
        fibers[current].ended = true;
        ++progress;
        yield();
    }
}
inline void resume(Fiber& f) {
    if (_setjmp(scheduler) != 0) return;
    if (f.stack) _longjmp(f.state, 1);
    f.stack = std::make_unique<unsigned char[]>(STACK);
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = f.stack.get();
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
}

// False if the threads that are left all wait for one that has ended.
template <class Body>
bool run_block(unsigned threads, Body& body) {
    if (fibers.size() < threads) fibers.resize(threads);
    body_of_block = [](void* b) { (*static_cast<Body*>(b))(); };
    argument_of_body = &body;
    for (unsigned t = 0; t < threads; ++t) fibers[t].ended = false;
    for (bool left = true; left;) {
        left = false;
        const long before = progress;
        for (unsigned t = 0; t < threads; ++t) {
            if (fibers[t].ended) continue;
            current = t;
            threadIdx = {t, 0, 0};
            resume(fibers[t]);
            left = left || !fibers[t].ended;
        }
        if (left && progress == before) {
            fibers.clear();  // they stand in the middle of this block
            return false;
        }
    }
    return true;
}
#endif

// Runs a kernel; 0, or 1 if a block is stuck at a barrier.
template <class... A>
int run(void (*f)(A...), int grid, int block, std::size_t shared, void** p) {
    gridDim = {unsigned(grid), 1, 1};
    blockDim = {unsigned(block), 1, 1};
    auto body = [&] { invoke(f, p, std::index_sequence_for<A...>{}); };
    for (int g = 0; g < grid; ++g) {
        Barrier barrier;
        std::vector<Warp> all_warps((block + WARP - 1) / WARP);
        std::vector<unsigned char> bytes(shared, 0xff);  // operator new aligns to 16 bytes
        blockIdx = {unsigned(g), 0, 0};
        block_barrier = &barrier;
        warps = all_warps.data();
        dynamic_shared = bytes.data();
        if (!run_block(block, body)) return 1;
    }
    return 0;
}

}  // namespace host
