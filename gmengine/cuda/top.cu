// The components of largest |weight|, and their gradients; cpu/top.py is the twin. top_plan compares all pairs of
// weights of a mixture (a compare and an add each); the other kernels move every number once, bound by bytes.
#include "fields.cuh"

constexpr int BLOCK = 128;

// What components are ranked by. NaN comes last: two ranks must never be equal.
__device__ inline real size_of(real weight) {
    const real size = weight < 0 ? -weight : weight;
    return size >= 0 ? size : real(-1);
}

// One thread per component: its rank is the number of larger ones, and of equal ones before it.
extern "C" __global__ __launch_bounds__(BLOCK) void top_plan(const real* weights,  // [M, N]
                                                             int* indices,         // [M, n]: -1 for an absent component
                                                             int N, int n) {
    __shared__ real tile[BLOCK];
    const int tiles = (N + BLOCK - 1) / BLOCK;
    const int64 m = blockIdx.x / tiles;
    const int i = blockIdx.x % tiles * BLOCK + threadIdx.x;
    const real weight = weights[m * N + min(i, N - 1)], size = size_of(weight);
    int rank = 0;
    for (int start = 0; start < N; start += BLOCK) {
        const int count = min(BLOCK, N - start), before = min(max(i - start, 0), count);
        __syncthreads();
        if (int(threadIdx.x) < count) tile[threadIdx.x] = size_of(weights[m * N + start + threadIdx.x]);
        __syncthreads();
        for (int j = 0; j < before; ++j) rank += tile[j] >= size;
        for (int j = before; j < count; ++j) rank += tile[j] > size;
    }
    if (i < N && rank < n) indices[m * n + rank] = weight != 0 ? i : -1;
}

// The component (m, index) that stands at place c = (m, j) of the result, -1 for none: a plan may meet other
// weights than it was made for.
__device__ inline int64 chosen(const real* weights, const int* indices, int64 c, int N, int n) {
    const int index = indices[c];
    if (index < 0) return -1;
    const int64 found = c / n * N + index;
    return weights[found] != 0 ? found : -1;
}

// LANES components of the result per block, one number per thread.
extern "C" __global__ __launch_bounds__(THREADS) void top_forward(const real* weights,  // [M, N]
                                                                  const real* means,    // [M, N, K]
                                                                  const real* covs,     // [M, N, K, K]
                                                                  const int* indices,   // [M, n]
                                                                  real* out_weights,    // [M, n]
                                                                  real* out_means,      // [M, n, K]
                                                                  real* out_covs,       // [M, n, K, K]
                                                                  int count,            // M n
                                                                  int N, int n) {
    const Place at;
    const int64 c = int64(blockIdx.x) * LANES + at.lane;
    if (!at.inside || c >= count) return;
    const int64 from = chosen(weights, indices, c, N, n);
    const real blank = at.field == 2 && at.entry % (K + 1) == 0 ? 1 : 0;  // weight 0, mean 0, covariance I
    const real value = from < 0 ? blank : at.of(weights, means, covs)[from * at.length + at.entry];
    at.of(out_weights, out_means, out_covs)[c * at.length + at.entry] = value;
}

// As top_forward; a component stands in one place at most, so that nothing is written twice.
extern "C" __global__ __launch_bounds__(THREADS) void top_vjp(const real* weights,    // [M, N]
                                                              const int* indices,     // [M, n]
                                                              const real* g_weights,  // [M, n]
                                                              const real* g_means,    // [M, n, K]
                                                              const real* g_covs,     // [M, n, K, K]
                                                              real* d_weights,        // [M, N] of zeros, if wanted
                                                              real* d_means,          // [M, N, K]
                                                              real* d_covs,           // [M, N, K, K]
                                                              int of_weights, int of_means, int of_covs,
                                                              int count, int N, int n) {
    const Place at;
    const int64 c = int64(blockIdx.x) * LANES + at.lane;
    const int wanted = at.field == 0 ? of_weights : at.field == 1 ? of_means : of_covs;
    if (!at.inside || c >= count || !wanted) return;
    const int64 to = chosen(weights, indices, c, N, n);
    if (to < 0) return;
    const real* g = at.of(g_weights, g_means, g_covs) + c * at.length;
    const real sum = g[at.entry] + g[transposed(at.field, at.entry)];
    at.of(d_weights, d_means, d_covs)[to * at.length + at.entry] = at.field == 2 ? sum / 2 : g[at.entry];
}
