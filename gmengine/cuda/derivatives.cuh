// What the loops of derivatives.cu do with one pair of a point and a component, and how they read both.
#pragma once
#include "pairs.cuh"

template <int ORDER>
constexpr int FORM = ORDER == 1 ? K : TRI;  // numbers that are kept of one derivative

// Numbers of a row after A: the amplitude and, for a Hessian, SCALE A^T A packed.
template <int ORDER>
constexpr int EXTRA = ORDER == 1 ? 1 : 1 + TRI;

// SCALE A^T A of a row, which is symmetric.
template <int S>
__device__ inline void curvature(const Row<S>& row, real (&c)[TRI]) {
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m <= k; ++m) {
            wide sum = 0;
            for (int u = k; u < K; ++u) sum += wide(row.a[packed(u, k)]) * wide(row.a[packed(u, m)]);
            c[packed(k, m)] = real(SCALE * sum);
        }
}

// y = A (x - mu), and 2^(-y.y); y = 0 where that underflows: there y.y may be infinite.
template <int S>
__device__ inline real whiten_near(const Row<S>& row, const real (&x)[K], real (&y)[K]) {
    whitened(row, x, y);
    const real e = density(y);
#pragma unroll
    for (int k = 0; k < K; ++k) y[k] = e > 0 ? y[k] : real(0);
    return e;
}

// A^T y.
template <int S>
__device__ inline void transposed(const Row<S>& row, const real (&y)[K], real (&q)[K]) {
#pragma unroll
    for (int m = 0; m < K; ++m) {
        q[m] = 0;
#pragma unroll
        for (int k = m; k < K; ++k) q[m] += row.a[packed(k, m)] * y[k];
    }
}

// A x.
template <int S>
__device__ inline void lower(const Row<S>& row, const real (&x)[K], real (&y)[K]) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
        y[k] = 0;
#pragma unroll
        for (int m = 0; m <= k; ++m) y[k] += row.a[packed(k, m)] * x[m];
    }
}

// Point i with its cotangent: (K) over SCALE, or (K, K), made symmetric, over SCALE^2.
template <int ORDER>
__device__ inline void load_point(const real* points, const real* g, int64 i, Point<FORM<ORDER>>& p) {
    for (int k = 0; k < K; ++k) {
        p.x[k] = points[i * K + k];
        if constexpr (ORDER == 1)
            p.g[k] = real(wide(g[i * K + k]) * (1 / SCALE));
        else
            for (int l = 0; l <= k; ++l)
                p.g[packed(k, l)] =
                    real((wide(g[(i * K + k) * K + l]) + wide(g[(i * K + l) * K + k])) * (0.5 / (SCALE * SCALE)));
    }
}

// <cotangent, derivative> of one pair is amplitude 2^(-y.y) psi. Returns psi, and u of cpu/derivatives.py.
template <int ORDER>
__device__ inline real slope(const Row<EXTRA<ORDER>>& row, const real (&g)[FORM<ORDER>], const real (&y)[K],
                             real (&u)[K]) {
    real psi = 0;
    if constexpr (ORDER == 1) {
        lower(row, g, u);
#pragma unroll
        for (int k = 0; k < K; ++k) {
            psi -= u[k] * y[k];
            u[k] *= real(SCALE);
        }
    } else {
        real q[K], gq[K];
        transposed(row, y, q);
#pragma unroll
        for (int k = 0; k < K; ++k) {
            gq[k] = 0;
#pragma unroll
            for (int l = 0; l < K; ++l) {
                const int kl = packed_symmetric(k, l);
                gq[k] += g[kl] * q[l];
                psi -= g[kl] * row.amplitude[1 + kl];
            }
            psi += gq[k] * q[k];
        }
        lower(row, gq, u);
#pragma unroll
        for (int k = 0; k < K; ++k) u[k] *= real(-2 * SCALE);
    }
    return psi;
}

// With psi, u of `slope`, e = 2^(-y.y) and v = psi y + u, summed over points: e psi (1), e v (K),
// e (psi y y^T + u y^T + y u^T) (TRI), and of a Hessian e g (TRI).
template <int ORDER>
constexpr int SUMS = 1 + K + ORDER * TRI;

// s += factor A G A^T, all symmetric matrices packed.
template <int S>
__device__ inline void add_sandwich(const Row<S>& row, const wide* g, wide factor, wide* s) {
    wide left[K][K];
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m < K; ++m) {
            left[k][m] = 0;
            for (int u = 0; u <= k; ++u) left[k][m] += wide(row.a[packed(k, u)]) * g[packed_symmetric(u, m)];
        }
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m <= k; ++m) {
            wide sum = 0;
            for (int u = 0; u <= m; ++u) sum += left[k][u] * wide(row.a[packed(m, u)]);
            s[packed(k, m)] += factor * sum;
        }
}
