// What every kernel file begins with: the scalar types, the dimension, and sums with one order.
// Compiled for one dimension and one scalar type at a time: -DGM_DIM=2 -DGM_REAL=float.
#pragma once

using real = GM_REAL;   // of the arrays
using wide = double;    // of sums, and of everything that is linear in the number of components
using int64 = long long;

constexpr int K = GM_DIM;
constexpr int TRI = K * (K + 1) / 2;  // entries of a lower triangle, packed by rows: (k, m), m <= k, is k(k+1)/2 + m

#ifndef GM_SHARED
// `name` points at the dynamic shared memory of the block, aligned to 16 bytes.
#define GM_SHARED(type, name)                                                  \
    extern __shared__ __align__(16) unsigned char gm_dynamic_shared[];         \
    type* name = reinterpret_cast<type*>(gm_dynamic_shared)
#endif

__device__ constexpr int packed(int k, int m) { return k * (k + 1) / 2 + m; }
__device__ constexpr int packed_symmetric(int k, int m) { return k >= m ? packed(k, m) : packed(m, k); }
__device__ inline int64 thread_id() { return int64(blockIdx.x) * blockDim.x + threadIdx.x; }

__device__ inline bool is_finite(wide x) { return x - x == 0; }

// Base-2 exponential of a number <= 0: on the special function units for float (2 ulp).
__device__ inline float power_of_two(float x) { return exp2f(x); }
__device__ inline double power_of_two(double x) { return exp2(x); }

// Sum over the block of each thread's values; every thread gets the sums. The order depends on blockDim.x alone, which
// must be a power of two, at least 2. `scratch` (blockDim.x) is shared memory. Every thread of the block must call it.
template <int COUNT>
__device__ inline void block_sums(wide (&values)[COUNT], wide* scratch) {
    for (int c = 0; c < COUNT; ++c) {
        __syncthreads();
        scratch[threadIdx.x] = values[c];
        for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
        }
        __syncthreads();
        values[c] = scratch[0];
    }
    __syncthreads();
}
