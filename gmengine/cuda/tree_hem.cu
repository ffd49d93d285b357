// TreeHEM for a plan that is known, or known but for what EM decides; and its gradients. One block per mixture; T is
// GM_PER_NODE. The work is a chain of small fits in double, a few hundred FP64 operations and some logarithms per slot:
// bound by FP64 where a level has many nodes, by latency near the selected ones, which many mixtures hide.
#include "tree_slopes.cuh"

constexpr int MOST_THREADS = WARP * MOST_WARPS;

// Where the groups of a block stage their slots: in shared memory, unless GM_STAGED says that it is too small.
__device__ inline wide* areas_of_block(wide* staging, int area) {
    GM_SHARED(wide, shared);
    return GM_STAGED ? staging + int64(blockIdx.x) * (blockDim.x / LANES) * area : shared;
}

// Writes the components of the result: leaves bit for bit, fits with none underflowing to an absent one, then padding.
__device__ inline void write_result(const real* weights, const real* means, const real* covs, const int* order,
                                    int positive, const Tree& tree, const Selected& selected, const wide* rows,
                                    const Box& box, wide tiny, real* out_weights, real* out_means, real* out_covs) {
    const int present = selected.offsets[selected.n];
    for (int t = threadIdx.x; t < selected.n; t += blockDim.x) {
        real *mean = out_means + int64(t) * K, *cov = out_covs + int64(t) * K * K;
        if (t >= present) {
            out_weights[t] = 0;
            for (int k = 0; k < K; ++k) mean[k] = 0;
            for (int k = 0; k < K * K; ++k) cov[k] = k % (K + 1) == 0;
            continue;
        }
        const int k = selected.of(t), v = selected.nodes[k];
        const int first = tree.first(v), p = first + t - selected.offsets[k];
        if (tree.count(v) == selected.count(k)) {
            const int64 i = order[p];
            out_weights[t] = weights[i];
            for (int a = 0; a < K; ++a) mean[a] = means[i * K + a];
            for (int a = 0; a < K * K; ++a) cov[a] = covs[i * K * K + a];
            continue;
        }
        const wide* row = rows + int64(p) * ROW;
        wide c[TRI];
        out_weights[t] = real((first < positive ? 1 : -1) * max(row[W], tiny));
        for (int a = 0; a < K; ++a) mean[a] = real(row[MU + a] + box.centre(a));
        for (int a = 0; a < TRI; ++a) c[a] = row[COV + a];
        write_symmetric(cov, c);
    }
}

struct Mixtures {
    const real *weights, *means, *covs;
    int N;
    __device__ Mixtures of(int64 m) const { return {weights + m * N, means + m * N * K, covs + m * N * K * K, N}; }
};

struct Plan {
    const int *order, *positive, *children, *leaves, *selected, *offsets;
    Choices choices;
    int n;
    __device__ Plan of(int64 m, int N) const {
        const int64 inner = m * (N - 1);
        return {order + m * N, positive + m,           children + 2 * inner,
                leaves + inner, selected + m * n,      offsets + m * (n + 1),
                {choices.representatives + inner * IN, choices.masks + inner * IN},
                n};
    }
    __device__ Tree tree() const { return {children, leaves}; }
    __device__ Selected nodes() const { return {selected, offsets, n}; }
};

template <bool DECIDES>
__device__ inline void reduce(const Mixtures& all, const Plan& plans, wide* all_rows, Task* lists, wide* staging,
                              real* out_weights, real* out_means, real* out_covs, int start, wide eps, wide tiny,
                              Board& board) {
    const int64 m = start + int64(blockIdx.x), N = all.N, n = plans.n;
    const Mixtures mix = all.of(m);
    const Plan plan = plans.of(m, all.N);
    wide* rows = all_rows + int64(blockIdx.x) * N * ROW;
    Task* list = lists + int64(blockIdx.x) * N;
    const Box box = bounding_box(mix.weights, mix.means, mix.N, board);
    write_leaves(mix.weights, mix.means, mix.covs, plan.order, mix.N, box, rows);
    list_tasks(plan.tree(), plan.nodes(), board.levels, list);
    climb<DECIDES>(plan.tree(), board.levels, 0, list, {rows, nullptr}, plan.choices, box.side, eps,
                   areas_of_block(staging, FIT_AREA), FIT_AREA);
    write_result(mix.weights, mix.means, mix.covs, plan.order, *plan.positive, plan.tree(), plan.nodes(), rows, box,
                 tiny, out_weights + m * n, out_means + m * n * K, out_covs + m * n * K * K);
}

// Fits with representatives and masks that it chooses and writes.
extern "C" __global__ __launch_bounds__(MOST_THREADS) void tree_hem_decide(
    const real* weights,             // [M, N]
    const real* means,               // [M, N, K]
    const real* covs,                // [M, N, K, K]
    const int* order,                // [M, N]
    const int* positive,             // [M]
    const int* children,             // [M, N - 1, 2]
    const int* leaves,               // [M, N - 1]
    const int* selected,             // [M, n]
    const int* offsets,              // [M, n + 1]
    unsigned char* representatives,  // [M, N - 1, 2 T]: zeros; written
    unsigned* masks,                 // [M, N - 1, 2 T]: zeros; written
    wide* rows,                      // [blocks, N, ROW]
    Task* list,                      // [blocks, N]
    wide* staging,                   // [blocks, groups, FIT_AREA] if GM_STAGED
    real* out_weights,               // [M, n]
    real* out_means,                 // [M, n, K]
    real* out_covs,                  // [M, n, K, K]
    int start, int N, int n, wide eps, wide tiny) {
    __shared__ Board board;
    reduce<true>({weights, means, covs, N},
                 {order, positive, children, leaves, selected, offsets, {representatives, masks}, n}, rows, list,
                 staging, out_weights, out_means, out_covs, start, eps, tiny, board);
}

// Fits with representatives and masks that are given; otherwise as tree_hem_decide.
extern "C" __global__ __launch_bounds__(MOST_THREADS) void tree_hem_forward(
    const real* weights, const real* means, const real* covs, const int* order, const int* positive,
    const int* children, const int* leaves, const int* selected, const int* offsets, unsigned char* representatives,
    unsigned* masks, wide* rows, Task* list, wide* staging, real* out_weights, real* out_means, real* out_covs,
    int start, int N, int n, wide eps, wide tiny) {
    __shared__ Board board;
    reduce<false>({weights, means, covs, N},
                  {order, positive, children, leaves, selected, offsets, {representatives, masks}, n}, rows, list,
                  staging, out_weights, out_means, out_covs, start, eps, tiny, board);
}

// Writes the cotangents of the result to the rows of the selected nodes, symmetrised and for |w| instead of w.
__device__ inline void load_cotangents(const Tree& tree, const Selected& selected, int positive, const real* g_weights,
                                       const real* g_means, const real* g_covs, wide* gradients) {
    for (int t = threadIdx.x; t < selected.offsets[selected.n]; t += blockDim.x) {
        const int k = selected.of(t), first = tree.first(selected.nodes[k]);
        wide* row = gradients + int64(first + t - selected.offsets[k]) * ROW;
        wide c[TRI];
        row[W] = (first < positive ? 1 : -1) * wide(g_weights[t]);
        for (int a = 0; a < K; ++a) row[MU + a] = g_means[int64(t) * K + a];
        read_symmetric(g_covs + int64(t) * K * K, c);
        for (int a = 0; a < TRI; ++a) row[COV + a] = c[a];
    }
    __syncthreads();
}

extern "C" __global__ __launch_bounds__(MOST_THREADS) void tree_hem_vjp(
    const real* weights,             // [M, N]
    const real* means,               // [M, N, K]
    const real* covs,                // [M, N, K, K]
    const int* order,                // [M, N]
    const int* positive,             // [M]
    const int* children,             // [M, N - 1, 2]
    const int* leaves,               // [M, N - 1]
    const int* selected,             // [M, n]
    const int* offsets,              // [M, n + 1]
    unsigned char* representatives,  // [M, N - 1, 2 T]
    unsigned* masks,                 // [M, N - 1, 2 T]
    wide* all_rows,                  // [blocks, N, ROW]
    wide* all_nodes,                 // [blocks, N - 1, T, ROW]
    wide* all_gradients,             // [blocks, N, ROW]
    Task* lists,                     // [blocks, N]
    wide* staging,                   // [blocks, groups, SLOPES_AREA] if GM_STAGED
    const real* g_weights,           // [M, n]: cotangents of the result
    const real* g_means,             // [M, n, K]
    const real* g_covs,              // [M, n, K, K]
    real* grad_weights,              // [M, N]: zeros; written for present components
    real* grad_means,                // [M, N, K]
    real* grad_covs,                 // [M, N, K, K]
    int start, int N, int n) {
    __shared__ Board board;
    const int64 b = blockIdx.x, m = start + b;
    const Mixtures mix = Mixtures{weights, means, covs, N}.of(m);
    const Plan plan =
        Plan{order, positive, children, leaves, selected, offsets, {representatives, masks}, n}.of(m, N);
    const Tree tree = plan.tree();
    const Rows rows{all_rows + b * N * ROW, all_nodes + b * (N - 1) * T * ROW};
    wide* gradients = all_gradients + b * N * ROW;
    Task* list = lists + b * N;
    wide* areas = areas_of_block(staging, SLOPES_AREA);
    const Box box = bounding_box(mix.weights, mix.means, N, board);
    write_leaves(mix.weights, mix.means, mix.covs, plan.order, N, box, rows.leaves);
    list_tasks(tree, plan.nodes(), board.levels, list);
    climb<false>(tree, board.levels, 1, list, rows, plan.choices, 0, 0, areas, SLOPES_AREA);
    load_cotangents(tree, plan.nodes(), *plan.positive, g_weights + m * n, g_means + m * n * K, g_covs + m * n * K * K,
                    gradients);
    descend(tree, board.levels, list, rows, plan.choices, gradients, areas);
    for (int p = threadIdx.x; p < N; p += blockDim.x) {
        if (plan.order[p] < 0) continue;
        const int64 i = m * N + plan.order[p];
        const wide* row = gradients + int64(p) * ROW;
        wide c[TRI];
        grad_weights[i] = real(p < *plan.positive ? row[W] : -row[W]);
        for (int a = 0; a < K; ++a) grad_means[i * K + a] = real(row[MU + a]);
        for (int a = 0; a < TRI; ++a) c[a] = row[COV + a];
        write_symmetric(grad_covs + i * K * K, c);
    }
}
