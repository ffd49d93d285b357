// The way back through one step of EM: what a pair contributes; cpu/em.py derives it, cpu/_em_step_vjp.py is the twin.
// The gradient of a symmetric matrix is packed with its off-diagonal entries doubled: (k, m) and (m, k) together.
#pragma once
#include "em_moments.cuh"

// Slopes are divided by masses. Those that would overflow are left out: those of the mean and covariance of an output
// lighter than this, and of the weight of such a parent.
constexpr wide LEAST = 1e-280;
constexpr wide LN2 = 0.69314718055994530942;

// A parent, and the gradients of its output per unit of mass: constant part, of the mean, of the covariance.
struct alignas(16) Slopes {
    Parent parent;
    wide constant, of_mean[K], of_cov[TRI];
    wide centre[K];  // the output's mean
};

__device__ inline void write_slopes(const Parent& parent, const wide* fitted, const wide* g_fitted, Slopes& s) {
    const wide per_mass = fitted[W] >= LEAST ? 1 / fitted[W] : 0;
    s.parent = parent;
    s.constant = g_fitted[W];
    for (int k = 0; k < K; ++k) {
        s.of_mean[k] = per_mass * g_fitted[MU + k];
        s.centre[k] = fitted[MU + k];
    }
    for (int q = 0; q < TRI; ++q) {
        s.of_cov[q] = per_mass * g_fitted[COV + q];
        s.constant -= s.of_cov[q] * fitted[COV + q];
    }
}

// The gradient of what a parent takes of a component. Two passes compare it with its mean, hence fma throughout.
__device__ inline wide slope_of(const Slopes& s, const wide (&x)[K], const wide (&c)[TRI]) {
    wide value = s.constant;
#pragma unroll
    for (int k = 0; k < K; ++k) {
        wide sum = s.of_mean[k];
#pragma unroll
        for (int m = 0; m <= k; ++m) sum = fma(s.of_cov[packed(k, m)], x[m] - s.centre[m], sum);
        value = fma(x[k] - s.centre[k], sum, value);
    }
#pragma unroll
    for (int q = 0; q < TRI; ++q) value = fma(s.of_cov[q], c[q], value);
    return value;
}

// Softmax, and the sum of the exponentials times slopes.
struct SlopedSoftmax {
    wide top = -LARGEST, total = 0, slopes = 0;
    __device__ void add(wide logarithm, wide slope) {
        const bool higher = logarithm > top;
        const wide e = power_of_two(higher ? top - logarithm : logarithm - top);
        total = higher ? fma(total, e, 1.0) : total + e;
        slopes = higher ? fma(slopes, e, slope) : fma(e, slope, slopes);
        top = higher ? logarithm : top;
    }
};

// y = A (x - mu)
__device__ inline void whitened(const Parent& s, const wide (&x)[K], wide (&y)[K]) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
        y[k] = 0;
#pragma unroll
        for (int m = 0; m <= k; ++m) y[k] += s.a[packed(k, m)] * (x[m] - s.mu[m]);
    }
}

// What a component's mean and covariance get, given rho, what the parent takes, and lam, the gradient of its
// log-likelihood with the scale of A^T A.
__device__ inline void add_to_component(const Slopes& s, const wide (&x)[K], wide rho, wide lam, wide (&g_x)[K],
                                        wide (&g_c)[TRI]) {
    wide y[K];
    whitened(s.parent, x, y);
#pragma unroll
    for (int k = 0; k < K; ++k) {
        wide through_moments = s.of_mean[k], through_likelihood = 0;
#pragma unroll
        for (int m = 0; m < K; ++m) {
            const wide e = x[m] - s.centre[m];
            through_moments += (m == k ? 2 : 1) * s.of_cov[packed_symmetric(k, m)] * e;
            if (m >= k) through_likelihood += s.parent.a[packed(m, k)] * y[m];
        }
        g_x[k] += rho * through_moments - lam * through_likelihood;
    }
#pragma unroll
    for (int q = 0; q < TRI; ++q) g_c[q] += rho * s.of_cov[q] - 0.5 * lam * s.parent.p[q];
}

constexpr int SUMS = 2 + K + TRI;  // over components: of g, the gradient of log w, and of lam (1, d, d d^T + C)

__device__ inline void add_to_parent(const Slopes& s, const Component<4>& c, wide (&sums)[SUMS]) {
    const Parent& parent = s.parent;
    const wide rho = share_of(parent, log_likelihood(parent, c.x, c.c), c.norms) * c.w;
    const wide g = rho * (slope_of(s, c.x, c.c) - c.norms[SLOPE]);
    const wide lam = c.norms[SAMPLES] * g * (1 / SCALE);
    sums[0] += g;
    sums[1] += lam;
    wide d[K];
#pragma unroll
    for (int k = 0; k < K; ++k) {
        d[k] = c.x[k] - parent.mu[k];
        sums[2 + k] += lam * d[k];
#pragma unroll
        for (int m = 0; m <= k; ++m) sums[2 + K + packed(k, m)] += lam * (d[k] * d[m] + c.c[packed(k, m)]);
    }
}

// Adds the gradients of a component as a parent: of its weight, mean and covariance in the likelihoods.
__device__ inline void add_as_parent(const Parent& s, const wide (&sums)[SUMS], wide w, wide* g_row) {
    wide precision[TRI], product[K][K];  // A^T A, and that times the second moment
    for (int k = 0; k < K; ++k)
        for (int m = 0; m <= k; ++m) precision[packed(k, m)] = (k == m ? 1 : 0.5) * s.p[packed(k, m)];
    g_row[W] += w >= LEAST ? sums[0] / w : 0;
    for (int k = 0; k < K; ++k) {
        wide of_mean = 0;
        for (int m = 0; m < K; ++m) {
            of_mean += precision[packed_symmetric(k, m)] * sums[2 + m];
            product[k][m] = 0;
            for (int q = 0; q < K; ++q)
                product[k][m] += precision[packed_symmetric(k, q)] * sums[2 + K + packed_symmetric(q, m)];
        }
        g_row[MU + k] += of_mean;
    }
    for (int k = 0; k < K; ++k)
        for (int m = 0; m <= k; ++m) {
            wide value = -sums[1] * precision[packed(k, m)];
            for (int q = 0; q < K; ++q) value += product[k][q] * precision[packed_symmetric(q, m)] * (1 / SCALE);
            g_row[COV + packed(k, m)] += k == m ? 0.5 * value : value;
        }
}
