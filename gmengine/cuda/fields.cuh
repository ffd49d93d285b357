// A component is 1 + K + K K numbers in three arrays. Kernels that move components as they are give every number a
// thread: a block holds LANES components, first the threads of their weights, then of their means, then of their
// covariances, so that consecutive threads touch consecutive numbers of an array and (LANES = 32) a warp those of
// one array alone.
#pragma once
#include "common.cuh"

constexpr int ENTRIES = 1 + K + K * K;
constexpr int FIELDS = 3;  // weights, means, covariances

__device__ constexpr int lanes_of_block() {
    int lanes = 32;
    while (lanes * ENTRIES > 1024) lanes /= 2;
    return lanes;
}
constexpr int LANES = lanes_of_block();  // _fields.py computes the same
static_assert(LANES > 0, "a component of more than 31 dimensions does not fit into a block");
constexpr int THREADS = (LANES * ENTRIES + 31) / 32 * 32;

__device__ constexpr int length_of(int field) { return field == 0 ? 1 : field == 1 ? K : K * K; }
__device__ constexpr int offset_of(int field) { return field == 0 ? 0 : field == 1 ? 1 : 1 + K; }
__device__ constexpr int transposed(int field, int entry) { return field == 2 ? entry % K * K + entry / K : entry; }

// Which number of which component of the block is the calling thread's.
struct Place {
    int lane, field, entry, length;
    bool inside;  // the last warp of a block may be longer than its components

    __device__ Place() {
        const int t = threadIdx.x;
        field = t < LANES ? 0 : t < LANES * (1 + K) ? 1 : 2;
        length = length_of(field);
        const int i = t - LANES * offset_of(field);
        lane = i / length;
        entry = i % length;
        inside = t < LANES * ENTRIES;
    }
    __device__ int row() const { return offset_of(field) + entry; }  // among the ENTRIES numbers of a component
    __device__ bool weight() const { return field == 0; }

    template <class T>
    __device__ T* of(T* weights, T* means, T* covs) const {
        return field == 0 ? weights : field == 1 ? means : covs;
    }
};
