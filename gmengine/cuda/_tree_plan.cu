// The plan of TreeHEM but for what EM decides, one block per mixture: order, trees, selected nodes. All of it is bound
// by latency: the sort by that of shared memory, log2(N)^2 / 2 steps; the trees and the selection by that of the
// first-level cache, one step per level and per opened node. Many mixtures hide each other's.
#include "tree_selection.cuh"

constexpr int BLOCK = 128;

// A mixture that is refused gets a plan that keeps nothing.
extern "C" __global__ __launch_bounds__(BLOCK) void tree_plan(const real* all_weights,  // [M, N]
                                                              const real* all_means,    // [M, N, K]
                                                              const real* all_covs,     // [M, N, K, K]
                                                              int* all_order,           // [M, N]
                                                              int* positives,           // [M]
                                                              int* all_children,        // [M, N - 1, 2]: zeros
                                                              int* all_leaves,          // [M, N - 1]: zeros
                                                              int* all_selected,        // [M, n]
                                                              int* all_offsets,         // [M, n + 1]
                                                              uint64* all_keys,  // [blocks, size] unless in_shared
                                                              Range* lists,      // [blocks, N]
                                                              int* counts,       // [blocks, n]
                                                              wide* masses,      // [blocks, N]
                                                              wide* priorities,  // [blocks, n]
                                                              int64* first_fault, int start, int N, int n, int size,
                                                              int per_node, int in_shared, wide eps) {
    GM_SHARED(uint64, shared_keys);
    __shared__ Board board;
    const int64 b = blockIdx.x, m = start + b;
    const real *weights = all_weights + m * N, *means = all_means + m * N * K, *covs = all_covs + m * N * K * K;
    int *order = all_order + m * N, *children = all_children + m * (N - 1) * 2, *leaves = all_leaves + m * (N - 1);
    int* offsets = all_offsets + m * (n + 1);
    uint64* keys = in_shared ? shared_keys : all_keys + b * size;
    Range* list = lists + b * N;
    const Tree tree{children, leaves};
    const Selection selection{all_selected + m * n, counts + b * n, priorities + b * n};

    const bool faulty = report_components(weights, means, covs, m, N, first_fault);
    const Box box = bounding_box(weights, means, N, board);
    for (int i = threadIdx.x; i < size; i += BLOCK)
        keys[i] = i < N && weights[i] != 0 && !faulty
                      ? morton_key(weights[i], means + int64(i) * K, box, eps, i)
                      : NO_KEY;
    sort_keys(keys, size);
    const int positive = n_below(keys, size, NEGATIVE), found = n_below(keys, size, NO_KEY);
    const bool two_signs = n < (positive > 0) + (found > positive) && found > n;
    const int present = two_signs ? 0 : found;
    for (int p = threadIdx.x; p < N; p += BLOCK) order[p] = p < present ? int(keys[p] & 0xffffffffu) : -1;
    if (threadIdx.x == 0) {
        positives[m] = min(positive, present);
        if (two_signs) report_tree(first_fault, m, 1, -1, N, TWO_SIGNS);
    }
    build_trees(keys, min(positive, present), present, children, leaves, board.levels, list);

    int n_selected = present;
    if (present <= n) {
        keep_all(weights, order, present, N, list, selection, board.counts);
    } else {
        find_masses(weights, order, tree, board.levels, list, masses + b * N);
        n_selected = select_nodes(tree, masses + b * N, positive, present, per_node, n, eps, selection);
    }
    if (threadIdx.x < WARP) finish_selection(selection, n_selected, n, offsets);
}

// Refuses mixtures that the plan is not for, or that are no Gaussians.
extern "C" __global__ __launch_bounds__(BLOCK) void tree_check(const real* all_weights,  // [M, N]
                                                               const real* means,        // [M, N, K]
                                                               const real* covs,         // [M, N, K, K]
                                                               const int* all_order,     // [M, N]
                                                               const int* positives,     // [M]
                                                               int64* first_fault, int N) {
    __shared__ int first_stranger, n_present;
    const int64 m = blockIdx.x;
    const real* weights = all_weights + m * N;
    const int* order = all_order + m * N;
    report_components(weights, means + m * N * K, covs + m * N * K * K, m, N, first_fault);
    if (threadIdx.x == 0) first_stranger = N, n_present = 0;
    __syncthreads();
    int own = 0;
    for (int p = threadIdx.x; p < N; p += BLOCK) {
        own += weights[p] != 0;
        const int i = order[p];
        if (i < 0 || weights[i] == 0 || (weights[i] > 0) != (p < positives[m])) atomicMin(&first_stranger, p);
    }
    atomicAdd(&n_present, own);
    __syncthreads();
    if (threadIdx.x != 0) return;
    const int p = first_stranger, i = p < N ? order[p] : 0;
    if (p < N && i >= 0)
        report_tree(first_fault, m, 1, i, N, OTHER_SIGN);
    else if (n_present != p)  // all leaves are sound: as many as there are components?
        report_tree(first_fault, m, 1, -1, N, OTHER_SIGN);
}
