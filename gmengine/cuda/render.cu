// Values of mixtures on regular grids, and their gradients; cpu/render.py derives them.
//
// Forward: a block draws one tile of a mixture's grid. It sifts the components by their boxes, counted in tiles, and
// draws those that are left cell by cell, counting a component where y.y, as rounded, is within the cut-off: one at the
// edge may differ from the CPU by 2^-cutoff of its peak. Bound, in float: the special function units (one exponential
// per cell and component, beside 5 other operations where a thread has 4 cells); with few components per tile, reading
// 8 bytes per component, tile and axis from the L2 cache, or writing the grid. In double: FP64.
//
// Vjp: a warp gathers the moments of one component, or of a slice of it, line by line of its box, entering lines where
// the ellipsoid does. Bound: the special function units where lines are long, what a line costs beside its cells (about
// 40 operations for K = 3) where they are short; every cotangent is read once per component that reaches it.
#include "render_lines.cuh"

// One thread per component.
extern "C" __global__ void render_prepare(const real* weights,  // [M N]
                                          const real* means,    // [M N, K]
                                          const real* covs,     // [M N, K, K]
                                          const Axis* axes,     // [K]
                                          Cell* cells,          // [M, N]
                                          Span* spans,          // [M, K, N]
                                          int64* first_fault, int M, int N, wide cutoff) {
    const int64 i = thread_id();
    if (i >= int64(M) * N) return;
    Cell cell = {};
    if (weights[i] != 0) {
        Row<1> row;
        wide peak = 0;
        Fault fault = prepare(weights[i], means + i * K, covs + i * K * K, row, peak);
        const wide amplitude = weights[i] * peak;
        // A density beyond float is none beyond this op: its values may be within.
        if (sizeof(real) == 4 && fault == OVERFLOW_OF_DTYPE && is_finite(amplitude)) fault = SOUND;
        if (fault == SOUND) locate(amplitude, means + i * K, covs + i * K * K, axes, cutoff, cell);
        report(first_fault, i, fault);
    }
    cells[i] = cell;
    const bool meets = cell.first[0] < cell.last[0];
    for (int k = 0; k < K; ++k) {
        const int bits = int(axes[k].bits);
        const Span span = {int(cell.first[k] >> bits), int((cell.last[k] - 1) >> bits)};
        spans[(i / N * K + k) * N + i % N] = meets ? span : Span{1, 0};
    }
}

// A component as a tile sees it: y = a (i + shift) + offset, where i counts from the tile's first cell.
struct alignas(16) Near {
    real shift[K], offset[K], a[TRI], amplitude, lift;
};

constexpr int SIFT = 4 * BLOCK;                          // components that are looked at between two barriers
constexpr int HELD = 2 * SIFT;                           // components that may wait to be drawn
constexpr int DRAWN = sizeof(Near) <= 256 ? TILE : 16;   // components that are drawn between two barriers

// Appends those of the components [base, base + SIFT) whose box meets the tile to `list`, in their order; returns its
// new length. There is one barrier between the two loops: `words` must be others the next time.
__device__ inline int sift(const Span* spans, int N, int base, const int (&tile)[K], unsigned* words, int* list,
                           int held) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int w = warp; w < SIFT / WARP; w += BLOCK / WARP) {
        const int j = base + w * WARP + lane;
        bool meets = j < N;
#pragma unroll
        for (int k = 0; k < K; ++k)
            if (meets) {
                const Span span = spans[int64(k) * N + j];
                meets = span.first <= tile[k] && tile[k] <= span.last;
            }
        const unsigned word = __ballot_sync(~0u, meets);
        if (lane == 0) words[w] = word;
    }
    __syncthreads();
    for (int w = 0; w < SIFT / WARP; ++w) {
        const unsigned word = words[w];
        if (w % (BLOCK / WARP) == warp && (word >> lane & 1u))
            list[held + __popc(word & ((1u << lane) - 1))] = base + w * WARP + lane;
        held += __popc(word);
    }
    return held;
}

// Adds the components of `list` to the R cells of a thread: `local`, and those `ahead` of it along the last axis.
template <int R>
__device__ inline void draw(const Cell* cells, const int* list, int held, const wide* origin, const real (&local)[K],
                            const real (&ahead)[R], real cutoff, Near* near, wide (&totals)[R]) {
    for (int first = 0; first < held; first += DRAWN) {
        const int count = min(DRAWN, held - first);
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += BLOCK) {
            const Cell* cell = cells + list[first + i];
            for (int k = 0; k < K; ++k) near[i].shift[k] = real(origin[k] - cell->nearest[k]);
            for (int k = 0; k < K; ++k) near[i].offset[k] = cell->offset[k];
            for (int k = 0; k < TRI; ++k) near[i].a[k] = cell->a[k];
            near[i].amplitude = cell->amplitude;
            near[i].lift = cell->lift;
        }
        __syncthreads();
        real sums[R] = {};
#pragma unroll 2
        for (int j = 0; j < count; ++j) {
            const Near c = near[j];
            real d[K], t = c.lift, z = c.offset[K - 1];
#pragma unroll
            for (int k = 0; k < K; ++k) d[k] = local[k] + c.shift[k];
#pragma unroll
            for (int k = 0; k < K - 1; ++k) {
                real y = c.offset[k];
#pragma unroll
                for (int l = 0; l <= k; ++l) y += c.a[packed(k, l)] * d[l];
                t -= y * y;
                z += c.a[packed(K - 1, k)] * d[k];
            }
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const real y = z + c.a[TRI - 1] * (d[K - 1] + ahead[r]), power = t - y * y;
                if (power >= c.lift - cutoff) sums[r] += c.amplitude * power_of_two(power);
            }
        }
        for (int r = 0; r < R; ++r) totals[r] += sums[r];
    }
}

// One block per tile of BLOCK * R cells; the low bits of a thread's number are its place along the last axis.
template <int R>
__device__ inline void forward(const Cell* cells, const Span* spans, const Axis* axes, real* values, int N, int tiles,
                               wide cutoff) {
    __shared__ Near near[DRAWN];
    __shared__ wide origin[K];
    __shared__ int list[HELD];
    __shared__ unsigned words[2][SIFT / WARP];
    const int64 m = blockIdx.x / unsigned(tiles);
    int tile[K], rest = int(blockIdx.x % unsigned(tiles)), thread = threadIdx.x, width = 1;
    int64 place = m * axes[0].stride * axes[0].cells, left = 0;
    wide totals[R] = {};
    real local[K], ahead[R];
    bool inside = true;
#pragma unroll
    for (int k = K - 1; k >= 0; --k) {
        const Axis axis = axes[k];
        tile[k] = rest % int(axis.tiles);
        rest /= int(axis.tiles);
        const int side = (1 << int(axis.bits)) / (k == K - 1 ? R : 1), own = thread & (side - 1);
        thread /= side;
        const int64 begin = int64(tile[k]) << axis.bits;
        if (threadIdx.x == 0) origin[k] = wide(begin);  // read behind the barriers of `sift`
        local[k] = real(own);
        place += (begin + own) * axis.stride;
        inside = inside && begin + own < axis.cells;
        if (k == K - 1) {
            left = axis.cells - begin - own;  // cells from the thread's first one to the end of the line
            width = side;
        }
    }
    for (int r = 0; r < R; ++r) ahead[r] = real(r * width);
    for (int base = 0, held = 0, turn = 0; base < N; base += SIFT, turn ^= 1) {
        held = sift(spans + m * K * N, N, base, tile, words[turn], list, held);
        if (held > HELD - SIFT || base + SIFT >= N) {
            draw<R>(cells + m * N, list, held, origin, local, ahead, real(cutoff), near, totals);
            held = 0;
        }
    }
    if (!inside) return;
    for (int r = 0; r < R; ++r)
        if (r * width < left) values[place + r * width] = real(totals[r]);
}

extern "C" __global__ __launch_bounds__(BLOCK) void render_forward_1(const Cell* cells,  // [M, N]
                                                                     const Span* spans,  // [M, K, N]
                                                                     const Axis* axes,   // [K]
                                                                     real* values,       // [M, cells of the grid]
                                                                     int N, int tiles, wide cutoff) {
    forward<1>(cells, spans, axes, values, N, tiles, cutoff);
}

extern "C" __global__ __launch_bounds__(BLOCK) void render_forward_4(const Cell* cells, const Span* spans,
                                                                     const Axis* axes, real* values, int N, int tiles,
                                                                     wide cutoff) {
    forward<4>(cells, spans, axes, values, N, tiles, cutoff);
}

// One warp per slice of a component; slices that it does not need write nothing.
extern "C" __global__ __launch_bounds__(BLOCK) void render_vjp(const Cell* cells,  // [M, N]
                                                               const Axis* axes,   // [K]
                                                               const real* g,      // [M, cells of the grid]
                                                               wide* moments,      // [slices, M N, MOMENTS]
                                                               int M, int N, int slices, wide cutoff) {
    const int64 task = thread_id() / WARP, c = task / slices, slice = task % slices, count = int64(M) * N;
    if (c >= count) return;  // whole warps: no barrier follows, and shuffles stay within a warp
    Cell cell = cells[c];
    int axis;
    const int used = slices_of(cell, slices, axis);
    if (slice >= used) return;
#pragma unroll
    for (int k = 0; k < K; ++k)
        if (k == axis) {
            const int64 first = cell.first[k], extent = cell.last[k] - first;
            cell.first[k] = first + extent * slice / used;
            cell.last[k] = first + extent * (slice + 1) / used;
        }
    wide totals[MOMENTS<1>] = {};
    line_moments(cell, axes, g + c / N * (axes[0].stride * axes[0].cells), real(cutoff), totals);
    for (int q = 0; q < MOMENTS<1>; ++q) {
        for (int distance = WARP / 2; distance > 0; distance /= 2)
            totals[q] += __shfl_down_sync(~0u, totals[q], distance);
        if (threadIdx.x % WARP == 0) moments[(slice * count + c) * MOMENTS<1> + q] = totals[q];
    }
}

// One thread per component adds up its slices, in their order.
extern "C" __global__ void render_finish(const real* weights,  // [M N]
                                         const real* means,    // [M N, K]
                                         const real* covs,     // [M N, K, K]
                                         const Cell* cells,    // [M N]
                                         const wide* moments,  // [slices, M N, MOMENTS]
                                         real* g_weights,      // [M N]
                                         real* g_means,        // [M N, K]
                                         real* g_covs,         // [M N, K, K]
                                         int M, int N, int slices) {
    const int64 i = thread_id(), count = int64(M) * N;
    if (i >= count) return;
    wide sums[MOMENTS<1>] = {}, peak = 0;
    const wide nothing[K] = {};
    Row<1> row;
    clear(row);
    if (weights[i] != 0) {
        int axis;
        const int used = slices_of(cells[i], slices, axis);
        prepare(weights[i], means + i * K, covs + i * K * K, row, peak);
        for (int64 s = 0; s < used; ++s)
            for (int q = 0; q < MOMENTS<1>; ++q) sums[q] += moments[(s * count + i) * MOMENTS<1> + q];
    }
    g_weights[i] = real(peak * sums[0]);
    for (int q = 0; q < MOMENTS<1>; ++q) sums[q] *= weights[i] * peak;
    write_component_gradient(row, sums[0], sums + 1, sums + 1 + K, nothing, g_means + i * K, g_covs + i * K * K);
}
