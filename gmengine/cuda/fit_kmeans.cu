// Weighted k-means of many sets of points: where it starts, and Lloyd's iteration until no label changes, all rounds
// of a set in one block. cpu/fit_kmeans.py is the twin.
//
// A round of Lloyd gives each point to a thread, K subtractions, K multiply-adds and four comparisons and selections
// per pair, and each cluster to a warp, which looks through all labels: it is bound by the issue of instructions, in
// float64 by FP64. A draw of k-means++ costs a pass over the points for every 8 trials. A set of 1e5 points has no more
// than one multiprocessor; many sets are what fills the card.
#include "fit_seeding.cuh"

constexpr int LENGTH = records_in_shared(K * sizeof(real));  // centres that a block keeps in shared memory

// One block per set: greedy k-means++. A centre is drawn with probability proportional to share times squared distance
// to the centres so far; of several draws the one that leaves the smallest sum of these stays, the first on ties.
extern "C" __global__ __launch_bounds__(BLOCK, 4) void fit_kmeans_seed(const real* all_x,         // [total K]
                                                                       const wide* all_share,     // [total]
                                                                       const int64* offsets,      // [S + 1]
                                                                       const int* counts,         // [S]
                                                                       const wide* all_uniforms,  // [S, N, trials]
                                                                       wide* all_means,           // [S, N, K]
                                                                       real* all_nearest,         // [total], room
                                                                       int* found,                // [S]
                                                                       int N, int trials) {
    __shared__ int drawn[TRIALS];
    const Set set = set_of_block(all_x, all_share, offsets, counts);
    real* nearest = all_nearest + set.begin;
    wide total = 1;
    int n = 0;
    for (const int most = min(N, set.count); n < most && total > 0; ++n) {
        const wide* uniforms = all_uniforms + (int64(blockIdx.x) * N + n) * trials;
        wide lowest = 0;
        int chosen = -1;
        for (int t = 0, all = n > 0 ? trials : 1; t < all; t += TRIALS) {
            const int some = min(TRIALS, all - t);
            const auto chance = [&](int i) { return n > 0 ? set.share[i] * nearest[i] : set.share[i]; };
            draw(set.count, chance, total, uniforms + t, some, drawn);
            wide potentials[TRIALS];
            find_potentials(set, nearest, n == 0, drawn, some, potentials);
#pragma unroll
            for (int q = 0; q < TRIALS; ++q)
                if (q < some && (chosen < 0 || potentials[q] < lowest * (1 - TIE))) {
                    lowest = potentials[q];
                    chosen = drawn[q];
                }
        }
        add_centre(set, chosen, n == 0, nearest, all_means + (int64(blockIdx.x) * N + n) * K);
        total = lowest;
        __syncthreads();
    }
    if (threadIdx.x == 0) found[blockIdx.x] = n;
}

// One block per set: the first point, then ever the one furthest from all centres so far, the first on ties.
extern "C" __global__ __launch_bounds__(BLOCK) void fit_kmeans_furthest(const real* all_x,      // [total K]
                                                                        const wide* all_share,  // [total]
                                                                        const int64* offsets,   // [S + 1]
                                                                        const int* counts,      // [S]
                                                                        wide* all_means,        // [S, N, K]
                                                                        real* all_nearest,      // [total], room
                                                                        int* found,             // [S]
                                                                        int N) {
    const Set set = set_of_block(all_x, all_share, offsets, counts);
    real* nearest = all_nearest + set.begin;
    wide largest = 1;
    int n = 0, chosen = 0;
    for (const int most = min(N, set.count); n < most && largest > 0; ++n) {
        add_centre(set, chosen, n == 0, nearest, all_means + (int64(blockIdx.x) * N + n) * K);
        chosen = first_largest(set.count, [&](int i) { return wide(nearest[i]); }, largest);
    }
    if (threadIdx.x == 0) found[blockIdx.x] = n;
}

// What Lloyd's iteration has of a set: n centres and the clusters around them, and for each point its label and its
// squared distance to the nearest centre.
struct Clusters {
    int n;
    wide *weights, *means, *covariances;
    int *sizes, *labels;
    real* nearest;
};

// The lowest centre that is as near as the nearest, up to rounding.
__device__ inline int first_within(const real (&x)[K], const Clusters& c, real reach) {
    for (int s = 0; s < c.n; ++s) {
        real centre[K];
#pragma unroll
        for (int k = 0; k < K; ++k) centre[k] = real(c.means[int64(s) * K + k]);
        if (squared_distance(x, centre) <= reach) return s;
    }
    return 0;
}

// Labels every point with its nearest centre, the lowest index on ties; true if a label of the thread's has changed.
__device__ static inline bool assign(const Set& set, const Clusters& c) {
    __shared__ real tile[LENGTH][K];
    bool changed = false;
    for (int begin = 0; begin < set.count; begin += BLOCK) {
        const int i = begin + threadIdx.x;
        const bool mine = i < set.count;
        real x[K], nearest = FAR, next = FAR;
        int label = 0;
        set.read(mine ? i : begin, x);
        for (int first = 0; first < c.n; first += LENGTH) {
            const int count = min(LENGTH, c.n - first);
            if (begin == 0 || c.n > LENGTH) {  // else the tile is there already
                __syncthreads();
                for (int q = threadIdx.x; q < count * K; q += BLOCK)
                    tile[q / K][q % K] = real(c.means[int64(first) * K + q]);
                __syncthreads();
            }
            for (int s = 0; s < count; ++s) {
                const real d = squared_distance(x, tile[s]);
                const bool nearer = d < nearest;
                next = nearer ? nearest : d < next ? d : next;
                label = nearer ? first + s : label;
                nearest = nearer ? d : nearest;
            }
        }
        if (!mine) continue;
        const real reach = nearest + real(TIE) * (nearest + sqrt(nearest));
        if (next <= reach) label = first_within(x, c, reach);
        changed = changed || c.labels[i] != label;
        c.labels[i] = label;
        c.nearest[i] = nearest;
    }
    return changed;
}

// Takes the clusters' weights and means, each cluster's by a warp; true, for the whole block, if one has no point.
// Every thread of the block must call it.
__device__ inline bool take_means(const Set& set, const Clusters& c) {
    bool empty = false;
    __syncthreads();
    for (int s = warp_id(); s < c.n; s += WARPS) {
        wide sums[1 + K] = {};
        bool found = false;
        for (int i = lane_id(); i < set.count; i += 32)
            if (c.labels[i] == s) {
                const wide share = set.share[i];
                found = true;
                sums[0] += share;
#pragma unroll
                for (int k = 0; k < K; ++k) sums[1 + k] += share * wide(set.at(k, i));
            }
        const bool filled = __any_sync(~0u, found);
        warp_totals(sums);
        empty = empty || !filled;
        if (lane_id() != 0) continue;
        c.sizes[s] = filled;
        c.weights[s] = sums[0];
        for (int k = 0; k < K; ++k) c.means[int64(s) * K + k] = sums[0] > 0 ? sums[1 + k] / sums[0] : 0.0;
    }
    return __syncthreads_or(empty);
}

// Gives every empty cluster, by index, the point of largest share times squared distance to its nearest centre, the
// first on ties. Every thread of the block must call it.
__device__ inline void reseed(const Set& set, const Clusters& c) {
    for (int s = 0; s < c.n; ++s) {
        if (c.sizes[s]) continue;
        wide largest;
        const int i = first_largest(set.count, [&](int j) { return set.share[j] * wide(c.nearest[j]); }, largest);
        if (i % BLOCK == int(threadIdx.x)) {
            c.labels[i] = s;
            c.nearest[i] = 0;
        }
    }
}

__device__ inline void take_covariances(const Set& set, const Clusters& c) {
    for (int s = warp_id(); s < c.n; s += WARPS) {
        const wide *mean = c.means + int64(s) * K, weight = c.weights[s];
        wide sums[TRI] = {};
        for (int i = lane_id(); i < set.count; i += 32)
            if (c.labels[i] == s) {
                wide d[K];
#pragma unroll
                for (int k = 0; k < K; ++k) {
                    d[k] = wide(set.at(k, i)) - mean[k];
#pragma unroll
                    for (int m = 0; m <= k; ++m) sums[packed(k, m)] += set.share[i] * d[k] * d[m];
                }
            }
        warp_totals(sums);
        if (lane_id() != 0 || !(weight > 0)) continue;
        wide* covariance = c.covariances + int64(s) * K * K;
#pragma unroll
        for (int k = 0; k < K; ++k)
#pragma unroll
            for (int m = 0; m < K; ++m) covariance[k * K + m] = sums[packed_symmetric(k, m)] / weight;
    }
}

// One block per set: at most `rounds` rounds of assignment and means, until no label changes and no cluster is empty;
// then the clusters' covariances, and the labels of the points where they came from.
extern "C" __global__ __launch_bounds__(BLOCK, 6) void fit_kmeans_lloyd(const real* all_x,      // [total K]
                                                                        const wide* all_share,  // [total]
                                                                        const int64* offsets,   // [S + 1]
                                                                        const int* counts,      // [S]
                                                                        const int* all_index,   // [total]
                                                                        const int* found,       // [S]
                                                                        wide* all_weights,      // [S, N], zeros
                                                                        wide* all_means,        // [S, N, K], seeds
                                                                        wide* all_covariances,  // [S, N, K, K], zeros
                                                                        int* labels,            // [total], -1
                                                                        int* all_sizes,         // [S, N], room
                                                                        int* all_own,           // [total], room
                                                                        real* all_nearest,      // [total], room
                                                                        int N, int rounds) {
    const int64 b = blockIdx.x;
    const Set set = set_of_block(all_x, all_share, offsets, counts);
    const Clusters c = {found[b], all_weights + b * N, all_means + b * N * K, all_covariances + b * N * K * K,
                        all_sizes + b * N, all_own + set.begin, all_nearest + set.begin};
    for (int i = threadIdx.x; i < set.count; i += BLOCK) c.labels[i] = -1;
    bool empty = false;
    for (int r = 0; r < rounds && set.count > 0; ++r) {
        const bool changed = assign(set, c);
        if (!__syncthreads_or(changed) && !empty) break;
        empty = take_means(set, c);
        if (!empty) continue;
        reseed(set, c);
        take_means(set, c);
    }
    take_covariances(set, c);
    for (int i = threadIdx.x; i < set.count; i += BLOCK) labels[set.begin + all_index[set.begin + i]] = c.labels[i];
}
