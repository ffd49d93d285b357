// Inner products and distances of mixtures, and their gradients; cpu/product.py derives them. All of it is done in
// `wide`, whatever the dtype. Every pair of components has a covariance, hence a factorisation, of its own: 46 FP64
// instructions for K = 2, 65 for K = 3, with slopes 63 and 101, of which the exponential takes some 20. So the loops
// over pairs are bound by FP64, and slow on cards that have little of it.
//
// A form streams the mixture `other`, or if it is `symmetric` the difference own - other, past components in registers.
#include "pairs.cuh"
#include "root_free.cuh"

constexpr wide SINGULAR = 1e-14;  // of its diagonal entry; rounding leaves a few 1e-16

struct alignas(16) Component {
    wide mean[K];
    wide cov[TRI];
    wide weight;  // 0: absent, and the rest says nothing
};

struct Mixture {
    const real *weights, *means, *covs;
    int n;
};

__device__ inline Mixture mixture(const real* weights, const real* means, const real* covs, int n, int64 m) {
    return {weights + m * n, means + m * n * K, covs + m * n * K * K, n};
}

__device__ inline Component component(const Mixture& a, int i) {
    Component c = {};
    c.weight = a.weights[i];
    if (c.weight == 0) return c;
    for (int k = 0; k < K; ++k) c.mean[k] = a.means[int64(i) * K + k];
    read_symmetric(a.covs + int64(i) * K * K, c.cov);
    return c;
}

// Whether the i-th components are present and have the same mean and covariance, bit for bit.
__device__ inline bool coincide(const Mixture& a, const Mixture& b, int i) {
    if (i >= a.n || i >= b.n || a.weights[i] == 0 || b.weights[i] == 0) return false;
    bool same = true;
#pragma unroll
    for (int k = 0; k < K; ++k) same = same && a.means[int64(i) * K + k] == b.means[int64(i) * K + k];
#pragma unroll
    for (int k = 0; k < K * K; ++k) same = same && a.covs[int64(i) * K * K + k] == b.covs[int64(i) * K * K + k];
    return same;
}

// Component s of a - b: first those of a, then those of b. Two that coincide are one, in the place of a's: their
// weights are subtracted before anything is rounded.
__device__ inline Component of_difference(const Mixture& a, const Mixture& b, int s) {
    const int i = s < a.n ? s : s - a.n;
    const bool together = coincide(a, b, i);
    const bool first = s < a.n;
    const Mixture from = {first ? a.weights : b.weights, first ? a.means : b.means, first ? a.covs : b.covs, 0};
    Component c = component(from, i);
    if (!first)
        c.weight = together ? 0 : -c.weight;
    else if (together)
        c.weight -= wide(b.weights[i]);
    return c;
}

__device__ inline Component streamed(const Mixture& own, const Mixture& other, int symmetric, int s) {
    if (symmetric) return of_difference(own, other, s);
    return component(other, s);
}

// sqrt(det P) exp(-1/2 d^T P d), P = (C + C')^-1. Leaves the factor of C + C' in f and D^-1 L^-1 d in u.
__device__ inline wide overlap(const Component& a, const Component& b, wide (&f)[TRI], wide (&u)[K]) {
    wide square = 0;
#pragma unroll
    for (int k = 0; k < TRI; ++k) f[k] = a.cov[k] + b.cov[k];
#pragma unroll
    for (int k = 0; k < K; ++k) u[k] = a.mean[k] - b.mean[k];
    const wide peak = root_free(f);
    half_solve(f, u);
#pragma unroll
    for (int k = 0; k < K; ++k) {
        const wide z = u[k];
        u[k] *= f[packed(k, k)];
        square += z * u[k];
    }
    return peak * power_of_two(-SCALE * square);
}

// Pivots of a sum are no smaller than the sums of pivots: once all components pass, every pair does.
__device__ inline Fault fault_of(wide weight, const real* mean, const real* cov) {
    bool finite = is_finite(weight), singular = false;
    for (int k = 0; k < K; ++k) finite = finite && is_finite(mean[k]);
    for (int k = 0; k < K * K; ++k) finite = finite && is_finite(cov[k]);
    if (!finite) return NON_FINITE;
    wide a[TRI], peak = 1, square = 0;
    read_symmetric(cov, a);
    if (!whiten(a)) return NOT_DEFINITE;
    for (int k = 0; k < TRI; ++k) square += a[k] * a[k];
    for (int k = 0; k < K; ++k) {
        const wide root = a[packed(k, k)];
        peak *= PEAK_OF_ONE * root;
        singular = singular || !(1 / (root * root) > SINGULAR * wide(cov[k * (K + 1)]));
    }
    if (!is_finite(weight * peak) || !is_finite(square)) return OVERFLOW_OF_DTYPE;
    return singular ? NOT_DEFINITE : SOUND;
}

// One thread per component.
extern "C" __global__ void product_check(const real* weights,  // [M N]
                                         const real* means,    // [M N, K]
                                         const real* covs,     // [M N, K, K]
                                         int64* first_fault, int M, int N) {
    const int64 i = thread_id();
    if (i < int64(M) * N && weights[i] != 0)
        report(first_fault, i, fault_of(weights[i], means + i * K, covs + i * K * K));
}

// Each block takes one form, `width` components of the left side and one slice of the streamed one. A symmetric form
// takes every pair of blocks once, and half of each block's form with itself; `product_total` doubles it all.
extern "C" __global__ __launch_bounds__(BLOCK, 4) void product_forward(
    const real* weights,        // [A, N]
    const real* means,          // [A, N, K]
    const real* covs,           // [A, N, K, K]
    const real* other_weights,  // [B, N']
    const real* other_means,    // [B, N', K]
    const real* other_covs,     // [B, N', K, K]
    const int64* of_own,        // [M]: of A
    const int64* of_other,      // [M]: of B
    wide* parts,                // [M, tiles, slices]
    int N, int n_other, int symmetric, int width, int slices) {
    __shared__ Component tile[TILE];
    __shared__ wide scratch[BLOCK];
    const int left = symmetric ? N + n_other : N, right = symmetric ? left : n_other;
    const int tiles = (left + width - 1) / width, s = blockIdx.x % slices;
    const int64 rest = blockIdx.x / slices, m = rest / tiles;
    const int begin = rest % tiles * width, i = begin + int(threadIdx.x) % width;
    const Mixture own = mixture(weights, means, covs, N, of_own[m]);
    const Mixture other = mixture(other_weights, other_means, other_covs, n_other, of_other[m]);
    Component mine = {};
    if (i < left) mine = symmetric ? of_difference(own, other, i) : component(own, i);

    const int from = symmetric ? begin : 0, half = symmetric ? min(begin + width, left) : 0;
    const int length = ((right - from + slices - 1) / slices + TILE - 1) / TILE * TILE;  // of a slice: whole tiles
    const int first = int(min(from + int64(s) * length, int64(right))), last = min(first + length, right);
    wide sum[1] = {};
    for (int start = first; start < last; start += TILE) {
        const int count = min(TILE, last - start);
        __syncthreads();
        for (int j = threadIdx.x; j < count; j += blockDim.x) {
            tile[j] = streamed(own, other, symmetric, start + j);
            if (start + j < half) tile[j].weight *= 0.5;
        }
        __syncthreads();
        for (int j = int(threadIdx.x) / width; j < count; j += int(blockDim.x) / width) {
            if (tile[j].weight == 0) continue;
            wide f[TRI], u[K];
            sum[0] += tile[j].weight * overlap(mine, tile[j], f, u);
        }
    }
    sum[0] = mine.weight != 0 ? mine.weight * sum[0] : 0;
    block_sums(sum, scratch);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum[0];
}

// One block per form adds up its parts.
extern "C" __global__ void product_total(const wide* parts,  // [M, count]
                                         real* values,       // [M]
                                         wide* results,      // [M]: before they are rounded
                                         int64* first_fault, int count, wide constant, int symmetric, int distance) {
    __shared__ wide scratch[BLOCK];
    const int64 m = blockIdx.x;
    wide sum[1] = {};
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum[0] += parts[m * count + i];
    block_sums(sum, scratch);
    if (threadIdx.x != 0) return;
    wide result = sum[0] * (symmetric ? 2 * constant : constant);
    if (!is_finite(result)) atomicMin(first_fault, m);
    if (symmetric) result = max(result, 0.0);
    if (distance) result = sqrt(result);
    results[m] = result;
    values[m] = real(result);
}

// One thread per form: the cotangent of the sum over its pairs, which the gradients of both sides share.
extern "C" __global__ void product_factors(const real* g,        // [M]
                                           const wide* results,  // [M]
                                           wide* factors,        // [M]
                                           int M, wide constant, int symmetric, int distance) {
    const int64 m = thread_id();
    if (m >= M) return;
    wide factor = wide(g[m]) * (symmetric ? 2 * constant : constant);
    if (distance) factor = results[m] > 0 ? factor / (2 * results[m]) : 0;  // 0 is a subgradient where the kink is
    factors[m] = factor;
}

constexpr int COUNT = 1 + K + TRI;

// sums += h, h y and h (y y^T - P), packed, of one pair: y = P d and h is the weight times the overlap.
__device__ inline void add_slopes(const Component& mine, const Component& c, wide (&sums)[COUNT]) {
    wide f[TRI], y[K], p[TRI];
    const wide h = c.weight * overlap(mine, c, f, y);
    back_solve(f, y);
    invert(f, p);
    sums[0] += h;
#pragma unroll
    for (int k = 0; k < K; ++k) {
        const wide hy = h * y[k];
        sums[1 + k] += hy;
#pragma unroll
        for (int m = 0; m <= k; ++m) sums[1 + K + packed(k, m)] += hy * y[m] - h * p[packed(k, m)];
    }
}

constexpr int GROUP = 4;  // sums that are added up together, which saves barriers

// Adds up the sums of the threads that share a component, those `width` apart. Every thread of the block must call it.
__device__ inline void add_lanes(wide (&sums)[COUNT], wide (*scratch)[BLOCK], int width) {
    const int t = threadIdx.x;
    if (width == BLOCK) return;
#pragma unroll
    for (int first = 0; first < COUNT; first += GROUP) {
        __syncthreads();
#pragma unroll
        for (int c = first; c < min(first + GROUP, COUNT); ++c) scratch[c - first][t] = sums[c];
        for (int half = BLOCK / 2; half >= width; half /= 2) {
            __syncthreads();
            if (t < half)
                for (int c = 0; c < min(GROUP, COUNT - first); ++c) scratch[c][t] += scratch[c][t + half];
        }
        __syncthreads();
#pragma unroll
        for (int c = first; c < min(first + GROUP, COUNT); ++c) sums[c] = scratch[c - first][t % width];
    }
}

// Each block takes `width` components of one mixture, and one slice of what all forms that this mixture is part of
// stream past it, in ascending order: `forms` of them, with as many components each.
extern "C" __global__ __launch_bounds__(BLOCK, 4) void product_gather(
    const real* weights,        // [A, N]
    const real* means,          // [A, N, K]
    const real* covs,           // [A, N, K, K]
    const real* other_weights,  // [B, N']
    const real* other_means,    // [B, N', K]
    const real* other_covs,     // [B, N', K, K]
    const int64* partners,      // [A, forms]: of M
    const int64* of_other,      // [M]: of B
    const wide* factors,        // [M]
    wide* moments,              // [slices, A N, COUNT]
    int A, int N, int n_other, int forms, int symmetric, int width, int slices) {
    __shared__ Component tile[TILE];
    __shared__ wide scratch[GROUP][BLOCK];
    const int tiles = (N + width - 1) / width, s = blockIdx.x % slices;
    const int64 rest = blockIdx.x / slices, p = rest / tiles;
    const int i = rest % tiles * width + int(threadIdx.x) % width;
    const Mixture own = mixture(weights, means, covs, N, p);
    Component mine = {};
    if (i < N) mine = component(own, i);

    const int each = symmetric ? N + n_other : n_other;
    const int64 total = int64(forms) * each, length = ((total + slices - 1) / slices + TILE - 1) / TILE * TILE;
    const int64 first = min(s * length, total), last = min(first + length, total);
    wide sums[COUNT] = {};
    for (int64 start = first; start < last; start += TILE) {
        const int count = int(min(int64(TILE), last - start));
        __syncthreads();
        for (int j = threadIdx.x; j < count; j += BLOCK) {
            const int64 m = partners[p * forms + (start + j) / each];
            const Mixture other = mixture(other_weights, other_means, other_covs, n_other, of_other[m]);
            tile[j] = streamed(own, other, symmetric, int((start + j) % each));
            tile[j].weight *= factors[m];
        }
        __syncthreads();
        for (int j = int(threadIdx.x) / width; j < count; j += BLOCK / width)
            if (tile[j].weight != 0) add_slopes(mine, tile[j], sums);
    }
    add_lanes(sums, scratch, width);
    if (int(threadIdx.x) < width && i < N)
        for (int c = 0; c < COUNT; ++c) moments[(s * (int64(A) * N) + p * N + i) * COUNT + c] = sums[c];
}

// One thread per component adds up the slices, in their order.
extern "C" __global__ void product_gradient(const real* weights,  // [A N]
                                            const wide* moments,  // [slices, A N, COUNT]
                                            real* g_weights,      // [A N]
                                            real* g_means,        // [A N, K]
                                            real* g_covs,         // [A N, K, K]
                                            int A, int N, int slices) {
    const int64 i = thread_id(), components = int64(A) * N;
    if (i >= components) return;
    wide sums[COUNT] = {}, of_cov[TRI];
    const wide w = weights[i];
    if (w != 0)  // the covariance of an absent component may be anything
        for (int s = 0; s < slices; ++s)
            for (int c = 0; c < COUNT; ++c) sums[c] += moments[(s * components + i) * COUNT + c];
    g_weights[i] = real(sums[0]);
    for (int k = 0; k < K; ++k) g_means[i * K + k] = real(w != 0 ? -w * sums[1 + k] : 0.0);
    for (int k = 0; k < TRI; ++k) of_cov[k] = 0.5 * w * sums[1 + K + k];
    write_symmetric(g_covs + i * K * K, of_cov);
}
