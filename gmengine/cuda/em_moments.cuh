// What one step of EM makes of shares: parents, the moments that they gather, and the rows that these become.
#pragma once
#include "em_step.cuh"

constexpr int CHUNK = 8;  // components whose moments are taken about their own mean, before they are added to others
constexpr wide PIVOT = 4.44089209850062616e-16, LIFT = 8.88178419700125232e-16;  // 2^-51 of a pivot, 2^-50 of the trace

__device__ inline void write_parent(const wide* row, Parent& s) {
    wide inverse[TRI], product = 1;
    for (int k = 0; k < K; ++k) s.mu[k] = row[MU + k];
    for (int q = 0; q < TRI; ++q) inverse[q] = row[COV + q];
    whiten(inverse);
#pragma unroll
    for (int k = 0; k < K; ++k) {
        product *= inverse[packed(k, k)];
#pragma unroll
        for (int m = 0; m <= k; ++m) {
            wide sum = 0;
#pragma unroll
            for (int u = k; u < K; ++u) sum += inverse[packed(u, k)] * inverse[packed(u, m)];
            s.a[packed(k, m)] = ROOT_OF_SCALE * inverse[packed(k, m)];
            s.p[packed(k, m)] = (k == m ? SCALE : 2 * SCALE) * sum;
        }
    }
    s.peak = log2(product);
    s.log_w = log2(row[W]);
}

__device__ inline wide read_component(const wide* row, wide (&x)[K], wide (&c)[TRI]) {
#pragma unroll
    for (int k = 0; k < K; ++k) x[k] = row[MU + k];
#pragma unroll
    for (int q = 0; q < TRI; ++q) c[q] = row[COV + q];
    return row[W];
}

// The largest of logarithms to the base 2, and the sum of their exponentials divided by its own.
struct Softmax {
    wide top = -LARGEST, total = 0;
    __device__ void add(wide logarithm) {
        const bool higher = logarithm > top;
        const wide e = power_of_two(higher ? top - logarithm : logarithm - top);
        total = higher ? fma(total, e, 1.0) : total + e;
        top = higher ? logarithm : top;
    }
};

// Adds moments, of a mass, to others: masses, means, and sums of rho (C + d d^T) about the means.
__device__ inline void merge_moments(wide (&a)[ROW], const wide (&b)[ROW]) {
    if (b[W] < SMALLEST) return;
    const wide before = a[W];
    a[W] += b[W];
    const wide part = b[W] / a[W];
    wide step[K];
#pragma unroll
    for (int k = 0; k < K; ++k) {
        step[k] = b[MU + k] - a[MU + k];
        a[MU + k] += part * step[k];
    }
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m <= k; ++m)
            a[COV + packed(k, m)] += b[COV + packed(k, m)] + before * part * step[k] * step[m];
}

// Adds what a parent takes of the components lane, lane + lanes, ... of a tile; a bit says which of them it may take.
__device__ inline void add_components(const Parent& s, uint64 mask, const Lanes& d, const Component<3>* tile, int count,
                                      wide (&moments)[ROW]) {
    for (int first = d.lane; first < count; first += d.lanes * CHUNK) {
        wide rho[CHUNK], part[ROW] = {};
#pragma unroll
        for (int r = 0; r < CHUNK; ++r) {
            const int i = first + r * d.lanes;
            rho[r] = 0;
            if (i >= count || !(mask >> i & 1)) continue;
            const Component<3>& c = tile[i];
            rho[r] = share_of(s, log_likelihood(s, c.x, c.c), c.norms) * c.w;
            part[W] += rho[r];
#pragma unroll
            for (int k = 0; k < K; ++k) part[MU + k] += rho[r] * (c.x[k] - s.mu[k]);
        }
        if (part[W] < SMALLEST) continue;
        const wide inverse = 1 / part[W];
#pragma unroll
        for (int k = 0; k < K; ++k) part[MU + k] = s.mu[k] + inverse * part[MU + k];
#pragma unroll
        for (int r = 0; r < CHUNK; ++r) {
            const int i = first + r * d.lanes;
            if (i >= count || !(mask >> i & 1)) continue;
            const Component<3>& c = tile[i];
            wide e[K];
#pragma unroll
            for (int k = 0; k < K; ++k) {
                e[k] = c.x[k] - part[MU + k];
#pragma unroll
                for (int m = 0; m <= k; ++m) part[COV + packed(k, m)] += rho[r] * (e[k] * e[m] + c.c[packed(k, m)]);
            }
        }
        merge_moments(moments, part);
    }
}

// Whether every pivot of a covariance is more than rounding.
__device__ inline bool is_definite(const wide (&c)[TRI]) {
    wide inverse[TRI];
    for (int q = 0; q < TRI; ++q) inverse[q] = c[q];
    bool definite = whiten(inverse);
    for (int k = 0; k < K; ++k) {
        const int q = packed(k, k);
        definite = definite && PIVOT * c[q] * inverse[q] * inverse[q] < 1;
    }
    return definite;
}

// Makes a covariance of a sum of rho (C + d d^T), and of next to no mass the parent that it started from. To a
// covariance that rounding has left indefinite a few 2^-50 of its trace are added: see cpu/_em_step.py.
__device__ inline void finish_moments(const wide* parent, wide (&row)[ROW]) {
    if (row[W] < SMALLEST) {
        for (int q = 0; q < ROW; ++q) row[q] = parent[q];
        row[W] = SMALLEST;
        return;
    }
    wide c[TRI], trace = 0;
    const wide inverse = 1 / row[W];
    for (int q = 0; q < TRI; ++q) c[q] = inverse * row[COV + q];
    for (int k = 0; k < K; ++k) trace += c[packed(k, k)];
    for (wide lift = LIFT * trace; lift < trace && !is_definite(c); lift *= 2)
        for (int k = 0; k < K; ++k) c[packed(k, k)] += lift;
    for (int q = 0; q < TRI; ++q) row[COV + q] = c[q];
}

// Whether the dtype can hold the mass of a fitted row as a normal number.
__device__ inline bool is_present(const wide* row) {
    return row[W] > (sizeof(real) == 4 ? 1.1754943508222875e-38 : SMALLEST);
}
