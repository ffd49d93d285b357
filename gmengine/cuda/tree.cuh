// What the kernels of TreeHEM share: one block per mixture, whose threads all call what is below.
//
// A node is named by a *reference*: v >= 0 is the inner node v, ~p < 0 the leaf at position p of the Morton order.
// Inner nodes are numbered in preorder, so that a subtree of L leaves is v, ..., v + L - 2; cpu/tree_hem.py tells what
// a plan is.
#pragma once
#include "gaussian.cuh"

constexpr int WARP = 32;
constexpr int MOST_WARPS = 4;     // per block
constexpr unsigned ALL = ~0u;     // lanes of a warp
constexpr int MOST_LEVELS = 66;   // a key has 63 bits that can differ, so no path is longer
constexpr wide FAR = 1.7976931348623157e308;  // farther than any distance
constexpr wide SMALLEST = 2.2250738585072014e-308;

constexpr int OTHER_SIGN = 4, TWO_SIGNS = 5;  // faults besides those of gaussian.cuh

struct Tree {
    const int* children;  // [N - 1, 2]
    const int* leaves;    // [N - 1]
    __device__ int count(int reference) const { return reference < 0 ? 1 : leaves[reference]; }
    __device__ int first(int reference) const {
        while (reference >= 0) reference = children[2 * reference];
        return ~reference;
    }
};

// Keeps the first fault by mixture, then by `late`, then by component; component -1 is none in particular.
__device__ inline void report_tree(int64* first_fault, int64 mixture, int late, int component, int N, int fault) {
    atomicMin(first_fault, ((mixture * 2 + late) * (N + 1) + component + 1) * 8 + fault);
}

// Replaces S, packed, by L (unit diagonal) and 1/D of S = L D L^T, and finds log det S. False if a pivot is not more
// than `least` of its diagonal entry.
__device__ inline bool factorise(wide (&f)[TRI], wide least, wide& log_det) {
    bool definite = true;
    wide product = 1;  // one logarithm serves many pivots while their product is in range
    log_det = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
        const wide diagonal = f[packed(k, k)];
#pragma unroll
        for (int m = 0; m < k; ++m)  // a row of L D
#pragma unroll
            for (int i = 0; i < m; ++i) f[packed(k, m)] -= f[packed(k, i)] * f[packed(m, i)];
        wide pivot = diagonal;
#pragma unroll
        for (int m = 0; m < k; ++m) {
            const wide of_row = f[packed(k, m)];
            f[packed(k, m)] = of_row * f[packed(m, m)];
            pivot -= of_row * f[packed(k, m)];
        }
        definite = definite && pivot > least * diagonal;
        f[packed(k, k)] = 1 / pivot;
        product *= pivot;
        if (!(product > 1e-150 && product < 1e150)) {
            log_det += log(product);
            product = 1;
        }
    }
    log_det += log(product);
    return definite;
}

__device__ inline int fault_of(real weight, const real* mean, const real* cov) {
    wide c[TRI], log_det;
    bool finite = is_finite(weight);
    for (int k = 0; k < K; ++k) finite = finite && is_finite(mean[k]);
    read_symmetric(cov, c);
    for (int k = 0; k < TRI; ++k) finite = finite && is_finite(c[k]);
    return !finite ? NON_FINITE : factorise(c, 0, log_det) ? SOUND : NOT_DEFINITE;
}

// Reports the first component of mixture m that is no Gaussian; whether there is one. Pointers are the mixture's.
__device__ inline bool report_components(const real* weights, const real* means, const real* covs, int64 m, int N,
                                         int64* first_fault) {
    bool faulty = false;
    for (int i = threadIdx.x; i < N && !faulty; i += blockDim.x) {
        if (weights[i] == 0) continue;
        const int fault = fault_of(weights[i], means + int64(i) * K, covs + int64(i) * K * K);
        faulty = fault != SOUND;
        if (faulty) report_tree(first_fault, m, 0, i, N, fault);
    }
    return __syncthreads_or(faulty) != 0;
}

struct Box {
    wide low[K], high[K];
    wide side;  // the longest
    __device__ wide centre(int k) const { return 0.5 * low[k] + 0.5 * high[k]; }
};

// Where a list of nodes by level, from the roots down, has its levels: level l is [ends[l - 1], ends[l]), ends[-1] = 0.
struct Levels {
    int ends[MOST_LEVELS];
    int filled;  // of the list
    int count;
};

// Where the warps of a block meet; shared memory.
struct Board {
    wide corners[2 * K][MOST_WARPS];
    int counts[MOST_WARPS];
    Levels levels;
};

// The box of the present means.
__device__ inline Box bounding_box(const real* weights, const real* means, int N, Board& board) {
    const int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    Box box;
    for (int k = 0; k < K; ++k) box.low[k] = FAR, box.high[k] = -FAR;
    for (int i = threadIdx.x; i < N; i += blockDim.x) {
        if (weights[i] == 0) continue;
        for (int k = 0; k < K; ++k) {
            box.low[k] = min(box.low[k], wide(means[int64(i) * K + k]));
            box.high[k] = max(box.high[k], wide(means[int64(i) * K + k]));
        }
    }
    __syncthreads();
    for (int k = 0; k < K; ++k) {
        for (int half = WARP / 2; half > 0; half /= 2) {
            box.low[k] = min(box.low[k], __shfl_xor_sync(ALL, box.low[k], half));
            box.high[k] = max(box.high[k], __shfl_xor_sync(ALL, box.high[k], half));
        }
        if (threadIdx.x % WARP != 0) continue;
        board.corners[2 * k][warp] = box.low[k];
        board.corners[2 * k + 1][warp] = box.high[k];
    }
    __syncthreads();
    box.side = 0;
    for (int k = 0; k < K; ++k) {
        for (int w = 0; w < warps; ++w) {
            box.low[k] = min(box.low[k], board.corners[2 * k][w]);
            box.high[k] = max(box.high[k], board.corners[2 * k + 1][w]);
        }
        box.side = max(box.side, box.high[k] - box.low[k]);
    }
    return box;
}

// Fills a list level by level: `open(t)` looks at entry t and may call `append`. `levels` is shared memory, and the
// first level has been appended; a barrier must lie between that and this call.
template <class Open>
__device__ inline void fill_levels(Levels& levels, Open open) {
    int begin = 0, end = levels.filled, count = 0;
    while (begin < end && count < MOST_LEVELS) {
        __syncthreads();  // all know `end`
        if (threadIdx.x == 0) levels.ends[count] = end;
        for (int t = begin + int(threadIdx.x); t < end; t += blockDim.x) open(t);
        __syncthreads();
        begin = end;
        end = levels.filled;
        ++count;
    }
    __syncthreads();
    if (threadIdx.x == 0) levels.count = count;
    __syncthreads();
}

// Appends an entry to a list; the order within a level is that of arrival, and nothing may depend on it.
template <class Entry>
__device__ inline void append(Levels& levels, Entry* list, const Entry& entry) {
    list[atomicAdd(&levels.filled, 1)] = entry;
}
