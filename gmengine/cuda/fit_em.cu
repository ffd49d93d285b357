// EM of many sets of weighted points: all steps of a set in one block. cpu/_fit_step.py is the twin.
//
// A step has two passes over pairs of points and components. The first gives each point to a thread, which leaves the
// largest of its logarithms and its share divided by the sum of their exponentials; the second gives each component to
// a warp, which computes its shares again, to the bit, and gathers their moments. Per pair a pass takes K subtractions,
// K(K + 3)/2 multiply-adds and a base-2 exponential, the second 1 + K(K + 3)/2 additions besides. float32 is bound by
// the issue of instructions, float64 by FP64 (the exponential is most of it). Nothing of the pairs is kept: two
// numbers per point are. A set of 1e5 points has no more than one multiprocessor; many sets are what fills the card.
//
// Logarithms are spelt with fma, for a compiler chooses from pass to pass which products it fuses with sums.
#include "fit_sets.cuh"
#include "gaussian.cuh"

constexpr wide LOG2_E = 1.44269504088896340736, LOG_2PI = 1.83787706640934548356;
constexpr wide DEAD = 1e-300;  // of the mass of a set: below, quotients lose their digits
constexpr int MOMENTS = 1 + K + TRI;
constexpr int RESIDENT = sizeof(real) == 4 ? 6 : 4;  // blocks of a multiprocessor, so that nothing spills for K <= 3
constexpr int RUN = 8;  // pairs of a thread that are summed in `real`
constexpr real LOWEST = sizeof(real) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308;
constexpr wide STEEPEST = sizeof(real) == 4 ? 1e16 : 1.7976931348623157e308;  // its square times K^3 is no infinity

// A component as the pair loops read it: mean, A = sqrt(SCALE) L^-1 packed, and what is left of its logarithm.
struct alignas(16) Density {
    real mean[K];
    real a[TRI];
    real constant;
    __device__ real logarithm(const real (&x)[K]) const {
        real d[K], value = constant;
#pragma unroll
        for (int k = 0; k < K; ++k) {
            d[k] = x[k] - mean[k];
            real y = a[packed(k, 0)] * d[0];
#pragma unroll
            for (int m = 1; m <= k; ++m) y = fma(a[packed(k, m)], d[m], y);
            value = fma(-y, y, value);
        }
        return value;
    }
};

constexpr int LENGTH = records_in_shared(sizeof(Density));

// The mixture of a set, in its frame, without the floor; and room for its densities and their numbers.
struct Model {
    wide *weights, *means, *covariances;
    Density* rows;
    int* members;
};

// The inverse Cholesky factor of C = c + floor I. Rounding may lose a positive pivot that is small beside the others,
// but never the floor.
__device__ inline void whiten_above(wide (&a)[TRI], wide floor) {
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m <= k; ++m) {
            wide value = a[packed(k, m)] + (k == m ? floor : 0.0);
#pragma unroll
            for (int i = 0; i < m; ++i) value -= a[packed(k, i)] * a[packed(m, i)];
            a[packed(k, m)] = m < k ? value * a[packed(m, m)] : 1 / sqrt(value > floor ? value : floor);
        }
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m < k; ++m) {
            wide value = 0;
#pragma unroll
            for (int i = m; i < k; ++i) value += a[packed(k, i)] * a[packed(i, m)];
            a[packed(k, m)] = -value * a[packed(k, k)];
        }
}

// `blurred`: the expected logarithm for points that are Gaussians of covariance floor I.
__device__ inline void write_density(wide weight, const wide* mean, const wide* covariance, wide floor, bool blurred,
                                     Density& row) {
    wide factor[TRI], trace = 0, peak = log2(weight);
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m <= k; ++m) factor[packed(k, m)] = covariance[k * K + m];
    whiten_above(factor, floor);
#pragma unroll
    for (int k = 0; k < K; ++k) {
        row.mean[k] = real(mean[k]);
        peak += log2(factor[packed(k, k)]);
    }
#pragma unroll
    for (int q = 0; q < TRI; ++q) {
        trace += factor[q] * factor[q];
        const wide a = ROOT_OF_SCALE * factor[q];
        row.a[q] = real(a > STEEPEST ? STEEPEST : a < -STEEPEST ? -STEEPEST : a);
    }
    row.constant = real(blurred ? peak - SCALE * floor * trace : peak);
}

// The densities of the present components, in their order; returns how many there are.
__device__ inline int prepare(const Model& m, int N, wide floor, bool blurred, int* scratch) {
    const int present = number_flagged(
        N, scratch, [&](int n) { return m.weights[n] > 0; },
        [&](int n, int rank) {
            write_density(m.weights[n], m.means + int64(n) * K, m.covariances + int64(n) * K * K, floor, blurred,
                          m.rows[rank]);
            m.members[rank] = n;
        });
    __syncthreads();
    return present;
}

__device__ inline void copy_rows(const Density* from, int count, Density* to) {
    const wide* source = reinterpret_cast<const wide*>(from);
    wide* target = reinterpret_cast<wide*>(to);
    for (int i = threadIdx.x; i < count * int(sizeof(Density) / sizeof(wide)); i += BLOCK) target[i] = source[i];
}

// Leaves, for each point, the largest of the logarithms and its share over the sum of their exponentials; returns the
// mean of the logarithms to the base 2 of the points' densities, but for (2 pi)^(-K/2).
__device__ static inline wide expect(const Set& set, const Density* rows, int present, real* tops, real* parts) {
    __shared__ Density tile[LENGTH];
    __shared__ wide scratch[WARPS];
    wide likelihood[1] = {};
    for (int begin = 0; begin < set.count; begin += BLOCK) {
        const int i = begin + threadIdx.x;
        const bool mine = i < set.count;
        real x[K], top = LOWEST, total = 0;
        set.read(mine ? i : begin, x);
        for (int first = 0; first < present; first += LENGTH) {
            const int count = min(LENGTH, present - first);
            if (begin == 0 || present > LENGTH) {  // else the tile is there already
                __syncthreads();
                copy_rows(rows + first, count, tile);
                __syncthreads();
            }
            for (int s = 0; s < count; ++s) {
                const real logarithm = tile[s].logarithm(x);
                const bool higher = logarithm > top;
                const real e = power_of_two(higher ? top - logarithm : logarithm - top);
                total = higher ? fma(total, e, real(1)) : total + e;
                top = higher ? logarithm : top;
            }
        }
        if (mine) {
            tops[i] = top;
            parts[i] = real(set.share[i] / wide(total));
            likelihood[0] += set.share[i] * (wide(top) + log2(wide(total)));
        }
    }
    block_totals(likelihood, scratch);
    return likelihood[0];
}

// The moments of all points about a component's mean, weighted by responsibility times share, for all of a warp.
__device__ inline void gather_moments(const Set& set, const Density& row, const real* tops, const real* parts,
                                      wide (&moments)[MOMENTS]) {
    for (int q = 0; q < MOMENTS; ++q) moments[q] = 0;
    for (int first = lane_id(); first < set.count; first += 32 * RUN) {
        real sums[MOMENTS] = {};
        for (int r = 0; r < RUN; ++r) {
            const int i = first + 32 * r;
            if (i >= set.count) break;
            real x[K];
            set.read(i, x);
            const real weight = power_of_two(row.logarithm(x) - tops[i]) * parts[i];
            sums[0] += weight;
#pragma unroll
            for (int k = 0; k < K; ++k) {
                const real d = weight * (x[k] - row.mean[k]);
                sums[1 + k] += d;
#pragma unroll
                for (int m = 0; m <= k; ++m) sums[1 + K + packed(k, m)] += d * (x[m] - row.mean[m]);
            }
        }
#pragma unroll
        for (int q = 0; q < MOMENTS; ++q) moments[q] += sums[q];
    }
    warp_totals(moments);
}

// The mixture of the moments. They are about the old means, from which the new ones differ by about a standard
// deviation at most: subtracting the squared shift cancels nothing that matters.
__device__ inline void maximise(const Set& set, const Model& m, int present, const real* tops, const real* parts) {
    for (int rank = warp_id(); rank < present; rank += WARPS) {
        const Density row = m.rows[rank];
        wide moments[MOMENTS];
        gather_moments(set, row, tops, parts, moments);
        if (lane_id() != 0) continue;
        const int n = m.members[rank];
        wide *mean = m.means + int64(n) * K, *covariance = m.covariances + int64(n) * K * K;
        const bool alive = moments[0] > DEAD;
        const wide weight = alive ? moments[0] : 1.0;
        m.weights[n] = alive ? weight : 0.0;
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const wide shift = moments[1 + k] / weight;
            mean[k] = alive ? wide(row.mean[k]) + shift : 0.0;
#pragma unroll
            for (int j = 0; j <= k; ++j) {
                const wide value = moments[1 + K + packed(k, j)] / weight - shift * (moments[1 + j] / weight);
                covariance[k * K + j] = covariance[j * K + k] = alive ? value : 0.0;
            }
        }
    }
    __syncthreads();
}

// One block per set: at most `count` steps, until one has raised the log-likelihood by less than `tol`. A set without
// mass loses all its components.
extern "C" __global__ __launch_bounds__(BLOCK, RESIDENT) void fit_em_steps(const real* all_x,       // [total K]
                                                                           const wide* all_share,   // [total]
                                                                           const int64* offsets,    // [S + 1]
                                                                           const int* counts,       // [S]
                                                                           const wide* frames,      // [S, K + 3]
                                                                           const wide* floors,      // [S]
                                                                           wide* all_weights,       // [S, N]: in, out
                                                                           wide* all_means,         // [S, N, K]
                                                                           wide* all_covariances,   // [S, N, K, K]
                                                                           Density* all_rows,       // [S, N], room
                                                                           int* all_members,        // [S, N], room
                                                                           real* all_tops,          // [total], room
                                                                           real* all_parts,         // [total], room
                                                                           wide* log_likelihood,    // [S]
                                                                           int* taken,              // [S]
                                                                           int N, int count, int blurred, wide tol) {
    __shared__ int scratch[WARPS];
    const int64 s = blockIdx.x;
    const Set set = set_of_block(all_x, all_share, offsets, counts);
    const Model model = {all_weights + s * N, all_means + s * N * K, all_covariances + s * N * K * K, all_rows + s * N,
                         all_members + s * N};
    real *tops = all_tops + set.begin, *parts = all_parts + set.begin;
    const wide scale = frames[s * (K + 3) + K], floor = floors[s] / scale / scale;
    if (set.count == 0 || count > 0)  // absent components may come with any mean and covariance
        for (int n = threadIdx.x; n < N; n += BLOCK) {
            if (set.count > 0 && model.weights[n] > 0) continue;
            model.weights[n] = 0;
            for (int k = 0; k < K; ++k) model.means[int64(n) * K + k] = 0;
            for (int k = 0; k < K * K; ++k) model.covariances[int64(n) * K * K + k] = 0;
        }
    wide mean = 0, before = 0;
    int t = 0;
    for (const int most = set.count > 0 ? count : 0; t < most; ++t) {
        const int present = prepare(model, N, floor, blurred != 0, scratch);
        mean = expect(set, model.rows, present, tops, parts) / LOG2_E - 0.5 * K * LOG_2PI;
        if (t > 0 && tol > 0 && mean < before + tol) break;
        before = mean;
        maximise(set, model, present, tops, parts);
    }
    if (threadIdx.x > 0) return;
    taken[s] = t;
    log_likelihood[s] = set.count > 0 && count > 0 ? mean - K * log(scale) : nan("");
}
