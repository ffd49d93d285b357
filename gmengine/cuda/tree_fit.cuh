// One node of TreeHEM: the components of its two children, its slots, become fewer, its outputs, by one step of EM.
// cpu/_node_fit.py is the twin.
//
// LANES lanes of a warp share a node; lane i has slot i, and for a while output i. What the others need to see is
// staged in an area of their own, in shared memory or, where that is too small, in global memory. All lanes of a warp
// run through a fit together; those without a node, or beyond its slots, have nothing to do in its loops.
#pragma once
#include "tree.cuh"

constexpr int T = GM_PER_NODE;
constexpr int IN = 2 * T, OUT = 2 * T - 1;  // at most so many slots and outputs
constexpr int LANES = T == 1 ? 2 : T == 2 ? 4 : T <= 4 ? 8 : T <= 8 ? 16 : 32;
constexpr int UNROLL = T <= 2 ? IN : 1;  // loops over slots or outputs whose numbers stay in registers
constexpr wide KL_THRESHOLD = 0.5, VIRTUAL_SAMPLES = 4;
constexpr wide PIVOT = 4.440892098500626e-16, LIFT = 2 * PIVOT;  // 2^-51 of a diagonal entry, 2^-50 of the trace

// A component: w > 0 (the sign belongs to the tree), the mean from the centre of the box, C packed. A staged slot has
// its log w, log det C and precision besides.
constexpr int W = 0, MU = 1, COV = 1 + K, ROW = 1 + K + TRI;
constexpr int LOG_W = ROW, LOG_DET = ROW + 1, PRECISION = ROW + 2, STAGED = (ROW + 2 + TRI) | 1;
constexpr int FIT_AREA = (IN * STAGED + IN * OUT) | 1;  // odd, against bank conflicts; cuda/tree_hem.py knows it

struct Fit {
    wide* slots;   // [IN, STAGED]
    wide* shares;  // [IN, OUT]: responsibility of an output for a slot
    const unsigned char* representatives;  // [IN]: the slot from which each output starts
    int n_in, n_out, lane;
    unsigned mask;  // of this lane's slot: the outputs that it may join
    wide total;     // of the slots' weights
    wide samples;   // of this lane's slot: VIRTUAL_SAMPLES w / total
    wide energy[OUT];  // E_i[(x - mu_s)^T P_s (x - mu_s)] of this lane's slot and output s
    __device__ const wide* slot(int i) const { return slots + i * STAGED; }
    __device__ const wide* model(int s) const { return slot(representatives[s]); }
};

// d^T P d + tr(P C), all packed.
__device__ inline wide quadratic(const wide* p, const wide (&d)[K], const wide* c) {
    wide diagonal = 0, beside = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
        diagonal += p[packed(k, k)] * (d[k] * d[k] + c[packed(k, k)]);
#pragma unroll
        for (int m = 0; m < k; ++m) beside += p[packed(k, m)] * (d[k] * d[m] + c[packed(k, m)]);
    }
    return diagonal + 2 * beside;
}

// P = L^-T D^-1 L^-1, packed, of a factor. L^T P = D^-1 L^-1 is lower triangular with diagonal D^-1, which gives every
// entry of P on and below its diagonal from those right of it and below.
__device__ inline void invert_factor(const wide (&f)[TRI], wide (&p)[TRI]) {
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

// Stages this lane's slot.
__device__ inline void stage(const wide* row, wide* slot) {
    wide f[TRI], p[TRI], log_det;
#pragma unroll
    for (int c = 0; c < ROW; ++c) slot[c] = row[c];
#pragma unroll
    for (int c = 0; c < TRI; ++c) f[c] = row[COV + c];
    factorise(f, 0, log_det);
    invert_factor(f, p);
    slot[LOG_W] = log(row[W]);
    slot[LOG_DET] = log_det;
#pragma unroll
    for (int c = 0; c < TRI; ++c) slot[PRECISION + c] = p[c];
}

// Writes one representative per cluster of the slots: single-link clusters, their heaviest members. A cluster is named
// by its first member; the closest pair is the first that is as close as any up to rounding of the input.
__device__ inline void choose_representatives(const Fit& fit, wide extent, wide eps, unsigned char* representatives) {
    const int lane = fit.lane, NONE = 1 << 30;
    int label = lane, labels[IN];
    wide distance[IN];  // squared, to the slots behind
#pragma unroll UNROLL
    for (int j = 0; j < IN; ++j) {
        labels[j] = j;
        distance[j] = 0;
        if (j <= lane || j >= fit.n_in) continue;
        for (int k = 0; k < K; ++k) {
            const wide d = fit.slot(lane)[MU + k] - fit.slot(j)[MU + k];
            distance[j] += d * d;
        }
    }
    for (int left = fit.n_in - fit.n_out; __any_sync(ALL, left > 0); --left) {
        wide closest = FAR;
#pragma unroll UNROLL
        for (int j = 0; j < IN; ++j)
            if (j > lane && j < fit.n_in && labels[j] != label) closest = min(closest, distance[j]);
        for (int half = LANES / 2; half > 0; half /= 2) closest = min(closest, __shfl_xor_sync(ALL, closest, half));
        const wide error = 32 * eps * extent;  // of a distance that is not squared
        const wide bound = closest + 64 * eps * closest + error * (2 * sqrt(closest) + error);
        int pair = NONE;
#pragma unroll UNROLL
        for (int j = 0; j < IN; ++j)
            if (pair == NONE && j > lane && j < fit.n_in && labels[j] != label && distance[j] <= bound)
                pair = lane << 15 | j << 10 | min(labels[j], label) << 5 | max(labels[j], label);
        for (int half = LANES / 2; half > 0; half /= 2) pair = min(pair, __shfl_xor_sync(ALL, pair, half));
        if (left <= 0 || pair == NONE) continue;
        const int a = pair >> 5 & 31, b = pair & 31;
        if (label == b) label = a;
#pragma unroll UNROLL
        for (int j = 0; j < IN; ++j)
            if (labels[j] == b) labels[j] = a;
    }
    if (lane >= fit.n_in || label != lane) return;
    wide heaviest = 0;
    int cluster = 0, found = -1;
#pragma unroll UNROLL
    for (int j = 0; j < IN; ++j) {
        if (j < lane && labels[j] == j) ++cluster;
        if (j < fit.n_in && labels[j] == lane) heaviest = max(heaviest, fit.slot(j)[W]);
    }
#pragma unroll UNROLL
    for (int j = 0; j < IN; ++j)
        if (found < 0 && j < fit.n_in && labels[j] == lane && !(fit.slot(j)[W] < heaviest * (1 - 64 * eps))) found = j;
    representatives[cluster] = (unsigned char)(found);
}

// Finds the energies of this lane's slot and the outputs in its mask.
__device__ inline void find_energies(Fit& fit) {
    const wide* own = fit.slot(fit.lane);
#pragma unroll UNROLL
    for (int s = 0; s < OUT; ++s) {
        fit.energy[s] = 0;
        if (s >= fit.n_out || !(fit.mask >> s & 1)) continue;
        const wide* model = fit.model(s);
        wide d[K];
#pragma unroll
        for (int k = 0; k < K; ++k) d[k] = own[MU + k] - model[MU + k];
        fit.energy[s] = quadratic(model + PRECISION, d, own + COV);
    }
}

// Returns the outputs that may claim this lane's slot: those of small divergence, and the nearest.
// KL(i || s) = 1/2 [energy - K - (log det C_i - log det C_s)]; needs the energies of all outputs.
__device__ inline unsigned choose_mask(const Fit& fit, wide eps) {
    const wide log_det = fit.slot(fit.lane)[LOG_DET];
    wide smallest = FAR;
    int nearest = fit.n_out - 1;
    unsigned bits = 0;
#pragma unroll UNROLL
    for (int s = 0; s < OUT; ++s) {
        if (s >= fit.n_out) continue;
        const wide kl = 0.5 * (fit.energy[s] - K - (log_det - fit.model(s)[LOG_DET]));
        smallest = min(smallest, kl);
        if (kl < KL_THRESHOLD - 64 * eps) bits |= 1u << s;
    }
    const wide bound = smallest + 64 * eps * fabs(smallest);
#pragma unroll UNROLL
    for (int s = OUT - 1; s >= 0; --s)
        if (s < fit.n_out && !(0.5 * (fit.energy[s] - K - (log_det - fit.model(s)[LOG_DET])) > bound)) nearest = s;
    return bits | 1u << nearest;
}

// Stages the shares of this lane's slot, r_is = softmax over the allowed s of
// z_is = log w_rep(s) + 4 wh_i E_i[log N_s];
// wh are the slots' weights divided by their sum; terms of z that are equal for all s are left out.
__device__ inline void expect(Fit& fit) {
    wide largest = -FAR, normaliser = 0, z[OUT];
    fit.total = 0;
    for (int i = 0; i < fit.n_in; ++i) fit.total += fit.slot(i)[W];
    fit.samples = VIRTUAL_SAMPLES * fit.slot(fit.lane)[W] / fit.total;
#pragma unroll UNROLL
    for (int s = 0; s < OUT; ++s) {
        z[s] = 0;
        if (s >= fit.n_out || !(fit.mask >> s & 1)) continue;
        const wide* model = fit.model(s);
        z[s] = model[LOG_W] - 0.5 * fit.samples * (model[LOG_DET] + fit.energy[s]);
        largest = max(largest, z[s]);
    }
#pragma unroll UNROLL
    for (int s = 0; s < OUT; ++s) {
        if (s >= fit.n_out || !(fit.mask >> s & 1)) continue;
        z[s] = z[s] == largest ? 1 : exp(z[s] - largest);
        normaliser += z[s];
    }
    normaliser = 1 / normaliser;
    wide* shares = fit.shares + fit.lane * OUT;
#pragma unroll UNROLL
    for (int s = 0; s < OUT; ++s)
        if (s < fit.n_out) shares[s] = z[s] * normaliser;
}

// Adds to the diagonal of a fitted covariance what rounding took, if it is no longer positive definite: the spread
// d d^T of two means that are 1e8 deviations apart drowns their covariances. What is added is a few 2^-50 of the trace,
// less than the rounding of the moments themselves; gradients do not see it.
__device__ inline void keep_definite(wide (&row)[ROW]) {
    wide trace = 0, f[TRI], log_det;
#pragma unroll
    for (int k = 0; k < K; ++k) trace += row[COV + packed(k, k)];
    for (wide lift = LIFT * trace; lift < trace; lift *= 2) {
#pragma unroll
        for (int c = 0; c < TRI; ++c) f[c] = row[COV + c];
        if (factorise(f, PIVOT, log_det)) return;
#pragma unroll
        for (int k = 0; k < K; ++k) row[COV + packed(k, k)] += lift;
    }
}

// The moment match of the slots under their shares of output s.
__device__ inline void maximise(const Fit& fit, int s, wide (&row)[ROW]) {
    wide mass = 0;
    for (int i = 0; i < fit.n_in; ++i) mass += fit.shares[i * OUT + s] * fit.slot(i)[W];
    row[W] = max(mass, SMALLEST);  // an output whose mass underflows stays present
    const wide* model = fit.model(s);
#pragma unroll
    for (int c = MU; c < ROW; ++c) row[c] = mass > 0 ? 0 : model[c];
    const wide reciprocal = 1 / row[W];
    for (int i = 0; i < fit.n_in; ++i) {
        const wide* slot = fit.slot(i);
        const wide rho = fit.shares[i * OUT + s] * slot[W] * reciprocal;
#pragma unroll
        for (int k = 0; k < K; ++k) row[MU + k] += rho * slot[MU + k];
    }
    for (int i = 0; i < fit.n_in; ++i) {
        const wide* slot = fit.slot(i);
        const wide rho = fit.shares[i * OUT + s] * slot[W] * reciprocal;
        wide d[K];
#pragma unroll
        for (int k = 0; k < K; ++k) d[k] = slot[MU + k] - row[MU + k];
#pragma unroll
        for (int k = 0; k < K; ++k)
#pragma unroll
            for (int m = 0; m <= k; ++m) row[COV + packed(k, m)] += rho * (slot[COV + packed(k, m)] + d[k] * d[m]);
    }
    keep_definite(row);
}
