// The way back through TreeHEM: from the selected nodes to the leaves; cpu/tree_hem.py derives it.
//
// The gradients of what a node holds lie where a fit in place would: in the rows of its first leaves.
#pragma once
#include "tree_climb.cuh"

constexpr int SLOPES_AREA = (IN * STAGED + 2 * IN * OUT + 2 * OUT * ROW + IN) | 1;  // cuda/tree_hem.py knows it

struct Slopes {
    wide* of_z;        // [IN, OUT]
    wide* outputs;     // [OUT, 2, ROW]: what the node is fitted to, and its gradient
    wide* normalised;  // [IN]: wh_i* wh_i / S
};

// The gradient of this lane's slot through the moments, through the weights in its shares, and as the x of its
// likelihoods; stages the gradients of z.
__device__ inline void slot_slopes(const Fit& fit, const Slopes& slopes, wide (&g)[ROW]) {
    const wide* own = fit.slot(fit.lane);
    const wide* shares = fit.shares + fit.lane * OUT;
    wide of_share[OUT], mean = 0, of_samples = 0;
    for (int c = 0; c < ROW; ++c) g[c] = 0;
#pragma unroll UNROLL
    for (int s = 0; s < OUT; ++s) {
        of_share[s] = 0;
        if (s >= fit.n_out || shares[s] == 0) continue;
        const wide *fitted = slopes.outputs + 2 * s * ROW, *slope = fitted + ROW;
        const wide reciprocal = 1 / fitted[W], rho = shares[s] * own[W] * reciprocal;
        wide d[K], sum = 0;
#pragma unroll
        for (int k = 0; k < K; ++k) d[k] = own[MU + k] - fitted[MU + k];
#pragma unroll
        for (int k = 0; k < K; ++k) {
            wide of_mean = slope[MU + k];
            sum += of_mean * d[k];
#pragma unroll
            for (int m = 0; m < K; ++m) {
                const int c = COV + packed_symmetric(k, m);
                of_mean += 2 * slope[c] * d[m];
                sum += slope[c] * (d[k] * d[m] + own[c] - fitted[c]);
            }
            g[MU + k] += rho * of_mean;
        }
#pragma unroll
        for (int c = COV; c < ROW; ++c) g[c] += rho * slope[c];
        const wide of_rho = slope[W] + sum * reciprocal;
        g[W] += shares[s] * of_rho;
        of_share[s] = own[W] * of_rho;
        mean += shares[s] * of_share[s];
    }
#pragma unroll UNROLL
    for (int s = 0; s < OUT; ++s) {
        if (s >= fit.n_out) continue;
        const wide of_z = shares[s] * (of_share[s] - mean), of_likelihood = fit.samples * of_z;
        slopes.of_z[fit.lane * OUT + s] = of_z;
        if (of_z == 0) continue;  // as in a slot that may join one output only
        const wide* model = fit.model(s);
        of_samples -= 0.5 * of_z * (model[LOG_DET] + fit.energy[s]);
#pragma unroll
        for (int k = 0; k < K; ++k) {
            wide q = 0;
#pragma unroll
            for (int m = 0; m < K; ++m) q += model[PRECISION + packed_symmetric(k, m)] * (own[MU + m] - model[MU + m]);
            g[MU + k] -= of_likelihood * q;
        }
#pragma unroll
        for (int c = 0; c < TRI; ++c) g[COV + c] -= 0.5 * of_likelihood * model[PRECISION + c];
    }
    g[W] += VIRTUAL_SAMPLES / fit.total * of_samples;
    slopes.normalised[fit.lane] = fit.samples / fit.total * of_samples;
}

// P S P, packed, for symmetric P and S.
__device__ inline void sandwich(const wide* p, const wide (&s)[TRI], wide (&out)[TRI]) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
        wide left[K];
#pragma unroll
        for (int m = 0; m < K; ++m) {
            left[m] = 0;
#pragma unroll
            for (int u = 0; u < K; ++u) left[m] += p[packed_symmetric(k, u)] * s[packed_symmetric(u, m)];
        }
#pragma unroll
        for (int m = 0; m <= k; ++m) {
            wide sum = 0;
#pragma unroll
            for (int u = 0; u < K; ++u) sum += left[u] * p[packed_symmetric(u, m)];
            out[packed(k, m)] = sum;
        }
    }
}

// Adds what the slot gets as the representative of output s, from all slots.
__device__ inline void representative_slopes(const Fit& fit, const Slopes& slopes, int s, wide (&g)[ROW]) {
    const wide* own = fit.slot(fit.lane);
    const wide per_weight = VIRTUAL_SAMPLES / fit.total;
    wide total = 0, of_log = 0, first[K] = {}, second[TRI] = {}, of_cov[TRI];
    for (int i = 0; i < fit.n_in; ++i) {
        const wide of_z = slopes.of_z[i * OUT + s];
        if (of_z == 0) continue;
        const wide* slot = fit.slot(i);
        const wide of_likelihood = per_weight * slot[W] * of_z;
        wide e[K];
        of_log += of_z;
        total += of_likelihood;
#pragma unroll
        for (int k = 0; k < K; ++k) {
            e[k] = slot[MU + k] - own[MU + k];
            first[k] += of_likelihood * e[k];
#pragma unroll
            for (int m = 0; m <= k; ++m)
                second[packed(k, m)] += of_likelihood * (e[k] * e[m] + slot[COV + packed(k, m)]);
        }
    }
    g[W] += of_log / own[W];
    sandwich(own + PRECISION, second, of_cov);
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int m = 0; m < K; ++m) g[MU + k] += own[PRECISION + packed_symmetric(k, m)] * first[m];
#pragma unroll
    for (int c = 0; c < TRI; ++c) g[COV + c] += 0.5 * (of_cov[c] - total * own[PRECISION + c]);
}

// Turns the gradients of what the nodes are fitted to into those of their slots, level by level from the selected nodes
// down to the leaves.
__device__ inline void descend(const Tree& tree, const Levels& levels, const Task* list, const Rows& rows,
                               const Choices& choices, wide* gradients, wide* areas) {
    for (int level = 0; level < levels.count; ++level)
        for_level(tree, levels, level, list, areas, SLOPES_AREA,
                  [&](const Task& task, const Place& p, int lane, wide* area) {
            const wide* row = rows.of(tree, p.reference, p.first, p.at);
            const Fit fit = share_out<false>(task, p, lane, row, area, choices, 0, 0);
            Slopes slopes;
            slopes.of_z = area + IN * STAGED + IN * OUT;
            slopes.outputs = slopes.of_z + IN * OUT;
            slopes.normalised = slopes.outputs + 2 * OUT * ROW;
            wide g[ROW];
            if (lane < fit.n_out) {
                maximise(fit, lane, g);
                wide* output = slopes.outputs + 2 * lane * ROW;
                const wide* slope = gradients + int64(task.first + lane) * ROW;
                for (int c = 0; c < ROW; ++c) output[c] = g[c], output[ROW + c] = slope[c];
            }
            __syncwarp();
            if (lane < fit.n_in) slot_slopes(fit, slopes, g);
            __syncwarp();
            if (lane >= fit.n_in) return;
            for (int i = 0; i < fit.n_in; ++i) g[W] -= slopes.normalised[i];
            for (int s = 0; s < fit.n_out; ++s)
                if (fit.representatives[s] == lane) representative_slopes(fit, slopes, s, g);
            wide* to = gradients + int64(p.first + p.at) * ROW;
            for (int c = 0; c < ROW; ++c) to[c] = g[c];
        });
}
