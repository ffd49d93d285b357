// One Gaussian: from its covariance to the coefficients of the pair loops, and from their moments back to gradients.
// All of it is linear in the number of components and done in `wide`; cpu/_gaussian.py is its twin.
#pragma once
#include "common.cuh"

enum Fault : int { SOUND = 0, NON_FINITE = 1, NOT_DEFINITE = 2, OVERFLOW_OF_DTYPE = 3 };

// y.y = SCALE |L^-1 d|^2, so that 2^(-y.y) = exp(-1/2 d^T C^-1 d).
constexpr wide SCALE = 0.72134752044448170368;        // log2(e) / 2
constexpr wide ROOT_OF_SCALE = 0.84932180028801904272;
constexpr wide PEAK_OF_ONE = 0.39894228040143267794;  // 1 / sqrt(2 pi)

// c = (C + C^T) / 2, packed.
__device__ inline void read_symmetric(const real* cov, wide (&c)[TRI]) {
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m <= k; ++m) c[packed(k, m)] = 0.5 * (wide(cov[k * K + m]) + wide(cov[m * K + k]));
}

__device__ inline void write_symmetric(real* cov, const wide (&c)[TRI]) {
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m < K; ++m) cov[k * K + m] = real(c[packed_symmetric(k, m)]);
}

// Replaces C = L L^T, packed, by L^-1. False, and garbage, if C is not positive definite.
__device__ inline bool whiten(wide (&a)[TRI]) {
    bool definite = true;
#pragma unroll
    for (int k = 0; k < K; ++k) {  // a becomes L, row by row, with its diagonal inverted
#pragma unroll
        for (int m = 0; m <= k; ++m) {
            wide value = a[packed(k, m)];
#pragma unroll
            for (int i = 0; i < m; ++i) value -= a[packed(k, i)] * a[packed(m, i)];
            if (m < k) {
                a[packed(k, m)] = value * a[packed(m, m)];
            } else {
                definite = definite && value > 0;
                a[packed(k, k)] = 1 / sqrt(value);
            }
        }
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {  // and then L^-1, again row by row
#pragma unroll
        for (int m = 0; m < k; ++m) {
            wide value = 0;
#pragma unroll
            for (int i = m; i < k; ++i) value += a[packed(k, i)] * a[packed(i, m)];
            a[packed(k, m)] = -value * a[packed(k, k)];
        }
    }
    return definite;
}

// One component as the pair loops read it: the mean, A = sqrt(SCALE) L^-1 packed, and S amplitudes w N(mu; mu, C).
// An absent component is all zeros: its exponential is 1 and counts for nothing.
template <int S>
struct alignas(16) Row {
    real mean[K];
    real a[TRI];
    real amplitude[S];
};

// Fills mean and A of `row` and returns N(mu; mu, C) in `peak`; the amplitudes are the caller's.
template <int S>
__device__ inline Fault prepare(real weight, const real* mean, const real* cov, Row<S>& row, wide& peak) {
    wide a[TRI];
    bool finite = is_finite(weight);
    for (int k = 0; k < K; ++k) finite = finite && is_finite(mean[k]);
    for (int k = 0; k < K * K; ++k) finite = finite && is_finite(cov[k]);
    if (!finite) return NON_FINITE;
    read_symmetric(cov, a);
    if (!whiten(a)) return NOT_DEFINITE;
    wide square = 0;
    peak = 1;
#pragma unroll
    for (int k = 0; k < TRI; ++k) {
        square += a[k] * a[k];
        row.a[k] = real(ROOT_OF_SCALE * a[k]);
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
        row.mean[k] = mean[k];
        peak *= PEAK_OF_ONE * a[packed(k, k)];
    }
    return is_finite(real(weight * peak)) && is_finite(real(square)) ? SOUND : OVERFLOW_OF_DTYPE;
}

template <int S>
__device__ inline void clear(Row<S>& row) {
    for (int k = 0; k < K; ++k) row.mean[k] = 0;
    for (int k = 0; k < TRI; ++k) row.a[k] = 0;
    for (int s = 0; s < S; ++s) row.amplitude[s] = 0;
}

// Keeps the first faulty component (by number) of all that are reported, and what is wrong with it.
__device__ inline void report(int64* first_fault, int64 component, Fault fault) {
    if (fault != SOUND) atomicMin(first_fault, component * 4 + fault);
}

// Gradients of one component from h = sum_i h_i, hy = sum_i h_i y_i and hyy = sum_i h_i y_i y_i^T (packed): with
// d = x - mu and P = C^-1 = A^T A / SCALE, that of the mean is sum h P d = A^T hy / SCALE (`point_part` is added), and
// that of the covariance 1/2 sum h (P d d^T P - P) = A^T (hyy / SCALE^2 - h / SCALE) A / 2.
template <int S>
__device__ inline void write_component_gradient(const Row<S>& row, wide h, const wide* hy, const wide* hyy,
                                                const wide (&point_part)[K], real* g_mean, real* g_cov) {
    wide s[TRI], right[K][K], out[TRI];
#pragma unroll
    for (int m = 0; m < K; ++m) {
        wide sum = 0;
        for (int k = m; k < K; ++k) sum += wide(row.a[packed(k, m)]) * hy[k];
        g_mean[m] = real(sum * (1 / SCALE) + point_part[m]);
    }
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m <= k; ++m)
            s[packed(k, m)] = 0.5 / (SCALE * SCALE) * hyy[packed(k, m)] - (k == m ? 0.5 / SCALE * h : 0.0);
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m < K; ++m) {
            right[k][m] = 0;
            for (int u = m; u < K; ++u) right[k][m] += s[packed_symmetric(k, u)] * wide(row.a[packed(u, m)]);
        }
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m <= k; ++m) {
            wide sum = 0;
            for (int u = k; u < K; ++u) sum += wide(row.a[packed(u, k)]) * right[u][m];
            out[packed(k, m)] = sum;
        }
    write_symmetric(g_cov, out);
}
