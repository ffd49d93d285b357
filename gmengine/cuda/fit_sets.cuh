// One set of a ragged batch of weighted points, and sums that the threads of its block take together. Whole sets belong
// to a block: no step waits for another block or for the host.
#pragma once
#include "em_blocks.cuh"

constexpr int BLOCK = 128, WARPS = BLOCK / 32;  // not chosen by size: bits of a set do not depend on the other sets

// The points of positive mass of a set in its frame: count of them, axis by axis, and their shares of the mass.
struct Set {
    int64 begin;        // where the set begins among the points of the batch
    int count, stride;  // points of positive mass; numbers from one axis to the next
    const real* x;
    const wide* share;
    __device__ real at(int k, int i) const { return x[int64(k) * stride + i]; }
    __device__ void read(int i, real (&point)[K]) const {
#pragma unroll
        for (int k = 0; k < K; ++k) point[k] = at(k, i);
    }
};

// What `fit_gather` has made of set number blockIdx.x.
__device__ inline Set set_of_block(const real* all_x, const wide* all_share, const int64* offsets, const int* counts) {
    const int64 begin = offsets[blockIdx.x];
    return {begin, counts[blockIdx.x], int(offsets[blockIdx.x + 1] - begin), all_x + begin * K, all_share + begin};
}

// The thread's part of the work of warps, each of which takes what it does by itself.
__device__ inline int lane_id() { return threadIdx.x % 32; }
__device__ inline int warp_id() { return threadIdx.x / 32; }

// Sums over a warp, the same bits for each of its threads.
template <int COUNT>
__device__ inline void warp_totals(wide (&values)[COUNT]) {
#pragma unroll
    for (int c = 0; c < COUNT; ++c)
#pragma unroll
        for (int step = 16; step > 0; step /= 2) values[c] += __shfl_xor_sync(~0u, values[c], step);
}

// Sums over a block, the same bits for each of its threads. Every thread of the block must call it.
template <int COUNT>
__device__ inline void block_totals(wide (&values)[COUNT], wide* scratch) {  // scratch: COUNT * WARPS numbers
    warp_totals(values);
    __syncthreads();
    if (lane_id() == 0)
        for (int c = 0; c < COUNT; ++c) scratch[c * WARPS + warp_id()] = values[c];
    __syncthreads();
    for (int c = 0; c < COUNT; ++c) {
        values[c] = 0;
        for (int w = 0; w < WARPS; ++w) values[c] += scratch[c * WARPS + w];
    }
}

// How many records of so many bytes a block keeps in shared memory: a power of two, 16 kB at most if it can be.
__device__ constexpr int records_in_shared(int bytes) {
    int length = 128;
    while (length > 1 && length * bytes > 16384) length /= 2;
    return length;
}
