// Which nodes of the trees give the result, and how many components each; cpu/_selection.py is the twin.
#pragma once
#include "tree_order.cuh"

struct Selection {
    int* nodes;      // [n]
    int* counts;     // [n]
    wide* priority;  // [n]: mass of a node that can be opened, else -1
};

__device__ inline int held(const Tree& tree, int reference, int per_node) {
    return min(tree.count(reference), per_node);
}

// Writes the mass of every node, children before parents.
__device__ inline void find_masses(const real* weights, const int* order, const Tree& tree, const Levels& levels,
                                   const Range* list, wide* mass) {
    for (int level = levels.count - 1; level >= 0; --level) {
        const int begin = level > 0 ? levels.ends[level - 1] : 0;
        for (int t = begin + int(threadIdx.x); t < levels.ends[level]; t += blockDim.x) {
            const int v = list[t].node;
            wide sum = 0;
            for (int side = 0; side < 2; ++side) {
                const int c = tree.children[2 * v + side];
                sum += c >= 0 ? mass[c] : fabs(wide(weights[order[~c]]));
            }
            mass[v] = sum;
        }
        __syncthreads();
    }
}

// Selects every leaf, in the order of the input; `list` (N) is scratch, `of_warps` shared.
__device__ inline void keep_all(const real* weights, const int* order, int present, int N, Range* list,
                                const Selection& s, int* of_warps) {
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    int before = 0;
    for (int first = 0; first < N; first += blockDim.x) {
        const int i = first + int(threadIdx.x);
        const bool here = i < N && weights[i] != 0;
        const unsigned bits = __ballot_sync(ALL, here);
        if (lane == 0) of_warps[warp] = __popc(bits);
        __syncthreads();
        int own = before + __popc(bits & ((1u << lane) - 1));
        for (int w = 0; w < warps; ++w) {
            if (w < warp) own += of_warps[w];
            before += of_warps[w];
        }
        if (here) list[i].first = own;  // its rank
        __syncthreads();
    }
    for (int p = threadIdx.x; p < present; p += blockDim.x) {
        const int k = list[order[p]].first;
        s.nodes[k] = ~p;
        s.counts[k] = 1;
    }
    __syncthreads();
}

__device__ inline void select(const Tree& tree, const wide* mass, int per_node, int k, int reference, int count,
                              const Selection& s) {
    s.nodes[k] = reference;
    s.counts[k] = count;
    s.priority[k] = reference >= 0 && tree.leaves[reference] >= per_node ? mass[reference] : -1;
}

// Cuts the counts of two roots so that they sum to n: one each, the next to the larger mass per component.
__device__ inline void share_between_roots(const Tree& tree, const wide* mass, int per_node, int roots, int n, wide eps,
                                           const Selection& s) {
    for (int k = 0; k < roots; ++k) s.counts[k] = 1;
    for (int left = n - roots; left > 0; --left) {
        int best = -1;
        wide best_mass = -1;
        for (int k = 0; k < roots; ++k) {
            if (s.counts[k] >= held(tree, s.nodes[k], per_node)) continue;  // a leaf holds no more than it has
            const wide per_component = mass[s.nodes[k]] / s.counts[k];
            if (per_component > best_mass * (1 + 64 * eps)) best = k, best_mass = per_component;
        }
        if (best < 0) return;  // never
        ++s.counts[best];
    }
}

// The first of the heaviest among the selected nodes that can be opened; called by one warp, all lanes.
__device__ inline int heaviest(const wide* priority, int n_selected, wide eps) {
    wide most = 0;
    for (int k = threadIdx.x; k < n_selected; k += WARP) most = max(most, priority[k]);
    for (int half = WARP / 2; half > 0; half /= 2) most = max(most, __shfl_xor_sync(ALL, most, half));
    const wide bound = most * (1 - 64 * eps);
    int first = n_selected;
    for (int k = int(threadIdx.x); k < n_selected; k += WARP)
        if (priority[k] >= bound) {
            first = k;
            break;
        }
    for (int half = WARP / 2; half > 0; half /= 2) first = min(first, __shfl_xor_sync(ALL, first, half));
    return first < n_selected ? first : -1;
}

// From the roots downwards, the heaviest node is replaced by its left child and the right one appended, until n
// components are selected; returns how many nodes. Called by one warp.
__device__ inline int open_nodes(const Tree& tree, const wide* mass, int per_node, int roots, int n, wide eps,
                                 const Selection& s) {
    int count = 0, n_selected = roots;
    for (int k = 0; k < roots; ++k) count += s.counts[k];
    while (count < n) {
        __syncwarp();
        const int k = heaviest(s.priority, n_selected, eps);
        if (k < 0) break;  // never
        const int v = s.nodes[k], left = tree.children[2 * v], right = tree.children[2 * v + 1];
        const int of_left = held(tree, left, per_node), of_right = held(tree, right, per_node);
        const bool last = count + of_left + of_right - per_node > n;
        __syncwarp();
        if (threadIdx.x == 0) {
            if (last) {
                s.counts[k] = per_node + n - count;
            } else {
                select(tree, mass, per_node, k, left, of_left, s);
                select(tree, mass, per_node, n_selected, right, of_right, s);
            }
        }
        if (last) break;
        ++n_selected;
        count += of_left + of_right - per_node;
    }
    __syncwarp();
    return n_selected;
}

// Selects nodes that give `present` or n components, whichever is less; returns how many nodes, to warp 0 alone.
// Called by all threads. There are at least as many components to select as there are trees.
__device__ inline int select_nodes(const Tree& tree, const wide* mass, int positive, int present, int per_node, int n,
                                   wide eps, const Selection& s) {
    if (threadIdx.x >= WARP) return 0;
    int roots = 0;
    if (threadIdx.x == 0) {
        const int starts[3] = {0, positive, present};
        for (int t = 0; t < 2; ++t) {
            const int count = starts[t + 1] - starts[t], node = t == 0 ? 0 : max(positive - 1, 0);
            if (count == 0) continue;
            const int root = count > 1 ? node : ~starts[t];
            select(tree, mass, per_node, roots++, root, held(tree, root, per_node), s);
        }
        int sum = 0;
        for (int k = 0; k < roots; ++k) sum += s.counts[k];
        if (sum > n) share_between_roots(tree, mass, per_node, roots, n, eps, s);
    }
    __syncwarp();
    return open_nodes(tree, mass, per_node, (positive > 0) + (present > positive), n, eps, s);
}

// Writes offsets (n + 1) from the counts of the selected nodes, and 0 for the nodes that are not; called by one warp.
__device__ inline void finish_selection(const Selection& s, int n_selected, int n, int* offsets) {
    int before = 0;
    if (threadIdx.x == 0) offsets[0] = 0;
    for (int first = 0; first < n; first += WARP) {
        const int k = first + int(threadIdx.x);
        int sum = k < n_selected ? s.counts[k] : 0;
        for (int step = 1; step < WARP; step *= 2) {
            const int below = __shfl_up_sync(ALL, sum, step);
            if (int(threadIdx.x) >= step) sum += below;
        }
        if (k < n) offsets[k + 1] = before + sum;
        if (k >= n_selected && k < n) s.nodes[k] = 0;
        before += __shfl_sync(ALL, sum, WARP - 1);
    }
}
