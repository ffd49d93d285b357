// Convolution and its gradients; cpu/convolve.py derives them. The product of data component d = n + N i and kernel
// component q = (o, m) is component (b, q, d) of the result [B, O, M, D], D = I N. Both kernels are bound by bytes:
// forward writes every number once, vjp reads every cotangent once, whichever gradients are asked for; the rest is
// of the size of the factors, or at most a quarter of the cotangents (the totals of slices, which a large cache
// keeps).
#include "fields.cuh"

constexpr int PAIRS = 8;        // (b, n) per thread of vjp: loads that are under way together
constexpr int PITCH = LANES + 1;
// blocks of vjp per multiprocessor: registers for two at K = 3
constexpr int RESIDENT = THREADS < 832 ? 832 / THREADS : 1;

// LANES data components and one slice of the kernel components per block: a thread reads its number of the data once.
extern "C" __global__ __launch_bounds__(THREADS) void convolve_forward(const real* __restrict__ weights,    // [B, I, N]
                                                                       const real* __restrict__ means,      // [.., K]
                                                                       const real* __restrict__ covs,  // [.., K, K]
                                                                       const real* __restrict__ k_weights,  // [O, I, M]
                                                                       const real* __restrict__ k_means,    // [.., K]
                                                                       const real* __restrict__ k_covs,  // [.., K, K]
                                                                       real* __restrict__ out_weights,  // [B, O, M, D]
                                                                       real* __restrict__ out_means,    // [.., K]
                                                                       real* __restrict__ out_covs,     // [.., K, K]
                                                                       int I, int N, int D, int products,  // O M
                                                                       int M, int slices) {
    const Place at;
    const int tiles = (D + LANES - 1) / LANES, d = blockIdx.x % tiles * LANES + at.lane;
    const int slice = blockIdx.x / tiles % slices, b = blockIdx.x / tiles / slices;
    if (!at.inside || d >= D) return;
    const int first = int(int64(slice) * products / slices), last = int(int64(slice + 1) * products / slices);
    const int source = max(at.entry, transposed(at.field, at.entry));  // of a covariance the lower triangle counts
    const real own = at.of(weights, means, covs)[(int64(b) * D + d) * at.length + source];
    const int64 step = int64(D) * at.length;
    int m = first % M;
    const real* kern =
        at.of(k_weights, k_means, k_covs) + ((int64(first / M) * I + d / N) * M + m) * at.length + source;
    real* out = at.of(out_weights, out_means, out_covs) + (int64(b) * products + first) * step;
    out += int64(d) * at.length + at.entry;
#pragma unroll 4
    for (int q = first; q < last; ++q) {
        const real other = __ldg(kern);
        *out = at.weight() ? own * other : own + other;
        out += step;
        kern += at.length;
        if (++m == M) {
            m = 0;
            kern += (int64(I) - 1) * M * at.length;
        }
    }
}

// One input channel i, one tile of the pairs (b, n), and one slice of the kernel components per block. A thread
// adds its number up over q for each of its pairs, which gives the data's gradient, and for each q over its pairs,
// which the block adds up to the kernel's. Products with an absent factor are not read.
extern "C" __global__ __launch_bounds__(THREADS, RESIDENT) void convolve_vjp(const real* __restrict__ weights,  // [B, I, N]
                                                                   const real* __restrict__ k_weights,  // [O, I, M]
                                                                   const real* __restrict__ g_weights,  // [B, O, M, I, N]
                                                                   const real* __restrict__ g_means,    // [.., K]
                                                                   const real* __restrict__ g_covs,     // [.., K, K]
                                                                   real* d_weights,      // [B, I, N], if slices is 1
                                                                   real* d_means,        // [.., K]
                                                                   real* d_covs,         // [.., K, K]
                                                                   wide* data_totals,  // [slices, B I N ENTRIES], if not
                                                                   wide* kernel_totals,  // [tiles, O I M ENTRIES]
                                                                   int pairs,            // B N
                                                                   int I, int N, int products,  // O M
                                                                   int M, int tiles, int slices, int of_data,
                                                                   int of_kernel) {
    __shared__ wide board[2][ENTRIES * PITCH];
    const Place at;
    const int i = blockIdx.x % I, slice = blockIdx.x / I % slices, tile = blockIdx.x / I / slices;
    const int begin = int(int64(tile) * pairs / tiles), end = int(int64(tile + 1) * pairs / tiles);
    const int first = int(int64(slice) * products / slices), last = int(int64(slice + 1) * products / slices);
    const int64 step = int64(I) * N * at.length;
    const real* g = at.of(g_weights, g_means, g_covs) + first * step + at.entry;
    real factor[PAIRS];  // what the cotangent counts for in the kernel's gradient; 0: not at all, not even as NaN
    int64 where[PAIRS];
    wide sums[PAIRS];
#pragma unroll
    for (int r = 0; r < PAIRS; ++r) {
        factor[r] = sums[r] = where[r] = 0;
        const int p = begin + r * LANES + at.lane;
        if (!at.inside || p >= end) continue;
        const int b = p / N, n = p - b * N;
        const real w = weights[(int64(b) * I + i) * N + n];
        where[r] = int64(b) * products * step + (int64(i) * N + n) * at.length;
        factor[r] = at.weight() || w == 0 ? w : real(1);
    }
    // The sums that this thread reads off the board: a group of LANES threads for each of the ENTRIES.
    const int row = threadIdx.x / LANES, lane = threadIdx.x % LANES, field = row == 0 ? 0 : row <= K ? 1 : 2;
    const int64 count = int64(I) * products;  // kernel components
    wide* total = kernel_totals + (int64(tile) * ENTRIES + offset_of(field)) * count + row - offset_of(field);
    int turn = 0, m = first % max(M, 1);
    int64 c = (int64(first / max(M, 1)) * I + i) * M + m;
    for (int q = first; q < last; ++q) {
        const real v = k_weights[c];
        wide sum = 0;
        if (v != 0) {
            const wide scale = at.weight() ? v : real(1);
            real found[PAIRS];
#pragma unroll
            for (int r = 0; r < PAIRS; ++r) found[r] = factor[r] != 0 ? __ldg(g + where[r]) : real(0);
#pragma unroll
            for (int r = 0; r < PAIRS; ++r) {
                sums[r] += scale * found[r];
                sum += wide(factor[r]) * found[r];
            }
        }
        if (of_kernel) {
            if (at.inside) board[turn][at.row() * PITCH + at.lane] = sum;
            __syncthreads();  // the other board is written next: it was read before this barrier
            sum = row < ENTRIES ? board[turn][row * PITCH + lane] : 0;
#pragma unroll
            for (int bit = LANES / 2; bit > 0; bit /= 2) sum += __shfl_xor_sync(~0u, sum, bit);
            if (lane == 0 && row < ENTRIES) total[c * length_of(field)] = sum;
            turn ^= 1;
        }
        g += step;
        ++c;
        if (++m == M) {
            m = 0;
            c += (int64(I) - 1) * M;
        }
    }
    if (!of_data) return;
    const int mirrored = offset_of(at.field) + transposed(at.field, at.entry);
    const int64 present = int64(pairs) * I;
#pragma unroll
    for (int r = 0; r < PAIRS; ++r) {
        if (at.inside) board[turn][at.row() * PITCH + at.lane] = sums[r];
        __syncthreads();
        const int p = begin + r * LANES + at.lane;
        if (at.inside && p < end) {
            const wide sum = factor[r] != 0 ? 0.5 * (sums[r] + board[turn][mirrored * PITCH + at.lane]) : 0;
            const int b = p / N, n = p - b * N;
            const int64 number = ((int64(b) * I + i) * N + n) * at.length + at.entry;
            if (slices == 1) {
                at.of(d_weights, d_means, d_covs)[number] = real(sum);
            } else {
                data_totals[(int64(slice) * ENTRIES + offset_of(at.field)) * present + number] = sum;
            }
        }
        turn ^= 1;
    }
}

// One thread per number of `count` components: adds up the parts, and makes covariances symmetric.
extern "C" __global__ __launch_bounds__(128) void convolve_finish(const wide* totals,  // [parts, count ENTRIES]
                                                                  real* weights,       // [count]
                                                                  real* means,         // [count, K]
                                                                  real* covs,          // [count, K, K]
                                                                  int count, int parts) {
    const int64 k = thread_id(), all = int64(count) * ENTRIES;
    if (k >= all) return;
    const int field = k < count ? 0 : k < int64(count) * (1 + K) ? 1 : 2, length = length_of(field);
    const int64 begin = int64(count) * offset_of(field), number = k - begin;
    const int entry = number % length;
    const int64 mirrored = k - entry + transposed(field, entry);
    wide sum = 0;
    for (int64 s = 0; s < parts; ++s) sum += 0.5 * (totals[s * all + k] + totals[s * all + mirrored]);
    (field == 0 ? weights : field == 1 ? means : covs)[number] = real(sum);
}
