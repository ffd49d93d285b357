// The dense fit of a rectified mixture, and its gradients; cpu/relu.py derives them. Both evaluations, of the weights
// (amplitude 0) and of their coarse fit (amplitude 1), share every exponential.
#include "pairs.cuh"

struct Epsilons {
    wide e1, e2, e3;
};

// R = (b + e2) / (u + e3), the factor of a coarse weight, and the denominator.
__device__ inline wide fit_ratio(wide v, wide u, wide bias, wide e2, wide e3, wide& denominator) {
    const wide rectified = max(v + bias, 0.0) - max(bias, 0.0);
    denominator = u + e3;
    // Without epsilons u may be 0: then the coarse weight is 0 too, and stays so.
    return denominator > 0 ? (rectified + e2) / denominator : 0;
}

// One block per mixture.
extern "C" __global__ __launch_bounds__(BLOCK) void relu_prepare(const real* weights,  // [M, N]
                                                                 const real* means,    // [M, N, K]
                                                                 const real* covs,     // [M, N, K, K]
                                                                 const real* biases,   // [M]
                                                                 Row<2>* rows,         // [M, N]
                                                                 wide* peaks,          // [M, N]: N(mu; mu, C)
                                                                 wide* coarse,         // [M, N]: x0
                                                                 wide* scalars,        // [M, 3]: share of a component in a mean, e2, e3
                                                                 int64* first_fault, int N, wide e1, wide e2, wide e3,
                                                                 int relative) {
    __shared__ wide scratch[BLOCK];
    const int64 m = blockIdx.x, base = m * N;
    const wide bias = biases[m];
    wide sums[3] = {};  // components present, |w|, |w| N(mu; mu, C)
    for (int j = threadIdx.x; j < N; j += BLOCK) {
        const int64 i = base + j;
        clear(rows[i]);
        peaks[i] = 0;
        if (weights[i] == 0) continue;
        report(first_fault, i, prepare(weights[i], means + i * K, covs + i * K * K, rows[i], peaks[i]));
        const wide size = fabs(wide(weights[i]));
        sums[0] += 1;
        sums[1] += size;
        sums[2] += size * peaks[i];
    }
    block_sums(sums, scratch);
    const wide share = 1 / max(sums[0], 1.0);
    const wide of_weights = relative ? share * sums[1] : 1;
    const wide of_values = relative ? share * sums[2] : 1;
    for (int j = threadIdx.x; j < N; j += BLOCK) {
        const int64 i = base + j;
        coarse[i] = 0;
        const wide w = weights[i];
        if (w == 0) continue;
        coarse[i] = fabs(w + bias > 0 ? w : -max(bias, 0.0)) + e1 * of_weights;
        rows[i].amplitude[0] = real(w * peaks[i]);
        rows[i].amplitude[1] = real(coarse[i] * peaks[i]);
        if (!is_finite(rows[i].amplitude[1])) report(first_fault, i, OVERFLOW_OF_DTYPE);
    }
    if (threadIdx.x == 0) {
        scalars[3 * m] = share;
        scalars[3 * m + 1] = e2 * of_values;
        scalars[3 * m + 2] = e3 * of_values;
    }
}

// One thread per R centres, BLOCK apart.
template <int R>
__device__ inline void forward(const Row<2>* rows, const wide* coarse, const real* biases, const wide* scalars, real* out,
                               real* v, real* u, int N) {
    __shared__ Row<2> tile[TILE];
    const int tiles = (N + R * BLOCK - 1) / (R * BLOCK);
    const int64 m = blockIdx.x / tiles, base = m * N;
    const int first = blockIdx.x % tiles * (R * BLOCK) + threadIdx.x;
    real x[R][K];
    for (int r = 0; r < R; ++r)
        for (int k = 0; k < K; ++k) x[r][k] = rows[base + min(first + r * BLOCK, N - 1)].mean[k];
    wide totals[2][R];
    pair_values<2, R>(rows + base, N, tile, x, totals);
    for (int r = 0; r < R; ++r) {
        if (first + r * BLOCK >= N) break;
        const int64 i = base + first + r * BLOCK;
        wide denominator;
        v[i] = real(totals[0][r]);
        u[i] = real(totals[1][r]);
        out[i] = real(coarse[i] * fit_ratio(v[i], u[i], biases[m], scalars[3 * m + 1], scalars[3 * m + 2], denominator));
    }
}

extern "C" __global__ __launch_bounds__(BLOCK) void relu_forward_1(const Row<2>* rows,    // [M, N]
                                                                   const wide* coarse,    // [M, N]
                                                                   const real* biases,    // [M]
                                                                   const wide* scalars,   // [M, 3]
                                                                   real* out,             // [M, N]: new weights
                                                                   real* v, real* u,      // [M, N]: the evaluations
                                                                   int N) {
    forward<1>(rows, coarse, biases, scalars, out, v, u, N);
}

extern "C" __global__ __launch_bounds__(BLOCK) void relu_forward_4(const Row<2>* rows, const wide* coarse,
                                                                   const real* biases, const wide* scalars, real* out,
                                                                   real* v, real* u, int N) {
    forward<4>(rows, coarse, biases, scalars, out, v, u, N);
}

// One block per mixture: the cotangents of v and u at every centre, the direct part of that of x0, and the sums of
// those of bias, e2 and e3.
extern "C" __global__ __launch_bounds__(BLOCK) void relu_vjp_centres(const real* weights,      // [M, N]
                                                                     const Row<2>* rows,       // [M, N]
                                                                     const wide* coarse,       // [M, N]
                                                                     const real* biases,       // [M]
                                                                     const wide* scalars,      // [M, 3]
                                                                     const real* v,            // [M, N]
                                                                     const real* u,            // [M, N]
                                                                     const real* g,            // [M, N]
                                                                     Point<2>* points,         // [M, N]
                                                                     wide* g_coarse,           // [M, N]
                                                                     wide* g_scalars,          // [M, 3]: bias, e2, e3
                                                                     int N) {
    __shared__ wide scratch[BLOCK];
    const int64 m = blockIdx.x;
    const wide bias = biases[m];
    wide sums[3] = {};
    for (int j = threadIdx.x; j < N; j += BLOCK) {
        const int64 i = m * N + j;
        Point<2> p = {};
        g_coarse[i] = 0;
        if (weights[i] != 0) {
            wide denominator;
            const wide ratio = fit_ratio(v[i], u[i], bias, scalars[3 * m + 1], scalars[3 * m + 2], denominator);
            const wide g_b = denominator > 0 ? wide(g[i]) * coarse[i] / denominator : 0;
            const wide passes = wide(v[i]) + bias > 0 ? 1 : 0;
            g_coarse[i] = wide(g[i]) * ratio;
            sums[0] += g_b * (passes - (bias > 0 ? 1 : 0));
            sums[1] += g_b;
            sums[2] -= g_b * ratio;
            for (int k = 0; k < K; ++k) p.x[k] = rows[i].mean[k];
            p.g[0] = real(g_b * passes);
            p.g[1] = real(-g_b * ratio);
        }
        points[i] = p;
    }
    block_sums(sums, scratch);
    if (threadIdx.x == 0)
        for (int s = 0; s < 3; ++s) g_scalars[3 * m + s] = sums[s];
}

// One thread per R centres, BLOCK apart: what their means get as points.
template <int R>
__device__ inline void vjp_points(const Row<2>* rows, const Point<2>* points, wide* g_points, int N) {
    __shared__ Row<2> tile[TILE];
    const int tiles = (N + R * BLOCK - 1) / (R * BLOCK);
    const int64 base = int64(blockIdx.x / tiles) * N;
    const int first = blockIdx.x % tiles * (R * BLOCK) + threadIdx.x;
    Point<2> p[R];
    for (int r = 0; r < R; ++r) p[r] = points[base + min(first + r * BLOCK, N - 1)];
    wide totals[R][K];
    point_slopes<2, R>(rows + base, N, tile, p, totals);
    for (int r = 0; r < R; ++r) {
        const int i = first + r * BLOCK;
        if (i >= N) break;
        for (int k = 0; k < K; ++k) g_points[(base + i) * K + k] = -totals[r][k] * (1 / SCALE);
    }
}

extern "C" __global__ __launch_bounds__(BLOCK) void relu_vjp_points_1(const Row<2>* rows,      // [M, N]
                                                                      const Point<2>* points,  // [M, N]
                                                                      wide* g_points,          // [M, N, K]
                                                                      int N) {
    vjp_points<1>(rows, points, g_points, N);
}

extern "C" __global__ __launch_bounds__(BLOCK) void relu_vjp_points_2(const Row<2>* rows, const Point<2>* points,
                                                                      wide* g_points, int N) {
    vjp_points<2>(rows, points, g_points, N);
}

// `width` components and one slice of the centres per block.
extern "C" __global__ __launch_bounds__(BLOCK) void relu_vjp_components(const Row<2>* rows,      // [M, N]
                                                                        const Point<2>* points,  // [M, N]
                                                                        wide* moments,           // [slices, M N, MOMENTS]
                                                                        int M, int N, int width, int slices) {
    __shared__ Point<2> tile[TILE];
    const Deal d = deal(N, N, width, slices);
    const int64 c = int64(d.m) * N + min(d.component, N - 1);
    const Row<2> row = rows[c];
    const auto load = [&](int i, Point<2>& p) { p = points[int64(d.m) * N + i]; };
    wide totals[MOMENTS<2>];
    component_slopes<2>(row, d.lane, d.lanes, d.first, d.last, tile, load, totals);
    store_moments(totals, d, M, N, moments);
}

// One block per mixture turns the moments into gradients.
extern "C" __global__ __launch_bounds__(BLOCK) void relu_finish(const real* weights,    // [M, N]
                                                                const real* biases,     // [M]
                                                                const Row<2>* rows,     // [M, N]
                                                                const wide* peaks,      // [M, N]
                                                                const wide* scalars,    // [M, 3]
                                                                const wide* g_scalars,  // [M, 3]
                                                                const wide* g_points,   // [M, N, K]
                                                                wide* moments,          // [slices, M N, MOMENTS]; changed
                                                                wide* g_coarse,         // [M, N]; changed
                                                                real* g_weights,        // [M, N]
                                                                real* g_means,          // [M, N, K]
                                                                real* g_covs,           // [M, N, K, K]
                                                                real* g_biases,         // [M]
                                                                int M, int N, int slices, wide e1, wide e2, wide e3,
                                                                int relative) {
    __shared__ wide scratch[BLOCK];
    const int64 m = blockIdx.x, count = int64(M) * N;
    const wide bias = biases[m];
    wide sums[2] = {};  // cotangents of e1, and of the bias
    for (int j = threadIdx.x; j < N; j += BLOCK) {
        const int64 i = m * N + j;
        if (weights[i] == 0) continue;
        wide* own = moments + i * MOMENTS<2>;
        for (int s = 1; s < slices; ++s)
            for (int q = 0; q < MOMENTS<2>; ++q) own[q] += own[s * count * MOMENTS<2> + q];
        g_coarse[i] += peaks[i] * own[1];
        sums[0] += g_coarse[i];
        if (!(wide(weights[i]) + bias > 0) && bias > 0) sums[1] += g_coarse[i];
    }
    block_sums(sums, scratch);
    const wide share = relative ? scalars[3 * m] : 0;
    const wide of_weights = share * e1 * sums[0];
    const wide of_values = share * (e2 * g_scalars[3 * m + 1] + e3 * g_scalars[3 * m + 2]);
    for (int j = threadIdx.x; j < N; j += BLOCK) {
        const int64 i = m * N + j;
        wide own[MOMENTS<2>] = {}, as_point[K] = {}, g_weight = 0, h = 0;
        if (weights[i] != 0) {
            for (int q = 0; q < MOMENTS<2>; ++q) own[q] = moments[i * MOMENTS<2> + q];
            for (int k = 0; k < K; ++k) as_point[k] = g_points[i * K + k];
            const wide w = weights[i], sign = w > 0 ? 1 : -1;
            g_weight = peaks[i] * own[0] + sign * (of_weights + of_values * peaks[i]);
            if (w + bias > 0) g_weight += sign * g_coarse[i];
            // A peak's derivative with respect to C is -1/2 peak C^-1, like that of a pair at distance 0.
            h = wide(rows[i].amplitude[0]) * own[0] + wide(rows[i].amplitude[1]) * own[1];
            h += of_values * fabs(w) * peaks[i];
        }
        g_weights[i] = real(g_weight);
        write_component_gradient(rows[i], h, own + 2, own + 2 + K, as_point, g_means + i * K, g_covs + i * K * K);
    }
    if (threadIdx.x == 0) g_biases[m] = real(g_scalars[3 * m] + sums[1]);
}
