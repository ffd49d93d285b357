// One step of EM that fits fewer components of one sign to many: what its passes over pairs share. cpu/_em_step.py is
// the twin, cpu/em.py derives it. As there all of it is `wide`, whatever the dtype.
//
// Nothing of the pairs is kept: each pass computes a pair's share again, and must get the same bits, or the shares of
// a component would not add up to 1 where logarithms are large. A compiler chooses from kernel to kernel which products
// it fuses with sums; so all arithmetic up to a share, and up to a share's slope, is spelt with fma.
#pragma once
#include "gaussian.cuh"

using uint64 = unsigned long long;

constexpr int BLOCK = 128;          // threads of a pass over pairs

constexpr int WORD = 64;            // bits of a mask's word
constexpr int ROW = 1 + K + TRI;    // numbers of a component: |w|, mean from the mixture's centre, covariance packed
constexpr int W = 0, MU = 1, COV = 1 + K;
constexpr wide SMALLEST = 2.2250738585072014e-308;  // normal number
constexpr wide LARGEST = 1.7976931348623157e308;

// A component from which an output starts: A = sqrt(SCALE) L^-1, p = A^T A with its off-diagonal entries doubled.
struct alignas(16) Parent {
    wide mu[K], a[TRI], p[TRI];
    wide peak;   // log2 of 1 / det L
    wide log_w;  // log2 |w|
};

// A component in shared memory: its row, and numbers that passes over components leave for those over parents.
template <int NORMS>
struct alignas(16) Component {
    wide w, x[K], c[TRI];
    wide norms[NORMS];
};

// The virtual points a component stands for, the largest of its logarithms, 1 / the sum of their exponentials, and the
// mean slope of its shares, of which there is none on the way forth.
enum Norm : int { SAMPLES = 0, TOP = 1, INVERSE = 2, SLOPE = 3 };

// How many records a block reads together: a power of two up to a word of a mask, 16 kB if it can.
__device__ constexpr int tile_length(int bytes) {
    int length = WORD;
    while (length > 1 && length * bytes > 16384) length /= 2;
    return length;
}

// The places [start, stop) of one sign.
struct Range {
    int start, stop;
};

__device__ inline Range range_of(const int* ends, int sign) { return {sign ? ends[0] : 0, ends[sign]}; }

// Blocks take `width` places of one sign each, first those of the positive ones: finds the sign and the first place of
// block number `tile` of a mixture, of which there are ceil(places / width) + 1. False if there is nothing for it.
__device__ inline bool find_places(const int* ends, int tile, int width, int& sign, int& begin) {
    const int positive = (ends[0] + width - 1) / width;
    sign = tile >= positive;
    begin = sign ? ends[0] + (tile - positive) * width : tile * width;
    return begin < ends[sign];
}

__device__ inline void copy_numbers(const void* from, int bytes, void* to) {
    const wide* source = static_cast<const wide*>(from);
    wide* target = static_cast<wide*>(to);
    for (int i = threadIdx.x; i < bytes / int(sizeof(wide)); i += blockDim.x) target[i] = source[i];
}

// The mean over a component of log2 N(. ; parent), but for a constant.
__device__ inline wide log_likelihood(const Parent& s, const wide (&x)[K], const wide (&c)[TRI]) {
    wide value = s.peak;
#pragma unroll
    for (int k = 0; k < K; ++k) {
        wide y = s.a[packed(k, 0)] * (x[0] - s.mu[0]);
#pragma unroll
        for (int m = 1; m <= k; ++m) y = fma(s.a[packed(k, m)], x[m] - s.mu[m], y);
        value = fma(-y, y, value);
    }
#pragma unroll
    for (int q = 0; q < TRI; ++q) value = fma(-s.p[q], c[q], value);
    return value;
}

// The part of a component that a parent takes, given the logarithm's parts.
template <class Norms>
__device__ inline wide share_of(const Parent& s, wide likelihood, const Norms& norms) {
    return power_of_two(fma(norms[SAMPLES], likelihood, s.log_w) - norms[TOP]) * norms[INVERSE];
}

// Which pairs there are: bits (n, words) of a mixture, or all of them without words.
struct Masks {
    const uint64* bits;
    int words;
    // The bits of the places from `place` on, counted from the first one of the sign, as far as they are in its word.
    __device__ uint64 of(int parent, int place) const {
        if (words == 0) return ~0ull;
        return place / WORD < words ? bits[int64(parent) * words + place / WORD] >> (place % WORD) : 0;
    }
};

// Shared memory for what `over_parents` reads: the same one, however often a kernel calls it.
template <class Record>
__device__ inline Record* parents_tile() {
    __shared__ Record tile[tile_length(sizeof(Record))];
    return tile;
}

// Calls each(record) for the parents of its sign that may take the thread's component, in their order. The block has
// BLOCK components from `place`, counted from the first one of the sign, on. Every thread of the block must call it.
template <class Record, class Each>
__device__ inline void over_parents(const Record* records, Range parents, Masks masks, int place, bool mine,
                                    Each each) {
    constexpr int LENGTH = tile_length(sizeof(Record)), GROUPS = BLOCK / WORD;
    __shared__ uint64 bits[LENGTH * GROUPS];
    Record* tile = parents_tile<Record>();
    const int group = threadIdx.x / WORD, bit = threadIdx.x % WORD;
    for (int first = parents.start; first < parents.stop; first += LENGTH) {
        const int count = min(LENGTH, parents.stop - first);
        __syncthreads();
        copy_numbers(records + first, count * int(sizeof(Record)), tile);
        for (int i = threadIdx.x; i < count * GROUPS; i += BLOCK)
            bits[i] = masks.of(first + i / GROUPS, place + i % GROUPS * WORD);
        __syncthreads();
        for (int s = 0; s < count; ++s)
            if (mine && (bits[s * GROUPS + group] >> bit & 1)) each(tile[s]);
    }
    __syncthreads();
}

// How a block's threads share up to BLOCK parents [begin, ...) of one sign: `lanes` threads have the same one.
struct Lanes {
    int parent, lane, lanes, width;
    bool mine;  // a parent of its own, and not the last one again
};

__device__ inline Lanes deal_lanes(int begin, int stop) {
    const int count = min(BLOCK, stop - begin);
    Lanes d;
    d.width = 1;
    while (d.width < count) d.width *= 2;
    const int column = int(threadIdx.x) % d.width;
    d.parent = begin + min(column, count - 1);
    d.lane = int(threadIdx.x) / d.width;
    d.lanes = BLOCK / d.width;
    d.mine = column < count;
    return d;
}

// The places of one slice of a sign's components: whole words of masks.
__device__ inline Range slice_of(Range all, int slice, int slices) {
    const int count = all.stop - all.start, length = ((count + slices - 1) / slices + WORD - 1) / WORD * WORD;
    const int start = all.start + int(min(int64(slice) * length, int64(count)));
    return {start, min(start + length, all.stop)};
}

// Calls each(tile, count, first) with the components of a range, a tile at a time. rows (components, ROW), norms
// (places, NORMS). Every thread of the block must call it.
template <int NORMS, class Each>
__device__ inline void over_components(const wide* rows, const int* order, const wide* norms, Range range, Each each) {
    constexpr int LENGTH = tile_length(sizeof(Component<NORMS>));
    __shared__ Component<NORMS> tile[LENGTH];
    for (int first = range.start; first < range.stop; first += LENGTH) {
        const int count = min(LENGTH, range.stop - first);
        __syncthreads();
        for (int i = threadIdx.x; i < count * ROW; i += BLOCK)
            reinterpret_cast<wide*>(tile + i / ROW)[i % ROW] = rows[int64(order[first + i / ROW]) * ROW + i % ROW];
        for (int i = threadIdx.x; i < count * NORMS; i += BLOCK)
            tile[i / NORMS].norms[i % NORMS] = norms[int64(first) * NORMS + i];
        __syncthreads();
        each(tile, count, first);
    }
    __syncthreads();
}

// Combines the COUNT numbers of the lanes of each parent pairwise, always in the same order: lane 0 has the result.
// Every thread of the block must call it; combine(mine, other) adds the second to the first.
template <int COUNT, class Combine>
__device__ inline void gather_lanes(const Lanes& d, wide (&numbers)[COUNT], Combine combine) {
    __shared__ wide scratch[BLOCK];
    for (int half = d.lanes / 2; half > 0; half /= 2) {
        wide other[COUNT];
#pragma unroll
        for (int q = 0; q < COUNT; ++q) {
            __syncthreads();
            if (d.lane >= half && d.lane < 2 * half) scratch[threadIdx.x - half * d.width] = numbers[q];
            __syncthreads();
            other[q] = scratch[threadIdx.x];
        }
        if (d.lane < half) combine(numbers, other);
    }
}
