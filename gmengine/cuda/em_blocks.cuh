// What the threads of a block find out together: the best of their values, places in a list. Blocks are whole warps,
// and every thread of the block must call these functions.
#pragma once
#include "common.cuh"

constexpr int WIDEST = 512;  // threads, at most, of a block that has a mixture for itself

// The best of all threads' values; better(a, b) says whether a is to be preferred. `scratch`: a number per warp.
template <class T, class Better>
__device__ inline T block_best(T value, T* scratch, Better better) {
    for (int step = 16; step > 0; step /= 2) {
        const T other = __shfl_xor_sync(~0u, value, step);
        if (better(other, value)) value = other;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    __syncthreads();
    value = scratch[0];
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp)
        if (better(scratch[warp], value)) value = scratch[warp];
    return value;
}

// How many threads before this one have the flag set; `total` is how many of all. `scratch`: an int per warp.
__device__ inline int block_rank(bool flag, int* scratch, int& total) {
    const unsigned ballot = __ballot_sync(~0u, flag), lane = threadIdx.x % 32, mine = threadIdx.x / 32;
    int rank = __popc(ballot & ((1u << lane) - 1));
    __syncthreads();
    if (lane == 0) scratch[mine] = __popc(ballot);
    __syncthreads();
    total = 0;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) {
        if (warp == mine) rank += total;
        total += scratch[warp];
    }
    return rank;
}

// Calls each(i, rank) for i < n, whose `flag(i)` is set, with its place among them; returns how many there are.
template <class Flag, class Each>
__device__ inline int number_flagged(int n, int* scratch, Flag flag, Each each) {
    int before = 0;
    for (int first = 0; first < n; first += blockDim.x) {
        const int i = first + threadIdx.x;
        const bool set = i < n && flag(i);
        int total;
        const int rank = block_rank(set, scratch, total);
        if (set) each(i, before + rank);
        before += total;
    }
    return before;
}
