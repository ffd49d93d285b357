// One component's moments over its box of a grid, line by line; cpu/_render_planes.py is the twin.
#pragma once
#include "render.cuh"

// The first K - 1 coordinates of a line in a box of `extent` cells, as digits of its number.
__device__ inline void line_at(int64 number, const int64 (&extent)[K], int64 (&at)[K]) {
#pragma unroll
    for (int k = K - 2; k >= 0; --k) {
        at[k] = number % max(extent[k], int64(1));
        number /= max(extent[k], int64(1));
    }
}

// Goes on by as many lines as `step` has for digits.
__device__ inline void advance(int64 (&at)[K], const int64 (&step)[K], const int64 (&extent)[K]) {
    int carry = 0;
#pragma unroll
    for (int k = K - 2; k >= 0; --k) {
        at[k] += step[k] + carry;
        carry = at[k] >= extent[k];
        if (carry) at[k] -= extent[k];
    }
}

constexpr int RUN = 64;    // cells of a line that a thread adds up before their sums become moments,
constexpr int FLUSH = 16;  // and how often it does before these go on in double

// A thread's share of the sums of g e, g e y and g e y y^T (packed), e = 2^(-y.y), over the box of `cell`: some of the
// lines, and of each every `width`th cell. Along a line all y but the last, z, are constant, so three sums suffice.
__device__ inline void line_moments(const Cell& cell, const Axis* axes, const real* g, real cutoff,
                                    wide (&totals)[MOMENTS<1>]) {
    constexpr int V = K - 1;
    int64 extent[K], at[K], step[K], start = 0, lines = 1;
    real shift[K], sums[MOMENTS<1>] = {};
#pragma unroll
    for (int k = 0; k < K; ++k) {
        extent[k] = cell.last[k] - cell.first[k];
        shift[k] = real(wide(cell.first[k]) - cell.nearest[k]);
        start += cell.first[k] * axes[k].stride;
        if (k < V) lines *= extent[k];
    }
    int width = 1, runs = 0;
    while (width < 8 && width < extent[V]) width *= 2;
    while (width < WARP && WARP / width > lines) width *= 2;
    const int lane = threadIdx.x % width, first = threadIdx.x % WARP / width;
    const real steep = cell.a[TRI - 1], flat = 1 / steep;
    line_at(first, extent, at);
    line_at(WARP / width, extent, step);
    for (int64 line = first; line < lines; line += WARP / width, advance(at, step, extent)) {
        real d[K], y[K], fall = 0, rest = cell.offset[V];
        int64 place = start;
#pragma unroll
        for (int k = 0; k < V; ++k) {
            place += at[k] * axes[k].stride;
            d[k] = shift[k] + real(at[k]);
            y[k] = cell.offset[k];
#pragma unroll
            for (int l = 0; l <= k; ++l) y[k] += cell.a[packed(k, l)] * d[l];
            fall += y[k] * y[k];
            rest += cell.a[packed(V, k)] * d[k];
        }
        if (!(fall <= cutoff)) continue;
        // A cell at either end that rounding leaves out adds less than one that the cut-off leaves out.
        const real centre = -rest * flat - shift[V], reach = sqrt(cutoff - fall) * flat;
        const real from = ceil(centre - reach), to = floor(centre + reach) + 1;  // NaN: the whole line
        const int64 begin = from > 0 ? (from < real(extent[V]) ? int64(from) : extent[V]) : 0;
        const int64 end = to < real(extent[V]) ? (to > 0 ? int64(to) : 0) : extent[V];
        for (int64 run = begin + lane; run < end; run += RUN * width) {
            const real* here = g + place + run;
            const int64 left = (end - run + width - 1) / width;
            const int count = left < RUN ? int(left) : RUN;
            const real base = shift[V] + real(run);
            real s[3] = {}, ahead = 0;
            for (int j = 0; j < count; ++j, ahead += width, here += width) {
                const real z = rest + steep * (base + ahead), power = -fall - z * z;
                if (power >= -cutoff) {
                    const real h = *here * power_of_two(power), hz = h * z;
                    s[0] += h;
                    s[1] += hz;
                    s[2] += hz * z;
                }
            }
            sums[0] += s[0];
#pragma unroll
            for (int k = 0; k < V; ++k) {
                sums[1 + k] += y[k] * s[0];
#pragma unroll
                for (int l = 0; l <= k; ++l) sums[1 + K + packed(k, l)] += y[k] * s[0] * y[l];
                sums[1 + K + packed(V, k)] += y[k] * s[1];
            }
            sums[1 + V] += s[1];
            sums[1 + K + packed(V, V)] += s[2];
            if (++runs == FLUSH) {
                for (int q = 0; q < MOMENTS<1>; ++q) {
                    totals[q] += sums[q];
                    sums[q] = 0;
                }
                runs = 0;
            }
        }
    }
    for (int q = 0; q < MOMENTS<1>; ++q) totals[q] += sums[q];
}
