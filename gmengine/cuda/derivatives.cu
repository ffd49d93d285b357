// Gradients (order 1) and Hessians (order 2) of mixtures at points, and their gradients; cpu/derivatives.py derives
// them. With y = A d and q = A^T y = SCALE C^-1 d, a component's gradient and Hessian are -amplitude 2^(-y.y) q / SCALE
// and amplitude 2^(-y.y) (q q^T - SCALE A^T A) / SCALE^2. For K = 3 a pair takes 32 or 51 instructions, with slopes 50
// to 95, one of them an exponential: the loops over pairs are bound by FP32 (in float64 by FP64).
#include "derivatives.cuh"

// One thread per component.
template <int ORDER>
__device__ inline void prepare_row(const real* weights, const real* means, const real* covs, Row<EXTRA<ORDER>>* rows,
                                   wide* peaks, int64* first_fault, int M, int N) {
    const int64 i = thread_id();
    if (i >= int64(M) * N) return;
    clear(rows[i]);
    peaks[i] = 0;
    if (weights[i] == 0) return;
    report(first_fault, i, prepare(weights[i], means + i * K, covs + i * K * K, rows[i], peaks[i]));
    rows[i].amplitude[0] = real(weights[i] * peaks[i]);
    if constexpr (ORDER == 2) {
        real c[TRI];
        curvature(rows[i], c);
        for (int k = 0; k < TRI; ++k) rows[i].amplitude[1 + k] = c[k];
    }
}

extern "C" __global__ void derivatives_prepare_1(const real* weights,   // [M N]
                                                 const real* means,     // [M N, K]
                                                 const real* covs,      // [M N, K, K]
                                                 Row<EXTRA<1>>* rows,   // [M N]
                                                 wide* peaks,           // [M N]
                                                 int64* first_fault, int M, int N) {
    prepare_row<1>(weights, means, covs, rows, peaks, first_fault, M, N);
}

extern "C" __global__ void derivatives_prepare_2(const real* weights, const real* means, const real* covs,
                                                 Row<EXTRA<2>>* rows, wide* peaks, int64* first_fault, int M, int N) {
    prepare_row<2>(weights, means, covs, rows, peaks, first_fault, M, N);
}

// One thread per point: values as (M, P, K) or (M, P, K, K).
template <int ORDER>
__device__ inline void forward(const Row<EXTRA<ORDER>>* rows, const real* points, real* values, int N, int P) {
    __shared__ Row<EXTRA<ORDER>> tile[TILE];
    const int tiles = (P + BLOCK - 1) / BLOCK;
    const int64 m = blockIdx.x / tiles;
    const int i = blockIdx.x % tiles * BLOCK + threadIdx.x;
    const int64 mine = m * P + min(i, P - 1);
    real x[K];
    for (int k = 0; k < K; ++k) x[k] = points[mine * K + k];
    wide totals[FORM<ORDER>] = {};
    for (int first = 0; first < N; first += TILE) {
        const int count = min(TILE, N - first);
        __syncthreads();
        load_tile(rows + m * N + first, count, tile);
        __syncthreads();
        real sums[FORM<ORDER>] = {};
#pragma unroll 2
        for (int j = 0; j < count; ++j) {
            const Row<EXTRA<ORDER>> row = tile[j];
            real y[K], q[K];
            const real e = row.amplitude[0] * whiten_near(row, x, y);
            transposed(row, y, q);
#pragma unroll
            for (int k = 0; k < K; ++k) {
                if constexpr (ORDER == 1) {
                    sums[k] += e * q[k];
                } else {
                    const real eq = e * q[k];
#pragma unroll
                    for (int l = 0; l <= k; ++l)
                        sums[packed(k, l)] += eq * q[l] - e * row.amplitude[1 + packed(k, l)];
                }
            }
        }
        for (int t = 0; t < FORM<ORDER>; ++t) totals[t] += sums[t];
    }
    if (i >= P) return;
    for (int k = 0; k < K; ++k) {
        if constexpr (ORDER == 1)
            values[mine * K + k] = real(-totals[k] * (1 / SCALE));
        else
            for (int l = 0; l < K; ++l)
                values[(mine * K + k) * K + l] = real(totals[packed_symmetric(k, l)] * (1 / (SCALE * SCALE)));
    }
}

extern "C" __global__ __launch_bounds__(BLOCK) void derivatives_forward_1(const Row<EXTRA<1>>* rows,  // [M, N]
                                                                          const real* points,         // [M, P, K]
                                                                          real* values,               // [M, P, K]
                                                                          int N, int P) {
    forward<1>(rows, points, values, N, P);
}

extern "C" __global__ __launch_bounds__(BLOCK) void derivatives_forward_2(const Row<EXTRA<2>>* rows, const real* points,
                                                                          real* values,  // [M, P, K, K]
                                                                          int N, int P) {
    forward<2>(rows, points, values, N, P);
}

// One thread per point.
template <int ORDER>
__device__ inline void vjp_points(const Row<EXTRA<ORDER>>* rows, const real* points, const real* g, real* g_points,
                                  int N, int P) {
    __shared__ Row<EXTRA<ORDER>> tile[TILE];
    const int tiles = (P + BLOCK - 1) / BLOCK;
    const int64 m = blockIdx.x / tiles;
    const int i = blockIdx.x % tiles * BLOCK + threadIdx.x;
    const int64 mine = m * P + min(i, P - 1);
    Point<FORM<ORDER>> p;
    load_point<ORDER>(points, g, mine, p);
    wide totals[K] = {};
    for (int first = 0; first < N; first += TILE) {
        const int count = min(TILE, N - first);
        __syncthreads();
        load_tile(rows + m * N + first, count, tile);
        __syncthreads();
        real sums[K] = {};
#pragma unroll 2
        for (int j = 0; j < count; ++j) {
            const Row<EXTRA<ORDER>> row = tile[j];
            real y[K], u[K], v[K];
            const real e = row.amplitude[0] * whiten_near(row, p.x, y);
            const real psi = slope<ORDER>(row, p.g, y, u);
#pragma unroll
            for (int k = 0; k < K; ++k) u[k] = e * (psi * y[k] + u[k]);
            transposed(row, u, v);
#pragma unroll
            for (int k = 0; k < K; ++k) sums[k] += v[k];
        }
        for (int k = 0; k < K; ++k) totals[k] += sums[k];
    }
    if (i < P)
        for (int k = 0; k < K; ++k) g_points[mine * K + k] = real(-totals[k] * (1 / SCALE));
}

extern "C" __global__ __launch_bounds__(BLOCK) void derivatives_vjp_points_1(const Row<EXTRA<1>>* rows,  // [M, N]
                                                                             const real* points,         // [M, P, K]
                                                                             const real* g,              // [M, P, K]
                                                                             real* g_points,             // [M, P, K]
                                                                             int N, int P) {
    vjp_points<1>(rows, points, g, g_points, N, P);
}

extern "C" __global__ __launch_bounds__(BLOCK) void derivatives_vjp_points_2(const Row<EXTRA<2>>* rows,
                                                                             const real* points,
                                                                             const real* g,  // [M, P, K, K]
                                                                             real* g_points, int N, int P) {
    vjp_points<2>(rows, points, g, g_points, N, P);
}

// `width` components and one slice of the points per block.
template <int ORDER>
__device__ inline void vjp_components(const Row<EXTRA<ORDER>>* rows, const real* points, const real* g, wide* moments,
                                      int M, int N, int P, int width, int slices) {
    __shared__ Point<FORM<ORDER>> tile[TILE];
    const Deal d = deal(N, P, width, slices);
    const int64 component = int64(d.m) * N + min(d.component, N - 1);
    const Row<EXTRA<ORDER>> row = rows[component];
    wide totals[SUMS<ORDER>] = {};
    for (int start = d.first; start < d.last; start += TILE) {
        const int count = min(TILE, d.last - start);
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += BLOCK)
            load_point<ORDER>(points, g, int64(d.m) * P + start + i, tile[i]);
        __syncthreads();
        real sums[SUMS<ORDER>] = {};
        for (int i = d.lane; i < count; i += d.lanes) {
            const Point<FORM<ORDER>> p = tile[i];
            real y[K], u[K];
            const real e = whiten_near(row, p.x, y);
            const real psi = slope<ORDER>(row, p.g, y, u), ep = e * psi;
            sums[0] += ep;
#pragma unroll
            for (int k = 0; k < K; ++k) u[k] *= e;
#pragma unroll
            for (int k = 0; k < K; ++k) {
                const real v = ep * y[k] + u[k];
                sums[1 + k] += v;
#pragma unroll
                for (int l = 0; l <= k; ++l) {
                    sums[1 + K + packed(k, l)] += v * y[l] + y[k] * u[l];
                    if constexpr (ORDER == 2) sums[1 + K + TRI + packed(k, l)] += e * p.g[packed(k, l)];
                }
            }
        }
        for (int q = 0; q < SUMS<ORDER>; ++q) totals[q] += sums[q];
    }
    store_moments(totals, d, M, N, moments);
}

extern "C" __global__ __launch_bounds__(BLOCK) void derivatives_vjp_components_1(const Row<EXTRA<1>>* rows,  // [M, N]
                                                                                 const real* points,  // [M, P, K]
                                                                                 const real* g,       // [M, P, K]
                                                                                 wide* moments,  // [slices, M N, SUMS]
                                                                                 int M, int N, int P, int width,
                                                                                 int slices) {
    vjp_components<1>(rows, points, g, moments, M, N, P, width, slices);
}

extern "C" __global__ __launch_bounds__(BLOCK) void derivatives_vjp_components_2(const Row<EXTRA<2>>* rows,
                                                                                 const real* points,
                                                                                 const real* g,  // [M, P, K, K]
                                                                                 wide* moments, int M, int N, int P,
                                                                                 int width, int slices) {
    vjp_components<2>(rows, points, g, moments, M, N, P, width, slices);
}

// One thread per component adds up the slices, in their order.
template <int ORDER>
__device__ inline void finish(const real* weights, const Row<EXTRA<ORDER>>* rows, const wide* peaks,
                              const wide* moments, real* g_weights, real* g_means, real* g_covs, int M, int N,
                              int slices) {
    const int64 i = thread_id(), count = int64(M) * N;
    if (i >= count) return;
    wide sums[SUMS<ORDER>] = {};
    const wide nothing[K] = {}, amplitude = wide(weights[i]) * peaks[i];
    if (weights[i] != 0)  // an absent component's moments are those of a constant
        for (int s = 0; s < slices; ++s)
            for (int q = 0; q < SUMS<ORDER>; ++q) sums[q] += moments[(s * count + i) * SUMS<ORDER> + q];
    g_weights[i] = real(peaks[i] * sums[0]);
    for (int q = 0; q < SUMS<ORDER>; ++q) sums[q] *= amplitude;
    if constexpr (ORDER == 2) add_sandwich(rows[i], sums + 1 + K + TRI, 2 * SCALE * SCALE, sums + 1 + K);
    write_component_gradient(rows[i], sums[0], sums + 1, sums + 1 + K, nothing, g_means + i * K, g_covs + i * K * K);
}

extern "C" __global__ void derivatives_finish_1(const real* weights,        // [M N]
                                                const Row<EXTRA<1>>* rows,  // [M N]
                                                const wide* peaks,          // [M N]
                                                const wide* moments,        // [slices, M N, SUMS]
                                                real* g_weights,            // [M N]
                                                real* g_means,              // [M N, K]
                                                real* g_covs,               // [M N, K, K]
                                                int M, int N, int slices) {
    finish<1>(weights, rows, peaks, moments, g_weights, g_means, g_covs, M, N, slices);
}

extern "C" __global__ void derivatives_finish_2(const real* weights, const Row<EXTRA<2>>* rows, const wide* peaks,
                                                const wide* moments, real* g_weights, real* g_means, real* g_covs,
                                                int M, int N, int slices) {
    finish<2>(weights, rows, peaks, moments, g_weights, g_means, g_covs, M, N, slices);
}
