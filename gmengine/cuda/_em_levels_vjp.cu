// From the gradients of a reduced mixture back through its levels of EM; cpu/_em_levels.py and _em_step_vjp.py are the
// twins.
//
// The passes over pairs, `components` (which makes two of them) and `parents`, are bound by FP64: beside the share of
// _em_levels.cu a pair costs about 2 K^2 + 8 K multiplications with additions in each.
#include "em_blocks.cuh"
#include "em_slopes.cuh"

// One thread per row of the result: its gradient from the cotangents; those of absent components are ignored.
extern "C" __global__ void em_vjp_rows(const wide* fitted,       // [M, n, ROW]
                                       const int* parent_ends,   // [M, 2]: of the last level
                                       const real* g_weights,    // [M, n]
                                       const real* g_means,      // [M, n, K]
                                       const real* g_covs,       // [M, n, K, K]
                                       wide* g_rows,             // [M, n, ROW]
                                       int M, int n) {
    const int64 i = thread_id();
    if (i >= int64(M) * n) return;
    const bool there = is_present(fitted + i * ROW), positive = i % n < parent_ends[2 * (i / n)];
    wide* g_row = g_rows + i * ROW;
    g_row[W] = there ? (positive ? wide(g_weights[i]) : -wide(g_weights[i])) : 0;
    for (int k = 0; k < K; ++k) {
        g_row[MU + k] = there ? wide(g_means[i * K + k]) : 0;
        for (int m = 0; m <= k; ++m) {
            const real* g = g_covs + i * K * K;
            const wide both = m < k ? wide(g[k * K + m]) + wide(g[m * K + k]) : wide(g[k * K + k]);
            g_row[COV + packed(k, m)] = there ? both : 0;
        }
    }
}

// One thread per output of a level.
extern "C" __global__ void em_vjp_outputs(const Parent* models,     // [M, n]
                                          const int* all_ends,      // [M, 2]
                                          const int* parent_ends,   // [M, 2]
                                          const wide* fitted,       // [M, n, ROW]
                                          const wide* g_fitted,     // [M, n, ROW]
                                          Slopes* slopes,           // [M, n]
                                          int M, int n, int enough) {
    const int64 i = thread_id();
    if (i >= int64(M) * n) return;
    const int64 m = i / n;
    if (all_ends[2 * m + 1] <= enough || i % n >= parent_ends[2 * m + 1]) return;
    write_slopes(models[i], fitted + i * ROW, g_fitted + i * ROW, slopes[i]);
}

// One thread per component, BLOCK of one sign per block: its gradient, but for what it gets as a parent and through the
// sum of all weights; and in `shared` its wh wh*, a term of that sum's gradient.
extern "C" __global__ __launch_bounds__(BLOCK) void em_vjp_components(const wide* rows,         // [M, P, ROW]
                                                                      const int* orders,        // [M, P]
                                                                      const int* all_ends,      // [M, 2]
                                                                      const int* parent_ends,   // [M, 2]
                                                                      const uint64* masks,      // [M, n, words]
                                                                      const wide* masses,       // [M]
                                                                      const wide* points,       // [M]
                                                                      const Slopes* slopes,     // [M, n]
                                                                      wide* norms,              // [M, P, 4]
                                                                      wide* g_rows,             // [M, P, ROW]
                                                                      wide* shared,             // [M, P]
                                                                      int P, int n, int words, int enough) {
    const int tiles = (P + BLOCK - 1) / BLOCK + 1;
    const int64 m = blockIdx.x / tiles;
    const int* ends = all_ends + 2 * m;
    int sign, begin;
    if (ends[1] <= enough || !find_places(ends, blockIdx.x % tiles, BLOCK, sign, begin)) return;
    const Range all = range_of(ends, sign), parents = range_of(parent_ends + 2 * m, sign);
    const Masks mask = {masks + m * n * words, words};
    const int p = begin + threadIdx.x;
    const bool mine = p < all.stop;
    const int64 row = m * P + orders[m * P + min(p, all.stop - 1)];
    wide x[K], c[TRI], norm[4];
    const wide w = read_component(rows + row * ROW, x, c);
    norm[SAMPLES] = points[m] * (w / masses[m]);
    SlopedSoftmax sum;
    over_parents(slopes + m * n, parents, mask, begin - all.start, mine, [&](const Slopes& s) {
        sum.add(fma(norm[SAMPLES], log_likelihood(s.parent, x, c), s.parent.log_w), slope_of(s, x, c));
    });
    norm[TOP] = sum.top;
    norm[INVERSE] = 1 / sum.total;
    norm[SLOPE] = sum.slopes * norm[INVERSE];
    wide g_x[K] = {}, g_c[TRI] = {}, g_samples = 0;
    over_parents(slopes + m * n, parents, mask, begin - all.start, mine, [&](const Slopes& s) {
        const wide likelihood = log_likelihood(s.parent, x, c);
        const wide rho = share_of(s.parent, likelihood, norm) * w;
        const wide g = rho * (slope_of(s, x, c) - norm[SLOPE]);  // of log w_s; exactly 0 for an only parent
        g_samples += g * likelihood;
        add_to_component(s, x, rho, norm[SAMPLES] * g * (1 / SCALE), g_x, g_c);
    });
    if (!mine) return;
    const wide of_samples = points[m] * LN2 * g_samples;
    for (int q = 0; q < 4; ++q) norms[(m * P + p) * 4 + q] = norm[q];
    shared[m * P + p] = of_samples * (w / masses[m]);
    g_rows[row * ROW + W] = norm[SLOPE] + of_samples / masses[m];
    for (int k = 0; k < K; ++k) g_rows[row * ROW + MU + k] = g_x[k];
    for (int q = 0; q < TRI; ++q) g_rows[row * ROW + COV + q] = g_c[q];
}

// Up to BLOCK parents of one sign and one slice of its components per block: what the slice's components give them.
extern "C" __global__ __launch_bounds__(BLOCK) void em_vjp_parents(const wide* rows,         // [M, P, ROW]
                                                                   const int* orders,        // [M, P]
                                                                   const int* all_ends,      // [M, 2]
                                                                   const int* parent_ends,   // [M, 2]
                                                                   const uint64* masks,      // [M, n, words]
                                                                   const wide* norms,        // [M, P, 4]
                                                                   const Slopes* slopes,     // [M, n]
                                                                   wide* parts,              // [slices, M, n, SUMS]
                                                                   int M, int P, int n, int words, int slices,
                                                                   int enough) {
    const int tiles = (n + BLOCK - 1) / BLOCK + 1, slice = blockIdx.x % slices, rest = blockIdx.x / slices;
    const int64 m = rest / tiles;
    const int* ends = all_ends + 2 * m;
    int sign, begin;
    if (ends[1] <= enough || !find_places(parent_ends + 2 * m, rest % tiles, BLOCK, sign, begin)) return;
    const Lanes d = deal_lanes(begin, parent_ends[2 * m + sign]);
    const Range all = range_of(ends, sign);
    const Masks mask = {masks + m * n * words, words};
    const Slopes mine = slopes[m * n + d.parent];
    wide sums[SUMS] = {};
    over_components<4>(rows + m * P * ROW, orders + m * P, norms + m * P * 4, slice_of(all, slice, slices),
                       [&](const Component<4>* tile, int count, int first) {
                           const uint64 bits = mask.of(d.parent, first - all.start);
                           for (int i = d.lane; i < count; i += d.lanes)
                               if (bits >> i & 1) add_to_parent(mine, tile[i], sums);
                       });
    gather_lanes(d, sums, [](wide(&a)[SUMS], const wide(&b)[SUMS]) {
#pragma unroll
        for (int q = 0; q < SUMS; ++q) a[q] += b[q];
    });
    if (d.mine && d.lane == 0)
        for (int q = 0; q < SUMS; ++q) parts[((slice * int64(M) + m) * n + d.parent) * SUMS + q] = sums[q];
}

// One block per mixture: adds to components what they get through the sum of all weights, and then as parents.
extern "C" __global__ __launch_bounds__(WIDEST) void em_vjp_finish(const wide* rows,         // [M, P, ROW]
                                                                   const int* orders,        // [M, P]
                                                                   const int* all_ends,      // [M, 2]
                                                                   const int* all_parents,   // [M, n]
                                                                   const int* parent_ends,   // [M, 2]
                                                                   const wide* masses,       // [M]
                                                                   const Slopes* slopes,     // [M, n]
                                                                   const wide* shared,       // [M, P]
                                                                   const wide* parts,        // [slices, M, n, SUMS]
                                                                   const wide* g_fitted,     // [M, n, ROW]
                                                                   wide* all_g_rows,         // [M, P, ROW]
                                                                   int M, int P, int n, int slices, int enough) {
    __shared__ wide scratch[WIDEST];
    const int64 m = blockIdx.x;
    const int* order = orders + m * P;
    const int present = all_ends[2 * m + 1];
    wide* g_rows = all_g_rows + m * P * ROW;
    if (present <= enough) {
        for (int64 i = threadIdx.x; i < int64(present) * ROW; i += blockDim.x)
            g_rows[int64(order[i / ROW]) * ROW + i % ROW] = g_fitted[m * n * ROW + i];
        return;
    }
    wide total[1] = {0};
    for (int p = threadIdx.x; p < present; p += blockDim.x) total[0] += shared[m * P + p];
    block_sums(total, scratch);
    const wide each = total[0] / masses[m];
    for (int p = threadIdx.x; p < present; p += blockDim.x) g_rows[int64(order[p]) * ROW + W] -= each;
    __syncthreads();
    for (int s = threadIdx.x; s < parent_ends[2 * m + 1]; s += blockDim.x) {
        wide sums[SUMS] = {};
        for (int slice = 0; slice < slices; ++slice)
            for (int q = 0; q < SUMS; ++q) sums[q] += parts[((slice * int64(M) + m) * n + s) * SUMS + q];
        const int64 row = int64(order[all_parents[m * n + s]]) * ROW;
        add_as_parent(slopes[m * n + s].parent, sums, rows[m * P * ROW + row + W], g_rows + row);
    }
}

// One block per mixture: gradients of its components from those of their rows, or the cotangents where it was kept.
extern "C" __global__ __launch_bounds__(WIDEST) void em_vjp_gradients(const real* weights,    // [M, N]
                                                                      const int* all_ends,    // [M, 2]: first level
                                                                      const wide* all_g_rows, // [M, N, ROW]
                                                                      const real* out_weights,  // [M, n]: cotangents
                                                                      const real* out_means,    // [M, n, K]
                                                                      const real* out_covs,     // [M, n, K, K]
                                                                      real* g_weights,          // [M, N]
                                                                      real* g_means,            // [M, N, K]
                                                                      real* g_covs,             // [M, N, K, K]
                                                                      int N, int n) {
    __shared__ int scratch[WIDEST / 32];
    const int64 m = blockIdx.x;
    const bool kept = all_ends[2 * m + 1] <= n;
    for (int j = threadIdx.x; j < N; j += blockDim.x) {
        const int64 i = m * N + j;
        const wide w = weights[i];
        const wide* g_row = all_g_rows + i * ROW;
        const bool there = w != 0 && !kept;
        wide c[TRI];
        g_weights[i] = real(there ? (w > 0 ? g_row[W] : -g_row[W]) : 0);
        for (int k = 0; k < K; ++k) {
            g_means[i * K + k] = real(there ? g_row[MU + k] : 0);
            for (int l = 0; l <= k; ++l) c[packed(k, l)] = there ? (k == l ? 1 : 0.5) * g_row[COV + packed(k, l)] : 0;
        }
        write_symmetric(g_covs + i * K * K, c);
    }
    if (!kept) return;
    __syncthreads();
    number_flagged(
        N, scratch, [&](int j) { return wide(weights[m * N + j]) != 0; },
        [&](int j, int rank) {
            if (rank >= n) return;  // the weights are not those of the plan
            const int64 to = m * N + j, from = m * n + rank;
            wide c[TRI];
            g_weights[to] = out_weights[from];
            for (int k = 0; k < K; ++k) g_means[to * K + k] = out_means[from * K + k];
            read_symmetric(out_covs + from * K * K, c);
            write_symmetric(g_covs + to * K * K, c);
        });
}
