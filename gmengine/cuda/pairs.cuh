// The loops over pairs of a point x_i and a component j: e_ij = 2^(-y.y), y = A_j (x_i - mu_j).
// Every sum is gathered by the thread that owns it: over a tile in `real`, over tiles in `wide`, always in one order.
#pragma once
#include "gaussian.cuh"

constexpr int TILE = K <= 6 ? 64 : 16;  // components, or points, that a block reads together: static shared memory is 48 KB
constexpr int BLOCK = 128;              // threads per block
constexpr int UNROLL = sizeof(real) == 4 ? 2 : 1;  // of the loops of gradients: doubles need their registers

template <int S>
struct alignas(16) Point {
    real x[K];
    real g[S];  // cotangents of the S values at the point; 0 for a point that does not count
};

struct alignas(16) Chunk {
    unsigned word[4];
};

// Copies n rows into shared memory, 16 bytes per thread at a time.
template <int S>
__device__ inline void load_tile(const Row<S>* rows, int n, Row<S>* tile) {
    constexpr int PER_ROW = sizeof(Row<S>) / sizeof(Chunk);
    const Chunk* from = reinterpret_cast<const Chunk*>(rows);
    Chunk* to = reinterpret_cast<Chunk*>(tile);
    for (int i = threadIdx.x; i < n * PER_ROW; i += blockDim.x) to[i] = from[i];
}

template <int S>
__device__ inline void whitened(const Row<S>& row, const real (&x)[K], real (&y)[K]) {
    real d[K];
#pragma unroll
    for (int k = 0; k < K; ++k) d[k] = x[k] - row.mean[k];
#pragma unroll
    for (int k = 0; k < K; ++k) {
        y[k] = 0;
#pragma unroll
        for (int m = 0; m <= k; ++m) y[k] += row.a[packed(k, m)] * d[m];
    }
}

__device__ inline real density(const real (&y)[K]) {
    real exponent = 0;  // minus the square from the start: the sign of a product costs nothing, that of a sum an addition
#pragma unroll
    for (int k = 0; k < K; ++k) exponent -= y[k] * y[k];
    return power_of_two(exponent);
}

// totals[s][r] = sum_j amplitude_js e_rj over the n components `rows`, for R points per thread.
template <int S, int R>
__device__ inline void pair_values(const Row<S>* rows, int n, Row<S>* tile, const real (&x)[R][K], wide (&totals)[S][R]) {
    for (int s = 0; s < S; ++s)
        for (int r = 0; r < R; ++r) totals[s][r] = 0;
    for (int first = 0; first < n; first += TILE) {
        const int count = min(TILE, n - first);
        __syncthreads();
        load_tile<S>(rows + first, count, tile);
        __syncthreads();
        real sums[S][R] = {};
#pragma unroll 4
        for (int j = 0; j < count; ++j) {
            const Row<S> row = tile[j];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                real y[K];
                whitened(row, x[r], y);
                const real e = density(y);
#pragma unroll
                for (int s = 0; s < S; ++s) sums[s][r] += row.amplitude[s] * e;
            }
        }
        for (int s = 0; s < S; ++s)
            for (int r = 0; r < R; ++r) totals[s][r] += sums[s][r];
    }
}

// totals[r] = sum_j h_rj A_j^T y, h_rj = e_rj sum_s g_rs amplitude_js, for R points per thread: minus SCALE times the
// gradient of the points.
template <int S, int R>
__device__ inline void point_slopes(const Row<S>* rows, int n, Row<S>* tile, const Point<S> (&p)[R], wide (&totals)[R][K]) {
    for (int r = 0; r < R; ++r)
        for (int k = 0; k < K; ++k) totals[r][k] = 0;
    for (int first = 0; first < n; first += TILE) {
        const int count = min(TILE, n - first);
        __syncthreads();
        load_tile<S>(rows + first, count, tile);
        __syncthreads();
        real sums[R][K] = {};
#pragma unroll UNROLL
        for (int j = 0; j < count; ++j) {
            const Row<S> row = tile[j];
#pragma unroll
            for (int r = 0; r < R; ++r) {
                real y[K], h = 0;
                whitened(row, p[r].x, y);
#pragma unroll
                for (int s = 0; s < S; ++s) h += p[r].g[s] * row.amplitude[s];
                h *= density(y);
#pragma unroll
                for (int m = 0; m < K; ++m) {
                    real slope = 0;
#pragma unroll
                    for (int k = m; k < K; ++k) slope += row.a[packed(k, m)] * y[k];
                    sums[r][m] += h * slope;
                }
            }
        }
        for (int r = 0; r < R; ++r)
            for (int k = 0; k < K; ++k) totals[r][k] += sums[r][k];
    }
}

template <int S>
constexpr int MOMENTS = S + K + TRI;

// A thread's share of sum_i g_is e_ij (S), sum_i h_ij y (K) and sum_i h_ij y y^T (TRI) of one component `row`, over
// the points [first, last): those whose place in their tile is lane, lane + lanes, ... `load(i, point)` reads a point.
template <int S, class Load>
__device__ inline void component_slopes(const Row<S>& row, int lane, int lanes, int first, int last, Point<S>* tile,
                                        Load load, wide (&totals)[MOMENTS<S>]) {
    for (int c = 0; c < MOMENTS<S>; ++c) totals[c] = 0;
    for (int start = first; start < last; start += TILE) {
        const int count = min(TILE, last - start);
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += blockDim.x) load(start + i, tile[i]);
        __syncthreads();
        real sums[MOMENTS<S>] = {};
#pragma unroll UNROLL
        for (int i = lane; i < count; i += lanes) {
            const Point<S> p = tile[i];
            real y[K], h = 0;
            whitened(row, p.x, y);
            const real e = density(y);
#pragma unroll
            for (int s = 0; s < S; ++s) {
                sums[s] += p.g[s] * e;
                h += p.g[s] * row.amplitude[s];
            }
            h *= e;
#pragma unroll
            for (int k = 0; k < K; ++k) {
                const real hy = h * y[k];
                sums[S + k] += hy;
#pragma unroll
                for (int m = 0; m <= k; ++m) sums[S + K + packed(k, m)] += hy * y[m];
            }
        }
        for (int c = 0; c < MOMENTS<S>; ++c) totals[c] += sums[c];
    }
}

// How the blocks of a component pass are dealt: each takes one slice of the points of one mixture, and `width`
// components (a power of two <= BLOCK), for each of them BLOCK / width threads: its lanes.
struct Deal {
    int m, component, lane, lanes, slice, first, last;
};

__device__ inline Deal deal(int N, int P, int width, int slices) {
    Deal d;
    const int tiles = (N + width - 1) / width;
    const int s = blockIdx.x % slices, rest = blockIdx.x / slices;
    d.m = rest / tiles;
    d.component = rest % tiles * width + int(threadIdx.x) % width;
    d.lane = int(threadIdx.x) / width;
    d.lanes = BLOCK / width;
    d.slice = s;
    const int length = ((P + slices - 1) / slices + TILE - 1) / TILE * TILE;  // of a slice: whole tiles
    d.first = min(s * length, P);
    d.last = min(d.first + length, P);
    return d;
}

// Adds up the lanes of each component and lets lane 0 store the sums as moments[slice, component of all M N].
template <int COUNT>
__device__ inline void store_moments(const wide (&totals)[COUNT], const Deal& d, int M, int N, wide* moments) {
    __shared__ wide scratch[BLOCK];
    const bool mine = d.lane == 0 && d.component < N;
    wide* out = moments + (d.slice * (int64(M) * N) + int64(d.m) * N + d.component) * COUNT;
    for (int q = 0; q < COUNT; ++q) {
        wide sum = totals[q];
        for (int half = d.lanes / 2; half > 0; half /= 2) {  // the same for every thread of the block
            __syncthreads();
            scratch[threadIdx.x] = sum;
            __syncthreads();
            if (d.lane < half) sum += scratch[threadIdx.x + half * (BLOCK / d.lanes)];
        }
        if (mine) out[q] = sum;
    }
}
