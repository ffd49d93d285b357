// From mixtures to the rows of their components, and one step of EM after another; cpu/_em_levels.py is the twin.
//
// The passes over pairs, `normalise` and `moments`, are bound by FP64: about 4 + K + K (K + 1) multiplications with
// additions and an exponential of 20 per pair and pass, and as many again in `moments`. All others read and write each
// number once or twice.
#include "em_blocks.cuh"
#include "em_faults.cuh"
#include "em_moments.cuh"

// One block per mixture: checks it against its plan, and writes rows: |w|, the mean from the centre of the means' box,
// the covariance.
extern "C" __global__ __launch_bounds__(WIDEST) void em_load(const real* weights,  // [M, N]
                                                             const real* means,    // [M, N, K]
                                                             const real* covs,     // [M, N, K, K]
                                                             const int* orders,    // [M, N]
                                                             const int* all_ends,  // [M, 2]
                                                             wide* rows,           // [M, N, ROW]
                                                             wide* centres,        // [M, K]
                                                             int64* first_fault, int N) {
    __shared__ wide scratch[WIDEST / 32];
    __shared__ int64 firsts[3];  // the first non-finite weight, the first place of another sign, the first faulty row
    __shared__ int present;
    const int64 m = blockIdx.x, base = m * N;
    const int* order = orders + base;
    const int* ends = all_ends + 2 * m;
    constexpr int64 NONE = 0x7fffffffffffffff;
    if (threadIdx.x < 3) firsts[threadIdx.x] = NONE;
    if (threadIdx.x == 0) present = 0;
    __syncthreads();
    wide low[K], high[K];
    for (int k = 0; k < K; ++k) low[k] = LARGEST, high[k] = -LARGEST;
    int count = 0;
    for (int i = threadIdx.x; i < N; i += blockDim.x) {
        const wide w = weights[base + i];
        if (!is_finite(w)) atomicMin(&firsts[0], int64(i));
        if (w == 0) continue;
        ++count;
        for (int k = 0; k < K; ++k) {
            const wide x = means[(base + i) * K + k];
            low[k] = x < low[k] ? x : low[k];
            high[k] = x > high[k] ? x : high[k];
        }
    }
    atomicAdd(&present, count);
    wide centre[K];
    for (int k = 0; k < K; ++k) {
        low[k] = block_best(low[k], scratch, [](wide a, wide b) { return a < b; });
        high[k] = block_best(high[k], scratch, [](wide a, wide b) { return a > b; });
        centre[k] = 0.5 * low[k] + 0.5 * high[k];
        if (threadIdx.x == 0) centres[m * K + k] = centre[k];
    }
    for (int p = threadIdx.x; p < ends[1]; p += blockDim.x) {
        const int64 i = base + order[p];
        const wide w = weights[i];
        if (w == 0 || (w > 0) != (p < ends[0])) atomicMin(&firsts[1], int64(p));
        bool finite = is_finite(w);
        wide row[ROW], c[TRI];
        row[W] = fabs(w);
        for (int k = 0; k < K; ++k) {
            finite = finite && is_finite(means[i * K + k]);
            row[MU + k] = wide(means[i * K + k]) - centre[k];
        }
        for (int k = 0; k < K * K; ++k) finite = finite && is_finite(covs[i * K * K + k]);
        read_symmetric(covs + i * K * K, c);
        for (int q = 0; q < TRI; ++q) row[COV + q] = c[q];
        for (int q = 0; q < ROW; ++q) rows[i * ROW + q] = row[q];
        if (!finite)
            atomicMin(&firsts[2], int64(p) * 8 + EM_NON_FINITE);
        else if (!whiten(c))
            atomicMin(&firsts[2], int64(p) * 8 + EM_NOT_DEFINITE);
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    if (firsts[0] != NONE)
        report_fault(first_fault, LOADING, m, N, int(firsts[0]), EM_NON_FINITE);
    else if (firsts[1] != NONE)
        report_fault(first_fault, LOADING, m, N, order[firsts[1]], EM_OTHER_SIGN);
    else if (present != ends[1])
        report_fault(first_fault, LOADING, m, N, -1, EM_OTHER_SIGN);
    else if (firsts[2] != NONE)
        report_fault(first_fault, LOADING, m, N, order[firsts[2] / 8], EmFault(firsts[2] % 8));
}

// One block per mixture: the mass of its components, and its parents. Mixtures of up to `enough` components pass
// through a level, here and below.
extern "C" __global__ __launch_bounds__(WIDEST) void em_prepare(const wide* all_rows,     // [M, P, ROW]
                                                                const int* orders,        // [M, P]
                                                                const int* all_ends,      // [M, 2]
                                                                const int* parents,       // [M, n]
                                                                const int* parent_ends,   // [M, 2]
                                                                wide* masses,             // [M]
                                                                Parent* models,           // [M, n]
                                                                int P, int n, int enough) {
    __shared__ wide scratch[WIDEST];
    const int64 m = blockIdx.x;
    const int present = all_ends[2 * m + 1];
    if (present <= enough) return;
    const int* order = orders + m * P;
    const wide* rows = all_rows + m * P * ROW;
    wide mass[1] = {0};
    for (int p = threadIdx.x; p < present; p += blockDim.x) mass[0] += rows[int64(order[p]) * ROW + W];
    block_sums(mass, scratch);
    if (threadIdx.x == 0) masses[m] = mass[0];
    for (int s = threadIdx.x; s < parent_ends[2 * m + 1]; s += blockDim.x)
        write_parent(rows + int64(order[parents[m * n + s]]) * ROW, models[m * n + s]);
}

// One thread per component, BLOCK of one sign per block: the largest of its logarithms, the sum of their exponentials.
extern "C" __global__ __launch_bounds__(BLOCK) void em_normalise(const wide* rows,         // [M, P, ROW]
                                                                 const int* orders,        // [M, P]
                                                                 const int* all_ends,      // [M, 2]
                                                                 const int* parent_ends,   // [M, 2]
                                                                 const uint64* masks,      // [M, n, words]
                                                                 const wide* masses,       // [M]
                                                                 const wide* points,       // [M]
                                                                 const Parent* models,     // [M, n]
                                                                 wide* norms,              // [M, P, 3]
                                                                 int P, int n, int words, int enough) {
    const int tiles = (P + BLOCK - 1) / BLOCK + 1;
    const int64 m = blockIdx.x / tiles;
    const int* ends = all_ends + 2 * m;
    int sign, begin;
    if (ends[1] <= enough || !find_places(ends, blockIdx.x % tiles, BLOCK, sign, begin)) return;
    const Range all = range_of(ends, sign);
    const int p = begin + threadIdx.x;
    const bool mine = p < all.stop;
    wide x[K], c[TRI];
    const wide w = read_component(rows + (m * P + orders[m * P + min(p, all.stop - 1)]) * ROW, x, c);
    const wide samples = points[m] * (w / masses[m]);
    Softmax sum;
    const Range parents = range_of(parent_ends + 2 * m, sign);
    over_parents(models + m * n, parents, {masks + m * n * words, words}, begin - all.start, mine,
                 [&](const Parent& s) { sum.add(fma(samples, log_likelihood(s, x, c), s.log_w)); });
    if (!mine) return;
    wide* out = norms + (m * P + p) * 3;
    out[SAMPLES] = samples;
    out[TOP] = sum.top;
    out[INVERSE] = 1 / sum.total;
}

// Up to BLOCK parents of one sign and one slice of its components per block: what the slice's components give them.
extern "C" __global__ __launch_bounds__(BLOCK) void em_moments(const wide* rows,         // [M, P, ROW]
                                                               const int* orders,        // [M, P]
                                                               const int* all_ends,      // [M, 2]
                                                               const int* parent_ends,   // [M, 2]
                                                               const uint64* masks,      // [M, n, words]
                                                               const wide* norms,        // [M, P, 3]
                                                               const Parent* models,     // [M, n]
                                                               wide* parts,              // [slices, M, n, ROW]
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
    const Parent model = models[m * n + d.parent];
    wide moments[ROW] = {};
    over_components<3>(rows + m * P * ROW, orders + m * P, norms + m * P * 3, slice_of(all, slice, slices),
                       [&](const Component<3>* tile, int count, int first) {
                           add_components(model, mask.of(d.parent, first - all.start), d, tile, count, moments);
                       });
    gather_lanes(d, moments, [](wide(&a)[ROW], const wide(&b)[ROW]) { merge_moments(a, b); });
    if (d.mine && d.lane == 0)
        for (int q = 0; q < ROW; ++q) parts[((slice * int64(M) + m) * n + d.parent) * ROW + q] = moments[q];
}

// One thread per row of the result: adds up the slices, in their order.
extern "C" __global__ void em_fit(const wide* rows,         // [M, P, ROW]
                                  const int* orders,        // [M, P]
                                  const int* all_ends,      // [M, 2]
                                  const int* parents,       // [M, n]
                                  const int* parent_ends,   // [M, 2]
                                  const wide* parts,        // [slices, M, n, ROW]
                                  wide* fitted,             // [M, n, ROW]
                                  int M, int P, int n, int slices, int enough) {
    const int64 i = thread_id(), count = int64(M) * n;
    if (i >= count) return;
    const int64 m = i / n;
    const int s = int(i % n);
    const bool passes = all_ends[2 * m + 1] <= enough;
    wide row[ROW] = {};
    if (passes && s < all_ends[2 * m + 1]) {
        for (int q = 0; q < ROW; ++q) row[q] = rows[(m * P + orders[m * P + s]) * ROW + q];
    } else if (!passes && s < parent_ends[2 * m + 1]) {
        for (int slice = 0; slice < slices; ++slice) {
            wide part[ROW];
            for (int q = 0; q < ROW; ++q) part[q] = parts[(slice * count + i) * ROW + q];
            merge_moments(row, part);
        }
        finish_moments(rows + (m * P + orders[m * P + parents[i]]) * ROW, row);
    }
    for (int q = 0; q < ROW; ++q) fitted[i * ROW + q] = row[q];
}

// One block per mixture: what the last level's rows stand for, or the mixture's own components if they are few enough.
extern "C" __global__ __launch_bounds__(WIDEST) void em_results(const real* weights,      // [M, N]
                                                                const real* means,        // [M, N, K]
                                                                const real* covs,         // [M, N, K, K]
                                                                const wide* fitted,       // [M, n, ROW]
                                                                const int* all_ends,      // [M, 2]: of the first level
                                                                const int* parent_ends,   // [M, 2]: of the last level
                                                                const wide* centres,      // [M, K]
                                                                real* out_weights,        // [M, n]
                                                                real* out_means,          // [M, n, K]
                                                                real* out_covs,           // [M, n, K, K]
                                                                int64* first_fault, int N, int n) {
    __shared__ int scratch[WIDEST / 32];
    const int64 m = blockIdx.x;
    const int present = all_ends[2 * m + 1], begin = present <= n ? present : 0;
    if (present <= n)
        number_flagged(
            N, scratch, [&](int i) { return wide(weights[m * N + i]) != 0; },
            [&](int i, int rank) {
                if (rank >= n) return;  // the weights are not those of the plan, which em_load has reported
                const int64 from = m * N + i, to = m * n + rank;
                out_weights[to] = weights[from];
                for (int k = 0; k < K; ++k) out_means[to * K + k] = means[from * K + k];
                for (int k = 0; k < K * K; ++k) out_covs[to * K * K + k] = covs[from * K * K + k];
            });
    for (int s = begin + threadIdx.x; s < n; s += blockDim.x) {
        const int64 i = m * n + s;
        const wide* row = fitted + i * ROW;
        bool finite = true;
        for (int q = 0; q < ROW; ++q) finite = finite && is_finite(row[q]);
        if (!finite) report_fault(first_fault, RESULT, m, N, -1, EM_MERGED);
        const bool there = is_present(row);
        wide c[TRI];
        for (int k = 0; k < K; ++k)
            for (int l = 0; l <= k; ++l) c[packed(k, l)] = there ? row[COV + packed(k, l)] : k == l;
        out_weights[i] = real(there ? (s < parent_ends[2 * m] ? row[W] : -row[W]) : 0);
        for (int k = 0; k < K; ++k) out_means[i * K + k] = real(there ? row[MU + k] + centres[m * K + k] : 0);
        write_symmetric(out_covs + i * K * K, c);
    }
}
