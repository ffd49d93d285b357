// The Morton order of a mixture: unique keys (negative, Morton code, index), sorted. cpu/_morton_tree.py is the twin.
#pragma once
#include "tree.cuh"

using uint64 = unsigned long long;

constexpr int MORTON_BITS = 30;
constexpr int BITS = K <= 3 ? 10 : MORTON_BITS / K > 1 ? MORTON_BITS / K : 1;  // of an axis
constexpr int AXES = K < MORTON_BITS ? K : MORTON_BITS;
constexpr int CELLS = 1 << BITS;
constexpr uint64 NEGATIVE = 1ull << 63, NO_KEY = ~0ull;  // an absent component sorts last

// A coordinate that is a multiple of a cell's side must not fall into the cell below by rounding, hence the small push
// upwards.
__device__ inline uint64 morton_key(real weight, const real* mean, const Box& box, wide eps, int i) {
    int cell[AXES];
    for (int a = 0; a < AXES; ++a) {
        const wide extent = box.high[a] - box.low[a];
        const wide t = extent > 0 ? (wide(mean[a]) - box.low[a]) / extent : 0;
        cell[a] = int(min(max(floor(CELLS * t + CELLS * 64.0 * eps), 0.0), CELLS - 1.0));
    }
    unsigned code = 0;
    for (int b = BITS - 1; b >= 0; --b)
        for (int a = 0; a < AXES; ++a) code = code << 1 | (cell[a] >> b & 1);
    return (weight < 0 ? NEGATIVE : 0) | uint64(code) << 32 | unsigned(i);
}

// Sorts `size` keys, a power of two: bitonic. Pairs less than a warp's width apart stay within the 2 WARP keys that
// the same warp has handled before.
__device__ inline void sort_keys(uint64* keys, int size) {
    for (int64 width = 2; width <= size; width *= 2)
        for (int stride = int(width / 2); stride > 0; stride /= 2) {
            if (stride < WARP && width > 2)
                __syncwarp();
            else
                __syncthreads();
            for (int i = threadIdx.x; i < size / 2; i += blockDim.x) {
                const int low = 2 * i - (i & (stride - 1)), high = low + stride;
                const uint64 a = keys[low], b = keys[high];
                if ((a > b) == ((low & width) == 0)) keys[low] = b, keys[high] = a;
            }
        }
    __syncthreads();
}

// The number of sorted keys below `bound`.
__device__ inline int n_below(const uint64* keys, int size, uint64 bound) {
    int low = 0, high = size;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (keys[middle] < bound)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// A node whose children are still to be found: its leaves begin at `first`.
struct Range {
    int node, first;
};

// Writes the node of the sorted keys [r.first, r.first + leaves): parted at the highest bit in which they differ.
__device__ inline void split(const uint64* keys, Range r, int* children, int* leaves, Levels& levels, Range* list) {
    const int count = leaves[r.node];
    const uint64* own = keys + r.first;
    const uint64 bit = 1ull << (63 - __clzll(own[0] ^ own[count - 1]));
    int low = 1, high = count - 1;  // of the first key with the bit
    while (low < high) {
        const int middle = (low + high) / 2;
        if (own[middle] & bit)
            high = middle;
        else
            low = middle + 1;
    }
    const int right = count - low, at = r.first + low;
    children[2 * r.node] = low > 1 ? r.node + 1 : ~r.first;
    children[2 * r.node + 1] = right > 1 ? r.node + low : ~at;
    if (low > 1) {
        leaves[r.node + 1] = low;
        append(levels, list, Range{r.node + 1, r.first});
    }
    if (right > 1) {
        leaves[r.node + low] = right;
        append(levels, list, Range{r.node + low, at});
    }
}

// Writes a tree per sign, positive first, over `present` sorted keys, and the list of its nodes by level.
__device__ inline void build_trees(const uint64* keys, int positive, int present, int* children, int* leaves,
                                   Levels& levels, Range* list) {
    if (threadIdx.x == 0) {
        levels.filled = 0;
        for (int negative = 0; negative < 2; ++negative) {
            const int first = negative ? positive : 0, count = negative ? present - positive : positive;
            const int root = negative ? max(positive - 1, 0) : 0;
            if (count < 2) continue;
            leaves[root] = count;
            append(levels, list, Range{root, first});
        }
    }
    __syncthreads();
    fill_levels(levels, [&](int t) { split(keys, list[t], children, leaves, levels, list); });
}
