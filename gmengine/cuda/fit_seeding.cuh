// Where k-means starts: draws of k-means++, the point furthest from all centres, and how near a point is to a centre.
// cpu/_fit_seeding.py is the twin.
//
// Sums have a fixed order, but not the CPU's. Houses agree in float64 as long as no random number lies within rounding
// of a boundary between two points, and of values that tie up to rounding the first is the one that is taken by both.
#pragma once
#include "fit_sets.cuh"

constexpr wide TIE = 64 * (sizeof(real) == 4 ? 1.1920928955078125e-07 : 2.220446049250313e-16);
constexpr real COINCIDENT = 1e-24;  // squared distance in the frame below which points count as one
constexpr real FAR = 1e30;          // beyond all squared distances
constexpr int NOWHERE = 2147483647;
constexpr int TRIALS = 8;  // draws whose potentials are summed together

__device__ inline real squared_distance(const real (&x)[K], const real* y) {
    real sum = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) sum += (x[k] - y[k]) * (x[k] - y[k]);
    return sum;
}

// Squared distance as seeds are chosen by: none between points that count as one.
__device__ inline real seed_distance(const real (&x)[K], const real* y) {
    const real d = squared_distance(x, y);
    return d > COINCIDENT ? d : real(0);
}

// The first i < count whose value(i) is the largest, but for rounding; `largest` is the largest. A thread asks for the
// values of the points threadIdx.x + BLOCK j alone. Every thread of the block must call it.
template <class Value>
__device__ inline int first_largest(int count, Value value, wide& largest) {
    __shared__ wide tops[WARPS];
    __shared__ int firsts[WARPS];
    wide top = -1;
    for (int i = threadIdx.x; i < count; i += BLOCK) top = value(i) > top ? value(i) : top;
    largest = block_best(top, tops, [](wide a, wide b) { return a > b; });
    int first = NOWHERE;
    for (int i = threadIdx.x; i < count && first == NOWHERE; i += BLOCK)
        if (largest <= value(i) * (1 + TIE)) first = i;
    first = block_best(first, firsts, [](int a, int b) { return a < b; });
    return first == NOWHERE ? 0 : first;  // were there no numbers among the values
}

// Sum of the values of this thread and those before it in the block; the one of thread t is where t + 1 begins, to the
// bit. Every thread of the block must call it.
__device__ inline wide block_running(wide value, wide* scratch) {
    for (int step = 1; step < 32; step *= 2) {
        const wide other = __shfl_up_sync(~0u, value, step);
        if (lane_id() >= step) value += other;
    }
    __syncthreads();
    if (lane_id() == 31) scratch[warp_id()] = value;
    __syncthreads();
    wide before = 0;
    for (int w = 0; w < warp_id(); ++w) before += scratch[w];
    return before + value;
}

// The part of a set's points that a thread draws from, and sums of chances: before it, and to its end.
struct Segment {
    int begin, end, last;  // last: its last point with a chance, or -1
    wide before, after;
};

template <class Chance>
__device__ inline Segment segment_of_thread(int count, Chance chance) {
    __shared__ wide scratch[WARPS], ends[BLOCK];
    const int length = (count + BLOCK - 1) / BLOCK;
    Segment s = {min(int(threadIdx.x) * length, count), min((int(threadIdx.x) + 1) * length, count), -1, 0, 0};
    wide own = 0;
    for (int i = s.begin; i < s.end; ++i) {
        const wide c = chance(i);
        own += c;
        s.last = c > 0 ? i : s.last;
    }
    s.after = block_running(own, scratch);
    ends[threadIdx.x] = s.after;
    __syncthreads();
    s.before = threadIdx.x > 0 ? ends[threadIdx.x - 1] : 0.0;
    return s;
}

// For each of `trials` numbers u the first point at which the running sum of chances passes u `total`, into `drawn`; if
// rounding keeps the sum from it, the last one with a chance. Every thread of the block must call it.
template <class Chance>
__device__ inline void draw(int count, Chance chance, wide total, const wide* uniforms, int trials, int* drawn) {
    __shared__ int owners[TRIALS], last;
    const Segment s = segment_of_thread(count, chance);
    if (threadIdx.x < TRIALS) owners[threadIdx.x] = BLOCK;
    if (threadIdx.x == 0) last = 0;
    __syncthreads();
    if (s.last >= 0) {
        atomicMax(&last, s.last);
        for (int t = 0; t < trials; ++t)
            if (s.after > uniforms[t] * total) atomicMin(owners + t, int(threadIdx.x));
    }
    __syncthreads();
    for (int t = 0; t < trials; ++t) {
        if (owners[t] == BLOCK && threadIdx.x == 0) drawn[t] = last;
        if (owners[t] != int(threadIdx.x)) continue;
        wide running = s.before;
        int point = s.last;
        for (int i = s.begin; i < s.end; ++i) {
            const wide c = chance(i);
            running += c;
            if (c > 0 && running > uniforms[t] * total) {
                point = i;
                break;
            }
        }
        drawn[t] = point;
    }
    __syncthreads();
}

// Sums of share times squared distance to the nearest centre, if drawn[t] became one.
__device__ static inline void find_potentials(const Set& set, const real* nearest, bool first, const int* drawn,
                                              int trials, wide (&potentials)[TRIALS]) {
    __shared__ real candidates[TRIALS][K];
    __shared__ wide scratch[TRIALS * WARPS];
    for (int q = threadIdx.x; q < TRIALS * K; q += BLOCK)
        candidates[q / K][q % K] = set.at(q % K, drawn[q / K < trials ? q / K : 0]);
    __syncthreads();
#pragma unroll
    for (int t = 0; t < TRIALS; ++t) potentials[t] = 0;
    for (int i = threadIdx.x; i < set.count; i += BLOCK) {
        real x[K];
        set.read(i, x);
        const real most = first ? FAR : nearest[i];
        const wide share = set.share[i];
#pragma unroll
        for (int t = 0; t < TRIALS; ++t) {
            if (t >= trials) break;
            const real d = seed_distance(x, candidates[t]);
            potentials[t] += share * (d < most ? d : most);
        }
    }
    block_totals(potentials, scratch);
}

// Makes point number `chosen` a centre: writes it down and moves `nearest`, the points' squared distances to the
// nearest centre. A thread has the points threadIdx.x + BLOCK j. Every thread of the block must call it.
__device__ inline void add_centre(const Set& set, int chosen, bool first, real* nearest, wide* mean) {
    real centre[K];
    set.read(chosen, centre);
    for (int i = threadIdx.x; i < set.count; i += BLOCK) {
        real x[K];
        set.read(i, x);
        const real d = seed_distance(x, centre), before = first ? FAR : nearest[i];
        nearest[i] = d < before ? d : before;
    }
    if (threadIdx.x == 0)
        for (int k = 0; k < K; ++k) mean[k] = centre[k];
}
