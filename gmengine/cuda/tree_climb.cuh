// From the leaves to the selected nodes: every node under a selected one is fitted, level by level, deepest first.
// cpu/_tree_climb.py is the twin.
#pragma once
#include "tree_fit.cuh"

// A node to be fitted: its leaves begin at `first`.
struct Task {
    int node, first, outputs;
};

struct Choices {
    unsigned char* representatives;  // [N - 1, IN]
    unsigned* masks;                 // [N - 1, IN]
};

struct Selected {
    const int* nodes;    // [n]
    const int* offsets;  // [n + 1]
    int n;
    // The number of the node that gives component t.
    __device__ int of(int t) const {
        int low = 0, high = n;
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            if (offsets[middle] <= t)
                low = middle;
            else
                high = middle;
        }
        return low;
    }
    __device__ int count(int k) const { return offsets[k + 1] - offsets[k]; }
};

// Where components are kept. A leaf has one row. What is fitted to a node lies in the rows of its first leaves, instead
// of them, or, if its slots will be needed again, in T rows of its own.
struct Rows {
    wide* leaves;  // [N, ROW]
    wide* nodes;   // [N - 1, T, ROW], or null
    __device__ wide* of(const Tree& tree, int reference, int first, int at) const {
        const bool own = nodes != nullptr && tree.count(reference) > T;
        return own ? nodes + (int64(reference) * T + at) * ROW : leaves + int64(first + at) * ROW;
    }
};

// This lane's slot of a node: component `at` of what the child `reference`, whose leaves begin at `first`, holds.
struct Place {
    int n_in, reference, first, at;
};

__device__ inline Place place(const Tree& tree, const Task& task, int lane) {
    const int left = tree.children[2 * task.node], right = tree.children[2 * task.node + 1];
    const int leaves = tree.count(left), of_left = min(leaves, T), of_right = min(tree.count(right), T);
    if (lane < of_left) return {of_left + of_right, left, task.first, lane};
    return {of_left + of_right, right, task.first + leaves, lane - of_left};
}

// Fills the leaves' rows: |w|, the mean from the centre of the box, C.
__device__ inline void write_leaves(const real* weights, const real* means, const real* covs, const int* order, int N,
                                    const Box& box, wide* rows) {
    for (int p = threadIdx.x; p < N; p += blockDim.x) {
        const int64 i = order[p];
        if (i < 0) continue;
        wide* row = rows + int64(p) * ROW;
        wide c[TRI];
        row[W] = fabs(wide(weights[i]));
        for (int k = 0; k < K; ++k) row[MU + k] = wide(means[i * K + k]) - box.centre(k);
        read_symmetric(covs + i * K * K, c);
        for (int k = 0; k < TRI; ++k) row[COV + k] = c[k];
    }
}

// Lists the nodes that are fitted, level by level from the selected ones down: those with more than T leaves, and
// selected ones that give fewer than they have.
__device__ inline void list_tasks(const Tree& tree, const Selected& selected, Levels& levels, Task* list) {
    if (threadIdx.x == 0) levels.filled = 0;
    __syncthreads();
    for (int k = threadIdx.x; k < selected.n; k += blockDim.x) {
        const int v = selected.nodes[k], count = selected.count(k);
        if (count > 0 && v >= 0 && tree.leaves[v] != count) append(levels, list, Task{v, tree.first(v), count});
    }
    __syncthreads();
    fill_levels(levels, [&](int t) {
        int first = list[t].first;
        for (int side = 0; side < 2; ++side) {
            const int c = tree.children[2 * list[t].node + side];
            if (tree.count(c) > T) append(levels, list, Task{c, first, T});
            first += tree.count(c);
        }
    });
}

// Calls work(task, place, lane, area) for the tasks of a level, LANES lanes for each; where there is no task, n_in and
// outputs are 0. `areas` are the block's.
template <class Work>
__device__ inline void for_level(const Tree& tree, const Levels& levels, int level, const Task* list, wide* areas,
                                 int area, Work work) {
    const int groups = blockDim.x / LANES, group = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const int begin = level > 0 ? levels.ends[level - 1] : 0, end = levels.ends[level];
    const int of_warp = threadIdx.x / WARP * (WARP / LANES);  // its first group
    for (int base = begin; base + of_warp < end; base += groups) {
        const bool active = base + group < end;
        const Task task = active ? list[base + group] : Task{0, 0, 0};
        work(task, active ? place(tree, task, lane) : Place{0, -1, 0, 0}, lane, areas + int64(group) * area);
        __syncwarp();
    }
    __syncthreads();
}

// Stages the slots of a node and finds their shares; with `DECIDES`, first chooses representatives and masks.
template <bool DECIDES>
__device__ inline Fit share_out(const Task& task, const Place& p, int lane, const wide* row, wide* area,
                                const Choices& choices, wide extent, wide eps) {
    const int64 of_node = int64(task.node) * IN;
    Fit fit;
    fit.slots = area;
    fit.shares = area + IN * STAGED;
    fit.representatives = choices.representatives + of_node;
    fit.n_in = p.n_in;
    fit.n_out = task.outputs;
    fit.lane = lane;
    const bool mine = lane < p.n_in;
    if (mine) stage(row, fit.slots + lane * STAGED);
    __syncwarp();
    if (DECIDES) {
        choose_representatives(fit, extent, eps, choices.representatives + of_node);
        __syncwarp();
    }
    if (mine) {
        fit.mask = DECIDES ? (1u << fit.n_out) - 1 : choices.masks[of_node + lane];
        find_energies(fit);
        if (DECIDES) choices.masks[of_node + lane] = fit.mask = choose_mask(fit, eps);
        expect(fit);
    }
    __syncwarp();
    return fit;
}

// Fits the nodes of all levels from `top` down, deepest first.
template <bool DECIDES>
__device__ inline void climb(const Tree& tree, const Levels& levels, int top, const Task* list, const Rows& rows,
                             const Choices& choices, wide extent, wide eps, wide* areas, int area) {
    for (int level = levels.count - 1; level >= top; --level)
        for_level(tree, levels, level, list, areas, area, [&](const Task& task, const Place& p, int lane, wide* own) {
            const wide* row = rows.of(tree, p.reference, p.first, p.at);
            const Fit fit = share_out<DECIDES>(task, p, lane, row, own, choices, extent, eps);
            if (lane >= fit.n_out) return;
            wide fitted[ROW];
            maximise(fit, lane, fitted);
            wide* to = rows.of(tree, task.node, task.first, lane);
            for (int c = 0; c < ROW; ++c) to[c] = fitted[c];
        });
}
