// What every fit of point sets begins with: the frame of each set, and its points of positive mass in that frame.
// cpu/_fit_parts.py is the twin.
//
// One block per set reads it once or twice and is bound by bytes; a set has less than 2^31 points.
#include "fit_sets.cuh"

// The power of two that is not below x > 0; x itself where that is beyond the range.
__device__ inline wide power_above(wide x) {
    if (!is_finite(x)) return x;
    int exponent;
    const wide part = frexp(x, &exponent);
    return ldexp(1.0, part == 0.5 ? exponent - 1 : exponent);
}

// A frame: centre, scale, longest side and total mass of the points of positive mass.
extern "C" __global__ __launch_bounds__(BLOCK) void fit_frames(const real* all_points,  // [total, K]
                                                               const wide* all_masses,  // [total]
                                                               const int64* offsets,    // [S + 1]
                                                               wide* frames) {          // [S, K + 3]
    __shared__ wide scratch[WARPS];
    const int64 begin = offsets[blockIdx.x];
    const int size = int(offsets[blockIdx.x + 1] - begin);
    const real* points = all_points + begin * K;
    const wide* masses = all_masses + begin;
    wide* frame = frames + int64(blockIdx.x) * (K + 3);
    wide total[1] = {}, side = 0;
    bool found = false;
    for (int i = threadIdx.x; i < size; i += BLOCK)
        if (masses[i] > 0) {
            total[0] += masses[i];
            found = true;
        }
    const bool any = __syncthreads_or(found);
    block_totals(total, scratch);
    for (int k = 0; k < K; ++k) {
        wide low = 1.7976931348623157e308, high = -low;
        for (int i = threadIdx.x; i < size; i += BLOCK)
            if (masses[i] > 0) {
                const wide x = points[int64(i) * K + k];
                low = x < low ? x : low;
                high = x > high ? x : high;
            }
        low = block_best(low, scratch, [](wide a, wide b) { return a < b; });
        high = block_best(high, scratch, [](wide a, wide b) { return a > b; });
        side = any && high - low > side ? high - low : side;
        if (threadIdx.x == 0) frame[k] = any ? 0.5 * low + 0.5 * high : 0.0;
    }
    if (threadIdx.x == 0) {
        frame[K] = side > 0 ? power_above(side) : 1.0;
        frame[K + 1] = side;
        frame[K + 2] = total[0];
    }
}

// The points of positive mass, in their order.
extern "C" __global__ __launch_bounds__(BLOCK) void fit_gather(const real* all_points,  // [total, K]
                                                               const wide* all_masses,  // [total]
                                                               const int64* offsets,    // [S + 1]
                                                               const wide* frames,      // [S, K + 3]
                                                               real* all_x,     // [total K], a set's axis by axis
                                                               wide* all_share, // [total]
                                                               int* all_index,  // [total], counted within the set
                                                               int* counts) {   // [S]
    __shared__ int scratch[WARPS];
    const int64 begin = offsets[blockIdx.x];
    const int size = int(offsets[blockIdx.x + 1] - begin);
    const real* points = all_points + begin * K;
    const wide *masses = all_masses + begin, *frame = frames + int64(blockIdx.x) * (K + 3);
    real* x = all_x + begin * K;
    const wide scale = frame[K], total = frame[K + 2];
    const int count = number_flagged(
        size, scratch, [&](int i) { return masses[i] > 0; },
        [&](int i, int rank) {
            for (int k = 0; k < K; ++k)
                x[int64(k) * size + rank] = real((wide(points[int64(i) * K + k]) - frame[k]) / scale);
            all_share[begin + rank] = masses[i] / total;
            all_index[begin + rank] = i;
        });
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}
