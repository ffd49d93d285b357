// What one level of hierarchical EM decides: the order of its components, the parents and what they may take.
// cpu/_hem_plan.py is the twin.
//
// `order` sorts in shared memory and is bound by latency; `masks` by FP64, 2 + K + K (K + 1) multiplications with
// additions per pair, twice.
#include "em_blocks.cuh"
#include "em_moments.cuh"
#include "hem_parents.cuh"

// A key per component: its sign, its place along the Morton curve, its number.
__device__ inline uint64 morton_key(const wide* mean, const wide (&low)[K], const wide (&high)[K], wide eps,
                                    bool negative, int number) {
    constexpr int BITS = K <= 3 ? 10 : K <= 30 ? 30 / K : 1, AXES = K < 30 ? K : 30, SIDE = 1 << BITS;
    int cells[AXES];
    for (int a = 0; a < AXES; ++a) {
        const wide extent = high[a] - low[a], t = extent > 0 ? (mean[a] - low[a]) / extent : 0;
        const wide cell = floor(SIDE * t + SIDE * 64.0 * eps);  // the border of a cell is not below it by rounding
        cells[a] = cell >= SIDE ? SIDE - 1 : cell > 0 ? int(cell) : 0;
    }
    uint64 code = 0;
    for (int b = BITS - 1; b >= 0; --b)
        for (int a = 0; a < AXES; ++a) code = code << 1 | uint64(cells[a] >> b & 1);
    return uint64(negative) << 63 | code << 32 | uint64(number);
}

// Sorts `length` keys, a power of two, by the threads of a block.
__device__ inline void sort_keys(uint64* keys, int length) {
    for (int size = 2; size <= length; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            __syncthreads();
            for (int i = threadIdx.x; i < length / 2; i += blockDim.x) {
                const int lower = 2 * i - (i & (stride - 1)), upper = lower + stride;
                const uint64 a = keys[lower], b = keys[upper];
                if ((a > b) == ((lower & size) == 0)) {
                    keys[lower] = b;
                    keys[upper] = a;
                }
            }
        }
    __syncthreads();
}

// One block per mixture: the plan of a level but for its masks. Its components are those that `listing` names, or the
// first ones if it does not count; `before` says where either sign of them ends.
extern "C" __global__ __launch_bounds__(WIDEST) void hem_order(const wide* all_rows,   // [M, P, ROW]
                                                               const int* listings,    // [M, P]
                                                               const int* before,      // [M, 2]
                                                               uint64* all_keys,       // [M, length], or none: shared
                                                               wide* all_left,         // [M, P]
                                                               int* orders,            // [M, P]
                                                               int* all_ends,          // [M, 2]
                                                               int* all_parents,       // [M, n]
                                                               int* all_parent_ends,   // [M, 2]
                                                               int P, int n, int length, int listed, int enough,
                                                               wide eps) {
    GM_SHARED(uint64, shared_keys);
    __shared__ wide scratch[WIDEST / 32];
    __shared__ wide masses[2];
    __shared__ int parent_ends[2];
    const int64 m = blockIdx.x;
    const int positive = before[2 * m], present = before[2 * m + 1];
    const int* listing = listings + m * P;
    const wide* rows = all_rows + m * P * ROW;
    int *order = orders + m * P, *parents = all_parents + m * n;
    const auto listed_at = [&](int p) { return listed ? listing[p] : p; };
    for (int p = threadIdx.x; p < P; p += blockDim.x) order[p] = p < present ? listed_at(p) : -1;
    for (int s = threadIdx.x; s < n; s += blockDim.x) parents[s] = -1;
    if (threadIdx.x < 2)
        all_ends[2 * m + threadIdx.x] = all_parent_ends[2 * m + threadIdx.x] = before[2 * m + threadIdx.x];
    if (present <= enough) return;

    wide low[K], high[K];
    for (int k = 0; k < K; ++k) low[k] = LARGEST, high[k] = -LARGEST;
    for (int p = threadIdx.x; p < present; p += blockDim.x)
        for (int k = 0; k < K; ++k) {
            const wide x = rows[int64(listed_at(p)) * ROW + MU + k];
            low[k] = x < low[k] ? x : low[k];
            high[k] = x > high[k] ? x : high[k];
        }
    for (int k = 0; k < K; ++k) {
        low[k] = block_best(low[k], scratch, [](wide a, wide b) { return a < b; });
        high[k] = block_best(high[k], scratch, [](wide a, wide b) { return a > b; });
    }
    uint64* keys = length > 0 ? all_keys + m * length : shared_keys;
    int padded = 1;
    while (padded < present) padded *= 2;
    for (int p = threadIdx.x; p < padded; p += blockDim.x)
        keys[p] =
            p < present ? morton_key(rows + int64(listed_at(p)) * ROW + MU, low, high, eps, p >= positive, p) : ~0ull;
    sort_keys(keys, padded);
    wide* left = all_left + m * P;
    for (int p = threadIdx.x; p < present; p += blockDim.x) {
        order[p] = listed_at(int(keys[p] & 0xffffffff));
        left[p] = rows[int64(order[p]) * ROW + W];
    }
    __syncthreads();

    // One thread for either sign: sums and thresholds in the order of the CPU, as ties depend on them.
    const int sign = threadIdx.x / 32;
    const bool chooses = sign < 2 && threadIdx.x % 32 == 0;
    const int start = sign == 0 ? 0 : positive, stop = sign == 0 ? positive : present;
    if (chooses) masses[sign] = mass_left(left, start, stop);
    __syncthreads();
    if (threadIdx.x == 0) {
        const int number = max(enough, (present + REDUCTION - 1) / REDUCTION);
        parent_ends[0] = share_parents(masses, positive, present, number, eps);
        parent_ends[1] = number;
        for (int i = 0; i < 2; ++i) all_parent_ends[2 * m + i] = parent_ends[i];
    }
    __syncthreads();
    if (!chooses) return;
    const int first = sign == 0 ? 0 : parent_ends[0];
    choose_parents(left, start, stop, parent_ends[sign] - first, eps, parents + first);
}

// 64 components of one sign, a word of the masks, per warp: lets every component be taken by the parents within a bound
// of the divergence KL(i || s), in bits, and by the nearest one.
extern "C" __global__ __launch_bounds__(BLOCK) void hem_masks(const wide* rows,         // [M, P, ROW]
                                                              const int* orders,        // [M, P]
                                                              const int* all_ends,      // [M, 2]
                                                              const int* parent_ends,   // [M, 2]
                                                              const Parent* all_models, // [M, n]
                                                              uint64* masks,            // [M, n, words]
                                                              int P, int n, int words, int enough, wide eps) {
    constexpr int WIDTH = 2 * BLOCK, LENGTH = tile_length(sizeof(Parent));
    __shared__ Parent tile[LENGTH];
    const int tiles = (P + WIDTH - 1) / WIDTH + 1;
    const int64 m = blockIdx.x / tiles;
    const int* ends = all_ends + 2 * m;
    int sign, begin;
    if (ends[1] <= enough || !find_places(ends, blockIdx.x % tiles, WIDTH, sign, begin)) return;
    const Range all = range_of(ends, sign), parents = range_of(parent_ends + 2 * m, sign);
    const int word_begin = begin + int(threadIdx.x) / 32 * WORD, p = word_begin + int(threadIdx.x) % 32;
    wide x[2][K], c[2][TRI], own[2], least[2] = {LARGEST, LARGEST};
    bool nearest_found[2] = {false, false};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int64 row = m * P + orders[m * P + min(p + 32 * r, all.stop - 1)];
        read_component(rows + row * ROW, x[r], c[r]);
        own[r] = own_log_density(c[r]);
    }
    const wide bound = KL_BOUND * (1 + 64 * eps);
    for (int pass = 0; pass < 2; ++pass)  // first the least divergence, then the bits
        for (int first = parents.start; first < parents.stop; first += LENGTH) {
            const int count = min(LENGTH, parents.stop - first);
            __syncthreads();
            copy_numbers(all_models + m * n + first, count * int(sizeof(Parent)), tile);
            __syncthreads();
            for (int s = 0; s < count; ++s) {
                uint64 bits = 0;
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    const wide divergence = own[r] - log_likelihood(tile[s], x[r], c[r]);
                    if (pass == 0) {
                        least[r] = divergence < least[r] ? divergence : least[r];
                        continue;
                    }
                    const bool near = !nearest_found[r] && divergence <= least[r] + 64 * eps * fabs(least[r]);
                    nearest_found[r] = nearest_found[r] || near;
                    const bool takes = p + 32 * r < all.stop && (near || divergence <= bound);
                    bits |= uint64(__ballot_sync(~0u, takes)) << 32 * r;
                }
                if (pass == 1 && threadIdx.x % 32 == 0 && word_begin < all.stop)
                    masks[(m * n + first + s) * words + (word_begin - all.start) / WORD] = bits;
            }
        }
}
