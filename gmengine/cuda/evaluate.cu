// Values of mixtures at points, and their gradients; cpu/evaluate.py derives them.
#include "pairs.cuh"

// One thread per component.
extern "C" __global__ void evaluate_prepare(const real* weights,  // [M N]
                                            const real* means,    // [M N, K]
                                            const real* covs,     // [M N, K, K]
                                            Row<1>* rows,         // [M N]
                                            wide* peaks,          // [M N]
                                            int64* first_fault, int M, int N) {
    const int64 i = thread_id();
    if (i >= int64(M) * N) return;
    clear(rows[i]);
    peaks[i] = 0;
    if (weights[i] == 0) return;
    report(first_fault, i, prepare(weights[i], means + i * K, covs + i * K * K, rows[i], peaks[i]));
    rows[i].amplitude[0] = real(weights[i] * peaks[i]);
}

// One thread per R points, BLOCK apart.
template <int R>
__device__ inline void forward(const Row<1>* rows, const real* points, real* values, int N, int P) {
    __shared__ Row<1> tile[TILE];
    const int tiles = (P + R * BLOCK - 1) / (R * BLOCK);
    const int64 m = blockIdx.x / tiles;
    const int first = blockIdx.x % tiles * (R * BLOCK) + threadIdx.x;
    real x[R][K];
    for (int r = 0; r < R; ++r) {
        const int i = min(first + r * BLOCK, P - 1);
        for (int k = 0; k < K; ++k) x[r][k] = points[(m * P + i) * K + k];
    }
    wide totals[1][R];
    pair_values<1, R>(rows + m * N, N, tile, x, totals);
    for (int r = 0; r < R; ++r) {
        const int i = first + r * BLOCK;
        if (i < P) values[m * P + i] = real(totals[0][r]);
    }
}

extern "C" __global__ __launch_bounds__(BLOCK) void evaluate_forward_1(const Row<1>* rows,  // [M, N]
                                                                       const real* points,  // [M, P, K]
                                                                       real* values,        // [M, P]
                                                                       int N, int P) {
    forward<1>(rows, points, values, N, P);
}

extern "C" __global__ __launch_bounds__(BLOCK) void evaluate_forward_4(const Row<1>* rows, const real* points,
                                                                       real* values, int N, int P) {
    forward<4>(rows, points, values, N, P);
}

// One thread per R points, BLOCK apart.
template <int R>
__device__ inline void vjp_points(const Row<1>* rows, const real* points, const real* g, real* g_points, int N, int P) {
    __shared__ Row<1> tile[TILE];
    const int tiles = (P + R * BLOCK - 1) / (R * BLOCK);
    const int64 m = blockIdx.x / tiles;
    const int first = blockIdx.x % tiles * (R * BLOCK) + threadIdx.x;
    Point<1> p[R];
    for (int r = 0; r < R; ++r) {
        const int64 i = m * P + min(first + r * BLOCK, P - 1);
        for (int k = 0; k < K; ++k) p[r].x[k] = points[i * K + k];
        p[r].g[0] = g[i];
    }
    wide totals[R][K];
    point_slopes<1, R>(rows + m * N, N, tile, p, totals);
    for (int r = 0; r < R; ++r) {
        const int i = first + r * BLOCK;
        if (i >= P) break;
        for (int k = 0; k < K; ++k) g_points[(m * P + i) * K + k] = real(-totals[r][k] * (1 / SCALE));
    }
}

extern "C" __global__ __launch_bounds__(BLOCK) void evaluate_vjp_points_1(const Row<1>* rows,  // [M, N]
                                                                          const real* points,  // [M, P, K]
                                                                          const real* g,       // [M, P]
                                                                          real* g_points,      // [M, P, K]
                                                                          int N, int P) {
    vjp_points<1>(rows, points, g, g_points, N, P);
}

extern "C" __global__ __launch_bounds__(BLOCK) void evaluate_vjp_points_2(const Row<1>* rows, const real* points,
                                                                          const real* g, real* g_points, int N, int P) {
    vjp_points<2>(rows, points, g, g_points, N, P);
}

// `width` components and one slice of the points per block.
extern "C" __global__ __launch_bounds__(BLOCK) void evaluate_vjp_components(const Row<1>* rows,  // [M, N]
                                                                            const real* points,  // [M, P, K]
                                                                            const real* g,       // [M, P]
                                                                            wide* moments,  // [slices, M N, MOMENTS]
                                                                            int M, int N, int P, int width, int slices) {
    __shared__ Point<1> tile[TILE];
    const Deal d = deal(N, P, width, slices);
    const int64 c = int64(d.m) * N + min(d.component, N - 1);
    const Row<1> row = rows[c];
    const auto load = [&](int i, Point<1>& p) {
        for (int k = 0; k < K; ++k) p.x[k] = points[(int64(d.m) * P + i) * K + k];
        p.g[0] = g[int64(d.m) * P + i];
    };
    wide totals[MOMENTS<1>];
    component_slopes<1>(row, d.lane, d.lanes, d.first, d.last, tile, load, totals);
    store_moments(totals, d, M, N, moments);
}

// One thread per component adds up the slices, in their order.
extern "C" __global__ void evaluate_finish(const real* weights,   // [M N]
                                           const Row<1>* rows,    // [M N]
                                           const wide* peaks,     // [M N]
                                           const wide* moments,   // [slices, M N, MOMENTS]
                                           real* g_weights,       // [M N]
                                           real* g_means,         // [M N, K]
                                           real* g_covs,          // [M N, K, K]
                                           int M, int N, int slices) {
    const int64 i = thread_id(), count = int64(M) * N;
    if (i >= count) return;
    wide sums[MOMENTS<1>] = {};
    const wide nothing[K] = {};
    if (weights[i] != 0)  // an absent component's moments are those of a constant
        for (int s = 0; s < slices; ++s)
            for (int q = 0; q < MOMENTS<1>; ++q) sums[q] += moments[(s * count + i) * MOMENTS<1> + q];
    g_weights[i] = real(peaks[i] * sums[0]);
    const wide h = wide(rows[i].amplitude[0]) * sums[0];
    write_component_gradient(rows[i], h, sums + 1, sums + 1 + K, nothing, g_means + i * K, g_covs + i * K * K);
}
