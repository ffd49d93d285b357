// The root-free Cholesky factorisation S = L D L^T of a small matrix in registers; cpu/_root_free.py is its twin.
//
// L has a unit diagonal. A factor is one packed triangle: L below the diagonal, 1/D on it. Where the twin divides once
// per pivot, here pivots are taken in twos: with their leading minors a and m, one division 1 / (a m) gives both 1/a
// and a/m, and 1/sqrt(det S), which a density needs anyhow, gives the last one. That makes K/2 divisions (rounded down)
// and one reciprocal root, at no cost in digits or range: a m is no larger or smaller than a determinant for K = 3.
#pragma once
#include "gaussian.cuh"

constexpr wide SMALLEST_NORMAL = 2.2250738585072014e-308;

// Replaces S, packed and positive definite, by its factor; returns 1 / sqrt(det S), or infinity if det S has lost digits
// because it is below the normal numbers.
__device__ inline wide root_free(wide (&f)[TRI]) {
    wide before = 1;  // product of the pivots that are done
#pragma unroll
    for (int k = 0; k + 2 < K; k += 2) {
        const int l = k + 1;
        const wide a = f[packed(k, k)], b = f[packed(l, k)], minor = a * f[packed(l, l)] - b * b;
        const wide inverse = 1 / (a * minor), of_k = minor * inverse, of_l = a * a * inverse;
        f[packed(k, k)] = of_k;
        f[packed(l, k)] = b * of_k;
        f[packed(l, l)] = of_l;
        before *= minor;
#pragma unroll
        for (int i = k + 2; i < K; ++i) {
            const wide p = f[packed(i, k)], q = f[packed(i, l)] - p * f[packed(l, k)];  // of L D
            f[packed(i, k)] = p * of_k;
            f[packed(i, l)] = q * of_l;
#pragma unroll
            for (int j = k + 2; j <= i; ++j) f[packed(i, j)] -= p * f[packed(j, k)] + q * f[packed(j, l)];
        }
    }
    constexpr int last = K - 1, one_left = K % 2 == 0 ? K - 2 : 0;
    if (K % 2 == 0) {
        const wide a = f[packed(one_left, one_left)], b = f[packed(last, one_left)], of_a = 1 / a;
        f[packed(one_left, one_left)] = of_a;
        f[packed(last, one_left)] = b * of_a;
        f[packed(last, last)] -= b * f[packed(last, one_left)];
        before *= a;
    }
    const wide det = before * f[packed(last, last)], root = rsqrt(det);
    f[packed(last, last)] = before * root * root;
    return det >= SMALLEST_NORMAL ? root : root * root * root;  // infinite
}

// v becomes L^-1 v.
__device__ inline void half_solve(const wide (&f)[TRI], wide (&v)[K]) {
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m < k; ++m) v[k] -= f[packed(k, m)] * v[m];
}

// u becomes L^-T u.
__device__ inline void back_solve(const wide (&f)[TRI], wide (&u)[K]) {
#pragma unroll
    for (int m = K - 1; m >= 0; --m)
#pragma unroll
        for (int k = m + 1; k < K; ++k) u[m] -= f[packed(k, m)] * u[k];
}

// p = S^-1 = L^-T D^-1 L^-1, packed. L^T P = D^-1 L^-1 is lower triangular with diagonal D^-1, which gives every entry
// of P on and below its diagonal from those right of it and below.
__device__ inline void invert(const wide (&f)[TRI], wide (&p)[TRI]) {
#pragma unroll
    for (int m = K - 1; m >= 0; --m)
#pragma unroll
        for (int k = K - 1; k >= m; --k) {
            wide value = k == m ? f[packed(k, k)] : 0;
#pragma unroll
            for (int i = m + 1; i < K; ++i) value -= f[packed(i, m)] * p[packed_symmetric(i, k)];
            p[packed(k, m)] = value;
        }
}
