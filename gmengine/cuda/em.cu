// What one step of EM decides: the components of either sign, and the heaviest of them; cpu/em.py is the twin.
//
// One block per mixture, bound by latency: choosing n components takes n steps of two meetings of all threads.
#include "em_blocks.cuh"
#include "em_faults.cuh"

constexpr int64 NONE = 0x7fffffffffffffff;

// Writes the present components, positive ones first, then -1, and where either sign ends.
extern "C" __global__ __launch_bounds__(WIDEST) void em_list(const real* all_weights,  // [M, N]
                                                             int* orders,              // [M, N]
                                                             int* all_ends,            // [M, 2]
                                                             int64* first_fault, int N, int n) {
    __shared__ int scratch[WIDEST / 32];
    __shared__ int64 first_of_warps[WIDEST / 32];
    const int64 m = blockIdx.x;
    const real* weights = all_weights + m * N;
    int* order = orders + m * N;
    int64 first = NONE;
    for (int i = threadIdx.x; i < N; i += blockDim.x)
        if (!is_finite(weights[i])) first = min(first, int64(i));
    first = block_best(first, first_of_warps, [](int64 a, int64 b) { return a < b; });
    const auto write = [&](int before) { return [=](int i, int rank) { order[before + rank] = i; }; };
    const int positive =
        number_flagged(N, scratch, [&](int i) { return wide(weights[i]) > 0; }, write(0));
    const int present =
        positive + number_flagged(N, scratch, [&](int i) { return wide(weights[i]) < 0; }, write(positive));
    for (int p = present + threadIdx.x; p < N; p += blockDim.x) order[p] = -1;
    if (threadIdx.x != 0) return;
    all_ends[2 * m] = positive;
    all_ends[2 * m + 1] = present;
    if (first != NONE)
        report_fault(first_fault, LISTING, m, N, int(first), EM_NON_FINITE);
    else if (n == 1 && 0 < positive && positive < present)
        report_fault(first_fault, LISTING, m, N, 0, EM_TWO_SIGNS);
}

// The places of one mixture's components that are not taken yet, and their |w|; -1 for what is. Thread t has the places
// t, t + blockDim.x, ... and knows the heaviest of its own.
struct Heap {
    const int* order;
    wide* left;
    wide mine;
    wide threshold;  // 1 - 64 eps: heavier than that times the heaviest is as heavy
    wide* scratch;
    int64* places;

    __device__ void find_mine(int start, int stop) {
        mine = -1;
        for (int p = threadIdx.x; p < stop; p += blockDim.x)
            if (p >= start) mine = max(mine, left[p]);
    }
    // The heaviest of [start, stop), which `mine` has been found for; of equals the one of lowest index. Takes it.
    __device__ int take(int start, int stop) {
        const wide enough = threshold * block_best(mine, scratch, [](wide a, wide b) { return a > b; });
        int64 best = NONE;
        if (mine >= enough)
            for (int p = threadIdx.x; p < stop; p += blockDim.x)
                if (p >= start && left[p] >= enough) best = min(best, (int64(order[p]) << 32) | p);
        best = block_best(best, places, [](int64 a, int64 b) { return a < b; });
        const int place = int(best & 0x7fffffff);
        if (place % int(blockDim.x) == int(threadIdx.x) && best != NONE) {
            left[place] = -1;
            find_mine(start, stop);
        }
        return place;
    }
};

// Writes the places of the heaviest components; the last one gives way if a sign would have none.
extern "C" __global__ __launch_bounds__(WIDEST) void em_choose(const real* weights,   // [M, N]
                                                               const int* orders,     // [M, N]
                                                               const int* all_ends,   // [M, 2]
                                                               wide* all_left,        // [M, N]
                                                               int* all_chosen,       // [M, n]
                                                               int* all_parents,      // [M, n]
                                                               int* all_parent_ends,  // [M, 2]
                                                               int N, int n, wide eps) {
    __shared__ wide scratch[WIDEST / 32];
    __shared__ int64 places[WIDEST / 32];
    const int64 m = blockIdx.x;
    const int positive = all_ends[2 * m], present = all_ends[2 * m + 1];
    int *chosen = all_chosen + m * n, *parents = all_parents + m * n, *parent_ends = all_parent_ends + 2 * m;
    if (present <= n) {
        for (int k = threadIdx.x; k < n; k += blockDim.x) parents[k] = -1;
        if (threadIdx.x < 2) parent_ends[threadIdx.x] = all_ends[2 * m + threadIdx.x];
        return;
    }
    Heap heap = {orders + m * N, all_left + m * N, -1, 1 - 64 * eps, scratch, places};
    for (int p = threadIdx.x; p < present; p += blockDim.x) heap.left[p] = fabs(wide(weights[m * N + heap.order[p]]));
    heap.find_mine(0, present);
    int n_positive = 0, last = 0;
    for (int k = 0; k < n; ++k) {
        last = heap.take(0, present);
        n_positive += last < positive;
        if (threadIdx.x == 0) chosen[k] = last;
    }
    if (n_positive == 0 && positive > 0) {
        heap.find_mine(0, positive);
        last = heap.take(0, positive);
        n_positive = 1;
    } else if (n_positive == n && positive < present) {
        heap.find_mine(positive, present);
        last = heap.take(positive, present);
        n_positive = n - 1;
    }
    if (threadIdx.x != 0) return;
    chosen[n - 1] = last;
    int next[2] = {0, n_positive};
    for (int k = 0; k < n; ++k) parents[next[chosen[k] >= positive]++] = chosen[k];
    parent_ends[0] = n_positive;
    parent_ends[1] = n;
}
